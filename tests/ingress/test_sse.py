"""Server-sent events of explanations: what is told, what is an ordinary refusal, and who leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from tests.ingress.fakes import FakePlane, MemoryRecorder, constant, make_app, post, send
from tests.polling import DEADLINE_S

from wavescope import errors
from wavescope.engine.events import Progress
from wavescope.engine.types import Explanation
from wavescope.ingress.openapi.request_examples import TINY_PNG
from wavescope.ingress.plane import CallContext, Event, ExplainRequest, IngressLimits
from wavescope.ingress.rest.sse import KEEP_ALIVE, explanation_events
from wavescope.ingress.schemas.reply import (
    BatchReply,
    ExplanationReply,
    PartialEvent,
    ProgressEvent,
)
from wavescope.ingress.stream_limits import OpenStreams

STREAM = {"Accept": "text/event-stream"}


def events(response: httpx.Response) -> list[tuple[str, Any]]:
    """(name, data) of each event."""
    assert response.text.endswith("\n\n")
    told = []
    for block in response.text.removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        told.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return told


@dataclass
class FailingPlane(FakePlane):
    """Fails after its first event."""

    late: Exception | None = None

    async def stream(self, request: ExplainRequest, call: CallContext) -> AsyncGenerator[Event, None]:
        try:
            yield Progress(0, 88, 0.0, None)
            assert self.late is not None
            raise self.late
        finally:
            self.closed += 1


def test_a_stream_tells_progress_partials_and_the_whole_reply(plane: FakePlane) -> None:
    response = post(make_app(plane), headers=STREAM)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream"
    assert (response.headers["cache-control"], response.headers["x-accel-buffering"]) == ("no-store", "no")
    told = events(response)
    assert [name for name, _ in told] == ["progress", "progress", "partial", "result"]
    assert told[1][1] == {"forwards": 44, "planned": 88, "elapsed_s": 1.5, "eta_s": 1.5}
    ProgressEvent.model_validate(told[0][1])
    assert PartialEvent.model_validate(told[2][1]).rows == 2
    assert told[3][1] == post(make_app(plane)).json()
    assert told[2][1]["indices"] == told[3][1]["indices"]
    assert plane.closed == 1


def test_a_batch_is_streamed_too(plane: FakePlane) -> None:
    told = events(post(make_app(plane), {"targets": [1, 2]}, headers=STREAM))
    assert len(BatchReply.model_validate(told[-1][1]).explanations) == 2


@pytest.mark.parametrize(
    ("accept", "streamed"),
    [
        ("text/event-stream", True),
        ("text/*", True),
        ("*/*", False),
        ("text/event-stream, application/json", False),
        ("application/json;q=0.9, text/event-stream", True),
        ("application/json, text/event-stream;q=0.9", False),
        ("text/event-stream;q=0, */*", False),
    ],
)
def test_what_is_liked_best_is_answered(plane: FakePlane, accept: str, streamed: bool) -> None:
    response = post(make_app(plane), headers={"Accept": accept})
    expected = "text/event-stream" if streamed else "application/json"
    assert response.headers["content-type"] == expected


@pytest.mark.parametrize(
    "error",
    [
        errors.QueueFull("full", retry_after_s=2.5),
        errors.UnknownTarget("no class 'x'", field="target"),
        errors.InternalError("secret"),
        ZeroDivisionError("secret"),
    ],
)
def test_an_error_before_the_first_event_is_an_ordinary_refusal(plane: FakePlane, error: Exception) -> None:
    plane.error = error
    streamed, plain = post(make_app(plane), headers=STREAM), post(make_app(plane))
    assert streamed.status_code == plain.status_code
    assert streamed.headers["content-type"] == "application/problem+json"
    assert streamed.headers.get("retry-after") == plain.headers.get("retry-after")
    for told in (streamed.json(), plain.json()):
        assert "secret" not in str(told)
    assert streamed.json()["code"] == plain.json()["code"]
    assert plane.closed == 1


def test_a_later_error_is_an_event_with_its_status(explanation: Explanation) -> None:
    plane = FailingPlane(explanation, late=errors.RemoteFailure("gone", field="model", attempts=3))
    response = post(make_app(plane), headers={**STREAM, "X-Request-ID": "abc"})
    (_, _), (name, told) = events(response)
    assert (response.status_code, name) == (200, "error")
    assert told == {
        "code": "remote_failure",
        "message": "gone",
        "field": "model",
        "limits": {"attempts": 3},
        "request_id": "abc",
        "status": 502,
    }
    assert plane.closed == 1


@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), errors.InternalError("secret")])
def test_a_later_defect_is_logged_and_hidden(
    explanation: Explanation, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    response = post(make_app(FailingPlane(explanation, late=error)), headers=STREAM)
    name, told = events(response)[-1]
    assert (name, told["code"], told["status"]) == ("error", "internal", 500)
    assert "secret" not in response.text
    assert "secret" in caplog.text


def test_how_a_stream_ended_is_recorded(plane: FakePlane, recorder: MemoryRecorder) -> None:
    post(make_app(plane, recorder), headers=STREAM)
    plane.error = errors.QueueFull("full")
    post(make_app(plane, recorder), headers=STREAM)
    failing = FailingPlane(plane.explanation, late=errors.ModelChanged("changed"))
    post(make_app(failing, recorder), headers=STREAM)
    assert [code for _, _, _, code in recorder.requests] == ["ok", "queue_full", "model_changed"]


def test_a_constant_score_has_a_result_alone(plane: FakePlane) -> None:
    plane.explanation = constant(plane.explanation)
    told = events(post(make_app(plane), headers=STREAM))
    assert [name for name, _ in told] == ["progress", "progress", "result"]
    ExplanationReply.model_validate(told[-1][1])


async def endless(started: asyncio.Event, ended: asyncio.Event) -> AsyncGenerator[Event, None]:
    try:
        yield Progress(0, 88, 0.0, None)
        started.set()
        await asyncio.Event().wait()
    finally:
        ended.set()


@dataclass
class Endless(FakePlane):
    """Waits for ever after its first event."""

    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def stream(self, request: ExplainRequest, call: CallContext) -> AsyncGenerator[Event, None]:
        return endless(self.started, self.ended)


@pytest.mark.parametrize("how", ["disconnect", "cancelled", "nobody reads"])
def test_the_work_ends_when_the_client_leaves(
    explanation: Explanation, recorder: MemoryRecorder, how: str
) -> None:
    streams = OpenStreams(IngressLimits(max_streams=1))

    async def leave() -> list[str]:
        plane = Endless(explanation)
        content = json.dumps({"image": {"base64": TINY_PNG}}).encode()
        received = [{"type": "http.request", "body": content, "more_body": False}]
        told: list[str] = []

        async def receive() -> dict[str, Any]:
            if received:
                return received.pop()
            if how == "disconnect":
                await plane.started.wait()
                return {"type": "http.disconnect"}
            await asyncio.Event().wait()
            raise AssertionError

        async def transmit(message: Any) -> None:
            told.append(message["type"])
            if how == "nobody reads" and message["type"] == "http.response.body":
                raise OSError("broken pipe")

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/explanations",
            "raw_path": b"/v1/explanations",
            "query_string": b"",
            "headers": [
                (b"host", b"test"),
                (b"content-type", b"application/json"),
                (b"accept", b"text/event-stream"),
            ],
        }
        serving = asyncio.ensure_future(make_app(plane, recorder, streams)(scope, receive, transmit))
        if how == "cancelled":
            await plane.started.wait()
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
        else:
            await serving
        assert plane.ended.is_set()
        return told

    told = asyncio.run(asyncio.wait_for(leave(), DEADLINE_S))
    assert told == ["http.response.start", "http.response.body"]
    assert recorder.requests[0][-1] == "cancelled"
    with streams.place(""):
        pass  # the place is free again


def test_a_silent_stream_is_kept_alive_from_its_beginning() -> None:
    async def told() -> list[bytes]:
        pauses: asyncio.Queue[None] = asyncio.Queue()
        ready = asyncio.Event()

        async def late() -> AsyncGenerator[Event, None]:
            await ready.wait()
            yield Progress(1, 2, 3.0, None)

        chunks = explanation_events(late(), batch=False, pause=pauses.get)
        pauses.put_nowait(None)
        found = [await anext(chunks)]
        ready.set()
        found += [chunk async for chunk in chunks]
        return found

    assert asyncio.run(asyncio.wait_for(told(), DEADLINE_S)) == [
        KEEP_ALIVE,
        b'event: progress\ndata: {"forwards": 1, "planned": 2, "elapsed_s": 3.0, "eta_s": null}\n\n',
    ]
    assert KEEP_ALIVE.startswith(b":")


def test_no_line_break_in_a_reply_breaks_an_event(plane: FakePlane) -> None:
    target = replace(plane.explanation.target, label="two\nlines\r and \u2028 more")
    plane.explanation = replace(plane.explanation, target=target)
    assert events(post(make_app(plane), headers=STREAM))[-1][1]["target"]["label"] == target.label


def test_head_of_events_waits_for_nothing(plane: FakePlane) -> None:
    app = make_app(plane)
    send(app, "POST", "/v1/jobs", json={"image": {"base64": TINY_PNG}})
    response = send(app, "HEAD", "/v1/jobs/job-1/events")
    assert (response.status_code, response.content) == (200, b"")
    assert send(app, "HEAD", "/v1/jobs/job-2/events").status_code == 404
