"""What the cluster does to an explanation, and what it must not change."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from skimage import data
from tests.cluster.service import (
    DEADLINE_S,
    SMALL,
    body,
    eventually,
    kill_replicas,
    png,
    running_replicas,
    settled,
)

SCORED = 'wavescope_chunks_total{model="efficientnet-lite0",outcome="scored"}'
RETRIED = 'wavescope_chunks_total{model="efficientnet-lite0",outcome="retried"}'
FORWARDS = 'wavescope_forwards_total{model="efficientnet-lite0"}'


@pytest.fixture(scope="module")
def long_request():
    """584 forwards: long enough to be interrupted."""
    return body(png(data.chelsea()), plan="full", grid_size=12, nb_design=4, seed=11)


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
    small = body(png(data.chelsea()), **SMALL, plan="full", seed=11)
    expected = service.http.post("/v1/explanations", json=small).json()["indices"]
    enough = threading.Event()

    def load() -> list[httpx.Response]:
        """Replies of one caller, who asks until there are enough replicas, and once more then."""
        replies = []
        while not enough.is_set():
            replies.append(service.http.post("/v1/explanations", json=small))
        return [*replies, service.http.post("/v1/explanations", json=small)]

    with ThreadPoolExecutor(6) as pool:
        callers = [pool.submit(load) for _ in range(6)]
        try:
            eventually(lambda: running_replicas() == 2, "two running replicas")
        finally:
            enough.set()
        replies = [reply for caller in callers for reply in caller.result(timeout=DEADLINE_S)]
    assert {reply.status_code for reply in replies} == {200}
    assert all(reply.json()["indices"] == expected for reply in replies)
    whole = service.http.post("/v1/explanations", json=long_request).json()  # its chunks go to both replicas
    assert whole["indices"] == undisturbed["indices"]


def test_a_client_that_leaves_stops_its_chunks(service, long_request, undisturbed):
    before = settled(service, FORWARDS)
    fresh = {"Cache-Control": "no-cache"}  # it was computed before, and kept
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{service.url}/v1/explanations", json=long_request, headers=fresh, timeout=1.0)
    assert settled(service, FORWARDS) - before < undisturbed["forwards"]
    eventually(lambda: service.metric("wavescope_explanations_in_progress") == 0, "nothing in progress")
