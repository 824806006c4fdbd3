"""One data plane under every protocol: the same request gives the same numbers, the same error the same code."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from tests.ingress.fakes import IMAGE, MODEL, FakeContext, FakePlane, make_app, make_explanation, post, send
from tests.ingress.others import Servicer, image, in_binary, infer, infer_rpc, parameters

from wavescope import errors
from wavescope.engine.kinds import KINDS
from wavescope.ingress.kserve.oip.tensors import DTYPES
from wavescope.ingress.openapi.request_examples import TINY_PNG
from wavescope.ingress.problems import TABLE
from wavescope_proto.inference import open_inference_pb2 as oip
from wavescope_proto.v1 import explanation_pb2 as pb

Numbers = dict[str, np.ndarray]
FIELDS = {"nb_design": 4, "seed": 3, "target": 281, "wavelet": "db4", "faithfulness": True}
INDICES = ("total", "first", "standard_error", "interval_95")
ATTRIBUTIONS = ("factors", "signed")


@dataclass(frozen=True)
class Answer:
    """What a protocol told: numbers by name, or the code of a refusal with its status."""

    numbers: Numbers
    code: str = "ok"
    status: Any = None


def of_json(reply: dict[str, Any]) -> Numbers:
    """The numbers of our JSON reply."""
    numbers: Numbers = {}
    if reply["indices"] is not None:
        numbers |= {name: np.array(reply["indices"][name]) for name in INDICES}
    if reply["attributions"] is not None:
        found = reply["attributions"]
        numbers |= {f"attributions/{name}": np.array(found[name]) for name in ATTRIBUTIONS}
    for name, tensor in reply["maps"].items():
        if tensor is not None:
            dtype = np.dtype(tensor["dtype"]).newbyteorder("<")
            numbers[name] = np.frombuffer(base64.b64decode(tensor["data"]), dtype).reshape(tensor["shape"])
    return numbers


def of_message(reply: pb.ExplainResponse) -> Numbers:
    """The numbers of our message."""
    numbers: Numbers = {}
    if reply.HasField("indices"):
        indices = reply.indices
        numbers |= {name: np.array(getattr(indices, name)) for name in INDICES[:3]}
        numbers["interval_95"] = np.array([(pair.low, pair.high) for pair in indices.interval_95])
    if reply.HasField("attributions"):
        found = reply.attributions
        numbers |= {f"attributions/{name}": np.array(getattr(found, name)) for name in ATTRIBUTIONS}
    for field, tensor in reply.maps.ListFields():
        dtype = np.dtype(tensor.dtype).newbyteorder("<")
        numbers[field.name] = np.frombuffer(tensor.data, dtype).reshape(tensor.shape)
    return numbers


def chosen(tensors: Numbers, kind: str) -> Numbers:
    """The numbers that our JSON reply has as well, of the first explanation."""
    names = of_json(post(make_app(FakePlane(make_explanation(kind))), {"kind": kind}).json())
    return {name: tensors[name][0] for name in names}


def refusal(response: httpx.Response) -> Answer | None:
    return None if response.is_success else Answer({}, response.json()["code"], response.status_code)


def ours(plane: FakePlane, kind: str) -> Answer:
    response = post(make_app(plane), FIELDS | {"kind": kind})
    return refusal(response) or Answer(of_json(response.json()))


def ours_by_rpc(plane: FakePlane, kind: str) -> Answer:
    fields = {name: value for name, value in FIELDS.items() if name != "target"}
    other = {"other": IMAGE} if kind == "compare" else {}
    message = pb.ExplainRequest(image=IMAGE, kind=kind, target_index=281, **fields, **other)
    context = FakeContext()
    reply = asyncio.run(Servicer(plane).Explain(message, context))
    return by_rpc(context) or Answer(of_message(reply))


def by_rpc(context: FakeContext) -> Answer | None:
    if context.code is None:
        return None
    return Answer({}, context.trailing["wavescope-code"], context.code)


def kserve(plane: FakePlane, kind: str) -> Answer:
    other = {"other": {"b64": TINY_PNG}} if kind == "compare" else {}
    content = {"instances": [{"b64": TINY_PNG, **other}], "parameters": FIELDS | {"kind": kind}}
    response = send(make_app(plane), "POST", f"/v1/models/{MODEL}:explain", json=content)
    return refusal(response) or Answer(of_json(response.json()["explanations"][0]))


def names_of(kind: str) -> list[str]:
    return ["image", "other"] if kind == "compare" else ["image"]


def as_text(fields: dict[str, Any]) -> dict[str, Any]:
    """As clients that know text alone send them; but for the target, where text and a number are not the same."""
    text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    return text | {"target": fields["target"]}


def oip_json(plane: FakePlane, kind: str) -> Answer:
    content = {"inputs": [image(name) for name in names_of(kind)], "parameters": as_text(FIELDS)}
    response = infer(make_app(plane), f"{MODEL}-{kind}", content)
    if refused := refusal(response):
        return refused
    tensors = {
        output["name"]: np.array(output["data"], DTYPES[output["datatype"]]).reshape(output["shape"])
        for output in response.json()["outputs"]
        if output["datatype"] != "BYTES"
    }
    return Answer(chosen(tensors, kind))


def oip_binary(plane: FakePlane, kind: str) -> Answer:
    raw = in_binary(IMAGE)
    inputs = [image(name, parameters={"binary_data_size": len(raw)}) for name in names_of(kind)]
    for tensor in inputs:
        del tensor["data"]
    head = json.dumps({"inputs": inputs, "parameters": FIELDS | {"binary_data_output": True}}).encode()
    response = send(
        make_app(plane),
        "POST",
        f"/v2/models/{MODEL}-{kind}/infer",
        content=head + raw * len(inputs),
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    if refused := refusal(response):
        return refused
    offset = int(response.headers["Inference-Header-Content-Length"])
    tensors: Numbers = {}
    for output in json.loads(response.content[:offset])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        if output["datatype"] != "BYTES":
            part = response.content[offset : offset + size]
            tensors[output["name"]] = np.frombuffer(part, DTYPES[output["datatype"]]).reshape(output["shape"])
        offset += size
    assert offset == len(response.content)
    return Answer(chosen(tensors, kind))


def oip_grpc(plane: FakePlane, kind: str) -> Answer:
    tensor = oip.ModelInferRequest.InferInputTensor
    inputs = [tensor(name=name, datatype="BYTES", shape=[1]) for name in names_of(kind)]
    message = oip.ModelInferRequest(
        model_name=f"{MODEL}-{kind}",
        inputs=inputs,
        raw_input_contents=[in_binary(IMAGE)] * len(inputs),
        parameters=parameters(FIELDS),
    )
    context = FakeContext()
    reply = infer_rpc(Servicer(plane), message, context)
    if refused := by_rpc(context):
        return refused
    tensors = {
        output.name: np.frombuffer(raw, DTYPES[output.datatype]).reshape(output.shape)
        for output, raw in zip(reply.outputs, reply.raw_output_contents, strict=True)
        if output.datatype != "BYTES"
    }
    return Answer(chosen(tensors, kind))


Protocol = Callable[[FakePlane, str], Answer]
OTHERS: dict[str, Protocol] = {
    "ours-grpc": ours_by_rpc,
    "kserve": kserve,
    "oip-json": oip_json,
    "oip-binary": oip_binary,
    "oip-grpc": oip_grpc,
}
ERRORS = sorted(
    {error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, Exception)},
    key=lambda error: error.__name__,
)


@pytest.mark.parametrize("protocol", OTHERS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_request_gives_the_same_numbers(kind: str, protocol: str) -> None:
    plane = FakePlane(make_explanation(kind))
    expected, found = ours(plane, kind), OTHERS[protocol](plane, kind)
    assert (found.code, found.numbers.keys()) == ("ok", expected.numbers.keys())
    for name, numbers in expected.numbers.items():
        np.testing.assert_array_equal(found.numbers[name], numbers, err_msg=name)
    first, second = (replace(asked, request_id="") for asked in plane.calls)
    assert first == second


@pytest.mark.parametrize("protocol", OTHERS)
@pytest.mark.parametrize("error", ERRORS, ids=[error.__name__ for error in ERRORS])
def test_the_same_error_has_the_same_code(error: type[Exception], protocol: str) -> None:
    plane = FakePlane(make_explanation(), error=error("no"))
    expected, found = ours(plane, "wcam"), OTHERS[protocol](plane, "wcam")
    assert found.code == expected.code
    status, code = TABLE[expected.code]
    assert expected.status == status
    assert found.status == (code if isinstance(found.status, grpc.StatusCode) else status)


def test_a_model_that_is_unknown_is_told_alike() -> None:
    plane = FakePlane(make_explanation())
    app: FastAPI = make_app(plane)
    content = {"instances": [{"b64": TINY_PNG}]}
    for response in (
        post(app, {"model": "nobody"}),
        send(app, "POST", "/v1/models/nobody:explain", json=content),
        send(app, "POST", "/v1/models/nobody:predict", json=content),
        infer(app, "nobody-wcam", {}),
        infer(app, "nobody", {}),
        send(app, "GET", "/v2/models/nobody"),
    ):
        assert (response.status_code, response.json()["code"]) == (404, "unknown_model")
