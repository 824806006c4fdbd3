"""What a target means: one rule, whatever way the request came."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import numpy as np
import pytest
from tests.fakes.classifiers import FunctionClassifier, details
from tests.ingress.fakes import (
    IMAGE,
    MODEL,
    Asked,
    FakeContext,
    FakePlane,
    make_app,
    make_explanation,
    post,
    send,
)
from tests.ingress.others import Servicer, image, in_binary, infer, infer_rpc, parameters

import wavescope
from wavescope.cli import build_parser
from wavescope.engine.class_names import distinct_names
from wavescope.engine.types import Explanation, Target
from wavescope.errors import InvalidRequest, UnknownTarget
from wavescope.ingress.openapi.request_examples import TINY_PNG
from wavescope.ingress.plane import CallContext, ExplainRequest
from wavescope.models.labels import find_target
from wavescope_client import Client, ServiceError
from wavescope_proto.inference import open_inference_pb2 as oip
from wavescope_proto.v1 import explanation_pb2 as pb

LABELS = distinct_names(("1", "2", "3", "crane", "index:0", "crane", "Great Owl", "7"))
# Each with the class that it means, or with what its refusal says.
CASES: dict[Target, int | str] = {
    2: 2,
    "0": 0,
    "6": 6,
    "7": 7,
    "2": "target '2' is the name of class 1 and the index of class 2 ('3'): write index:2 or name:2",
    "index:2": 2,
    "name:2": 1,
    "index:0": 4,
    "index: 6": 6,
    "index:8": "target 8 is outside 0..7",
    "index:two": "index: is followed by a number, 0 to 7",
    "name:8": "the model has no class '8'",
    "8": "target 8 is outside 0..7",
    "great  OWL ": 6,
    "name:great owl": 6,
    "crane": "target 'crane' names several classes: 3 ('crane (3)'), 5 ('crane (5)'); give the index",
    "crane (5)": 5,
    "CRANE (3)": 3,
    "2.0": "the model has no class '2.0'",
    "true": "the model has no class 'true'",
}


@dataclass
class NamedPlane(FakePlane):
    """Finds the classes of a request among ``LABELS``, as the aggregator does."""

    found: list[tuple[int | None, ...]] = field(default_factory=list)

    def _ask(self, request: ExplainRequest, call: CallContext) -> tuple[Explanation, ...]:
        self.calls.append(
            Asked(request.images, request.model, request.request, request.targets, request.other)
        )
        self.found = [tuple(find_target(target, LABELS) for target in entry) for entry in request.targets]
        return (self.explanation,) * sum(map(len, self.found))


Targets = Sequence[Target]
Found = list[tuple[int | None, ...]]


def _fields(targets: Targets) -> dict[str, Any]:
    return {"target": targets[0]} if len(targets) == 1 else {"targets": list(targets)}


def _answer(plane: NamedPlane, response: httpx.Response) -> Found:
    if response.is_success:
        return plane.found
    assert (response.status_code, response.json()["code"]) == (422, "unknown_target")
    told = response.json()
    raise UnknownTarget(told["message"] if "message" in told else told["error"])


def _rpc_answer(plane: NamedPlane, context: FakeContext) -> Found:
    if context.code is None:
        return plane.found
    raise UnknownTarget(context.details)


def http_json(targets: Targets) -> Found:
    plane = NamedPlane(make_explanation())
    return _answer(plane, post(make_app(plane), _fields(targets)))


def http_multipart(targets: Targets) -> Found:
    plane = NamedPlane(make_explanation())
    parts = {
        "image": ("cat.png", IMAGE),
        "request": (None, json.dumps(_fields(targets)), "application/json"),
    }
    return _answer(plane, post(make_app(plane), files=parts))


def grpc(targets: Targets) -> Found:
    plane, context = NamedPlane(make_explanation()), FakeContext()
    if len(targets) == 1:
        name = "target_index" if isinstance(targets[0], int) else "target_name"
        message = pb.ExplainRequest(image=IMAGE, **{name: targets[0]})
    else:
        entries = [
            pb.Target(**{"index" if isinstance(target, int) else "name": target}) for target in targets
        ]
        message = pb.ExplainRequest(
            image=IMAGE, targets=[pb.TargetList(targets=[entry]) for entry in entries]
        )
    asyncio.run(Servicer(plane).Explain(message, context))
    return _rpc_answer(plane, context)


def kserve(targets: Targets) -> Found:
    plane = NamedPlane(make_explanation())
    given = {"target": targets[0]} if len(targets) == 1 else {"targets": [list(targets)]}
    content = {"instances": [{"b64": TINY_PNG}], "parameters": given}
    return _answer(plane, send(make_app(plane), "POST", f"/v1/models/{MODEL}:explain", json=content))


def oip_json(targets: Targets) -> Found:
    plane = NamedPlane(make_explanation())
    return _answer(plane, infer(make_app(plane), f"{MODEL}-wcam", {"parameters": _as_text(targets)}))


def oip_rpc(targets: Targets) -> Found:
    plane, context = NamedPlane(make_explanation()), FakeContext()
    tensor = oip.ModelInferRequest.InferInputTensor(name=image()["name"], datatype="BYTES", shape=[1])
    message = oip.ModelInferRequest(
        model_name=f"{MODEL}-wcam",
        inputs=[tensor],
        raw_input_contents=[in_binary(IMAGE)],
        parameters=parameters(_as_text(targets)),
    )
    infer_rpc(Servicer(plane), message, context)
    return _rpc_answer(plane, context)


def _as_text(targets: Targets) -> dict[str, Any]:
    """As the parameters of the Open Inference Protocol, which know no lists."""
    return {"target": targets[0]} if len(targets) == 1 else {"targets": json.dumps(list(targets))}


def command_line(targets: Targets) -> Found:
    words = [word for target in targets for word in ("--target", str(target))]
    if any(isinstance(target, int) for target in targets):
        words = [word if word == "--target" else f"index:{word}" for word in words]  # it has text alone
        words = [word.replace("index:index:", "index:") for word in words]
    given = build_parser().parse_args(["explain", "a.png", *words]).target
    return in_process(given)


def in_process(targets: Targets) -> Found:
    made = FunctionClassifier(
        lambda pixels: np.arange(len(LABELS)) * float(pixels.mean()),
        replace(details((3, 16, 16), classes=len(LABELS)), labels=LABELS),
    )
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    small: dict[str, Any] = {"kind": "profile", "nb_design": 2, "levels": 1}
    if len(targets) == 1:
        found = [wavescope.explain(picture, model=made, target=targets[0], **small)]
    else:
        found = wavescope.explain_batch([picture], [list(targets)], model=made, **small)
    assert [each.target.label for each in found] == [LABELS[each.target.index] for each in found]
    return [tuple(each.target.index for each in found)]


def client(targets: Targets) -> Found:
    plane = NamedPlane(make_explanation())
    app = make_app(plane)

    def answer(request: httpx.Request) -> httpx.Response:
        reply = send(
            app, request.method, request.url.path, content=request.read(), headers=dict(request.headers)
        )
        return httpx.Response(reply.status_code, content=reply.content, headers=reply.headers)

    with Client("http://test", transport=httpx.MockTransport(answer)) as service:
        try:
            if len(targets) == 1:
                service.explain(IMAGE, target=targets[0])
            else:
                service.explain_batch([IMAGE], targets=[list(targets)])
        except ServiceError as error:
            raise UnknownTarget(str(error)) from error
    return plane.found


WAYS: dict[str, Callable[[Targets], Found]] = {
    way.__name__: way
    for way in (
        http_json,
        http_multipart,
        grpc,
        kserve,
        oip_json,
        oip_rpc,
        command_line,
        in_process,
        client,
    )
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("target", "meant"), CASES.items(), ids=[repr(target) for target in CASES])
def test_a_target_means_the_same_on_every_way_in(
    target: Target, meant: int | str, way: Callable[[Targets], Found]
) -> None:
    if isinstance(meant, int):
        assert way([target]) == [(meant,)]
        return
    with pytest.raises(UnknownTarget) as caught:
        way([target])
    assert meant in str(caught.value)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_so_does_each_of_several(way: Callable[[Targets], Found]) -> None:
    expected = [(4, 1, 6, 5)]
    targets: Targets = ["index:0", "name:2", "6", "crane (5)"]
    found = way(targets)
    assert [tuple(index for entry in found for index in entry)] == expected
    with pytest.raises(UnknownTarget, match="write index:2 or name:2"):
        way(["6", "2"])


@pytest.mark.parametrize("against", [2, "2", "index:2", "Great Owl", "true"])
def test_the_class_to_contrast_with_arrives_as_it_was_written_on_every_way_in(against: int | str) -> None:
    plane = FakePlane(make_explanation())
    app = make_app(plane)
    post(app, {"against": against})
    parts = {"image": ("cat.png", IMAGE), "request": (None, json.dumps({"against": against}))}
    post(app, files=parts)
    name = "against_index" if isinstance(against, int) else "against_name"
    asyncio.run(Servicer(plane).Explain(pb.ExplainRequest(image=IMAGE, **{name: against}), FakeContext()))
    content = {"instances": [{"b64": TINY_PNG}], "parameters": {"against": against}}
    send(app, "POST", f"/v1/models/{MODEL}:explain", json=content)
    infer(app, f"{MODEL}-wcam", {"parameters": {"against": against}})
    assert [call.request.against for call in plane.calls] == [against] * 5


@pytest.mark.parametrize(("against", "meant"), CASES.items(), ids=[repr(against) for against in CASES])
def test_the_class_to_contrast_with_means_what_a_target_means(against: Target, meant: int | str) -> None:
    if isinstance(meant, int):
        assert find_target(against, LABELS, "against") == meant
        return
    with pytest.raises(UnknownTarget) as caught:
        find_target(against, LABELS, "against")
    assert caught.value.field == "against"
    assert meant.replace("target ", "against ") in str(caught.value)


def test_a_class_to_contrast_with_is_found_by_name_in_process_and_on_the_command_line() -> None:
    made = FunctionClassifier(
        lambda pixels: (pixels[:, :8].mean(), pixels[:, 8:].mean(), 0.0), details((3, 16, 16), classes=3)
    )
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    small: dict[str, Any] = {"kind": "sobol", "nb_design": 4, "grid_size": 2, "model": made}
    given = build_parser().parse_args(["explain", "a.png", "--target", "class 0", "--against", "class 2"])
    for target, against in ((given.target[0], given.against), (0, np.array([2])), ("0", "index:2")):
        found = wavescope.explain(picture, target=target, against=against, **small)
        assert found.contrast is not None
        assert (found.contrast.against.index, found.parameters["against"]) == (2, 2)
    with pytest.raises(InvalidRequest, match="against is 2 classes, and one is taken") as caught:
        wavescope.explain(picture, target=0, against=[1, 2], **small)
    assert caught.value.field == "against"
    batch = wavescope.explain_batch([picture], [[0, 1]], against="class 2", **small)
    assert [one.contrast and one.contrast.against.index for one in batch] == [2, 2]
