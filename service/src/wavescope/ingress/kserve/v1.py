"""KServe's first protocol: predictions and explanations of lists of instances."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wavescope.engine.kinds import find_kind
from wavescope.engine.types import Explanation
from wavescope.errors import InvalidRequest
from wavescope.ingress.call_context import call_of
from wavescope.ingress.kserve.error_responses import Route, with_error_field
from wavescope.ingress.kserve.field_names import renamed_errors
from wavescope.ingress.kserve.oip.inference import check_count
from wavescope.ingress.kserve.pixels import encode_pixels, parse_pixels
from wavescope.ingress.plane import (
    DataPlane,
    ExplainRequest,
    IngressLimits,
    NullRecorder,
    Predictions,
    PredictRequest,
    RequestRecorder,
)
from wavescope.ingress.replies import encode_json, finite
from wavescope.ingress.request_metrics import PREDICTION, recording
from wavescope.ingress.rest.bodies import limited_body
from wavescope.ingress.rest.explanations import CACHE_HEADER, format_cache_header
from wavescope.ingress.schemas.base64_text import decode_base64
from wavescope.ingress.schemas.parsing import Files, load_json, parse_fields, validate
from wavescope.ingress.schemas.request import MAX_TOP_CLASSES, Strict
from wavescope.ingress.schemas.validation_errors import json_type

# The names under which clients of this protocol send an encoded file.
_TEXT_KEYS = ("b64", "base64")
_IMAGE_KEYS = ("image", "image_bytes")
_KEY = "key"  # of the instance, which its caller finds its reply by
_MIN_IMAGE_CHARS = 64


class InstancesBody(Strict):
    """The JSON of a request."""

    instances: Annotated[list[Any], Field(min_length=1)]
    parameters: dict[str, Any] | None = None


class PredictParameters(Strict):
    """Parameters of a request for predictions."""

    top_k: int | None = Field(None, ge=1, le=MAX_TOP_CLASSES)


class Kserve:
    """The endpoints, over one data plane."""

    def __init__(self, plane: DataPlane, limits: IngressLimits, recorder: RequestRecorder) -> None:
        self._plane = plane
        self._limits = limits
        self._recorder = recorder

    async def alive(self, request: Request) -> Response:
        """``GET /``: the process answers."""
        del request
        return JSONResponse({"status": "alive"})

    async def predict(self, request: Request) -> Response:
        """``POST /v1/models/{name}:predict``."""
        with recording(self._recorder, "http") as labels:
            body = await limited_body(request, self._limits)
            images, top_k = await asyncio.to_thread(_to_prediction, body, self._limits)
            labels.kind, labels.model = PREDICTION, request.path_params["name"]
            predict_request = PredictRequest(labels.model, images, top_k or 1)
            with renamed_errors(_places(len(images))):
                predictions = await self._plane.predict(predict_request, call_of(request))
            return Response(_predictions(predictions, top_k), media_type="application/json")

    async def explain(self, request: Request) -> Response:
        """``POST /v1/models/{name}:explain``."""
        with recording(self._recorder, "http", kserve_explain=True) as labels:
            body = await limited_body(request, self._limits)
            name = request.path_params["name"]
            explain_request = await asyncio.to_thread(_to_explain_request, body, name, self._limits)
            labels.learn(explain_request)
            with renamed_errors(_places(len(explain_request.targets))):
                explanations = await self._plane.explain(explain_request, call_of(request))
            return Response(
                await asyncio.to_thread(_explanations, explanations),
                headers={CACHE_HEADER: format_cache_header(explanations)},
                media_type="application/json",
            )


def routes(plane: DataPlane, limits: IngressLimits, recorder: RequestRecorder | None = None) -> list[Route]:
    """(path, method, endpoint); that of the model itself is ``GET /v1/models/{name}``, which is ours as well."""
    kserve = Kserve(plane, limits, recorder or NullRecorder())
    served = [
        ("/", "GET", kserve.alive),
        ("/v1/models/{name}:predict", "POST", kserve.predict),
        ("/v1/models/{name}:explain", "POST", kserve.explain),
    ]
    return [(path, method, with_error_field(endpoint, limits)) for path, method, endpoint in served]


def _to_prediction(body: bytes, limits: IngressLimits) -> tuple[tuple[bytes, ...], int | None]:
    """The encoded images, and how many classes are named where that is asked for."""
    content = validate(InstancesBody, load_json(body, "the body"))
    parameters = validate(PredictParameters, content.parameters or {})
    check_count(len(content.instances), limits)
    instances = enumerate(content.instances)
    return tuple(instance_image(instance, f"instances[{i}]") for i, instance in instances), parameters.top_k


def _predictions(predictions: Predictions, top_k: int | None) -> bytes:
    warnings = {"warnings": predictions.warnings} if any(predictions.warnings) else {}
    if top_k is None:
        return _dumps({"predictions": finite(predictions.outputs, "outputs").tolist(), **warnings})
    named = [
        [{"index": found.index, "label": found.label, "probability": found.probability} for found in classes]
        for classes in predictions.top
    ]
    return _dumps({"predictions": named, **warnings})


def _to_explain_request(body: bytes, name: str, limits: IngressLimits) -> ExplainRequest:
    """The valid request for explanations.

    Raises:
        InvalidRequest: an instance or a parameter is wrong.
    """
    content = validate(InstancesBody, load_json(body, "the body"))
    fields = content.parameters or {}
    for own in ("image", "images", "other"):
        if own in fields:
            raise InvalidRequest(f"{own} comes in an instance, not in parameters", field=f"parameters.{own}")
    if fields.get("model", name) != name:
        raise InvalidRequest("the address names the model, not parameters", field="parameters.model")
    check_count(len(content.instances), limits)
    images: list[bytes] = []
    others: dict[int, bytes] = {}
    for i, instance in enumerate(content.instances):
        place = f"instances[{i}]"
        if isinstance(instance, dict) and "other" in instance:
            if instance["other"] is not None:
                others[i] = instance_image(instance["other"], f"{place}.other")
            instance = {key: value for key, value in instance.items() if key != "other"}
        images.append(instance_image(instance, place))
    if find_kind(kind := fields.get("kind")).takes_other:
        if len(images) > 1:
            raise InvalidRequest(
                f"kind {kind} takes one instance, with image and other, not {len(images)}", field="instances"
            )
        files = Files(image=images[0], other=others.get(0))
    else:
        files = Files(images=tuple(images), other=next(iter(others.values()), None))
    with renamed_errors(_places(len(images), other=next(iter(others), 0))):
        return parse_fields(fields | {"model": name}, files, limits)


def _places(n_images: int, other: int = 0) -> dict[str, str]:
    """Names of the images in the request; ``other`` is the instance that has the image to compare with."""
    places = {f"images[{i}]": f"instances[{i}]" for i in range(n_images)}
    return places | {"image": "instances[0]", "other": f"instances[{other}].other"}


def instance_image(instance: Any, place: str) -> bytes:
    """The encoded file of an instance.

    Raises:
        InvalidRequest: it is none of the forms that are read, or several of its fields hold an image.
    """
    if isinstance(instance, list):
        return encode_pixels(parse_pixels(instance, place))
    if isinstance(instance, dict):
        found = _image_keys(instance)
        if len(found) > 1:
            raise InvalidRequest(
                f"{place} holds an image in several fields: {', '.join(key[:64] for key in found)}",
                field=place,
            )
        if found:
            key, value = found[0], instance[found[0]]
            if isinstance(value, str):
                return decode_base64(value, place, key=f".{key}")
            return instance_image(value, f"{place}.{key}")
    shown = "an object of other fields" if isinstance(instance, dict) else json_type(instance)
    raise InvalidRequest(
        f'{place} must be {{"b64": …}} or {{"image": {{"base64": …}}}} with an encoded file in base64, or rows of '
        f"RGB pixels, not {shown}",
        field=place,
    )


def _image_keys(instance: dict[str, Any]) -> list[str]:
    """The fields of an instance that hold an image; all others are not looked at.

    Those of the known names come first: what is beside them is none, however it looks. Text below ``image`` may be the
    name of a file whose bytes are elsewhere; what looks like a name is read where nothing else can be the image.
    """
    named = [key for key, value in instance.items() if _is_named_image(key, value)]
    if named:
        return named
    texts = [key for key in _IMAGE_KEYS if isinstance(instance.get(key), str)]
    found = [key for key in texts if _looks_like_base64(instance[key])]
    found += [key for key, value in instance.items() if key not in (*_IMAGE_KEYS, _KEY) and _is_image(value)]
    return found or texts


def _is_named_image(key: str, value: Any) -> bool:
    if key in _TEXT_KEYS:
        return isinstance(value, str)
    if key not in _IMAGE_KEYS or value is None or isinstance(value, str):
        return False
    return not (isinstance(value, dict) and any(value.get(name) is not None for name in _IMAGE_KEYS))


def _is_image(value: Any) -> bool:
    if isinstance(value, dict):
        return any(isinstance(value.get(name), str) for name in _TEXT_KEYS)
    return is_pixels(value)


def _looks_like_base64(text: str) -> bool:
    """Whether text is an image rather than the name of one, which is shorter or has a dot or a colon."""
    start = text[:_MIN_IMAGE_CHARS]
    return start[:5].lower() == "data:" or (len(start) == _MIN_IMAGE_CHARS and not set(start) & {*".:"})


def is_pixels(value: Any) -> bool:
    """Whether a value is lists of lists of lists, as pixels are."""
    for _ in range(3):
        if not (isinstance(value, list) and value):
            return False
        value = value[0]
    return isinstance(value, int | float)


def _explanations(explanations: tuple[Explanation, ...]) -> bytes:
    return b'{"explanations":[' + b",".join(encode_json(explanation) for explanation in explanations) + b"]}"


def _dumps(content: dict[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("utf-8")
