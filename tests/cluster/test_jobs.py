"""Jobs on the running service: accepted ones end, with the numbers of a synchronous request."""

from __future__ import annotations

import pytest
from skimage import data
from tests.cluster.service import SMALL, SMALL_FORWARDS, body, eventually, kill_replicas, png, settled

FORWARDS = 'wavescope_forwards_total{model="efficientnet-lite0"}'
RECALLED = 'wavescope_chunks_total{model="efficientnet-lite0",outcome="recalled"}'
FINAL = ("succeeded", "failed", "cancelled")


@pytest.fixture(scope="module")
def image() -> bytes:
    return png(data.chelsea())


@pytest.fixture(scope="module")
def long_request(image):
    """584 forwards: long enough to be interrupted."""
    return body(image, plan="full", grid_size=12, nb_design=4, seed=21)


def submit(service, request, **headers) -> str:
    reply = service.http.post("/v1/jobs", json=request, headers=headers)
    assert reply.status_code == 202, reply.text
    assert reply.headers["location"].endswith(reply.json()["id"])
    return reply.json()["id"]


def state(service, job: str) -> dict:
    return service.http.get(f"/v1/jobs/{job}").json()


def ended(service, job: str) -> dict:
    eventually(lambda: state(service, job)["state"] in FINAL, "the job ends")
    return state(service, job)


def test_a_job_ends_with_the_numbers_of_a_synchronous_request(service, image):
    request = body(image, **SMALL, plan="full", seed=5)
    job = submit(service, request)
    told = ended(service, job)
    assert (told["state"], told["error"], told["forwards"]) == ("succeeded", None, SMALL_FORWARDS)
    result = service.http.get(f"/v1/jobs/{job}/result").json()
    assert result["indices"] == service.http.post("/v1/explanations", json=request).json()["indices"]


def test_a_batch_is_one_job_and_answers_as_a_batch(service, image):
    request = {"images": [{"base64": body(image)["image"]["base64"]}] * 2, **SMALL, "plan": "full"}
    told = ended(service, job := submit(service, request))
    assert (told["state"], told["images"]) == ("succeeded", 2)
    assert len(service.http.get(f"/v1/jobs/{job}/result").json()["explanations"]) == 2


def test_what_cannot_be_explained_is_no_job(service, image):
    reply = service.http.post("/v1/jobs", json=body(b"no image at all"))
    assert (reply.status_code, reply.json()["code"]) == (415, "not_an_image")
    reply = service.http.post("/v1/jobs", json=body(image, model="unheard-of"))
    assert (reply.status_code, reply.json()["code"]) == (404, "unknown_model")


def test_the_same_key_is_the_same_job_and_another_request_a_conflict(service, image):
    request = body(image, **SMALL, plan="full", seed=6)
    key = {"Idempotency-Key": "once"}
    job = submit(service, request, **key)
    again = service.http.post("/v1/jobs", json=request, headers=key)
    assert again.json()["id"] == job
    other = service.http.post("/v1/jobs", json=request | {"seed": 7}, headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


def test_an_unknown_job_is_told_so_and_a_result_before_its_time(service, long_request):
    reply = service.http.get("/v1/jobs/unheard-of")
    assert (reply.status_code, reply.json()["code"]) == (404, "unknown_job")
    job = submit(service, long_request)
    reply = service.http.get(f"/v1/jobs/{job}/result")
    assert (reply.status_code, reply.json()["code"]) == (409, "job_unfinished")
    service.http.delete(f"/v1/jobs/{job}")
    reply = service.http.get(f"/v1/jobs/{job}/result")
    assert (reply.status_code, reply.json()["code"]) == (410, "job_cancelled")


def test_a_cancelled_job_scores_no_further_batch(service, long_request):
    before = settled(service, FORWARDS)
    job = submit(service, long_request)
    eventually(lambda: state(service, job)["forwards"] > 0, "forwards of the job")
    assert service.http.delete(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    assert settled(service, FORWARDS) - before < state(service, job)["planned"]


def test_events_tell_progress_and_end_with_the_last_state(service, long_request):
    job = submit(service, long_request)
    with service.http.stream("GET", f"/v1/jobs/{job}/events") as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in reply.iter_lines() if line]
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert "progress" in names
    assert '"succeeded"' in lines[-1] or '"state":"succeeded"' in lines[-1].replace(" ", "")


def test_a_job_whose_worker_dies_goes_on_from_the_scores_it_has(service, long_request):
    undisturbed = service.http.post("/v1/explanations", json=long_request).json()
    before = settled(service, FORWARDS)
    job = submit(service, long_request)
    eventually(lambda: state(service, job)["forwards"] > 100, "a fifth of the job done")
    kill_replicas("EstimatorAggregator")
    told = ended(service, job)
    assert told["state"] == "succeeded"
    assert service.http.get(f"/v1/jobs/{job}/result").json()["indices"] == undisturbed["indices"]
    # Only what was on its way when the worker died is scored twice.
    assert service.metric(RECALLED) > 0
    assert settled(service, FORWARDS) - before < undisturbed["forwards"] + 8 * 64
