"""The Open Inference Protocol over gRPC: the same tensors, as messages and over a real channel."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image
from tests.ingress.fakes import IMAGE, MODEL, FakeContext, FakePlane, MemoryRecorder, make_explanation
from tests.ingress.others import Servicer, in_binary, infer_rpc, parameters
from tests.polling import DEADLINE_S

from wavescope import __version__, errors
from wavescope.engine.requests import make_request
from wavescope.ingress.kserve.oip.tensors import DTYPES
from wavescope.ingress.plane import IngressLimits
from wavescope_proto.inference import open_inference_pb2 as pb
from wavescope_proto.inference import open_inference_pb2_grpc as pb_grpc

EXPLAINER = f"{MODEL}-wcam"
Tensor = pb.ModelInferRequest.InferInputTensor
Wanted = pb.ModelInferRequest.InferRequestedOutputTensor
PIXELS = np.random.default_rng(6).integers(0, 256, (1, 3, 4, 3), dtype=np.uint8)


def typed(name: str = "image", *files: bytes) -> Tensor:
    files = files or (IMAGE,)
    contents = pb.InferTensorContents(bytes_contents=files)
    return Tensor(name=name, datatype="BYTES", shape=[len(files)], contents=contents)


def arrays(reply: pb.ModelInferResponse) -> dict[str, Any]:
    assert len(reply.outputs) == len(reply.raw_output_contents)
    return {
        output.name: np.frombuffer(raw, DTYPES[output.datatype]).reshape(output.shape)
        for output, raw in zip(reply.outputs, reply.raw_output_contents, strict=True)
        if output.datatype != "BYTES"
    }


def test_the_server_and_its_models_tell_of_themselves(plane: FakePlane) -> None:
    servicer, context = Servicer(plane), FakeContext()

    async def ask() -> None:
        assert (await servicer.ServerLive(pb.ServerLiveRequest(), context)).live
        assert (await servicer.ServerReady(pb.ServerReadyRequest(), context)).ready
        plane.is_ready = False
        assert not (await servicer.ServerReady(pb.ServerReadyRequest(), context)).ready
        server = await servicer.ServerMetadata(pb.ServerMetadataRequest(), context)
        assert (server.name, server.version) == ("wavescope", __version__)
        for name, ready in ((EXPLAINER, True), ("other-fam", False)):
            found = await servicer.ModelReady(pb.ModelReadyRequest(name=name, version="1"), context)
            assert found.ready is ready
        model = await servicer.ModelMetadata(pb.ModelMetadataRequest(name=EXPLAINER), context)
        assert (model.platform, list(model.versions)) == ("wavescope_explainer", ["1"])
        tensors = {output.name: (output.datatype, list(output.shape)) for output in model.outputs}
        assert tensors["wcam"] == ("FP32", [-1, -1, -1])
        assert context.code is None
        await servicer.ModelReady(pb.ModelReadyRequest(name="nobody"), context)
        assert context.code is grpc.StatusCode.NOT_FOUND

    asyncio.run(ask())


def test_warnings_of_a_prediction_are_a_parameter_of_the_reply(plane: FakePlane) -> None:
    reply = infer_rpc(Servicer(plane), pb.ModelInferRequest(model_name=MODEL, inputs=[typed("image", IMAGE)]))
    assert reply.parameters["warnings"].string_param == '[["image 0 is nearly black"]]'


def test_typed_and_raw_contents_are_the_same_request(plane: FakePlane) -> None:
    options = parameters({"nb_design": 4, "faithfulness": "true", "target": "tabby", "plan": "full"})
    messages = [
        pb.ModelInferRequest(model_name=EXPLAINER, inputs=[typed("image", IMAGE, IMAGE)], parameters=options),
        pb.ModelInferRequest(
            model_name=EXPLAINER,
            inputs=[Tensor(name="image", datatype="BYTES", shape=[2])],
            raw_input_contents=[in_binary(IMAGE, IMAGE)],
            parameters=options,
        ),
    ]
    first, second = (infer_rpc(Servicer(plane), message) for message in messages)
    assert first.raw_output_contents == second.raw_output_contents
    assert plane.calls[0].images == plane.calls[1].images == (IMAGE, IMAGE)
    request = make_request(nb_design=4, faithfulness=True, target="tabby", plan="full")
    assert plane.calls[0].request == plane.calls[1].request == request


def test_pixels_come_typed_and_raw(plane: FakePlane) -> None:
    contents = pb.InferTensorContents(uint_contents=PIXELS.ravel().tolist())
    for tensor, raw in (
        (Tensor(name="image", datatype="UINT8", shape=PIXELS.shape, contents=contents), []),
        (Tensor(name="image", datatype="UINT8", shape=PIXELS.shape), [PIXELS.tobytes()]),
    ):
        message = pb.ModelInferRequest(model_name=EXPLAINER, inputs=[tensor], raw_input_contents=raw)
        assert infer_rpc(Servicer(plane), message).model_name == EXPLAINER
        np.testing.assert_array_equal(
            np.array(Image.open(io.BytesIO(plane.calls.pop().images[0]))), PIXELS[0]
        )


def test_an_only_input_may_have_any_name_and_its_channels_first(plane: FakePlane) -> None:
    pixels = np.ascontiguousarray(np.moveaxis(PIXELS, 3, 1))
    tensor = Tensor(name="input_0", datatype="UINT8", shape=pixels.shape)
    message = pb.ModelInferRequest(
        model_name=EXPLAINER, inputs=[tensor], raw_input_contents=[pixels.tobytes()]
    )
    assert infer_rpc(Servicer(plane), message).model_name == EXPLAINER
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(plane.calls[0].images[0]))), PIXELS[0])


def test_a_model_gives_its_raw_outputs(plane: FakePlane, recorder: MemoryRecorder) -> None:
    message = pb.ModelInferRequest(model_name=MODEL, id="mine", inputs=[typed()])
    reply = infer_rpc(Servicer(plane, _recorder=recorder), message)
    assert (reply.model_name, reply.model_version, reply.id) == (MODEL, "1", "mine")
    np.testing.assert_array_equal(arrays(reply)["outputs"], [[0.25, 0.5, 0.125]])
    assert recorder.requests == [("prediction", MODEL, "grpc", "ok")]


def test_only_the_outputs_asked_for_are_told(plane: FakePlane) -> None:
    wanted = [Wanted(name="wcam"), Wanted(name="total")]
    message = pb.ModelInferRequest(model_name=EXPLAINER, inputs=[typed()], outputs=wanted)
    reply = infer_rpc(Servicer(plane), message)
    assert [output.name for output in reply.outputs] == ["wcam", "total"]
    assert plane.explanation.indices is not None
    np.testing.assert_array_equal(arrays(reply)["total"], [plane.explanation.indices.total])


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.ModelInferRequest(), "image"),
        (pb.ModelInferRequest(inputs=[typed("picture"), typed()]), "inputs"),
        (pb.ModelInferRequest(inputs=[typed(), typed()]), "inputs[1].name"),
        (pb.ModelInferRequest(inputs=[typed()], raw_input_contents=[in_binary(IMAGE)]), "inputs[0].contents"),
        (pb.ModelInferRequest(inputs=[typed()], raw_input_contents=[b"", b""]), "raw_input_contents"),
        (pb.ModelInferRequest(inputs=[Tensor(name="image", datatype="BYTES", shape=[1])]), "image"),
        (pb.ModelInferRequest(inputs=[Tensor(name="image", datatype="BYTES", shape=[-1])]), "image"),
        (pb.ModelInferRequest(inputs=[Tensor(name="image", datatype="FP64", shape=[1])]), "image"),
        (pb.ModelInferRequest(inputs=[typed()], outputs=[Wanted(name="fam")]), "outputs"),
        (pb.ModelInferRequest(inputs=[typed()], parameters=parameters({"levels": "many"})), "levels"),
        (pb.ModelInferRequest(inputs=[typed()], parameters={"levels": pb.InferParameter()}), "levels"),
    ],
)
def test_what_is_wrong_is_named(plane: FakePlane, message: pb.ModelInferRequest, field: str) -> None:
    message.model_name = EXPLAINER
    context = FakeContext()
    reply = infer_rpc(Servicer(plane), message, context)
    assert reply == pb.ModelInferResponse()
    assert context.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (context.trailing["wavescope-code"], context.trailing["wavescope-field"]) == (
        "invalid_request",
        field,
    )


def test_the_request_is_limited(plane: FakePlane) -> None:
    context = FakeContext()
    servicer = Servicer(plane, IngressLimits(max_body_bytes=100))
    infer_rpc(servicer, pb.ModelInferRequest(model_name=MODEL, inputs=[typed("image", b"x" * 101)]), context)
    assert context.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert json.loads(context.trailing["wavescope-limits"]) == {"max_body_bytes": 100}


def test_defects_are_hidden(plane: FakePlane) -> None:
    plane.error = ZeroDivisionError("secret")
    context = FakeContext([("x-request-id", "abc")])
    infer_rpc(Servicer(plane), pb.ModelInferRequest(model_name=MODEL, inputs=[typed()]), context)
    assert context.code is grpc.StatusCode.INTERNAL
    assert context.details == "internal error; see the log for request abc"


class Locked:
    """Lets nobody in."""

    def caller(self, key: str | None) -> str:
        raise errors.Unauthenticated("an API key is needed")

    def priority(self, caller: str) -> Any:
        raise AssertionError


def test_a_key_is_asked_for(plane: FakePlane) -> None:
    context = FakeContext()
    servicer = Servicer(plane, _authenticator=Locked())
    infer_rpc(servicer, pb.ModelInferRequest(model_name=MODEL, inputs=[typed()]), context)
    assert context.code is grpc.StatusCode.UNAUTHENTICATED
    assert plane.calls == []


class Bridge(pb_grpc.GRPCInferenceServiceServicer):
    """Calls the servicer as gRPC's own server does, by position."""

    def __init__(self, servicer: Servicer) -> None:
        for name in (
            "ServerLive",
            "ServerReady",
            "ModelReady",
            "ServerMetadata",
            "ModelMetadata",
            "ModelInfer",
        ):
            setattr(self, name, getattr(servicer, name))


def test_a_real_channel_carries_reply_and_refusal() -> None:
    plane = FakePlane(make_explanation())

    async def talk() -> None:
        server = grpc.aio.server()
        pb_grpc.add_GRPCInferenceServiceServicer_to_server(Bridge(Servicer(plane)), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = pb_grpc.GRPCInferenceServiceStub(channel)
                assert (await stub.ServerLive(pb.ServerLiveRequest(), timeout=DEADLINE_S)).live
                message = pb.ModelInferRequest(model_name=EXPLAINER, inputs=[typed()])
                reply = await stub.ModelInfer(message, timeout=DEADLINE_S)
                np.testing.assert_array_equal(arrays(reply)["wcam"][0], plane.explanation.maps.wcam)
                plane.error = errors.QueueFull("16 wait", retry_after_s=2.5)
                with pytest.raises(grpc.aio.AioRpcError, match="16 wait") as caught:
                    await stub.ModelInfer(message, timeout=DEADLINE_S)
                assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert dict(caught.value.trailing_metadata() or ())["wavescope-code"] == "queue_full"
        finally:
            await server.stop(None)

    asyncio.run(talk())
