"""Retries, streams and jobs of both clients, against replies made up for them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.wire import (
    MODELS,
    Async,
    Script,
    Sync,
    event,
    events,
    job,
    problem,
    refusal,
    split,
)
from tests.ingress.fakes import IMAGE, make_explanation

from wavescope.ingress.replies import encode_batch_json, encode_json
from wavescope_client import (
    AsyncClient,
    AsyncJob,
    AsyncStream,
    Client,
    ConnectionFailed,
    DeadlineExceeded,
    Explanation,
    Forbidden,
    IdempotencyConflict,
    InternalError,
    InvalidReply,
    InvalidRequest,
    Job,
    ModelFailure,
    Partial,
    Progress,
    QueueFull,
    QuotaExceeded,
    Result,
    RetryPolicy,
    StoreUnavailable,
    Stream,
    StreamBroken,
    TimedOut,
    TooLarge,
    Unauthenticated,
    UnknownJob,
    WavescopeError,
)

PROGRESS = {"forwards": 44, "planned": 88, "elapsed_s": 1.5, "eta_s": 1.5}
INDICES = {"total": [0.5, 0.25], "first": None, "standard_error": None, "interval_95": None}
PARTIAL = {"image": 0, "forwards": 22, "rows": 2, "indices": INDICES}
REPLY = encode_json(make_explanation())
RESULT = b"event: result\ndata: " + REPLY + b"\n\n"


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Sync]]:
    made: list[Sync] = []

    def make(*answers: httpx.Response | Exception, **options: Any) -> Sync:
        made.append(request.param(Script(*answers), **options))
        return made[-1]

    yield make
    for one in made:
        one.call("aclose" if isinstance(one, Async) else "close")
        if isinstance(one, Async):
            one.loop.close()


def models() -> httpx.Response:
    return httpx.Response(200, json=MODELS)


# ---- both clients ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("kind", "other"), [(Client, AsyncClient), (Stream, AsyncStream), (Job, AsyncJob)])
def test_both_clients_have_the_same_methods_and_arguments(kind: type, other: type) -> None:
    def methods(of: type) -> dict[str, list[tuple[str, Any, Any]]]:
        names = {"aclose": "close"}
        return {
            names.get(name, name): [
                (one.name, one.kind, one.default) for one in inspect.signature(method).parameters.values()
            ]
            for name, method in vars(of).items()
            if inspect.isfunction(method) and not name.startswith("_")
        }

    assert methods(other) == methods(kind)


def test_key_and_priority_go_with_every_call(make: Callable[..., Sync]) -> None:
    client = make(models(), events(RESULT), api_key="a-key", priority="batch", headers={"X-Tenant": "t"})
    client.call("models")
    client.take(client.call("stream", IMAGE))
    for request in client.script.requests:
        sent = request.headers
        assert (sent["authorization"], sent["wavescope-priority"], sent["x-tenant"]) == (
            "Bearer a-key",
            "batch",
            "t",
        )


def test_without_key_and_priority_nothing_is_said_of_them(
    make: Callable[..., Sync], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVESCOPE_API_KEY", "from-the-environment")
    client = make(models())
    client.call("models")
    assert not {"authorization", "wavescope-priority", "x-api-key"} & set(client.script.requests[0].headers)


@pytest.mark.parametrize("key", ["", "k\u00e9y", "a\nb"])
def test_a_key_that_no_header_holds_is_refused_unshown(make: Callable[..., Sync], key: str) -> None:
    with pytest.raises(ValueError, match=r"^api_key must be printable ASCII$"):
        make(api_key=key)


@pytest.mark.parametrize(
    "name", ["explain", "explain_batch", "png", "stream", "stream_batch", "submit", "submit_batch"]
)
def test_fresh_asks_for_no_cached_result(make: Callable[..., Sync], name: str) -> None:
    client = make(*(refusal(422, "invalid_request") for _ in range(2)))
    for fresh in (True, False):
        with pytest.raises(InvalidRequest, match="m"):
            client.ask(name, [IMAGE] if "batch" in name else IMAGE, fresh=fresh)
    first, second = (request.headers for request in client.script.requests)
    assert first["cache-control"] == "no-cache"
    assert "cache-control" not in second


# ---- retries --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "again",
    [
        lambda: refusal(429, "quota_exceeded"),
        lambda: refusal(429, "queue_full"),
        lambda: refusal(503, "model_changed"),
        lambda: refusal(503, "store_unavailable"),
        lambda: httpx.Response(503, text="<html>"),
        lambda: httpx.ConnectError("refused"),
        lambda: httpx.ReadError("reset"),
        lambda: httpx.RemoteProtocolError("closed"),
    ],
)
def test_what_may_pass_is_tried_again(make: Callable[..., Sync], again: Callable[[], Any]) -> None:
    client = make(again(), httpx.Response(200, content=REPLY))
    assert client.call("explain", IMAGE).id == "an-id"
    first, second = client.script.requests
    assert (first.content, first.headers) == (second.content, second.headers)
    assert len(client.time.slept_s) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda: refusal(401, "unauthenticated"), Unauthenticated),
        (lambda: refusal(403, "forbidden"), Forbidden),
        (lambda: refusal(404, "unknown_job"), UnknownJob),
        (lambda: refusal(409, "idempotency_conflict"), IdempotencyConflict),
        (lambda: refusal(413, "body_too_large"), TooLarge),
        (lambda: refusal(422, "invalid_request"), InvalidRequest),
        (lambda: refusal(500, "internal"), InternalError),
        (lambda: refusal(502, "remote_failure"), ModelFailure),
        (lambda: refusal(504, "deadline_exceeded"), DeadlineExceeded),
        (lambda: httpx.ReadTimeout("slow"), TimedOut),
        (lambda: httpx.Response(200, text="<html>"), InvalidReply),
        (lambda: httpx.DecodingError("not gzip"), InvalidReply),
    ],
    ids=lambda given: "" if given.__name__ == "<lambda>" else given.__name__,
)
@pytest.mark.parametrize("name", ["explain", "estimate", "predict", "submit"])
def test_what_would_fail_again_is_not_tried_again(
    make: Callable[..., Sync], name: str, answer: Callable[[], Any], error: type[WavescopeError]
) -> None:
    client = make(answer())
    with pytest.raises(error, match=r"."):
        client.call(name, IMAGE)
    assert client.time.slept_s == []


def test_the_wait_is_the_services(make: Callable[..., Sync]) -> None:
    client = make(refusal(429, "quota_exceeded", {"Retry-After": "7"}), models())
    client.call("models")
    assert client.time.slept_s == [7]


def test_a_wait_that_is_longer_than_allowed_is_not_begun(make: Callable[..., Sync]) -> None:
    client = make(refusal(429, "quota_exceeded", {"Retry-After": "31"}))
    with pytest.raises(QuotaExceeded, match="m"):
        client.call("models")
    assert client.time.slept_s == []


def test_tries_end_with_the_time_for_all_of_them(make: Callable[..., Sync]) -> None:
    busy = [refusal(429, "queue_full", {"Retry-After": "10"}) for _ in range(9)]
    client = make(*busy, retry=RetryPolicy(attempts=100, total_s=35))
    with pytest.raises(QueueFull, match="m"):
        client.call("models")
    assert client.time.slept_s == [10, 10, 10]


# ---- streams --------------------------------------------------------------------------------------------------------
def test_a_stream_tells_progress_partials_and_the_result(make: Callable[..., Sync]) -> None:
    client = make(
        events(b":\n\n", event("progress", PROGRESS), event("partial", PARTIAL), b": alive\n\n", RESULT)
    )
    progress, partial, result = client.take(client.call("stream", IMAGE, nb_design=4))
    assert progress == Progress(44, 88, 1.5, 1.5)
    assert isinstance(partial, Partial)
    assert (partial.image, partial.forwards, partial.rows) == (0, 22, 2)
    np.testing.assert_array_equal(partial.indices.total, [0.5, 0.25])
    assert isinstance(result, Result)
    assert isinstance(result.reply, Explanation)
    assert (result.reply.id, result.reply.request_id) == ("an-id", "r")
    (request,) = client.script.requests
    assert request.headers["accept"] == "text/event-stream"
    assert b'{"nb_design": 4}' in request.content
    assert client.script.body.closed


def test_a_stream_of_a_batch_ends_with_all_of_it(make: Callable[..., Sync]) -> None:
    content = encode_batch_json([make_explanation(), make_explanation("fam")])
    client = make(events(b"event: result\ndata: " + content + b"\n\n"))
    (result,) = client.take(client.call("stream_batch", [IMAGE, IMAGE]))
    assert [one.kind for one in result.reply] == ["wcam", "fam"]


@given(st.lists(st.integers(0, 100_000), max_size=30), st.sampled_from([b"\n", b"\r", b"\r\n"]))
def test_the_result_does_not_depend_on_how_the_network_cuts(places: list[int], line_end: bytes) -> None:
    stream = event("progress", PROGRESS) + ": ключ\n\n".encode() + event("partial", PARTIAL) + RESULT
    client = Sync(Script(events(*split(stream.replace(b"\n", line_end), places))))
    progress, partial, result = client.take(client.call("stream", IMAGE))
    assert progress == Progress(44, 88, 1.5, 1.5)
    assert partial.indices.total.tolist() == [0.5, 0.25]
    sent = make_explanation()
    np.testing.assert_array_equal(result.reply.indices.total, sent.indices.total)
    np.testing.assert_array_equal(result.reply.maps.wcam, sent.maps.wcam)


def test_events_younger_than_the_client_are_passed_over(make: Callable[..., Sync]) -> None:
    client = make(
        events(
            b"event: younger\ndata: not JSON\n\n",
            b"data: {}\n\n",
            event("progress", PROGRESS | {"younger": 1}),
            RESULT,
        )
    )
    assert [type(told) for told in client.take(client.call("stream", IMAGE))] == [Progress, Result]


def test_an_error_in_a_stream_is_the_error_of_its_code(make: Callable[..., Sync]) -> None:
    told = problem("store_unavailable", status=503, limits={"retry_after_s": 3})
    client = make(events(event("progress", PROGRESS), event("error", told), RESULT))
    with pytest.raises(StoreUnavailable, match=r"store_unavailable: m \(request q\)") as caught:
        client.take(client.call("stream", IMAGE))
    assert (caught.value.status, caught.value.limits) == (503, {"retry_after_s": 3})
    assert client.script.body.closed


@pytest.mark.parametrize("kind", ["progress", "partial", "result", "error"])
@pytest.mark.parametrize("data", ["", "{}", "[]", "3", '{"status": "x", "image": 0, "indices": 3}', "{"])
def test_an_event_that_is_not_what_it_says_is_told_so(
    make: Callable[..., Sync], kind: str, data: str
) -> None:
    client = make(events(f"event: {kind}\ndata: {data}\n\n".encode()))
    with pytest.raises(InvalidReply, match="the reply is not an e"):
        client.take(client.call("stream", IMAGE))


@pytest.mark.parametrize(
    "cut",
    [
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("closed"),
        httpx.ReadTimeout("silent"),
        b"",
        RESULT[:-1],
    ],
    ids=lambda cut: repr(cut)[:20],
)
def test_a_stream_that_is_cut_is_told_and_not_begun_again(make: Callable[..., Sync], cut: Any) -> None:
    client = make(events(event("progress", PROGRESS), cut))
    with pytest.raises(StreamBroken, match=r"the stream (ended before its result|from http://test .*)"):
        client.take(client.call("stream", IMAGE))
    assert len(client.script.requests) == 1
    assert client.time.slept_s == []


def test_a_broken_stream_is_a_failed_connection() -> None:
    assert issubclass(StreamBroken, ConnectionFailed)


def test_leaving_a_stream_closes_its_connection(make: Callable[..., Sync]) -> None:
    client = make(events(*[event("progress", PROGRESS | {"forwards": i}) for i in range(100)], RESULT))
    told = client.take(client.call("stream", IMAGE), 2)
    assert [progress.forwards for progress in told] == [0, 1]
    assert (client.script.body.given, client.script.body.closed) == (2, True)


def test_a_closed_stream_tells_nothing_more(make: Callable[..., Sync]) -> None:
    client = make(events(event("progress", PROGRESS), event("progress", PROGRESS), RESULT))
    stream = client.call("stream", IMAGE)
    assert len(client.take(stream, 1)) == 1
    assert client.take(stream) == []


def test_a_refused_stream_is_tried_again_and_then_refused(make: Callable[..., Sync]) -> None:
    client = make(
        httpx.ConnectError("refused"), refusal(429, "queue_full"), events(RESULT), refusal(403, "forbidden")
    )
    assert len(client.take(client.call("stream", IMAGE))) == 1
    assert len(client.time.slept_s) == 2
    with pytest.raises(Forbidden, match="m"):
        client.take(client.call("stream", IMAGE))


def test_a_reply_that_is_no_stream_is_told_so(make: Callable[..., Sync]) -> None:
    client = make(httpx.Response(200, content=REPLY, headers={"Content-Type": "application/json"}))
    with pytest.raises(InvalidReply, match="the reply is not text/event-stream but 'application/json'"):
        client.take(client.call("stream", IMAGE))


# ---- jobs -----------------------------------------------------------------------------------------------------------
def test_the_idempotency_key_is_the_same_in_every_try_and_another_in_every_call(
    make: Callable[..., Sync],
) -> None:
    lost = [httpx.ReadError("reset"), refusal(503, "store_unavailable"), httpx.Response(202, json=job())]
    client = make(*lost, *lost)
    assert client.call("submit", IMAGE).id == "a job/1"
    assert client.call("submit_batch", [IMAGE]).id == "a job/1"
    keys = [request.headers["idempotency-key"] for request in client.script.requests]
    assert len(set(keys[:3])) == len(set(keys[3:])) == 1
    assert keys[0] != keys[3]
    assert all(1 <= len(key) <= 128 for key in keys)


def test_the_callers_idempotency_key_is_sent(make: Callable[..., Sync]) -> None:
    client = make(httpx.Response(202, json=job()))
    client.call("submit", IMAGE, idempotency_key="mine")
    assert client.script.requests[0].headers["idempotency-key"] == "mine"
    with pytest.raises(ValueError, match="idempotency_key must be printable ASCII"):
        client.call("submit", IMAGE, idempotency_key="\n")


def test_a_job_is_asked_for_by_its_id_whatever_is_in_it(make: Callable[..., Sync]) -> None:
    client = make(
        httpx.Response(200, json=job("running", forwards=3)),
        httpx.Response(200, content=REPLY),
        httpx.Response(200, json=job("cancelled")),
        events(event("state", job("cancelled"))),
    )
    assert client.job("status").forwards == 3
    assert client.job("result").id == "an-id"
    assert client.job("cancel").state == "cancelled"
    assert [status.state for status in client.take(client.job("watch"))] == ["cancelled"]
    assert client.script.paths() == [
        "GET /v1/jobs/a%20job%2F1",
        "GET /v1/jobs/a%20job%2F1/result",
        "DELETE /v1/jobs/a%20job%2F1",
        "GET /v1/jobs/a%20job%2F1/events",
    ]


def test_a_status_has_times_in_utc_and_the_problem_of_a_failed_job(make: Callable[..., Sync]) -> None:
    failed = job("failed", started_at="2026-01-02T03:04:06.5Z", error=problem("model_failure"))
    status = make(httpx.Response(200, json=failed)).job("status")
    assert (status.started_at - status.created_at).total_seconds() == 1.5
    assert status.started_at.utcoffset().total_seconds() == 0
    assert status.finished_at is None
    assert status.error["code"] == "model_failure"
    assert status.ended


@pytest.mark.parametrize("content", [{}, [], job(created_at="yesterday"), {"id": "x"}], ids=str)
def test_a_reply_that_is_no_job_is_told_so(make: Callable[..., Sync], content: Any) -> None:
    with pytest.raises(InvalidReply, match="the reply is not a job"):
        make(httpx.Response(200, json=content)).job("status")


def test_the_result_of_a_batch_is_a_list(make: Callable[..., Sync]) -> None:
    client = make(httpx.Response(200, content=encode_batch_json([make_explanation()], [b"png"])))
    (found,) = client.job("result", figure=True)
    assert found.figure == b"png"
    assert client.script.requests[0].headers["accept"] == "application/json; figure=png"


def test_waiting_asks_ever_more_seldom_until_the_end(make: Callable[..., Sync]) -> None:
    running = [httpx.Response(200, json=job("running")) for _ in range(8)]
    client = make(*running, httpx.Response(200, json=job("succeeded")))
    assert client.job("wait").state == "succeeded"
    assert client.time.slept_s == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]


def test_waiting_ends_with_its_time_to_the_second(make: Callable[..., Sync]) -> None:
    client = make(*(httpx.Response(200, json=job("running")) for _ in range(9)))
    with pytest.raises(TimedOut, match="job a job/1 is still running after 5 s"):
        client.job("wait", timeout_s=5)
    assert client.time.now_s == 5


def test_waiting_outlasts_a_restart_of_the_service(make: Callable[..., Sync]) -> None:
    gone = [httpx.ConnectError("refused") for _ in range(9)]
    client = make(httpx.Response(200, json=job("running")), *gone, httpx.Response(200, json=job("succeeded")))
    assert client.job("wait").state == "succeeded"
    assert client.time.now_s > 60


@pytest.mark.parametrize(
    ("timeout_s", "retry", "most_s"),
    [(10, RetryPolicy(), 10), (None, RetryPolicy(), 300), (None, RetryPolicy(1), 0)],
)
def test_waiting_for_a_service_that_is_gone_ends(
    make: Callable[..., Sync], timeout_s: float | None, retry: RetryPolicy, most_s: float
) -> None:
    client = make(*(httpx.ConnectError("refused") for _ in range(100)), retry=retry)
    with pytest.raises(ConnectionFailed, match="refused"):
        client.job("wait", timeout_s)
    assert client.time.now_s <= most_s


def test_watching_merges_progress_into_the_state(make: Callable[..., Sync]) -> None:
    client = make(
        events(
            event("progress", {"forwards": 1, "planned": 8, "eta_s": None}),
            event("state", job("running")),
            b":\n\n",
            event("progress", {"forwards": 4, "planned": 8, "eta_s": 1.5}),
            event("progress", {"forwards": 4, "planned": 8, "eta_s": 1.5}),
            event("younger", {}),
            event("state", job("succeeded", forwards=8, planned=8)),
            event("state", job("failed")),
        )
    )
    told = client.take(client.job("watch"))
    assert [(status.state, status.forwards, status.eta_s) for status in told] == [
        ("running", 0, None),
        ("running", 4, 1.5),
        ("succeeded", 8, None),
    ]
    assert client.time.slept_s == []


@pytest.mark.parametrize(
    "cut",
    [
        httpx.ReadError("reset"),
        httpx.ReadTimeout("silent"),
        b"",
        event("error", problem("store_unavailable", status=503)),
    ],
    ids=repr,
)
def test_watching_goes_on_where_a_stream_broke_and_repeats_nothing(
    make: Callable[..., Sync], cut: Any
) -> None:
    running = job("running", forwards=4)
    client = make(
        events(event("state", job("queued")), event("state", running), cut),
        httpx.Response(200, json=running),
        events(event("state", running), event("state", job("succeeded"))),
    )
    told = client.take(client.job("watch"))
    assert [status.state for status in told] == ["queued", "running", "succeeded"]
    assert [path.rpartition("/")[2] for path in client.script.paths()] == ["events", "a%20job%2F1", "events"]


def test_watching_ends_where_the_state_was_final_between_streams(make: Callable[..., Sync]) -> None:
    client = make(events(event("state", job("running"))), httpx.Response(200, json=job("failed")))
    assert [status.state for status in client.take(client.job("watch"))] == ["running", "failed"]


def test_watching_falls_back_to_asking_where_streams_never_tell_anything(make: Callable[..., Sync]) -> None:
    looks = [httpx.Response(200, json=job("running", forwards=forwards)) for forwards in (0, 0, 0, 3, 3, 5)]
    answers = [answer for look in looks[:3] for answer in (events(), look)]
    client = make(*answers, *looks[3:], httpx.Response(200, json=job("succeeded")))
    told = client.take(client.job("watch"))
    assert [(status.state, status.forwards) for status in told] == [
        ("running", 0),
        ("running", 3),
        ("running", 5),
        ("succeeded", 0),
    ]
    assert sum("events" in path for path in client.script.paths()) == 3
    assert client.time.slept_s == [0.1, 0.2, 0.4, 0.1, 0.2, 0.1]


def test_watching_a_job_that_is_unknown_is_refused(make: Callable[..., Sync]) -> None:
    client = make(refusal(404, "unknown_job"))
    with pytest.raises(UnknownJob, match="m"):
        client.take(client.job("watch"))


def test_leaving_a_watch_closes_its_connection(make: Callable[..., Sync]) -> None:
    client = make(events(event("state", job("running")), event("state", job("succeeded"))))
    assert len(client.take(client.job("watch"), 1)) == 1
    assert client.script.body.closed


def test_a_stream_of_a_job_may_be_silent_for_four_keep_alives_at_most(make: Callable[..., Sync]) -> None:
    client = make(events(event("state", job("succeeded"))), events(RESULT), timeout_s=120)
    client.take(client.job("watch"))
    client.take(client.call("stream", IMAGE))
    assert [request.extensions["timeout"]["read"] for request in client.script.requests] == [60, 120]


# ---- the rest -------------------------------------------------------------------------------------------------------
def test_predictions_are_image_by_image(make: Callable[..., Sync]) -> None:
    top = [{"index": 1, "label": "b", "probability": 0.5}, {"index": 0, "label": "a", "probability": 0.25}]
    one: dict[str, Any] = {"predictions": [top], "warnings": [["nearly black"]]}
    two = {"predictions": [top, top[:1]]}
    client = make(httpx.Response(200, json=one), httpx.Response(200, json=two), httpx.Response(200, json=two))
    found = client.call("predict", IMAGE, model="m", top_k=2)
    assert [prediction.label for prediction in found] == ["b", "a"]
    assert found.warnings == ("nearly black",)
    assert [len(found) for found in client.call("predict_batch", [IMAGE, IMAGE])] == [2, 1]
    assert client.script.paths()[:2] == ["POST /v1/predictions"] * 2
    assert b'{"model": "m", "top_k": 2}' in client.script.requests[0].content
    with pytest.raises(InvalidReply, match="the reply is not the prediction of one image"):
        client.call("predict", IMAGE)


def test_an_estimate_is_read(make: Callable[..., Sync]) -> None:
    told = {"forwards": 628, "expected_s": None, "queue_s": 0.5, "cached": False}
    client = make(httpx.Response(200, json=told), httpx.Response(200, json=told))
    found = client.call("estimate", IMAGE, kind="fam")
    assert {name: getattr(found, name) for name in told} == told
    assert client.call("estimate_batch", [IMAGE, IMAGE], [1, 2]) == found
    assert client.script.paths() == ["POST /v1/explanations:estimate"] * 2
    assert json.dumps({"targets": [1, 2]}).encode() in client.script.requests[1].content


def test_a_model_is_asked_for_by_its_name_whatever_is_in_it(make: Callable[..., Sync]) -> None:
    client = make(httpx.Response(200, json={"name": "a/b", "ready": True}), httpx.Response(200, json=[]))
    assert client.call("model", "a/b?") == {"name": "a/b", "ready": True}
    assert client.script.paths() == ["GET /v1/models/a%2Fb%3F"]
    with pytest.raises(InvalidReply, match="the reply is not a model"):
        client.call("model", "m")


def test_an_image_that_cannot_be_read_sends_nothing(make: Callable[..., Sync]) -> None:
    client = make()
    for name in ("explain", "stream", "submit"):
        with pytest.raises(FileNotFoundError, match=r"none\.jpg"):
            client.ask(name, "none.jpg")
    assert client.script.requests == []
