"""Cached results of the running service, and the same bits under any load."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
from skimage import data
from tests.cluster.service import SMALL, SMALL_FORWARDS, body, eventually, png, settled

FORWARDS = 'wavescope_forwards_total{model="efficientnet-lite0"}'
HITS = 'wavescope_results_total{outcome="hit"}'
FRESH = {"Cache-Control": "no-cache"}
TIMES = 20


def ask(service, request, **headers) -> httpx.Response:
    return httpx.post(f"{service.url}/v1/explanations", json=request, headers=headers, timeout=300)


def test_the_same_request_again_is_answered_from_what_is_kept(service):
    request = body(png(data.coffee()), **SMALL, plan="full", seed=41)
    first, before = ask(service, request), settled(service, FORWARDS)
    again = ask(service, request)
    assert [first.headers["wavescope-cache"], again.headers["wavescope-cache"]] == ["miss", "hit"]
    assert [first.json()["cached"], again.json()["cached"]] == [False, True]
    assert first.json()["id"] != again.json()["id"]
    own = ("id", "cached", "timing")
    assert {k: v for k, v in first.json().items() if k not in own} == {
        k: v for k, v in again.json().items() if k not in own
    }
    assert again.json()["timing"].keys() == first.json()["timing"].keys()
    assert again.json()["timing"]["score_s"] == 0.0 < again.json()["timing"]["total_s"]
    assert settled(service, FORWARDS) == before
    assert service.metric(HITS) >= 1


def test_a_changed_parameter_or_a_wish_for_fresh_numbers_is_computed(service):
    request = body(png(data.coffee()), **SMALL, plan="full", seed=42)
    ask(service, request)
    before = settled(service, FORWARDS)
    assert not ask(service, request | {"seed": 43}).json()["cached"]
    fresh = ask(service, request, **FRESH)
    assert (fresh.json()["cached"], fresh.headers["wavescope-cache"]) == (False, "miss")
    assert settled(service, FORWARDS) - before >= 2 * SMALL_FORWARDS


def test_the_same_request_has_the_same_bits_whatever_the_company(service):
    """Twenty times under load: other requests share its device batches, on every replica there is."""
    image = png(data.chelsea())
    tiny = {"grid_size": 2, "nb_design": 4, "plan": "full"}
    request = body(image, **tiny, seed=44)
    others = [body(image, **tiny, seed=100 + turn) for turn in range(TIMES)]
    mixed = [entry for pair in zip([request] * TIMES, others, strict=True) for entry in pair]
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda entry: ask(service, entry, **FRESH).json(), mixed))
    same = [reply["indices"] for reply in replies[::2]]
    assert all(indices == same[0] for indices in same)
    assert len({str(reply["indices"]) for reply in replies}) == TIMES + 1


def test_concurrent_requests_of_the_service_get_the_numbers_of_each_alone(service) -> None:
    bodies = [body(png(image), **SMALL) for image in (data.chelsea(), data.coffee())]
    alone = [service.http.post("/v1/explanations", json=one).json() for one in bodies]
    before = settled(service, "wavescope_forwards_total")
    with ThreadPoolExecutor(6) as pool:
        together = list(
            pool.map(lambda one: service.http.post("/v1/explanations", json=one).json(), bodies * 3)
        )
    for found, expected in zip(together, alone * 3, strict=True):
        assert found["indices"] == expected["indices"]
        assert found["worth"] == expected["worth"]
    eventually(
        lambda: service.metric("wavescope_forwards_total") - before == 6 * SMALL_FORWARDS,
        "every forward counted, once",
    )
