"""The protocol without I/O: from a request to a :class:`Call`, and from a :class:`Reply` to a result."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import numpy as np

from wavescope_client._errors import BY_CODE, BY_STATUS, InvalidReply, ServiceError
from wavescope_client._types import (
    Band,
    Crop,
    Explanation,
    Indices,
    Level,
    Maps,
    Prediction,
)

Result = TypeVar("Result")
_DTYPES = {"float32": "<f4", "int32": "<i4"}


@dataclass(frozen=True, slots=True)
class Call:
    """An HTTP request to send."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply that came; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


def build_explain(image: bytes, fields: Mapping[str, Any], *, accept: str) -> Call:
    """The call that explains an image file: multipart, so that its bytes travel as they are."""
    boundary = uuid.uuid4().hex
    parts = (
        ('name="image"; filename="image"', "application/octet-stream", image),
        ('name="request"', "application/json", json.dumps(dict(fields), allow_nan=False).encode("ascii")),
    )
    content = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {name}\r\n".encode()
        + f"Content-Type: {media_type}\r\n\r\n".encode()
        + data
        + b"\r\n"
        for name, media_type, data in parts
    )
    headers = {"Accept": accept, "Content-Type": f"multipart/form-data; boundary={boundary}"}
    return Call("POST", "/v1/explanations", headers, content + f"--{boundary}--\r\n".encode())


def parse_explanation(reply: Reply) -> Explanation:
    """The explanation in a reply.

    Raises:
        ServiceError: it is a refusal.
        InvalidReply: it is no explanation.
    """
    content = parse_json(reply)
    request_id = reply.headers.get("x-request-id")
    return _read(lambda: _explanation(content, request_id), "an explanation")


def parse_models(reply: Reply) -> dict[str, dict[str, Any]]:
    """Details by model name.

    Raises:
        ServiceError: it is a refusal.
        InvalidReply: it is no list of models.
    """
    content = parse_json(reply)
    return _read(
        lambda: {name: dict(content["details"][name]) for name in content["models"]}, "a list of models"
    )


def parse_ready(reply: Reply) -> bool:
    """Whether a model can score.

    Raises:
        ServiceError: a refusal that does not tell.
    """
    if reply.status == 503:
        return False
    _check(reply)
    return True


def parse_png(reply: Reply) -> bytes:
    """The bytes of the figure.

    Raises:
        ServiceError: it is a refusal.
        InvalidReply: it is no PNG.
    """
    _check(reply)
    if not reply.content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise InvalidReply("the reply is not a PNG file")
    return reply.content


def parse_json(reply: Reply) -> Any:
    """The JSON in a reply.

    Raises:
        ServiceError: it is a refusal.
        InvalidReply: it is no JSON.
    """
    _check(reply)
    try:
        return json.loads(reply.content)
    except ValueError as error:
        raise InvalidReply(f"the reply is not JSON: {error}") from error


def _check(reply: Reply) -> None:
    if reply.status != 200:
        _refuse(reply)


def _refuse(reply: Reply) -> NoReturn:
    """Raise the error that the reply tells, as well as it tells it."""
    try:
        told = json.loads(reply.content)
    except ValueError:
        told = None
    if not isinstance(told, dict) or "code" not in told:
        told = {"code": f"http_{reply.status}", "message": f"the service answered with status {reply.status}"}
    code, limits = str(told["code"]), told.get("limits")
    error = BY_CODE.get(code) or BY_STATUS.get(reply.status, ServiceError)
    raise error(
        str(told.get("message", "")),
        status=reply.status,
        code=code,
        field=told.get("field"),
        limits=limits if isinstance(limits, dict) else None,
        request_id=told.get("request_id") or reply.headers.get("x-request-id"),
    )


def _read(read: Callable[[], Result], what: str) -> Result:
    """What ``read`` makes of a reply, its stumbling told as an invalid reply."""
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise InvalidReply(f"the reply is not {what}: {type(error).__name__} {error}") from error


def _explanation(content: dict[str, Any], request_id: str | None) -> Explanation:
    indices, maps, levels, figure = (content.get(name) for name in ("indices", "maps", "levels", "figure"))
    return Explanation(
        id=content["id"],
        kind=content["kind"],
        model=content["model"],
        outcome=content["outcome"],
        target=_prediction(content["target"]),
        prediction=tuple(_prediction(prediction) for prediction in content["prediction"]),
        indices=None if indices is None else _indices(indices),
        maps=None if maps is None else Maps(**{name: _tensor(maps[name]) for name in _MAPS}),
        levels=None if levels is None else tuple(_level(level) for level in levels),
        crop=Crop(*(content["crop"][side] for side in ("left", "top", "right", "bottom"))),
        forwards=content["forwards"],
        timing=content["timing"],
        parameters=content["parameters"],
        warnings=tuple(content["warnings"]),
        figure=None if figure is None else base64.b64decode(figure["base64"], validate=True),
        request_id=request_id,
    )


_MAPS = ("wcam", "spatial_wcam", "factors")
_ORIENTATIONS = ("horizontal", "vertical", "diagonal")


def _prediction(content: dict[str, Any]) -> Prediction:
    return Prediction(content["index"], content["label"], content["probability"])


def _indices(content: dict[str, Any]) -> Indices:
    error, interval = content["standard_error"], content["interval_95"]
    return Indices(
        total=_floats(content["total"]),
        first=_floats(content["first"]),
        standard_error=None if error is None else _floats(error),
        interval_95=None if interval is None else _floats(interval),
    )


def _floats(values: list[Any]) -> np.ndarray:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


def _tensor(content: dict[str, Any]) -> np.ndarray:
    # frombuffer gives a view of immutable bytes: read-only, and no copy.
    data = base64.b64decode(content["data"], validate=True)
    array = np.frombuffer(data, dtype=_DTYPES[content["dtype"]]).reshape(content["shape"])
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _level(content: dict[str, Any]) -> Level:
    start, end = content["scale_px"]
    numbers = (content[name] for name in ("sum", "share", "mean_share"))
    bands = [None if content[name] is None else _band(content[name]) for name in _ORIENTATIONS]
    return Level(content["level"], (start, end), *numbers, *bands)


def _band(content: dict[str, Any]) -> Band:
    return Band(content["sum"], content["share"], content["mean_share"])
