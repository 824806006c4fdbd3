"""The client and the service agree: replies, refusals, names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from tests.ingress.fakes import FIGURE, IMAGE, FakePlane, constant, make_app, send

import wavescope_client
from wavescope import errors
from wavescope.engine import types as engine_types
from wavescope.engine.types import Explanation
from wavescope.ingress.problems import TABLE, encode_problem, http_status, problem
from wavescope.ingress.replies import encode_json
from wavescope.ingress.schemas import ExplanationFields, parse_parts
from wavescope_client import RequestFields, ServiceError, _calls, _errors, _types

PROTOCOL_CODES = {
    "forbidden",
    "error",
    "registry_invalid",
    "not_found",
    "method_not_allowed",
    "not_acceptable",
    "unsupported_media_type",
}


def parse(explanation: Explanation, figure: bytes | None = None) -> wavescope_client.Explanation:
    return _calls.parse_explanation(
        _calls.Reply(200, {"x-request-id": "r"}, encode_json(explanation, figure))
    )


def test_arrays_arrive_bit_for_bit_and_read_only(explanation: Explanation) -> None:
    got = parse(explanation)
    assert got.maps is not None
    assert got.indices is not None
    for sent, received in ((explanation.maps, got.maps), (explanation.indices, got.indices)):
        for field in fields(received):
            array = getattr(received, field.name)
            np.testing.assert_array_equal(array, getattr(sent, field.name), strict=True)
            assert not array.flags.writeable


def test_everything_else_arrives(explanation: Explanation) -> None:
    got = parse(explanation, FIGURE)
    for name in ("id", "kind", "model", "outcome", "forwards", "timing", "parameters", "warnings"):
        assert getattr(got, name) == getattr(explanation, name)
    assert (got.figure, got.request_id) == (FIGURE, "r")
    for sent, received in (
        (explanation.target, got.target),
        (explanation.crop, got.crop),
        *zip(explanation.prediction, got.prediction, strict=True),
    ):
        assert_same_fields(sent, received)
    for sent, received in zip(explanation.levels or (), got.levels or (), strict=True):
        assert_same_fields(sent, received)


def assert_same_fields(sent: Any, received: Any) -> None:
    for field in fields(received):
        ours, theirs = getattr(sent, field.name), getattr(received, field.name)
        if isinstance(theirs, _types.Band):
            assert_same_fields(ours, theirs)
        else:
            assert theirs == ours


def test_constant_score_arrives_without_indices(explanation: Explanation) -> None:
    got = parse(constant(explanation))
    assert (got.outcome, got.indices, got.maps, got.levels) == ("constant_score", None, None, None)


def test_result_has_the_fields_of_the_engines() -> None:
    sent = {field.name for field in fields(engine_types.Explanation)}
    received = {field.name for field in fields(wavescope_client.Explanation)}
    assert received == sent - {"image"} | {"figure", "request_id"}


def test_request_fields_are_the_services() -> None:
    assert set(RequestFields.__annotations__) == set(ExplanationFields.model_fields)


def test_a_call_is_read_as_it_was_meant(plane: FakePlane) -> None:
    call = _calls.build_explain(IMAGE, {"seed": 3, "target": "Ünï"}, accept="application/json")
    response = send(make_app(plane), call.method, call.path, content=call.content, headers=dict(call.headers))
    assert response.status_code == 200
    parsed = parse_parts(IMAGE, '{"seed": 3, "target": "Ünï"}'.encode())
    assert plane.calls[0][:3] == (parsed.image, parsed.model, parsed.request)


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
