"""One scrape of any gateway answers for the whole application, also to a real Prometheus."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from skimage import data
from tests.cluster.service import (
    SMALL,
    SMALL_FORWARDS,
    body,
    eventually,
    png,
    running_replicas,
    settled,
)
from tests.ports import free_port
from tests.programs import find_program


@pytest.fixture(scope="module")
def two_of_each(service):
    """The service with two gateways, which it starts with, and two model replicas, which load brings."""
    load = body(png(data.chelsea()), grid_size=16, nb_design=4)
    with ThreadPoolExecutor(6) as pool:
        while running_replicas() < 2:
            list(pool.map(lambda _: service.http.post("/v1/explanations", json=load), range(6)))
    for deployment in ("Gateway", "ModelReplica"):
        sample = f'wavescope_replicas{{deployment="{deployment}"'
        eventually(lambda sample=sample: service.metric(sample) == 2, f"two of {deployment} counted")
    return service


def test_counts_of_all_processes_are_in_one_scrape(two_of_each):
    service = two_of_each
    names = ("wavescope_forwards_total", "wavescope_requests_total")
    before = {name: settled(service, name) for name in names}
    # Connections of their own, so that the proxy spreads them over both gateways.
    for seed in range(6):
        reply = httpx.post(
            f"{service.url}/v1/explanations",
            json=body(png(data.chelsea()), seed=seed, **SMALL),
            timeout=120,
            headers={"Cache-Control": "no-cache"},
        )
        assert reply.status_code == 200
    eventually(
        lambda: (
            service.metric("wavescope_forwards_total") - before["wavescope_forwards_total"]
            == 6 * SMALL_FORWARDS
        ),
        "every forward counted, once",
    )
    eventually(
        lambda: service.metric("wavescope_requests_total") - before["wavescope_requests_total"] == 6,
        "every request counted, once",
    )
    assert service.metric("wavescope_request_duration_seconds_count") >= 6


@pytest.fixture
def prometheus(service, tmp_path):
    binary = find_program("prometheus")
    port = free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        "  - job_name: wavescope\n"
        f"    static_configs: [{{targets: ['{service.url.removeprefix('http://')}']}}]\n"
    )
    process = subprocess.Popen(
        [
            binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(timeout=60)


def test_a_real_prometheus_reads_the_same_numbers(two_of_each, prometheus):
    service = two_of_each
    reply = service.http.post("/v1/explanations", json=body(png(data.chelsea()), **SMALL))
    assert reply.status_code == 200

    def query(expression: str) -> float | None:
        try:
            answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": expression})
        except httpx.TransportError:
            return None
        result = answer.json().get("data", {}).get("result", [])
        return float(result[0]["value"][1]) if result else None

    eventually(lambda: query("up") == 1.0, "the target is up")
    eventually(
        lambda: query("sum(wavescope_forwards_total)") == service.metric("wavescope_forwards_total"),
        "Prometheus has the service's count of forwards",
    )
    assert query('sum(wavescope_replicas{deployment="Gateway"})') == 2
    assert query('sum(wavescope_replicas{deployment="ModelReplica"})') == 2
    assert query("histogram_quantile(0.5, sum by (le) (wavescope_request_duration_seconds_bucket))") > 0
    metadata = httpx.get(f"{prometheus}/api/v1/targets").json()
    assert all(target["lastError"] == "" for target in metadata["data"]["activeTargets"])
