"""Jobs over HTTP: submitted, told, watched, answered, cancelled."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from tests.ingress.fakes import FIGURE, IMAGE, FakePlane, body, make_app, post, send
from tests.polling import DEADLINE_S

from wavescope import errors
from wavescope.ingress.job_replies import job_failed, job_reply, rfc3339
from wavescope.ingress.plane import CallContext, JobStatus
from wavescope.ingress.rest.sse import KEEP_ALIVE, job_events
from wavescope.ingress.schemas.reply import JobProgressEvent, JobReply

JOB = "/v1/jobs/job-1"


@pytest.fixture
def app(plane: FakePlane) -> FastAPI:
    return make_app(plane)


def submit(app: FastAPI, fields: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
    return send(app, "POST", "/v1/jobs", json=body(fields), headers=headers)


def test_a_job_is_accepted_and_says_where_it_is(app: FastAPI, plane: FakePlane) -> None:
    response = submit(app, {"kind": "profile", "images": [{"base64": body()["image"]["base64"]}] * 2})
    assert (response.status_code, response.headers["location"]) == (202, JOB)
    assert response.headers["cache-control"] == "no-store"
    job = JobReply.model_validate_json(response.content)
    assert (job.id, job.state, job.kind, job.images) == ("job-1", "queued", "profile", 2)
    assert job.created_at == "1970-01-01T00:16:40.000Z"
    assert (job.started_at, job.finished_at, job.error) == (None, None, None)
    assert (job.links.self_, job.links.events, job.links.result) == (JOB, f"{JOB}/events", f"{JOB}/result")
    assert send(app, "GET", JOB).json() == response.json()


def test_addresses_are_below_the_path_that_the_service_is_served_at(app: FastAPI) -> None:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app, root_path="/wavescope")
        async with httpx.AsyncClient(transport=transport, base_url="http://test/wavescope") as client:
            return await client.post("/v1/jobs", json=body())

    response = asyncio.run(run())
    assert response.headers["location"] == f"/wavescope{JOB}"
    assert response.json()["links"]["result"] == f"/wavescope{JOB}/result"


def test_the_same_key_is_the_same_job(app: FastAPI, plane: FakePlane) -> None:
    first, second = submit(app, **{"Idempotency-Key": "k 1"}), submit(app, **{"Idempotency-Key": "k 1"})
    assert first.json() == second.json()
    assert (second.status_code, list(plane.keys)) == (202, [("", "k 1")])
    assert submit(app, **{"Idempotency-Key": "k 2"}).json()["id"] == "job-2"


@pytest.mark.parametrize("key", ["", "x" * 129, "tab\there", "caf\u00e9"])
def test_a_key_that_is_none_is_refused(app: FastAPI, plane: FakePlane, key: str) -> None:
    response = send(app, "POST", "/v1/jobs", json=body(), headers={"Idempotency-Key": key.encode("latin-1")})
    told = response.json()
    assert (response.status_code, told["code"], told["field"]) == (422, "invalid_request", "Idempotency-Key")
    assert told["limits"] == {"maximum_chars": 128}
    assert plane.jobs == {}


def test_a_key_of_another_request_is_told_as_a_conflict(app: FastAPI, plane: FakePlane) -> None:
    plane.error = errors.IdempotencyConflict("the key was used for another request", field="Idempotency-Key")
    response = submit(app, **{"Idempotency-Key": "k"})
    assert (response.status_code, response.json()["code"]) == (409, "idempotency_conflict")


def test_a_request_that_is_wrong_is_refused_before_it_is_a_job(app: FastAPI, plane: FakePlane) -> None:
    assert submit(app, {"levels": 0}).status_code == 422
    assert plane.jobs == {}


@pytest.mark.parametrize("path", ["", "/events", "/result"])
@pytest.mark.parametrize("job_id", ["job-2", "x" * 200, "caf%C3%A9", "%00", "%20"])
def test_what_is_no_job_is_unknown(app: FastAPI, job_id: str, path: str) -> None:
    response = send(app, "GET", f"/v1/jobs/{job_id}{path}")
    assert (response.status_code, response.json()["code"]) == (404, "unknown_job")
    assert send(app, "DELETE", f"/v1/jobs/{job_id}").status_code == 404


def test_a_job_tells_what_becomes_of_it(app: FastAPI) -> None:
    submitted = submit(app).json()
    response = send(app, "GET", f"{JOB}/events")
    assert response.headers["content-type"] == "text/event-stream"
    blocks = response.text.removesuffix("\n\n").split("\n\n")
    told = [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for name, data in (block.split("\n") for block in blocks)
    ]
    assert [(name, job["state"]) for name, job in told] == [
        ("state", "queued"),
        ("state", "running"),
        ("state", "succeeded"),
    ]
    assert told[0][1] == submitted
    assert told[-1][1] == send(app, "GET", JOB).json()
    assert JobReply.model_validate(told[-1][1]).finished_at == "1970-01-01T00:16:42.500Z"


def test_progress_between_two_states_is_told_alone() -> None:
    job = JobStatus(
        id="j", state="running", kind="wcam", model="m", image_count=1, created_at=1.0, planned=88
    )

    async def states() -> AsyncGenerator[JobStatus, None]:
        yield job
        yield replace(job, forwards=44, eta_s=1.5)
        yield replace(job, forwards=88, state="succeeded")

    async def told() -> list[bytes]:
        chunks = job_events(states(), root="", pause=asyncio.Event().wait)
        return [chunk async for chunk in chunks]

    first, second, third = asyncio.run(asyncio.wait_for(told(), DEADLINE_S))
    assert first.startswith(b"event: state\n")
    assert third.startswith(b"event: state\n")
    name, data = second.decode().strip().split("\n")
    assert name == "event: progress"
    assert JobProgressEvent.model_validate_json(data.removeprefix("data: ")).eta_s == 1.5


def test_a_job_that_waits_is_kept_alive() -> None:
    closed = []

    async def states() -> AsyncGenerator[JobStatus, None]:
        try:
            await asyncio.Event().wait()
            yield JobStatus(id="j", state="queued", kind="wcam", model="m", image_count=1, created_at=1.0)
        finally:
            closed.append(True)

    async def told() -> bytes:
        pauses: asyncio.Queue[None] = asyncio.Queue()
        pauses.put_nowait(None)
        chunks = job_events(states(), root="", pause=pauses.get)
        found = await anext(chunks)
        await chunks.aclose()
        return found

    assert asyncio.run(asyncio.wait_for(told(), DEADLINE_S)) == KEEP_ALIVE
    assert closed == [True]


def test_events_are_events_alone(app: FastAPI) -> None:
    submit(app)
    response = send(app, "GET", f"{JOB}/events", headers={"Accept": "application/json"})
    assert response.status_code == 406
    assert response.json()["message"] == "Accept must allow text/event-stream"


def test_a_result_comes_as_an_explanation_does(app: FastAPI, plane: FakePlane) -> None:
    submit(app)
    plane.finish("job-1")
    assert send(app, "GET", f"{JOB}/result").json() == post(app).json()
    figure = send(app, "GET", f"{JOB}/result", headers={"Accept": "image/png"})
    assert (figure.headers["content-type"], figure.content) == ("image/png", FIGURE)
    archive = send(app, "GET", f"{JOB}/result", headers={"Accept": "application/x-npz"})
    found = np.load(io.BytesIO(archive.content), allow_pickle=False)
    np.testing.assert_array_equal(found["image"], plane.explanation.image)
    inside = send(app, "GET", f"{JOB}/result", headers={"Accept": "application/json; figure=png"})
    assert inside.json()["figure"]["media_type"] == "image/png"


def test_the_result_of_a_batch_is_a_list(app: FastAPI, plane: FakePlane) -> None:
    submit(app, {"targets": [1, 2]})
    plane.finish("job-1")
    assert len(send(app, "GET", f"{JOB}/result").json()["explanations"]) == 2
    refused = send(app, "GET", f"{JOB}/result", headers={"Accept": "image/png"})
    assert refused.status_code == 406
    assert refused.json()["limits"] == {"supported": ["application/json", "application/x-npz"]}
    stream = send(app, "GET", f"{JOB}/result", headers={"Accept": "text/event-stream"})
    assert stream.status_code == 406


def test_a_job_without_a_result_says_why(app: FastAPI) -> None:
    submit(app)
    unfinished = send(app, "GET", f"{JOB}/result")
    assert (unfinished.status_code, unfinished.json()["code"]) == (409, "job_unfinished")
    cancelled = send(app, "DELETE", JOB)
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    gone = send(app, "GET", f"{JOB}/result")
    assert (gone.status_code, gone.json()["code"]) == (410, "job_cancelled")


def test_the_result_of_a_failed_job_is_never_worth_another_try(app: FastAPI, plane: FakePlane) -> None:
    submit(app)
    problem = {
        "code": "deadline_exceeded",
        "message": "no row by then",
        "field": "deadline_s",
        "limits": {"deadline_s": 2, "retry_after_s": 1},
    }
    plane.jobs["job-1"] = replace(plane.jobs["job-1"], state="failed", error=problem)
    reply = send(app, "GET", f"{JOB}/result")
    told = reply.json()
    assert (reply.status_code, told["code"], told["field"]) == (409, "job_failed", "id")
    assert told["message"] == "the job failed: no row by then"
    assert told["limits"] == {"problem": problem} == {"problem": send(app, "GET", JOB).json()["error"]}
    assert "retry-after" not in reply.headers


def test_a_job_of_another_caller_is_unknown(app: FastAPI, plane: FakePlane) -> None:
    submit(app)
    plane.owners["job-1"] = "another"
    assert send(app, "GET", JOB).json()["code"] == "unknown_job"


def test_other_methods_are_told_all_that_is_taken(app: FastAPI) -> None:
    response = send(app, "PUT", JOB)
    assert response.status_code == 405
    assert response.json()["limits"] == {"supported": ["DELETE", "GET", "HEAD"]}


def failed(error: dict[str, Any]) -> JobStatus:
    return JobStatus(
        id="j",
        state="failed",
        kind="wcam",
        model="m",
        image_count=1,
        created_at=1.0,
        finished_at=2.0,
        error=error,
    )


def test_a_failed_job_tells_its_problem() -> None:
    error = {"code": "unknown_target", "message": "no class 'x'", "field": "target", "limits": {"classes": 3}}
    assert job_reply(failed(error))["error"] == error
    JobReply.model_validate(job_reply(failed(error)))
    assert job_reply(failed({"code": "model_failure", "message": "NaN"}))["error"]["limits"] == {}


@pytest.mark.parametrize("code", ["internal", "error", "registry_invalid", "unheard_of"])
def test_a_defect_of_a_job_is_hidden(code: str) -> None:
    told = job_reply(
        failed({"code": code, "message": "secret", "field": "secret", "limits": {"x": "secret"}})
    )
    assert "secret" not in str(told)
    assert told["error"]["code"] == "internal"
    refused = job_failed(failed({"code": code, "message": "secret"}))
    assert "secret" not in f"{refused.message} {refused.limits}"
    assert refused.limits["problem"]["code"] == "internal"


def test_times_are_utc() -> None:
    assert rfc3339(0.25) == "1970-01-01T00:00:00.250Z"
    assert rfc3339(None) is None


def test_the_call_reaches_the_plane(app: FastAPI, plane: FakePlane) -> None:
    headers = {"X-Request-ID": "mine", "Wavescope-Priority": "batch", "Cache-Control": "no-cache"}
    submit(app, **headers)
    assert plane.calls[0].images == (IMAGE,)
    assert plane.calls[0].call == CallContext("mine", "", "batch", fresh=True)
