"""One data plane under two transports: a request and its reply mean the same over both."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from concurrent import futures
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ingress.fakes import IMAGE, MODEL, FakeContext, FakePlane, MemoryRecorder, constant, make_app, post

from wavescope import errors
from wavescope.engine.choices import CHOICES
from wavescope.engine.types import Explanation, ExplanationRequest
from wavescope.ingress.complaints import MAX_COMPLAINTS
from wavescope.ingress.plane import IngressLimits
from wavescope.ingress.replies import to_reply
from wavescope.ingress.rpc import explain, from_explanation, to_request
from wavescope.ingress.schemas import ExplanationFields, parse_json
from wavescope_proto.v1 import explanation_pb2 as pb
from wavescope_proto.v1 import explanation_pb2_grpc as pb_grpc

LIMITS = IngressLimits()


def call(
    plane: FakePlane, message: pb.ExplainRequest, context: FakeContext, **options: Any
) -> pb.ExplainResponse:
    return asyncio.run(explain(plane, message, context, **({"limits": LIMITS} | options)))


def as_json(fields: dict[str, Any]) -> bytes:
    return json.dumps({"image": {"base64": base64.b64encode(IMAGE).decode()}, **fields}).encode()


def as_message(fields: dict[str, Any]) -> pb.ExplainRequest:
    fields = dict(fields)
    if "target" in fields:
        target = fields.pop("target")
        fields["target_index" if isinstance(target, int) else "target_name"] = target
    return pb.ExplainRequest(image=IMAGE, **fields)


def in_words(value: Any) -> Any:
    """A tensor, of JSON or of a message, as an array."""
    data = base64.b64decode(value["data"]) if isinstance(value, dict) else value.data
    shape, dtype = (value["shape"], value["dtype"]) if isinstance(value, dict) else (value.shape, value.dtype)
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(shape)


valid_fields = st.fixed_dictionaries(
    {},
    optional={
        "model": st.just(MODEL),
        "target": st.integers(0, 2**31) | st.text("ab é漢", max_size=20),
        "score": st.sampled_from(CHOICES["score"]),
        "seed": st.integers(0, 2**53 - 1),
        "wavelet": st.sampled_from(["haar", "db4"]),
        "levels": st.integers(1, 16),
        "partition": st.sampled_from(CHOICES["partition"]),
        "grid_size": st.integers(1, 1024),
        "nb_design": st.integers(1, 65_536),
        "approximation": st.sampled_from(CHOICES["approximation"]),
        "value_policy": st.sampled_from(CHOICES["value_policy"]),
    },
)


@given(valid_fields)
def test_the_same_request_is_the_same_over_both(fields: dict[str, Any]) -> None:
    assert to_request(as_message(fields), LIMITS) == parse_json(as_json(fields))


def test_an_absent_field_is_the_default_and_a_zero_is_a_value() -> None:
    assert to_request(pb.ExplainRequest(image=IMAGE), LIMITS).request == ExplanationRequest()
    assert to_request(pb.ExplainRequest(image=IMAGE, target_index=0), LIMITS).request.target == 0
    assert to_request(pb.ExplainRequest(image=IMAGE, seed=0), LIMITS).request.seed == 0
    with pytest.raises(errors.InvalidRequest, match="levels must be at least 1, not 0"):
        to_request(pb.ExplainRequest(image=IMAGE, levels=0), LIMITS)


@pytest.mark.parametrize(
    "fields",
    [
        {"levels": 0},
        {"kind": "fam"},
        {"seed": -1},
        {"model": ""},
        {"score": "x"},
        {"grid_size": 5000, "plan": "a"},
    ],
)
def test_a_wrong_field_is_told_alike_over_both(plane: FakePlane, fields: dict[str, Any]) -> None:
    context = FakeContext([("x-request-id", "abc")])
    call(plane, as_message(fields), context)
    told = post(make_app(plane), fields, headers={"X-Request-ID": "abc"}).json()
    assert context.code is grpc.StatusCode.INVALID_ARGUMENT
    assert context.details == told["message"]
    assert context.trailing == {
        "wavescope-code": told["code"],
        "wavescope-field": told["field"],
        "wavescope-limits": json.dumps(told["limits"]),
        "x-request-id": "abc",
    }


def test_an_image_that_is_absent_or_too_large_is_refused(plane: FakePlane) -> None:
    context = FakeContext()
    call(plane, pb.ExplainRequest(), context)
    assert (context.code, context.details) == (grpc.StatusCode.INVALID_ARGUMENT, "image is empty")
    call(plane, pb.ExplainRequest(image=b"x" * 11), context, limits=IngressLimits(max_body_bytes=10))
    assert context.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert context.trailing["wavescope-limits"] == '{"max_body_bytes": 10}'
    assert plane.calls == []


def test_a_reply_is_the_same_field_by_field_over_both(explanation: Explanation) -> None:
    reply, message = to_reply(explanation), from_explanation(explanation)
    for name in ("id", "kind", "model", "outcome", "forwards"):
        assert getattr(message, name) == reply[name]
    assert dict(message.timing) == reply["timing"]
    assert list(message.warnings) == reply["warnings"]
    assert dict(message.parameters) == reply["parameters"]
    for side, value in reply["crop"].items():
        assert getattr(message.crop, side) == value
    for sent, told in zip(
        [message.target, *message.prediction], [reply["target"], *reply["prediction"]], strict=True
    ):
        assert (sent.index, sent.label, sent.probability) == tuple(told.values())
    for name in ("total", "first", "standard_error"):
        assert list(getattr(message.indices, name)) == reply["indices"][name]
    assert [[pair.low, pair.high] for pair in message.indices.interval_95] == reply["indices"]["interval_95"]
    for name, tensor in reply["maps"].items():
        np.testing.assert_array_equal(in_words(getattr(message.maps, name)), in_words(tensor))
        np.testing.assert_array_equal(in_words(tensor), getattr(explanation.maps, name))


def test_levels_are_the_same_over_both(explanation: Explanation) -> None:
    reply, message = to_reply(explanation), from_explanation(explanation)
    for sent, told in zip(message.levels, reply["levels"], strict=True):
        to_px = sent.scale_to_px if sent.HasField("scale_to_px") else None
        assert (sent.level, [sent.scale_from_px, to_px]) == (told["level"], told["scale_px"])
        for name in ("importance", "horizontal", "vertical", "diagonal"):
            band = told if name == "importance" else told[name]
            assert sent.HasField(name) is (band is not None)
            if band is not None:
                for number in ("sum", "share", "mean_share"):
                    assert getattr(getattr(sent, name), number) == band[number]


def test_every_field_of_the_reply_is_in_the_message(explanation: Explanation) -> None:
    assert set(to_reply(explanation)) == set(pb.ExplainResponse.DESCRIPTOR.fields_by_name)


def test_every_field_of_the_request_is_in_the_message() -> None:
    fields = set(pb.ExplainRequest.DESCRIPTOR.fields_by_name) - {"target_index", "target_name"}
    assert fields == set(ExplanationFields.model_fields) - {"target"} | {"image"}
    assert len(ExplanationFields.model_fields) > MAX_COMPLAINTS


def test_every_choice_is_the_engines() -> None:
    schema = ExplanationFields.model_json_schema()["properties"]
    for name, supported in CHOICES.items():
        if name != "wavelet":  # a hundred names, which the engine checks
            assert tuple(schema[name].get("enum") or [schema[name]["const"]]) == tuple(supported)


def test_absent_parts_of_a_reply_are_absent_over_both(explanation: Explanation) -> None:
    message = from_explanation(constant(explanation))
    assert message.outcome == "constant_score"
    for name in ("indices", "maps"):
        assert not message.HasField(name)
    assert list(message.levels) == []
    assert explanation.indices is not None
    short = replace(explanation.indices, standard_error=None, interval_95=None)
    message = from_explanation(
        replace(explanation, indices=short, target=replace(explanation.target, probability=None))
    )
    assert list(message.indices.standard_error) == list(message.indices.interval_95) == []
    assert not message.target.HasField("probability")


def test_nothing_but_finite_numbers_is_sent(explanation: Explanation) -> None:
    assert explanation.indices is not None
    explanation.indices.total[0] = math.nan
    for convert in (to_reply, from_explanation):
        with pytest.raises(errors.InternalError, match="total of an explanation is not finite"):
            convert(explanation)


def test_an_rpc_is_answered_and_recorded(plane: FakePlane, recorder: MemoryRecorder) -> None:
    context = FakeContext([("x-request-id", "abc")])
    reply = call(plane, pb.ExplainRequest(image=IMAGE, nb_design=4), context, recorder=recorder)
    assert reply.parameters["nb_design"] == 4
    assert (context.code, context.trailing) == (None, {"x-request-id": "abc"})
    assert plane.calls == [(IMAGE, MODEL, ExplanationRequest(nb_design=4), "abc")]
    call(plane, pb.ExplainRequest(image=IMAGE, model="made up"), context, recorder=recorder)
    assert context.code is grpc.StatusCode.NOT_FOUND
    assert recorder.requests == [("wcam", MODEL, "grpc", "ok"), ("wcam", "", "grpc", "unknown_model")]


@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), errors.InternalError("secret")])
def test_defects_are_logged_and_their_details_hidden_from_rpcs(
    plane: FakePlane, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    plane.error = error
    context = FakeContext([("x-request-id", "abc")])
    assert call(plane, pb.ExplainRequest(image=IMAGE), context) == pb.ExplainResponse()
    assert context.code is grpc.StatusCode.INTERNAL
    assert context.details == "internal error; see the log for request abc"
    assert context.trailing == {"wavescope-code": "internal", "x-request-id": "abc"}
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    ("peer", "served"),
    [
        ("ipv4:127.0.0.1:50000", True),
        ("ipv4:127.8.8.8:1", True),
        ("ipv6:[::1]:50000", True),
        ("ipv6:%5B::1%5D:50000", True),
        ("unix:/tmp/socket", True),
        ("ipv4:192.0.2.7:50000", False),
        ("ipv6:[2001:db8::7]:50000", False),
        ("who knows", False),
    ],
)
def test_other_hosts_are_refused_where_only_loopback_is_served(
    plane: FakePlane, peer: str, served: bool
) -> None:
    context = FakeContext(address=peer)
    limits = IngressLimits(loopback_only=True)
    asyncio.run(explain(plane, pb.ExplainRequest(image=IMAGE), context, limits=limits))
    assert context.code is (None if served else grpc.StatusCode.PERMISSION_DENIED)
    assert bool(plane.calls) is served


class Servicer(pb_grpc.ExplanationServiceServicer):
    def __init__(self, plane: FakePlane) -> None:
        self._plane = plane

    def Explain(self, request: pb.ExplainRequest, context: Any) -> pb.ExplainResponse:  # noqa: N802
        return asyncio.run(explain(self._plane, request, context, limits=LIMITS))


def test_a_real_channel_carries_reply_and_refusal(plane: FakePlane) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    pb_grpc.add_ExplanationServiceServicer_to_server(Servicer(plane), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = pb_grpc.ExplanationServiceStub(channel)
            reply = stub.Explain(pb.ExplainRequest(image=IMAGE), timeout=10)
            assert reply == from_explanation(plane.explanation)
            plane.error = errors.UnknownTarget("no class 'Ünï'", field="target", classes=1000)
            with pytest.raises(grpc.RpcError, match="Ünï") as caught:
                stub.Explain(pb.ExplainRequest(image=IMAGE), timeout=10)
    finally:
        server.stop(grace=None).wait()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    trailing = dict(caught.value.trailing_metadata())
    assert trailing["wavescope-code"] == "unknown_target"
    assert json.loads(trailing["wavescope-limits"]) == {"classes": 1000}
