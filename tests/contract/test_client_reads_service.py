"""The client and the service agree: replies, refusals, names."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from dataclasses import fields, is_dataclass, replace
from types import NoneType
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from pydantic import BaseModel
from tests.ingress.fakes import (
    FIGURE,
    IMAGE,
    MODEL,
    Asked,
    FakePlane,
    adaptive,
    constant,
    make_app,
    make_explanation,
    send,
    without_depth,
)

import wavescope_client
from wavescope import errors
from wavescope.engine import types as engine_types
from wavescope.engine.choices import CHOICES
from wavescope.engine.kinds import KINDS, PERTURBING
from wavescope.engine.requests import make_request
from wavescope.engine.types import Explanation
from wavescope.ingress.job_replies import job_reply
from wavescope.ingress.plane import JobStatus
from wavescope.ingress.problems import TABLE, encode_problem, http_status, problem
from wavescope.ingress.replies import encode_batch_json, encode_json, encode_png
from wavescope.ingress.rest.sse import KEEP_ALIVE, EventStream
from wavescope.ingress.schemas.reply import EstimateReply, JobReply, PartialEvent, ProgressEvent
from wavescope.ingress.schemas.request import ExplanationFields, PredictionFields
from wavescope.store.protocols import FINAL
from wavescope_client import RequestFields, ServiceError, _calls, _errors
from wavescope_client._sse import Event, Parser

PROTOCOL_CODES = {
    "error",
    "registry_invalid",
    "start_failed",
    "not_found",
    "method_not_allowed",
    "not_acceptable",
    "unsupported_media_type",
    "malformed_request",
    "header_timeout",
    "headers_too_large",
    "body_timeout",
}


@pytest.fixture(params=KINDS)
def explanation(request: pytest.FixtureRequest) -> Explanation:
    return make_explanation(request.param)


def parse(explanation: Explanation, figure: bytes | None = None) -> wavescope_client.Explanation:
    return _calls.parse_explanation(
        _calls.Reply(200, {"x-request-id": "r"}, encode_json(explanation, figure))
    )


def assert_arrived(sent: Any, received: Any) -> None:
    """Everything that was sent, deeply: images as PNG, arrays bit for bit and read-only."""
    if isinstance(received, np.ndarray):
        assert not received.flags.writeable
        np.testing.assert_array_equal(received, sent)
        assert received.dtype == sent.dtype or np.issubdtype(sent.dtype, np.int32)  # a list is of int64
    elif isinstance(received, bytes):
        assert received == encode_png(sent)
    elif isinstance(received, tuple) and received and is_dataclass(received[0]):
        for ours, theirs in zip(sent, received, strict=True):
            assert_arrived(ours, theirs)
    elif is_dataclass(received):
        for field in fields(received):
            if field.name == "request_id":
                assert received.request_id == "r"
            elif field.name != "figure":
                assert_arrived(getattr(sent, field.name), getattr(received, field.name))
    else:
        assert received == sent
        assert type(received) is type(sent)


def test_everything_arrives(explanation: Explanation) -> None:
    got = parse(explanation, FIGURE)
    assert got.figure == FIGURE
    assert_arrived(explanation, got)


@pytest.mark.parametrize("explanation", ["sufficient-image", "robustness"], indirect=True)
def test_an_explanation_without_a_depth_arrives(explanation: Explanation) -> None:
    absent = without_depth(explanation)
    assert_arrived(absent, parse(absent))


@pytest.mark.parametrize("explanation", PERTURBING, indirect=True)
def test_what_an_adaptive_plan_resolved_arrives(explanation: Explanation) -> None:
    got = parse(adaptive(explanation))
    assert_arrived(adaptive(explanation), got)
    assert got.indices is not None
    assert got.indices.resolved is not None
    assert got.indices.resolved.dtype == np.bool_


@pytest.mark.parametrize("explanation", PERTURBING, indirect=True)
def test_a_reply_older_than_the_adaptive_plan_is_read(explanation: Explanation) -> None:
    content = json.loads(encode_json(explanation))
    del (
        content["screening"],
        content["precision"],
        content["partial"],
        content["cached"],
        content["indices"]["resolved"],
        content["indices"]["upper_bound"],
    )
    got = _calls.parse_explanation(_calls.Reply(200, {}, json.dumps(content).encode()))
    assert got.indices is not None
    assert (got.screening, got.precision, got.indices.resolved, got.indices.upper_bound) == (None,) * 4
    assert (got.partial, got.cached) == (False, False)


def test_how_an_explanation_came_about_arrives(explanation: Explanation) -> None:
    for partial, cached in ((True, False), (False, True)):
        sent = replace(explanation, partial=partial, cached=cached)
        assert_arrived(sent, parse(sent))


def test_constant_score_arrives_without_what_is_made_of_indices(explanation: Explanation) -> None:
    assert_arrived(constant(explanation), parse(constant(explanation)))


def test_a_batch_arrives_in_order(explanation: Explanation) -> None:
    sent = [replace(explanation, id=f"{i}") for i in range(3)]
    reply = _calls.Reply(200, {"x-request-id": "r"}, encode_batch_json(sent, [FIGURE, b"b", b"c"]))
    got = _calls.parse_batch(reply)
    assert [one.figure for one in got] == [FIGURE, b"b", b"c"]
    for ours, theirs in zip(sent, got, strict=True):
        assert_arrived(ours, theirs)


def test_keys_younger_than_the_client_pass(explanation: Explanation) -> None:
    def grown(content: Any) -> Any:
        if isinstance(content, list):
            return [grown(part) for part in content]
        if not isinstance(content, dict):
            return content
        return {name: grown(part) for name, part in content.items()} | {"younger": 1}

    content = json.dumps(grown(json.loads(encode_json(explanation)))).encode()
    got = _calls.parse_explanation(_calls.Reply(200, {}, content))
    assert got.id == explanation.id


def test_result_has_the_fields_of_the_engines() -> None:
    sent = {field.name for field in fields(engine_types.Explanation)}
    received = {field.name for field in fields(wavescope_client.Explanation)}
    assert received == sent - {"image", "reused"} | {"figure", "request_id"}


def test_request_fields_are_the_services() -> None:
    assert set(RequestFields.__annotations__) == set(ExplanationFields.model_fields) - {"targets"}


def test_prediction_fields_are_the_services() -> None:
    assert set(wavescope_client.PredictionFields.__annotations__) == set(PredictionFields.model_fields)


@pytest.mark.parametrize(
    ("received", "sent"),
    [
        (wavescope_client.Estimate, EstimateReply),
        (wavescope_client.Progress, ProgressEvent),
        (wavescope_client.Partial, PartialEvent),
        (wavescope_client.JobStatus, JobReply),
    ],
)
def test_every_field_of_the_other_replies_is_read(received: type, sent: type[BaseModel]) -> None:
    assert {field.name for field in fields(received)} == set(sent.model_fields) - {"links"}


@pytest.mark.parametrize("state", get_args(get_type_hints(wavescope_client.JobStatus)["state"]))
def test_a_job_of_every_state_arrives(state: Any) -> None:
    error = (
        {"code": "model_failure", "message": "m", "field": None, "limits": {}} if state == "failed" else None
    )
    sent = JobStatus(
        id="an-id",
        state=state,
        kind="fam",
        model=MODEL,
        image_count=2,
        created_at=1.5,
        started_at=None if state == "queued" else 2.25,
        finished_at=3.125 if state in FINAL else None,
        forwards=3,
        planned=7,
        eta_s=0.5 if state == "running" else None,
        error=error,
    )
    content = json.dumps(job_reply(sent)).encode()
    got = _calls.parse_job(_calls.Reply(200, {}, content))
    times = ("created_at", "started_at", "finished_at")
    for field in fields(got):
        name = "image_count" if field.name == "images" else field.name
        ours, theirs = getattr(sent, name), getattr(got, field.name)
        assert (theirs and theirs.timestamp() if field.name in times else theirs) == ours
    assert got.ended == (state in FINAL)
    assert _calls.read_job_event(Event("state", content.decode()), None, None) == got


def test_the_states_are_the_services() -> None:
    ours, theirs = (get_type_hints(kind)["state"] for kind in (JobStatus, wavescope_client.JobStatus))
    assert get_args(ours) == get_args(theirs)


@pytest.mark.parametrize("name", sorted(set(CHOICES) - {"wavelet"}))
def test_choices_are_the_services(name: str) -> None:
    choices = get_type_hints(RequestFields)[name]
    values = [value for part in get_args(choices) for value in get_args(part) or (part,)]
    assert [value for value in values if value is not NoneType] == [
        value for value in CHOICES[name] if value is not None
    ]


def test_a_call_is_read_as_it_was_meant(plane: FakePlane) -> None:
    fields = {"kind": "compare", "seed": 3, "target": "Ünï"}
    images = [("image", IMAGE), ("other", b"other")]
    call = _calls.build_request(_calls.EXPLANATIONS, images, fields)
    response = send(make_app(plane), call.method, call.path, content=call.content, headers=dict(call.headers))
    assert response.status_code == 200
    request = make_request(kind="compare", seed=3, target="Ünï")
    request_id = response.headers["x-request-id"]
    assert plane.calls == [Asked((IMAGE,), MODEL, request, (("Ünï",),), b"other", request_id)]


def service_errors() -> Iterator[errors.WavescopeError]:
    for kind in vars(errors).values():
        if (
            isinstance(kind, type)
            and issubclass(kind, errors.WavescopeError)
            and kind.code not in PROTOCOL_CODES
        ):
            yield kind("a message", field="levels", maximum=3)


@pytest.mark.parametrize("error", list(service_errors()), ids=lambda error: error.code)
def test_every_refusal_has_its_own_error(error: errors.WavescopeError) -> None:
    reply = _calls.Reply(http_status(error), {}, encode_problem(problem(error, "abc")))
    with pytest.raises(ServiceError, match=r"a message|internal error") as caught:
        _calls.parse_explanation(reply)
    got = caught.value
    assert type(got) is _errors.BY_CODE[error.code]
    assert (got.status, got.code, got.request_id) == (reply.status, error.code, "abc")
    if reply.status != 500:
        assert (got.field, got.limits) == ("levels", {"maximum": 3})


@pytest.mark.parametrize("error", list(service_errors()), ids=lambda error: error.code)
def test_every_failure_within_a_stream_has_the_error_of_the_refusal(error: errors.WavescopeError) -> None:
    async def fail() -> AsyncGenerator[bytes, None]:
        yield KEEP_ALIVE
        raise error

    sent = b"".join(asyncio.run(body_of(EventStream(fail(), "abc"))))
    (event,) = Parser().feed(sent)
    for read in (lambda: _calls.read_event(event, None), lambda: _calls.read_job_event(event, None, None)):
        with pytest.raises(ServiceError, match=r"a message|internal error") as caught:
            read()
        got = caught.value
        assert type(got) is _errors.BY_CODE[error.code]
        assert (got.status, got.code, got.request_id) == (http_status(error), error.code, "abc")


async def body_of(response: EventStream) -> list[bytes]:
    """What a reply sends to a client that stays."""
    sent: list[bytes] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    await response({"type": "http"}, receive, send)
    return sent


def test_the_client_knows_every_code_of_the_service() -> None:
    assert set(_errors.BY_CODE) == set(TABLE) - PROTOCOL_CODES
