"""Event streams are bounded, over HTTP and gRPC together, and every way that one ends gives its place back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from tests.contract.rpcs import Service, ask
from tests.ingress.fakes import IMAGE, FakeContext, FakePlane, MemoryRecorder, body, make_app, post, send
from tests.polling import DEADLINE_S

from wavescope.admission.wait_estimate import Priority
from wavescope.engine.events import Progress
from wavescope.errors import ModelChanged, QueueFull, QuotaExceeded, UnknownTarget
from wavescope.ingress.access import Access
from wavescope.ingress.app import build_app
from wavescope.ingress.plane import CallContext, Event, ExplainRequest, IngressLimits
from wavescope.ingress.stream_limits import OpenStreams
from wavescope_proto.v1 import explanation_pb2 as pb

STREAM = {"Accept": "text/event-stream"}
EVENTS = "/v1/jobs/job-1/events"
EXPLAIN_STREAM = pb.ExplainStreamRequest(request=pb.ExplainRequest(image=IMAGE))


@pytest.fixture
def streams() -> OpenStreams:
    return OpenStreams(IngressLimits(max_streams=1))


def is_free(streams: OpenStreams) -> bool:
    try:
        with streams.place(""):
            return True
    except QueueFull:
        return False


@dataclass
class Late(FakePlane):
    """Fails after its first event."""

    async def stream(self, request: ExplainRequest, call: CallContext) -> AsyncGenerator[Event, None]:
        yield Progress(0, 88, 0.0, None)
        raise self.error or AssertionError


def test_no_more_than_the_limit_are_open() -> None:
    streams = OpenStreams(IngressLimits(max_streams=3))
    with ExitStack() as places:
        for caller in ("a", "b", ""):
            places.enter_context(streams.place(caller))
        with pytest.raises(QueueFull, match="3 event streams are open") as caught, streams.place("c"):
            pass
        assert caught.value.limits == {"max_streams": 3, "retry_after_s": 5}
    assert is_free(streams)


def test_no_more_than_its_limit_are_open_of_one_key() -> None:
    streams = OpenStreams(IngressLimits(max_streams_per_caller=2))
    with ExitStack() as places:
        for caller in ("a", "a", "b", "", "", ""):  # without keys, callers cannot be told apart
            places.enter_context(streams.place(caller))
        with pytest.raises(QuotaExceeded, match="2 event streams of this key are open") as caught:
            places.enter_context(streams.place("a"))
        assert caught.value.limits == {"max_streams_per_caller": 2, "retry_after_s": 5}
        places.enter_context(streams.place("b"))
    with streams.place("a"), streams.place("a"):
        pass


def test_a_place_is_given_back_where_what_it_is_for_fails(streams: OpenStreams) -> None:
    with pytest.raises(ZeroDivisionError), streams.place("a"):
        raise ZeroDivisionError
    assert is_free(streams)


def test_a_stream_over_the_limit_is_refused_and_nothing_else_is(
    plane: FakePlane, recorder: MemoryRecorder, streams: OpenStreams
) -> None:
    app = make_app(plane, recorder, streams)
    post(app, headers=STREAM)
    send(app, "POST", "/v1/jobs", json=body())
    with streams.place(""):
        for refused in (post(app, headers=STREAM), send(app, "GET", EVENTS)):
            assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.headers["retry-after"] == "5"
            assert refused.json()["limits"] == {"max_streams": 1, "retry_after_s": 5}
        assert post(app).status_code == 200
        assert send(app, "GET", "/v1/jobs/job-1").status_code == 200
        assert send(app, "HEAD", EVENTS).status_code == 200
    assert [code for *_, code in recorder.requests] == ["ok", "ok", "queue_full", "ok"]
    assert send(app, "GET", EVENTS).status_code == 200


@pytest.mark.parametrize(
    ("name", "message"), [("ExplainStream", EXPLAIN_STREAM), ("WatchJob", pb.WatchJobRequest(id="job-1"))]
)
def test_rpcs_over_the_limit_are_refused_alike(
    plane: FakePlane, streams: OpenStreams, name: str, message: Any
) -> None:
    context = FakeContext()
    with streams.place(""):
        assert ask(plane, name, message, context, streams=streams) == [
            type(ask(plane, name, message, FakeContext())[0])()
        ]
    assert context.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert context.trailing["wavescope-limits"] == '{"max_streams": 1, "retry_after_s": 5}'


def test_both_transports_are_counted_together(plane: FakePlane, streams: OpenStreams) -> None:
    async def run() -> None:
        replies = Service(plane, streams=streams).ExplainStream(EXPLAIN_STREAM, FakeContext())
        async with aclosing(replies):
            await anext(replies)
            refused = await asyncio.to_thread(post, make_app(plane, streams=streams), headers=STREAM)
            assert refused.status_code == 429
        assert is_free(streams)  # closed before its end
        ended = await asyncio.to_thread(post, make_app(plane, streams=streams), headers=STREAM)
        assert ended.status_code == 200

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))


@pytest.mark.parametrize("error", [ModelChanged("changed"), ZeroDivisionError("secret")])
@pytest.mark.parametrize("kind", [FakePlane, Late], ids=["at once", "late"])
def test_the_place_of_a_stream_that_fails_is_free_again(
    plane: FakePlane, streams: OpenStreams, kind: type[FakePlane], error: Exception
) -> None:
    failing = kind(plane.explanation, error=error)
    post(make_app(failing, streams=streams), headers=STREAM)
    assert is_free(streams)
    ask(failing, "ExplainStream", EXPLAIN_STREAM, FakeContext(), streams=streams)
    assert is_free(streams)
    ask(failing, "WatchJob", pb.WatchJobRequest(id="none"), FakeContext(), streams=streams)
    assert send(make_app(failing, streams=streams), "GET", EVENTS).status_code == 404
    assert is_free(streams)


def test_the_place_is_free_before_a_wrong_request_is_told(plane: FakePlane, streams: OpenStreams) -> None:
    plane.error = UnknownTarget("no class 'x'", field="target")
    app = make_app(plane, streams=streams)
    assert [post(app, headers=STREAM).status_code for _ in range(2)] == [422, 422]


class Door:
    """Everybody is alice."""

    def caller(self, key: str | None) -> str:
        return "alice"

    def priority(self, caller: str) -> Priority:
        return "interactive"


def test_a_key_has_a_share_of_the_streams(plane: FakePlane) -> None:
    limits = IngressLimits(max_streams=9, max_streams_per_caller=1)
    streams = OpenStreams(limits)
    app = build_app(
        plane, limits=limits, draw=lambda _: b"", access=Access(authenticator=Door()), streams=streams
    )
    with streams.place("alice"):
        refused = post(app, headers=STREAM)
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
        assert refused.json()["limits"] == {"max_streams_per_caller": 1, "retry_after_s": 5}
        context = FakeContext()
        ask(plane, "ExplainStream", EXPLAIN_STREAM, context, streams=streams, authenticator=Door())
        assert context.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert post(app, headers=STREAM).status_code == 200
