"""Reading a request's body within its limit, as JSON or as multipart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from email.message import Message

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from wavescope.errors import BodyTooLarge, InvalidRequest
from wavescope.ingress.problems import UnsupportedMediaType
from wavescope.ingress.schemas import Parsed, parse_json, parse_parts

MULTIPART = "multipart/form-data"
PARTS = ("image", "request")


async def read_request(request: Request, max_body_bytes: int) -> Parsed:
    """The valid request behind an HTTP request; parsing runs in a thread, so that the event loop stays free.

    Raises:
        BodyTooLarge: before the body is read where its length is declared, else once the limit is passed.
        UnsupportedMediaType: the body is neither JSON nor multipart.
        InvalidRequest: a field is wrong.
    """
    _check_declared_length(request, max_body_bytes)
    media_type = _media_type(request)
    if media_type == MULTIPART:
        image, request_json = await _read_parts(request, max_body_bytes)
        return await asyncio.to_thread(parse_parts, image, request_json)
    if media_type != "application/json":
        raise UnsupportedMediaType(
            f"Content-Type must be application/json or {MULTIPART}, not {media_type or 'absent'}",
            field="Content-Type",
            supported=["application/json", MULTIPART],
        )
    body = b"".join([chunk async for chunk in _limited(request, max_body_bytes)])
    return await asyncio.to_thread(parse_json, body)


def _media_type(request: Request) -> str:
    message = Message()
    message["Content-Type"] = request.headers.get("content-type", "")
    return message.get_content_type() if request.headers.get("content-type") else ""


def _check_declared_length(request: Request, max_body_bytes: int) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > max_body_bytes:
        raise _too_large(max_body_bytes)


async def _limited(request: Request, max_body_bytes: int) -> AsyncGenerator[bytes, None]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_body_bytes:
            raise _too_large(max_body_bytes)
        yield chunk


def _too_large(max_body_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {max_body_bytes} bytes", max_body_bytes=max_body_bytes)


async def _read_parts(request: Request, max_body_bytes: int) -> tuple[bytes, bytes | None]:
    """(image, JSON of the part ``request``) of a multipart body."""
    parser = MultiPartParser(
        request.headers,
        _limited(request, max_body_bytes),
        max_files=4,
        max_fields=4,
        max_part_size=max_body_bytes,
    )
    parser.spool_max_size = max_body_bytes  # a body is bounded already: keep it off the disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidRequest(f"the multipart body cannot be read: {error.message}") from error
    parts = form.multi_items()
    for name, _ in parts:
        if name not in PARTS:
            raise InvalidRequest(
                f"{name[:64]!r} is no part of a request; the parts are image and request",
                field=name[:64],
                supported=list(PARTS),
            )
    if len(parts) != len(dict(parts)):
        raise InvalidRequest("each part of a multipart request is sent once", supported=list(PARTS))
    image, fields = form.get("image"), form.get("request")
    if not isinstance(image, UploadFile):
        state = "is required" if image is None else "must be a file part, with a filename"
        raise InvalidRequest(f"image {state}", field="image")
    # The JSON part is commonly sent both ways: as a file with its own media type, and as a field.
    if isinstance(fields, str):
        return await image.read(), fields.encode("utf-8")
    return await image.read(), None if fields is None else await fields.read()
