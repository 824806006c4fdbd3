"""Between the gRPC messages of the Open Inference Protocol and what the rest of the package holds."""

from __future__ import annotations

from typing import Any

from wavescope.errors import BodyTooLarge, InvalidRequest
from wavescope.ingress.kserve.oip.catalogue import VERSION
from wavescope.ingress.kserve.oip.inference import TRANSPORT_PARAMETERS, InferReply, InferRequest, check_count
from wavescope.ingress.kserve.oip.tensors import BYTES, Header, images_from_list, images_from_raw
from wavescope.ingress.plane import IngressLimits
from wavescope_proto.inference import open_inference_pb2 as pb


def check_size(message: pb.ModelInferRequest, limits: IngressLimits) -> None:
    """Refuse a request of more bytes than one of HTTP may have.

    Raises:
        BodyTooLarge: names the limit.
    """
    if message.ByteSize() > limits.max_body_bytes:
        raise BodyTooLarge(
            f"the request is larger than {limits.max_body_bytes} bytes", max_body_bytes=limits.max_body_bytes
        )


def to_infer_request(message: pb.ModelInferRequest, limits: IngressLimits) -> InferRequest:
    """Convert a message to a request, with its images encoded.

    Raises:
        InvalidRequest: a tensor is wrong.
    """
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise InvalidRequest(
            f"raw_input_contents must have one entry per input: it has {len(raw)}, and inputs has "
            f"{len(message.inputs)}",
            field="raw_input_contents",
        )
    images: dict[str, tuple[bytes, ...]] = {}
    for position, tensor in enumerate(message.inputs):
        place = f"inputs[{position}]"
        if tensor.name in images:
            raise InvalidRequest(f"{place}: input {tensor.name[:64]} is sent twice", field=f"{place}.name")
        header = Header(tensor.name, tensor.datatype, tuple(tensor.shape))
        check_count(header.shape[0], limits)
        if not raw:
            images[tensor.name] = images_from_list(header, _elements(header, tensor.contents))
        elif tensor.HasField("contents"):
            raise InvalidRequest(
                f"{place} must have its elements in contents or in raw_input_contents, not in both",
                field=f"{place}.contents",
            )
        else:
            images[tensor.name] = images_from_raw(header, raw[position])
    parameters = {
        name: _value(parameter)
        for name, parameter in message.parameters.items()
        if name not in TRANSPORT_PARAMETERS
    }
    return InferRequest(parameters, images, tuple(output.name for output in message.outputs))


def _elements(header: Header, contents: pb.InferTensorContents) -> list[Any]:
    return list(contents.bytes_contents if header.datatype == BYTES else contents.uint_contents)


def _value(parameter: pb.InferParameter) -> Any:
    which = parameter.WhichOneof("parameter_choice")
    return None if which is None else getattr(parameter, which)


def from_infer_reply(inferred: InferReply, request_id: str) -> pb.ModelInferResponse:
    """The reply as a message, its tensors raw."""
    return pb.ModelInferResponse(
        model_name=inferred.model,
        model_version=VERSION,
        id=request_id,
        outputs=[
            pb.ModelInferResponse.InferOutputTensor(
                name=output.name, datatype=output.datatype, shape=output.shape
            )
            for output in inferred.outputs
        ],
        raw_output_contents=[output.raw() for output in inferred.outputs],
        parameters={
            name: pb.InferParameter(string_param=value) for name, value in inferred.parameters.items()
        },
    )
