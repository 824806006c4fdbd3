"""The Open Inference Protocol over REST, with its extension for tensors in binary."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wavescope.errors import InvalidRequest, ModelUnavailable
from wavescope.ingress.call_context import call_of
from wavescope.ingress.kserve.error_responses import Route, with_error_field
from wavescope.ingress.kserve.oip import catalogue
from wavescope.ingress.kserve.oip.inference import (
    TRANSPORT_PARAMETERS,
    InferReply,
    InferRequest,
    check_count,
    infer,
)
from wavescope.ingress.kserve.oip.tensors import (
    BYTES,
    Header,
    Output,
    flat,
    images_from_list,
    images_from_raw,
)
from wavescope.ingress.plane import DataPlane, IngressLimits, NullRecorder, RequestRecorder
from wavescope.ingress.readiness import check_ready
from wavescope.ingress.request_metrics import recording
from wavescope.ingress.rest.bodies import limited_body
from wavescope.ingress.rest.explanations import CACHE_HEADER, format_cache_header
from wavescope.ingress.schemas.base64_text import decode_base64
from wavescope.ingress.schemas.parsing import load_json, validate
from wavescope.ingress.schemas.request import Strict

JSON_LENGTH = "Inference-Header-Content-Length"
BINARY_SIZE = b'"binary_data_size"'
BINARY_MEDIA_TYPE = "application/octet-stream"
_INPUT_PARAMETERS = ("binary_data_size", "content_type")
_OUTPUT_PARAMETERS = ("binary_data",)


class InputBody(Strict):
    """An input tensor."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class OutputBody(Strict):
    """An output tensor that is asked for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferBody(Strict):
    """JSON body of a request. Its address names the model, though some clients name it here as well."""

    id: str | None = None
    model_name: str | None = None
    model_version: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: Annotated[list[InputBody], Field(min_length=1)]
    outputs: list[OutputBody] | None = None


class Rest:
    """The endpoints, over one data plane."""

    def __init__(self, plane: DataPlane, limits: IngressLimits, recorder: RequestRecorder) -> None:
        self._plane = plane
        self._limits = limits
        self._recorder = recorder

    async def live(self, request: Request) -> Response:
        """``GET /v2/health/live``."""
        del request
        return JSONResponse({"live": True})

    async def ready(self, request: Request) -> Response:
        """``GET /v2/health/ready``.

        Raises:
            ModelUnavailable: no model can score yet.
        """
        del request
        await check_ready(self._plane)
        return JSONResponse({"ready": True})

    async def server(self, request: Request) -> Response:
        """``GET /v2``."""
        del request
        return JSONResponse(catalogue.server_metadata())

    async def index(self, request: Request) -> Response:
        """``POST /v2/repository/index``; what its body may say of the models wanted is not read."""
        del request
        return JSONResponse(await catalogue.index(self._plane))

    async def model(self, request: Request) -> Response:
        """``GET /v2/models/{name}``.

        Raises:
            UnknownModel: there is no such model, or no such version of it.
        """
        named = catalogue.find(self._plane, *_called(request))
        details = await self._plane.model(named.model)
        return JSONResponse(catalogue.model_metadata(named, details))

    async def model_ready(self, request: Request) -> Response:
        """``GET /v2/models/{name}/ready``.

        Raises:
            UnknownModel: there is no such model, or no such version of it.
            ModelUnavailable: it cannot score yet.
        """
        named = catalogue.find(self._plane, *_called(request))
        details = await self._plane.model(named.model)
        if not details.get("ready"):
            why = f": {details['message']}" if details.get("message") else ""
            raise ModelUnavailable(f"model {named.model} cannot score yet{why}", field="model")
        return JSONResponse({"name": named.name, "ready": True})

    async def infer(self, request: Request) -> Response:
        """``POST /v2/models/{name}/infer``."""
        with recording(self._recorder, "http") as labels:
            body = await limited_body(request, self._limits)
            content, binary = await asyncio.to_thread(_split, body, request.headers.get(JSON_LENGTH))
            name, version = _called(request)
            call = call_of(request)
            read = partial(_read, content, binary, self._limits)
            inferred = await infer(self._plane, name, version, read, call, limits=self._limits, labels=labels)
            return await asyncio.to_thread(_reply, inferred, content, call.request_id)


def routes(plane: DataPlane, limits: IngressLimits, recorder: RequestRecorder | None = None) -> list[Route]:
    """(path, method, endpoint) of everything below ``/v2``."""
    rest = Rest(plane, limits, recorder or NullRecorder())
    model = "/v2/models/{name}"
    version = f"{model}/versions/{{version}}"
    served = [
        ("/v2", "GET", rest.server),
        ("/v2/health/live", "GET", rest.live),
        ("/v2/health/ready", "GET", rest.ready),
        ("/v2/repository/index", "POST", rest.index),
        *((path, "GET", rest.model) for path in (model, version)),
        *((f"{path}/ready", "GET", rest.model_ready) for path in (model, version)),
        *((f"{path}/infer", "POST", rest.infer) for path in (model, version)),
    ]
    return [(path, method, with_error_field(endpoint, limits)) for path, method, endpoint in served]


def _called(request: Request) -> tuple[str, str]:
    """(name, version) of the model in the path."""
    return request.path_params["name"], request.path_params.get("version", "")


def _split(body: bytes, json_length: str | None) -> tuple[InferBody, bytes]:
    """The JSON of a request, and what follows it.

    Raises:
        InvalidRequest: the header gives no length within the body, or the JSON is wrong.
    """
    length = len(body)
    if json_length is not None:
        digits = json_length.isascii() and json_length.isdigit() and len(json_length) <= 20
        if not digits or int(json_length) > length:
            raise InvalidRequest(
                f"{JSON_LENGTH} must be the length of the JSON at the start of the body, 0 to {length}",
                field=JSON_LENGTH,
                maximum=length,
            )
        length = int(json_length)
    try:
        content = load_json(body[:length], "the body")
    except InvalidRequest as error:
        if json_length is None and BINARY_SIZE in body:
            raise InvalidRequest(
                f"the header {JSON_LENGTH} is missing, the length of the JSON before the tensors in binary: "
                "the body is not JSON alone",
                field=JSON_LENGTH,
            ) from error
        raise
    return validate(InferBody, content), body[length:]


def _read(content: InferBody, binary: bytes, limits: IngressLimits) -> InferRequest:
    """Read a request, with its images encoded.

    Raises:
        InvalidRequest: a tensor, a parameter or what follows the JSON is wrong.
    """
    images: dict[str, tuple[bytes, ...]] = {}
    offset = 0
    for position, tensor in enumerate(content.inputs):
        place = f"inputs[{position}]"
        if tensor.name in images:
            raise InvalidRequest(f"{place}: input {tensor.name[:64]} is sent twice", field=f"{place}.name")
        sent = tensor.parameters or {}
        _check_parameters(sent, _INPUT_PARAMETERS, place)
        header = Header(tensor.name, tensor.datatype, tuple(tensor.shape))
        check_count(header.shape[0], limits)
        size = sent.get("binary_data_size")
        if (size is None) == (tensor.data is None):
            raise InvalidRequest(
                f"{place} must have either data, or binary_data_size in its parameters", field=f"{place}.data"
            )
        if size is None:
            images[tensor.name] = images_from_list(header, _elements(header, tensor.data or [], place))
            continue
        if type(size) is not int or not 0 <= size <= len(binary) - offset:
            raise InvalidRequest(
                f"{place}: binary_data_size must be a length within what follows the JSON, "
                f"0 to {len(binary) - offset} bytes",
                field=f"{place}.parameters.binary_data_size",
                maximum=len(binary) - offset,
            )
        images[tensor.name] = images_from_raw(header, binary[offset : offset + size])
        offset += size
    if offset != len(binary):
        raise InvalidRequest(
            f"{len(binary) - offset} bytes follow the JSON that no input's binary_data_size counts",
            field="inputs",
        )
    for position, output in enumerate(content.outputs or ()):
        _check_parameters(output.parameters or {}, _OUTPUT_PARAMETERS, f"outputs[{position}]")
    parameters = {
        name: value for name, value in (content.parameters or {}).items() if name not in TRANSPORT_PARAMETERS
    }
    return InferRequest(parameters, images, tuple(output.name for output in content.outputs or ()))


def _check_parameters(sent: dict[str, Any], known: tuple[str, ...], place: str) -> None:
    for name in sent:
        if name not in known:
            field = f"{place}.parameters.{name[:64]}"
            raise InvalidRequest(
                f"{field} is not served; the parameters are {', '.join(known)}",
                field=field,
                supported=list(known),
            )


def _elements(header: Header, data: list[Any], place: str) -> list[Any]:
    """The elements of a tensor in JSON, where files are text in base64."""
    if header.datatype != BYTES:
        return data
    files: list[bytes] = []
    for number, text in enumerate(flat(data)):
        name = f"{place}.data[{number}]"
        if not isinstance(text, str):
            raise InvalidRequest(f"{name} must be a string: the file in base64", field=name)
        files.append(decode_base64(text, name, key=""))
    return files


def _reply(inferred: InferReply, content: InferBody, request_id: str) -> Response:
    """The reply: JSON, followed by the tensors that were asked for in binary."""
    outputs: list[dict[str, Any]] = []
    binary: list[bytes] = []
    asked = {output.name: output.parameters or {} for output in content.outputs or ()}
    usual = _truth((content.parameters or {}).get("binary_data_output", False), "binary_data_output")
    for output in inferred.outputs:
        described = _described(output)
        if _truth(asked.get(output.name, {}).get("binary_data", usual), "binary_data"):
            binary.append(output.raw())
            described["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            described["data"] = output.listed()
        outputs.append(described)
    reply = {
        "model_name": inferred.model,
        "model_version": catalogue.VERSION,
        "id": content.id or request_id,
        "outputs": outputs,
    }
    if inferred.parameters:
        reply["parameters"] = inferred.parameters
    head = json.dumps(reply, allow_nan=False, separators=(",", ":")).encode("ascii")
    headers = {CACHE_HEADER: format_cache_header(inferred.explanations)} if inferred.explanations else {}
    if not binary:
        return Response(head, headers=headers, media_type="application/json")
    headers[JSON_LENGTH] = str(len(head))
    return Response(b"".join([head, *binary]), headers=headers, media_type=BINARY_MEDIA_TYPE)


def _described(output: Output) -> dict[str, Any]:
    return {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}


def _truth(value: Any, name: str) -> bool:
    """A parameter that is true or false, also as text.

    Raises:
        InvalidRequest: it is neither.
    """
    truths = {True: True, False: False, "true": True, "false": False}
    if isinstance(value, bool | str) and value in truths:
        return truths[value]
    raise InvalidRequest(f"{name} must be true or false", field=name)
