"""What the cluster does to an explanation, and what it must not change."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from skimage import data
from tests.serving.cluster import DEADLINE_S, body, eventually, kill_replicas, png, running_replicas, settled

SCORED = 'wavescope_chunks_total{model="efficientnet-lite0",outcome="scored"}'
RETRIED = 'wavescope_chunks_total{model="efficientnet-lite0",outcome="retried"}'
FORWARDS = 'wavescope_forwards_total{model="efficientnet-lite0"}'


@pytest.fixture(scope="module")
def long_request():
    """About 1,600 forwards: long enough to be interrupted."""
    return body(png(data.chelsea()), grid_size=20, nb_design=4, seed=11)


@pytest.fixture(scope="module")
def undisturbed(service, long_request):
    return service.http.post("/v1/explanations", json=long_request).json()


def test_replica_killed_in_mid_explanation_costs_only_its_chunks(service, long_request, undisturbed):
    eventually(lambda: running_replicas() >= 1, "a running replica")
    before = settled(service, SCORED)
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(service.http.post, "/v1/explanations", json=long_request)
        eventually(lambda: service.metric(SCORED) > before, "a chunk of the explanation scored")
        kill_replicas("ModelReplica")
        reply = pending.result(timeout=DEADLINE_S)
    assert reply.status_code == 200
    assert reply.json()["indices"] == undisturbed["indices"]
    eventually(lambda: service.metric(RETRIED) >= 1, "a retried chunk counted")


def test_load_brings_a_second_replica_and_changes_no_number(service, long_request, undisturbed):
    with ThreadPoolExecutor(6) as pool:
        pending = [pool.submit(service.http.post, "/v1/explanations", json=long_request) for _ in range(6)]
        eventually(lambda: running_replicas() == 2, "two running replicas")
        replies = [future.result(timeout=DEADLINE_S) for future in pending]
    assert [reply.status_code for reply in replies] == [200] * 6
    assert all(reply.json()["indices"] == undisturbed["indices"] for reply in replies)


def test_a_client_that_leaves_stops_its_chunks(service, long_request, undisturbed):
    before = settled(service, FORWARDS)
    fresh = {"Cache-Control": "no-cache"}  # it was computed before, and kept
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{service.url}/v1/explanations", json=long_request, headers=fresh, timeout=1.0)
    assert settled(service, FORWARDS) - before < undisturbed["forwards"]
    eventually(lambda: service.metric("wavescope_explanations_in_progress") == 0, "nothing in progress")
