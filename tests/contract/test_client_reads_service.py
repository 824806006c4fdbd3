"""The client and the service agree: replies, refusals, names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from types import NoneType
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
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
from wavescope.engine.choices import CHOICES, KINDS
from wavescope.engine.requests import make_request
from wavescope.engine.types import Explanation
from wavescope.ingress.problems import TABLE, encode_problem, http_status, problem
from wavescope.ingress.replies import encode_batch_json, encode_json, encode_png
from wavescope.ingress.schemas import ExplanationFields
from wavescope_client import RequestFields, ServiceError, _calls, _errors

PROTOCOL_CODES = {
    "forbidden",
    "error",
    "registry_invalid",
    "not_found",
    "method_not_allowed",
    "not_acceptable",
    "unsupported_media_type",
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


def test_what_an_adaptive_plan_resolved_arrives(explanation: Explanation) -> None:
    got = parse(adaptive(explanation))
    assert_arrived(adaptive(explanation), got)
    assert got.indices is not None
    assert got.indices.resolved is not None
    assert got.indices.resolved.dtype == np.bool_


def test_a_reply_older_than_the_adaptive_plan_is_read(explanation: Explanation) -> None:
    content = json.loads(encode_json(explanation))
    del (
        content["screening"],
        content["precision"],
        content["indices"]["resolved"],
        content["indices"]["upper_bound"],
    )
    got = _calls.parse_explanation(_calls.Reply(200, {}, json.dumps(content).encode()))
    assert got.indices is not None
    assert (got.screening, got.precision, got.indices.resolved, got.indices.upper_bound) == (None,) * 4


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
    call = _calls.build_explain(images, fields, accept="application/json")
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


def test_the_client_knows_every_code_of_the_service() -> None:
    assert set(_errors.BY_CODE) == set(TABLE) - PROTOCOL_CODES
