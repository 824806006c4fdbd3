"""Every other call of the data plane means the same over HTTP and gRPC, and so does every error of every call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tests.contract.rpcs import ask, over_a_channel, told
from tests.ingress.fakes import (
    DETAILS,
    IMAGE,
    MODEL,
    FakeContext,
    FakePlane,
    MemoryRecorder,
    body,
    make_app,
    post,
    send,
)

from wavescope import errors
from wavescope.admission.wait_estimate import Priority
from wavescope.engine.checks import check_gradients, resolve_prior
from wavescope.engine.events import Progress
from wavescope.engine.types import Explanation
from wavescope.errors import WavescopeError
from wavescope.ingress.access import Access
from wavescope.ingress.app import build_app
from wavescope.ingress.grpc.converters import from_batch, from_explanation
from wavescope.ingress.grpc.status import MAX_TEXT_CHARS, trailing_metadata
from wavescope.ingress.plane import CallContext, Event, ExplainRequest, IngressLimits, JobStatus
from wavescope.ingress.problems import TABLE
from wavescope.ingress.schemas.request import PredictionBody
from wavescope.ingress.stream_limits import OpenStreams
from wavescope.models.spec import ModelSpec, find_spec
from wavescope_proto.v1 import explanation_pb2 as pb

REQUEST = pb.ExplainRequest(image=IMAGE)
ENCODED = body()["image"]

# A call over either transport: the RPC with its message, and the method, path and body over HTTP.
RPCS: dict[str, Any] = {
    "Explain": REQUEST,
    "ExplainStream": pb.ExplainStreamRequest(request=REQUEST),
    "Estimate": pb.EstimateRequest(request=REQUEST),
    "Predict": pb.PredictRequest(image=IMAGE),
    "ListModels": pb.ListModelsRequest(),
    "SubmitJob": pb.SubmitJobRequest(request=REQUEST),
    "GetJob": pb.GetJobRequest(id="job-1"),
    "WatchJob": pb.WatchJobRequest(id="job-1"),
    "GetJobResult": pb.GetJobResultRequest(id="job-1"),
    "CancelJob": pb.CancelJobRequest(id="job-1"),
}
ADDRESSES: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "Explain": ("POST", "/v1/explanations", body()),
    "ExplainStream": ("POST", "/v1/explanations", body()),
    "Estimate": ("POST", "/v1/explanations:estimate", body()),
    "Predict": ("POST", "/v1/predictions", {"image": ENCODED}),
    "ListModels": ("GET", "/v1/models", None),
    "SubmitJob": ("POST", "/v1/jobs", body()),
    "GetJob": ("GET", "/v1/jobs/job-1", None),
    "WatchJob": ("GET", "/v1/jobs/job-1/events", None),
    "GetJobResult": ("GET", "/v1/jobs/job-1/result", None),
    "CancelJob": ("DELETE", "/v1/jobs/job-1", None),
}


def over_http(plane: FakePlane, name: str, **headers: str) -> Any:
    method, path, content = ADDRESSES[name]
    if name == "ExplainStream":
        headers["Accept"] = "text/event-stream"
    return send(
        make_app(plane), method, path, headers=headers, **({} if content is None else {"json": content})
    )


def submitted(plane: FakePlane, **fields: Any) -> FakePlane:
    """The plane with one job of these fields."""
    send(make_app(plane), "POST", "/v1/jobs", json=body(fields))
    return plane


def subclasses(kind: type[WavescopeError]) -> Iterator[type[WavescopeError]]:
    yield kind
    for subclass in kind.__subclasses__():
        yield from subclasses(subclass)


@dataclass
class Refusing(FakePlane):
    """Refuses every call."""

    def __getattribute__(self, name: str) -> Any:
        if name not in (
            "stream",
            "watch",
            "explain",
            "estimate",
            "predict",
            "submit",
            "job",
            "result",
            "cancel",
            "models",
            "model",
        ):
            return object.__getattribute__(self, name)

        async def refused(*_: Any) -> Any:
            raise self.error or AssertionError

        async def stream(*_: Any) -> AsyncGenerator[Any, None]:
            raise self.error or AssertionError
            yield

        return stream if name in ("stream", "watch") else refused


@pytest.mark.parametrize("name", RPCS)
@pytest.mark.parametrize("kind", sorted(set(subclasses(WavescopeError)), key=lambda kind: kind.__name__))
def test_every_error_of_every_call_is_told_alike(
    plane: FakePlane, kind: type[WavescopeError], name: str
) -> None:
    error = kind("a message", field="levels", maximum=3)
    refusing = Refusing(plane.explanation, error=error)
    context = FakeContext([("x-request-id", "abc")])
    replies = ask(refusing, name, RPCS[name], context)
    response = over_http(refusing, name, **{"X-Request-ID": "abc"})
    refusal = response.json()
    assert (response.status_code, context.code) == TABLE[refusal["code"]]
    assert response.status_code == TABLE[error.code][0]
    assert context.details == refusal["message"]
    assert context.trailing["wavescope-code"] == refusal["code"]
    assert context.trailing.get("wavescope-field") == refusal["field"]
    assert json.loads(context.trailing.get("wavescope-limits", "{}")) == refusal["limits"]
    assert context.trailing["x-request-id"] == refusal["request_id"] == "abc"
    for reply in replies if isinstance(replies, list) else [replies]:
        assert reply == type(reply)()


def test_every_rpc_is_here() -> None:
    service = pb.DESCRIPTOR.services_by_name["ExplanationService"]
    assert set(RPCS) == set(ADDRESSES) == set(service.methods_by_name)


def test_an_estimate_is_the_same_over_both(plane: FakePlane) -> None:
    message = ask(plane, "Estimate", RPCS["Estimate"], FakeContext())
    assert as_json(message) == over_http(plane, "Estimate").json()
    assert plane.calls[0].request == plane.calls[1].request


def test_predictions_are_the_same_over_both(plane: FakePlane) -> None:
    message = ask(plane, "Predict", pb.PredictRequest(images=[IMAGE] * 2, top_k=2), FakeContext())
    reply = send(
        make_app(plane), "POST", "/v1/predictions", json={"images": [ENCODED] * 2, "top_k": 2}
    ).json()
    found = as_json(message)
    found["warnings"] = [entry["warnings"] for entry in found["predictions"]]
    found["predictions"] = [entry["top"] for entry in found["predictions"]]
    assert found == reply


@pytest.mark.parametrize("fields", [{"top_k": 0}, {"top_k": 101}, {"model": ""}])
def test_a_wrong_prediction_is_refused_alike(plane: FakePlane, fields: dict[str, Any]) -> None:
    context = FakeContext([("x-request-id", "abc")])
    ask(plane, "Predict", pb.PredictRequest(image=IMAGE, **fields), context)
    refusal = send(make_app(plane), "POST", "/v1/predictions", json={"image": ENCODED, **fields}).json()
    assert (context.details, context.trailing["wavescope-field"]) == (refusal["message"], refusal["field"])


def test_every_field_of_a_prediction_is_in_the_message() -> None:
    assert set(pb.PredictRequest.DESCRIPTOR.fields_by_name) == set(PredictionBody.model_fields)


def test_images_beyond_the_limit_are_refused_with_it_by_every_call(plane: FakePlane) -> None:
    for name in ("Explain", "ExplainStream", "Estimate", "Predict", "SubmitJob"):
        context = FakeContext()
        ask(plane, name, RPCS[name], context, limits=IngressLimits(max_body_bytes=10))
        assert context.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert told(context)["wavescope-field"] == "image"
        assert told(context)["wavescope-limits"] == '{"max_body_bytes": 10}'
    assert plane.calls == []


def test_the_models_are_the_same_over_both(plane: FakePlane) -> None:
    message = ask(plane, "ListModels", RPCS["ListModels"], FakeContext())
    reply = over_http(plane, "ListModels").json()
    assert [model.name for model in message.models] == reply["models"]
    for model in message.models:
        assert MessageToDict(model.details) == reply["details"][model.name]
        assert model.ready == reply["details"][model.name]["ready"]


def as_json(message: Any) -> dict[str, Any]:
    """A message as JSON has it, numbers of 64 bits as numbers."""
    found = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    numbers = ("forwards", "planned", "index")

    def walked(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: walked(part, key) for key, part in value.items()}
        if isinstance(value, list):
            return [walked(part) for part in value]
        return int(value) if name in numbers else value

    return walked(found)


def job_as_json(message: pb.Job) -> dict[str, Any]:
    """A job as the JSON reply that says the same, but for its links."""
    absent = dict.fromkeys(("started_at", "finished_at", "eta_s", "error"))
    found = absent | as_json(message)
    for name in ("created_at", "started_at", "finished_at"):  # protobuf leaves zeros of a fraction out
        if found[name] is not None:
            found[name] = getattr(message, name).ToDatetime().isoformat(timespec="milliseconds") + "Z"
    return found


def without_links(reply: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in reply.items() if name != "links"}


@pytest.mark.parametrize("name", ["SubmitJob", "GetJob", "CancelJob"])
def test_a_job_is_the_same_over_both(plane: FakePlane, name: str) -> None:
    submitted(plane)
    request = RPCS[name]
    if name == "SubmitJob":
        request = pb.SubmitJobRequest(request=REQUEST, idempotency_key="k")
        reply = over_http(plane, name, **{"Idempotency-Key": "k"}).json()
    else:
        reply = over_http(plane, name).json()
    message = ask(plane, name, request, FakeContext())
    assert job_as_json(message.job) == without_links(reply)


@pytest.mark.parametrize(
    "status",
    [
        {"state": "running", "started_at": 1000.125, "forwards": 44, "planned": 88, "eta_s": 1.5},
        {
            "state": "failed",
            "finished_at": 1001.0,
            "error": {
                "code": "not_an_image",
                "message": "m",
                "field": "images[1]",
                "limits": {"a": [1, "b"]},
            },
        },
        {"state": "failed", "finished_at": 1001.0, "error": {"code": "internal", "message": "secret"}},
    ],
)
def test_what_becomes_of_a_job_is_the_same_over_both(plane: FakePlane, status: dict[str, Any]) -> None:
    submitted(plane)
    plane.jobs["job-1"] = replace(plane.jobs["job-1"], **status)
    reply = over_http(plane, "GetJob").json()
    message = ask(plane, "GetJob", RPCS["GetJob"], FakeContext())
    found = job_as_json(message.job)
    if found["error"] is not None:
        found["error"] = {"field": None, "limits": {}} | found["error"]
    assert found == without_links(reply)
    assert "secret" not in str(reply)


def test_a_job_is_watched_alike(plane: FakePlane) -> None:
    submitted(plane)
    events = over_http(plane, "WatchJob").text.removesuffix("\n\n").split("\n\n")
    states = [without_links(json.loads(event.split("data: ")[1])) for event in events]
    plane.jobs["job-1"] = JobStatus(
        id="job-1",
        state="queued",
        kind="wcam",
        model=plane.explanation.model,
        image_count=1,
        created_at=1000.0,
    )
    replies = ask(plane, "WatchJob", RPCS["WatchJob"], FakeContext())
    assert [job_as_json(reply.job) for reply in replies] == states


@pytest.mark.parametrize("fields", [{}, {"targets": [1, 2]}])
def test_the_result_of_a_job_is_that_of_an_explanation(plane: FakePlane, fields: dict[str, Any]) -> None:
    submitted(plane, **fields).finish("job-1")
    message = ask(plane, "GetJobResult", RPCS["GetJobResult"], FakeContext())
    explanations, batch = plane.results["job-1"]
    assert message.result == (from_batch(explanations) if batch else from_explanation(explanations[0]))
    assert over_http(plane, "GetJobResult").json() == post(make_app(plane), fields).json()


@pytest.mark.parametrize("job_id", ["", "x" * 129, "caf\u00e9", "a\nb"])
def test_what_is_no_job_is_unknown_to_every_call(plane: FakePlane, job_id: str) -> None:
    for name in ("GetJob", "WatchJob", "GetJobResult", "CancelJob"):
        context = FakeContext()
        ask(plane, name, type(RPCS[name])(id=job_id), context)
        assert (context.code, told(context)["wavescope-code"]) == (grpc.StatusCode.NOT_FOUND, "unknown_job")


@pytest.mark.parametrize(
    ("fields", "metadata", "key"),
    [
        ({"idempotency_key": "of the message"}, [], "of the message"),
        ({}, [("idempotency-key", "of the metadata")], "of the metadata"),
        ({"idempotency_key": "of the message"}, [("idempotency-key", "other")], "of the message"),
    ],
)
def test_an_idempotency_key_comes_in_the_message_or_beside_it(
    plane: FakePlane, fields: dict[str, str], metadata: list[tuple[str, str]], key: str
) -> None:
    request = pb.SubmitJobRequest(request=REQUEST, **fields)
    for _ in range(2):
        ask(plane, "SubmitJob", request, FakeContext(metadata))
    assert plane.keys == {("", key): "job-1"}


def test_a_key_that_is_none_is_refused(plane: FakePlane) -> None:
    context = FakeContext()
    ask(plane, "SubmitJob", pb.SubmitJobRequest(request=REQUEST, idempotency_key=""), context)
    assert context.code is grpc.StatusCode.INVALID_ARGUMENT
    assert told(context)["wavescope-field"] == "Idempotency-Key"


@pytest.mark.parametrize("batch", [False, True])
def test_a_stream_tells_the_same_over_both(plane: FakePlane, batch: bool) -> None:
    fields: dict[str, Any] = {"targets": [1, 2]} if batch else {}
    response = post(make_app(plane), fields, headers={"Accept": "text/event-stream"})
    blocks = [block.split("\n") for block in response.text.removesuffix("\n\n").split("\n\n")]
    request = pb.ExplainRequest(image=IMAGE)
    if batch:
        request.targets.extend(
            [pb.TargetList(targets=[pb.Target(index=1)]), pb.TargetList(targets=[pb.Target(index=2)])]
        )
    replies = ask(plane, "ExplainStream", pb.ExplainStreamRequest(request=request), FakeContext())
    assert [f"event: {reply.WhichOneof('event')}" for reply in replies] == [name for name, _ in blocks]
    data = [json.loads(line.removeprefix("data: ")) for _, line in blocks]
    for reply, content in zip(replies[:2], data[:2], strict=True):
        assert {"eta_s": None} | as_json(reply.progress) == content
    partial, content = replies[2].partial, data[2]
    assert list(partial.indices.total) == content["indices"]["total"]
    assert [[i.low, i.high] for i in partial.indices.interval_95] == content["indices"]["interval_95"]
    assert (partial.image, partial.forwards, partial.rows) == (0, 22, 2)
    assert replies[3].result == ask(plane, "Explain", request, FakeContext())
    assert data[3] == post(make_app(plane), fields).json()
    assert plane.closed == 2


@dataclass
class Late(FakePlane):
    """Fails after its first event."""

    async def stream(self, request: ExplainRequest, call: CallContext) -> AsyncGenerator[Event, None]:
        try:
            yield Progress(0, 88, 0.0, None)
            raise self.error or AssertionError
        finally:
            self.closed += 1


def test_a_stream_that_fails_late_ends_with_a_message_without_content(
    plane: FakePlane, recorder: MemoryRecorder
) -> None:
    late = Late(plane.explanation, error=errors.ModelChanged("changed"))
    context = FakeContext()
    first, last = ask(late, "ExplainStream", RPCS["ExplainStream"], context, recorder=recorder)
    assert (first.WhichOneof("event"), last.WhichOneof("event")) == ("progress", None)
    assert (context.code, told(context)["wavescope-code"]) == (grpc.StatusCode.UNAVAILABLE, "model_changed")
    assert (recorder.requests[0][-1], late.closed) == ("model_changed", 1)


@pytest.mark.parametrize("name", ["ExplainStream", "WatchJob"])
def test_a_defect_of_a_stream_is_logged_and_hidden(
    plane: FakePlane, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    context = FakeContext([("x-request-id", "abc")])
    ask(Refusing(plane.explanation, error=ZeroDivisionError("secret")), name, RPCS[name], context)
    assert context.code is grpc.StatusCode.INTERNAL
    assert context.details == "internal error; see the log for request abc"
    assert "secret" not in str(context.trailing)
    assert "secret" in caplog.text


class Door:
    """Knows one key, whose calls are urgent at most as a batch."""

    def caller(self, key: str | None) -> str:
        if key != "good":
            raise errors.Unauthenticated("no API key that is known came")
        return "alice"

    def priority(self, caller: str) -> Priority:
        return "batch"


@pytest.mark.parametrize("name", RPCS)
def test_a_key_is_needed_by_every_call(plane: FakePlane, name: str) -> None:
    context = FakeContext([("authorization", "Bearer bad")])
    ask(plane, name, RPCS[name], context, authenticator=Door())
    assert context.code is grpc.StatusCode.UNAUTHENTICATED
    app = build_app(plane, limits=IngressLimits(), draw=lambda _: b"", access=Access(authenticator=Door()))
    method, path, content = ADDRESSES[name]
    response = send(app, method, path, **({} if content is None else {"json": content}))
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert context.details == response.json()["message"]
    assert plane.calls == []


@pytest.mark.parametrize("key", [("authorization", "Bearer good"), ("x-api-key", "good")])
def test_who_calls_reaches_the_plane_over_both(plane: FakePlane, key: tuple[str, str]) -> None:
    metadata = [key, ("x-request-id", "abc"), ("cache-control", "no-cache")]
    ask(plane, "Explain", REQUEST, FakeContext(metadata), authenticator=Door())
    app = build_app(plane, limits=IngressLimits(), draw=lambda _: b"", access=Access(authenticator=Door()))
    post(app, headers=dict(metadata))
    assert [asked.call for asked in plane.calls] == [CallContext("abc", "alice", "batch", fresh=True)] * 2


async def refusal_of(call: Awaitable[Any]) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def details_of(refusal: grpc.aio.AioRpcError) -> dict[str, Any]:
    """The details of a rich error by their type, as gRPC's own library reads them."""
    status = rpc_status.from_call(refusal)
    assert status is not None
    found = {}
    for packed in status.details:
        kind = getattr(error_details_pb2, packed.type_url.rpartition(".")[2])
        detail = kind()
        assert packed.Unpack(detail)
        found[kind.__name__] = detail
    return found


def test_the_libraries_of_grpc_read_the_errors(plane: FakePlane) -> None:
    async def refused(stub: Any) -> tuple[Any, Any]:
        metadata = [("x-request-id", "abc")]
        wrong = await refusal_of(stub.Explain(pb.ExplainRequest(image=IMAGE, levels=0), metadata=metadata))
        plane.error = errors.QueueFull("full", max_waiting=64, retry_after_s=2.5)
        return wrong, await refusal_of(stub.Explain(REQUEST))

    wrong, full = over_a_channel(plane, refused)
    found = details_of(wrong)
    assert (found["ErrorInfo"].reason, found["ErrorInfo"].domain) == ("INVALID_REQUEST", "wavescope")
    assert found["ErrorInfo"].metadata == {"minimum": "1"}
    assert found["RequestInfo"].request_id == "abc"
    (violation,) = found["BadRequest"].field_violations
    assert (violation.field, violation.description) == ("levels", "levels must be at least 1, not 0")
    assert "RetryInfo" not in found
    assert details_of(full)["RetryInfo"].retry_delay.seconds == 3
    assert dict(full.trailing_metadata())["wavescope-limits"] == '{"max_waiting": 64, "retry_after_s": 2.5}'


def test_a_refusal_of_any_length_fits_into_metadata() -> None:
    limits = {"supported": ["x" * 100] * 1000, "most": 3}
    refusal = {"code": "invalid_request", "message": "é" * 10_000, "field": "ü" * 500, "limits": limits}
    metadata = trailing_metadata(grpc.StatusCode.INVALID_ARGUMENT, {**refusal, "request_id": "r" * 128}, 1)
    assert sum(len(name) + len(value) for name, value in metadata) < 8192
    assert all(value.isascii() for name, value in metadata if not name.endswith("-bin"))


def test_a_message_that_is_too_long_is_shortened(plane: FakePlane) -> None:
    plane.error = errors.UnknownTarget("long \ud800 " * 1000, field="target")
    context = FakeContext()
    ask(plane, "Explain", REQUEST, context)
    assert len(context.details) == MAX_TEXT_CHARS
    context.details.encode("utf-8")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("Explain", "wcam"), ("ExplainStream", "wcam"), ("Predict", "prediction"), ("SubmitJob", "job")],
)
def test_what_is_computed_is_recorded_alike(plane: FakePlane, name: str, kind: str) -> None:
    recorder = MemoryRecorder()
    unknown = {
        "Explain": pb.ExplainRequest(image=IMAGE, model="x"),
        "Predict": pb.PredictRequest(image=IMAGE, model="x"),
    }
    unknown["SubmitJob"] = pb.SubmitJobRequest(request=unknown["Explain"])
    unknown["ExplainStream"] = pb.ExplainStreamRequest(request=unknown["Explain"])
    messages = (RPCS[name], unknown[name], type(RPCS[name])())
    for message in messages:
        ask(plane, name, message, FakeContext(), recorder=recorder)
    method, path, content = ADDRESSES[name]
    headers = {"Accept": "text/event-stream"} if name == "ExplainStream" else {}
    for fields in (content, {**(content or {}), "model": "x"}, {}):
        send(make_app(plane, recorder), method, path, json=fields, headers=headers)
    rpcs, requests = recorder.requests[:3], recorder.requests[3:]
    assert rpcs == [
        (kind, MODEL, "grpc", "ok"),
        (kind, "", "grpc", "unknown_model"),
        ("", "", "grpc", "invalid_request"),
    ]
    assert [(kind, model, "grpc", code) for kind, model, _, code in requests] == rpcs


def test_an_unknown_model_is_told_in_the_same_words_everywhere(plane: FakePlane) -> None:
    app = make_app(plane)
    image = {"image": ENCODED, "model": "x"}
    instances = {"instances": [{"b64": ENCODED["base64"]}]}
    tensors = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [ENCODED["base64"]]}]}
    replies = [
        send(app, "POST", "/v1/explanations", json=image),
        send(app, "POST", "/v1/predictions", json=image),
        send(app, "POST", "/v1/jobs", json=image),
        send(app, "GET", "/v1/models/x"),
        send(app, "POST", "/v1/models/x:predict", json=instances),
        send(app, "GET", "/v2/models/x"),
        send(app, "GET", "/v2/models/x-wcam/ready"),
        send(app, "POST", "/v2/models/x-wcam/infer", json=tensors),
    ]
    told = {(reply.status_code, reply.json()["message"], str(reply.json()["limits"])) for reply in replies}
    spec = [ModelSpec(name=name, source="embedded:efficientnet-lite0") for name in plane.model_names()]
    with pytest.raises(errors.UnknownModel) as caught:
        find_spec(spec, "x")
    assert told == {(404, caught.value.message, str(caught.value.limits))}


def test_leaving_a_stream_ends_the_work(plane: FakePlane, recorder: MemoryRecorder) -> None:
    async def leave(stub: Any) -> None:
        stream = stub.ExplainStream(RPCS["ExplainStream"])
        assert (await stream.read()).WhichOneof("event") == "progress"
        stream.cancel()
        await waiting.ended.wait()

    streams = OpenStreams(IngressLimits(max_streams=1))
    waiting = Endless(plane.explanation)
    over_a_channel(waiting, leave, recorder=recorder, streams=streams)
    assert recorder.requests[0][-1] == "cancelled"
    with streams.place(""):
        pass  # the place is free again


class Endless(FakePlane):
    """Waits for ever after its first event."""

    def __init__(self, explanation: Any) -> None:
        super().__init__(explanation)
        self.ended = asyncio.Event()

    async def stream(self, request: ExplainRequest, call: CallContext) -> AsyncGenerator[Event, None]:
        try:
            yield Progress(0, 88, 0.0, None)
            await asyncio.Event().wait()
        finally:
            self.ended.set()


# ---- models without gradients ----------------------------------------------------------------------------------------
@dataclass
class Undifferentiable(FakePlane):
    """Checks requests as a real one does, for a model that has no gradients."""

    def _ask(self, request: ExplainRequest, call: CallContext) -> tuple[Explanation, ...]:
        details = replace(DETAILS, no_gradients="the operator Sin has no rule")
        check_gradients(request.request, details)
        resolve_prior(request.request, details)
        return super()._ask(request, call)


@pytest.mark.parametrize("rpc", ["Explain", "ExplainStream", "Estimate", "SubmitJob"])
@pytest.mark.parametrize(
    ("fields", "field", "remedy"),
    [
        ({"kind": "wam"}, "kind", "Take kind 'wcam', which needs scores alone"),
        ({"prior": "gradients"}, "prior", "take prior 'size', or 'auto'"),
    ],
)
def test_gradients_of_a_model_without_are_refused_with_the_reason_and_the_remedy(
    plane: FakePlane, rpc: str, fields: dict[str, Any], field: str, remedy: str
) -> None:
    refusing = Undifferentiable(plane.explanation)
    method, path, _ = ADDRESSES[rpc]
    headers = {"Accept": "text/event-stream"} if rpc == "ExplainStream" else {}
    reply = send(make_app(refusing), method, path, headers=headers, json=body(fields))
    assert reply.status_code == 422
    said = reply.json()
    assert (said["code"], said["field"]) == ("invalid_request", field)
    assert "the operator Sin has no rule" in said["message"]
    assert remedy in said["message"]
    context, message = FakeContext(), type(RPCS[rpc])()
    message.CopyFrom(RPCS[rpc])
    asked = message if rpc == "Explain" else message.request
    for name, value in fields.items():
        setattr(asked, name, value)
    ask(refusing, rpc, message, context)
    assert context.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (context.details, told(context)["wavescope-field"]) == (said["message"], field)
    assert not refusing.calls
