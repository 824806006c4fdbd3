"""The protocol without I/O: from a request to a :class:`Call`, and from a :class:`Reply` to a result."""

from __future__ import annotations

import binascii
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from wavescope_client._errors import BY_CODE, BY_STATUS, InvalidReply, ServiceError
from wavescope_client._replies import read_explanation
from wavescope_client._types import Explanation

Result = TypeVar("Result")


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


def build_explain(images: Sequence[tuple[str, bytes]], fields: Mapping[str, Any], *, accept: str) -> Call:
    """The call that explains image files: multipart, so that their bytes travel as they are.

    Args:
        images: (part, bytes of a file); the parts are ``image``, ``images`` for each image of a batch, and ``other``.
        fields: everything else of the request.
        accept: the media type of the reply.
    """
    boundary = uuid.uuid4().hex
    parts = [(f'name="{name}"; filename="{name}"', "application/octet-stream", data) for name, data in images]
    request = json.dumps(dict(fields), allow_nan=False).encode("ascii")
    parts.append(('name="request"', "application/json", request))
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
    return _read(lambda: read_explanation(content, request_id), "an explanation")


def parse_batch(reply: Reply) -> list[Explanation]:
    """The explanations in the reply to a batch.

    Raises:
        ServiceError: it is a refusal.
        InvalidReply: it is no batch of explanations.
    """
    content = parse_json(reply)
    request_id = reply.headers.get("x-request-id")
    return _read(
        lambda: [read_explanation(entry, request_id) for entry in content["explanations"]],
        "a batch of explanations",
    )


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
