"""One data plane under two transports: a request and its reply mean the same over both."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, MutableMapping, MutableSequence
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.rpcs import call, over_a_channel, told
from tests.fakes.requests import FIELDS, values_of
from tests.ingress.fakes import (
    IMAGE,
    MODEL,
    Asked,
    FakeContext,
    FakePlane,
    MemoryRecorder,
    adaptive,
    body,
    constant,
    make_app,
    make_explanation,
    post,
    without_depth,
)
from tests.polling import DEADLINE_S

from wavescope import errors
from wavescope.engine.choices import CHOICES
from wavescope.engine.kinds import KINDS
from wavescope.engine.requests import make_request
from wavescope.engine.types import CLASS_FIELDS, Explanation, ExplanationRequest, Worth
from wavescope.ingress.grpc.converters import from_explanation, to_request
from wavescope.ingress.grpc.status import STATUS_KEY
from wavescope.ingress.openapi.request_examples import TINY_PNG
from wavescope.ingress.plane import IngressLimits
from wavescope.ingress.replies import to_batch, to_reply
from wavescope.ingress.schemas.parsing import parse_json
from wavescope.ingress.schemas.request import ExplanationBody, ExplanationFields
from wavescope.ingress.schemas.validation_errors import MAX_COMPLAINTS
from wavescope_proto.v1 import explanation_pb2 as pb

LIMITS = IngressLimits()


def without_errors(explanation: Explanation) -> Explanation:
    """The same without what small designs and some models do not have."""
    indices = explanation.indices
    return replace(
        explanation,
        indices=indices and replace(indices, standard_error=None, interval_95=None, effect_error=None),
        target=replace(explanation.target, probability=None),
        worth=Worth(0.0, None, None, None),
    )


def as_json(fields: dict[str, Any]) -> bytes:
    return json.dumps(body(fields)).encode()


def as_message(fields: dict[str, Any]) -> pb.ExplainRequest:
    """The message that says the same as the JSON request of these fields."""
    fields = body(fields)
    for name in ("image", "other"):
        if name in fields:
            fields[name] = base64.b64decode(fields[name]["base64"])
    fields["images"] = [base64.b64decode(image["base64"]) for image in fields.get("images", ())]
    fields["targets"] = [as_targets(entry) for entry in fields.get("targets", ())]
    for name in CLASS_FIELDS:
        if name in fields:
            given = fields.pop(name)
            fields[f"{name}_index" if isinstance(given, int) else f"{name}_name"] = given
    return pb.ExplainRequest(**fields)


def as_targets(entry: Any) -> pb.TargetList:
    if entry is None:
        return pb.TargetList()
    return pb.TargetList(
        targets=[as_target(target) for target in (entry if isinstance(entry, list) else [entry])]
    )


def as_target(target: int | str | None) -> pb.Target:
    if target is None:
        return pb.Target()
    return pb.Target(index=target) if isinstance(target, int) else pb.Target(name=target)


targets = st.integers(0, 2**31) | st.text("ab é漢", max_size=20)
maybe_target = targets | st.none()
# A list of one class is its class: the messages of both are the same.
several = st.lists(maybe_target, min_size=2, max_size=4)
paired = st.lists(maybe_target | several, min_size=1, max_size=4).map(
    lambda entries: {"images": [{"base64": TINY_PNG}] * len(entries), "targets": entries}
)
images = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"target": targets}),
    st.fixed_dictionaries({"targets": st.lists(maybe_target, min_size=1, max_size=4)}),
    st.just({"images": [{"base64": TINY_PNG}] * 3, "target": 7}),
    st.just({"kind": "compare"}),
    paired,
)
valid_fields = st.fixed_dictionaries(
    {},
    optional={
        "model": st.just(MODEL),
        **{name: values_of(name) for name in FIELDS if name not in ("kind", "target")},
        "kind": st.sampled_from([kind for kind in CHOICES["kind"] if kind != "compare"]),
    },
)


@given(valid_fields, images)
def test_the_same_request_is_the_same_over_both(fields: dict[str, Any], images: dict[str, Any]) -> None:
    fields = fields | images
    assert to_request(as_message(fields), LIMITS) == parse_json(as_json(fields), LIMITS)


def test_an_absent_field_is_the_default_and_a_zero_is_a_value() -> None:
    assert to_request(pb.ExplainRequest(image=IMAGE), LIMITS).request == make_request()
    assert to_request(pb.ExplainRequest(image=IMAGE, target_index=0), LIMITS).request.target == 0
    assert to_request(pb.ExplainRequest(image=IMAGE, seed=0), LIMITS).request.seed == 0
    with pytest.raises(errors.InvalidRequest, match="levels must be at least 1, not 0"):
        to_request(pb.ExplainRequest(image=IMAGE, levels=0), LIMITS)


@pytest.mark.parametrize(
    "fields",
    [
        {"levels": 0},
        {"kind": "fan"},
        {"kind": "compare", "targets": [1]},
        {"targets": [[1, 2]]},
        {"targets": [1], "target": 2},
        {"images": [{"base64": TINY_PNG}], "targets": [1, 2]},
        {"images": [{"base64": TINY_PNG}] * 17},
        {"targets": [1] * 17},
        {"image": {"base64": TINY_PNG}, "images": [{"base64": TINY_PNG}]},
        {"other": {"base64": TINY_PNG}},
        {"compat": "paper"},
        {"seed": -1},
        {"model": ""},
        {"score": "x"},
        {"grid_size": 5000, "plan": "a"},
        {"plan": "adaptive", "max_forwards": 0},
        {"plan": "adaptive", "deadline_s": 0.0},
        {"plan": "adaptive", "standard_error": -0.5},
        {"plan": "adaptive", "top_k": 5000},
    ],
)
def test_a_wrong_field_is_told_alike_over_both(plane: FakePlane, fields: dict[str, Any]) -> None:
    context = FakeContext([("x-request-id", "abc")])
    call(plane, as_message(fields), context)
    refusal = post(make_app(plane), fields, headers={"X-Request-ID": "abc"}).json()
    assert context.code is grpc.StatusCode.INVALID_ARGUMENT
    assert context.details == refusal["message"]
    limits = {"wavescope-limits": json.dumps(refusal["limits"])} if refusal["limits"] else {}
    assert told(context) == limits | {
        "wavescope-code": refusal["code"],
        "wavescope-field": refusal["field"],
        "x-request-id": "abc",
    }


def test_an_image_that_is_absent_or_too_large_is_refused(plane: FakePlane) -> None:
    context = FakeContext()
    call(plane, pb.ExplainRequest(), context)
    assert context.code is grpc.StatusCode.INVALID_ARGUMENT
    assert context.details == "image is required, or images for a batch"
    call(plane, pb.ExplainRequest(images=[IMAGE, b""]), context)
    assert (context.details, context.trailing["wavescope-field"]) == ("images[1] is empty", "images[1]")
    for message in (
        pb.ExplainRequest(image=b"x" * 11),
        pb.ExplainRequest(images=[b"x" * 6, b"x" * 5]),
        pb.ExplainRequest(image=b"x" * 6, other=b"x" * 5),
    ):
        call(plane, message, context, limits=IngressLimits(max_body_bytes=10))
        assert context.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert context.trailing["wavescope-limits"] == '{"max_body_bytes": 10}'
    assert plane.calls == []


def in_words(message: Message) -> dict[str, Any]:
    """A message as the JSON reply that says the same: absent parts as null, bytes in base64."""
    told: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if isinstance(value, MutableMapping):
            told[field.name] = dict(value)
        elif isinstance(value, MutableSequence):
            told[field.name] = [one_in_words(field, entry) for entry in value]
        elif field.has_presence and not message.HasField(field.name):
            told[field.name] = None
        else:
            told[field.name] = one_in_words(field, value)
    for name in ("scale", "frequency"):
        if f"{name}_from" in told or f"{name}_from_px" in told:
            unit = "_px" if name == "scale" else ""
            told[f"{name}{unit}"] = [told.pop(f"{name}_from{unit}"), told.pop(f"{name}_to{unit}")]
    if "effects" in told:
        effects = told.pop("effects")
        told["effect"] = [effect["slope"] for effect in effects]
        errors_of = [effect["standard_error"] for effect in effects]
        told["effect_error"] = None if set(errors_of) == {None} else errors_of
    return told | (told.pop("importance", None) or {})


def one_in_words(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is None:
        return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value
    if field.message_type.name == "Struct":
        return MessageToDict(value)
    if field.message_type.name == "Interval":
        return [value.low, value.high]
    return in_words(value)


def without_absent(reply: Any) -> Any:
    """A reply without what is null, false or empty, between which messages make no difference."""
    if isinstance(reply, list):
        return [without_absent(part) for part in reply]
    if not isinstance(reply, dict):
        return reply
    told = {name: without_absent(part) for name, part in reply.items()}
    return {name: part for name, part in told.items() if part is not False and part not in (None, "", [], {})}


@pytest.mark.parametrize(
    "changed",
    [lambda e: e, constant, without_errors, adaptive],
    ids=["whole", "constant", "small", "adaptive"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_is_the_same_field_by_field_over_both(
    kind: str, changed: Callable[[Explanation], Explanation]
) -> None:
    explanation = changed(make_explanation(kind))
    assert without_absent(in_words(from_explanation(explanation))) == without_absent(to_reply(explanation))


@pytest.mark.parametrize("kind", ["sufficient-image", "robustness"])
def test_a_depth_that_is_absent_is_so_over_both_and_zero_is_a_depth(kind: str) -> None:
    message = from_explanation(without_depth(make_explanation(kind)))
    assert not message.HasField("reconstruction_depth")
    assert not message.HasField("sufficient_image")
    explanation = make_explanation(kind)
    assert explanation.sufficiency is not None
    empty = replace(explanation, sufficiency=replace(explanation.sufficiency, depth=0))
    assert from_explanation(empty).HasField("reconstruction_depth")


def test_a_batch_is_the_same_over_both(plane: FakePlane) -> None:
    fields = {"images": [{"base64": TINY_PNG}] * 2, "targets": [[1, "two"], None]}
    message = call(plane, as_message(fields), FakeContext())
    reply = post(make_app(plane), fields).json()
    assert plane.calls[0].images == plane.calls[1].images == (IMAGE, IMAGE)
    assert plane.calls[0].targets == plane.calls[1].targets == ((1, "two"), (None,))
    assert len(message.explanations) == 3
    assert without_absent(in_words(message)) == without_absent(reply)


def test_every_field_of_the_reply_is_in_the_message(explanation: Explanation) -> None:
    fields = set(pb.ExplainResponse.DESCRIPTOR.fields_by_name)
    assert fields == set(to_reply(explanation)) | set(to_batch([explanation]))


def test_every_field_of_the_request_is_in_the_message() -> None:
    fields = set(pb.ExplainRequest.DESCRIPTOR.fields_by_name) - {
        f"{name}_{way}" for name in CLASS_FIELDS for way in ("index", "name")
    }
    assert fields == set(ExplanationBody.model_fields) - {*CLASS_FIELDS}
    assert len(ExplanationFields.model_fields) > MAX_COMPLAINTS


def test_every_choice_is_the_engines() -> None:
    schema = ExplanationFields.model_json_schema()["properties"]
    for name, supported in CHOICES.items():
        if name != "wavelet":  # a hundred names, which the engine checks
            branches = schema[name].get("anyOf", [schema[name]])
            found = [value for branch in branches for value in branch.get("enum", [branch.get("const")])]
            assert sorted(found, key=str) == sorted(supported, key=str)


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
    request = ExplanationRequest(nb_design=4)
    assert plane.calls == [Asked((IMAGE,), MODEL, request, ((None,),), None, "abc")]
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
    assert told(context) == {"wavescope-code": "internal", "x-request-id": "abc"}
    assert b"secret" not in context.trailing[STATUS_KEY]
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
    call(plane, pb.ExplainRequest(image=IMAGE), context, limits=limits)
    assert context.code is (None if served else grpc.StatusCode.PERMISSION_DENIED)
    assert bool(plane.calls) is served


def test_a_real_channel_carries_reply_and_refusal(plane: FakePlane) -> None:
    async def both(stub: Any) -> grpc.aio.AioRpcError:
        reply = await stub.Explain(pb.ExplainRequest(image=IMAGE), timeout=DEADLINE_S)
        assert reply == from_explanation(plane.explanation)
        plane.error = errors.UnknownTarget("no class 'Ünï'", field="target", classes=1000)
        with pytest.raises(grpc.aio.AioRpcError, match="Ünï") as caught:
            await stub.Explain(pb.ExplainRequest(image=IMAGE), timeout=DEADLINE_S)
        return caught.value

    refusal = over_a_channel(plane, both)
    assert refusal.code() is grpc.StatusCode.INVALID_ARGUMENT
    trailing = dict(refusal.trailing_metadata())
    assert trailing["wavescope-code"] == "unknown_target"
    assert json.loads(trailing["wavescope-limits"]) == {"classes": 1000}
