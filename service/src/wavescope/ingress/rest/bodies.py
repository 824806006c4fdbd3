"""Reading a request's body within its limit, as JSON or as multipart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from email.message import Message
from typing import TypeVar

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from wavescope.errors import BodyTooLarge, InvalidRequest
from wavescope.ingress.plane import ExplainRequest, IngressLimits, Observation, PredictRequest
from wavescope.ingress.problems import UnsupportedMediaType
from wavescope.ingress.rest.gzip_bodies import Inflate, slices
from wavescope.ingress.schemas.monitor import parse_observation_parts, parse_observations
from wavescope.ingress.schemas.parsing import (
    Files,
    parse_json,
    parse_parts,
    parse_prediction_json,
    parse_prediction_parts,
)

MULTIPART = "multipart/form-data"
FILE_PARTS = ("image", "images", "other")
PARTS = (*FILE_PARTS, "request")
# The parser's own refusal names no limit, so it stands far above those of a request, which do.
MAX_PARTS = 1000

Content = TypeVar("Content")


async def read_request(request: Request, limits: IngressLimits) -> ExplainRequest:
    """The valid request for explanations behind an HTTP request.

    Raises:
        BodyTooLarge: before the body is read where its length is declared, else once the limit is passed.
        UnsupportedMediaType: the body is neither JSON nor multipart, or compressed by something else than gzip.
        InvalidRequest: a field is wrong.
    """
    return await _read(request, limits, parse_json, parse_parts)


async def read_prediction(request: Request, limits: IngressLimits) -> PredictRequest:
    """The valid request for predictions behind an HTTP request; raises as :func:`read_request`."""
    return await _read(request, limits, parse_prediction_json, parse_prediction_parts)


async def read_observations(request: Request, limits: IngressLimits) -> tuple[Observation, ...]:
    """The images for a monitor behind an HTTP request; raises as :func:`read_request`."""
    return await _read(request, limits, parse_observations, parse_observation_parts)


async def read_json_body(request: Request, limits: IngressLimits) -> bytes:
    """The body of a request that takes JSON alone; raises as :func:`read_request`."""
    media_type = _media_type(request)
    if media_type != "application/json":
        raise UnsupportedMediaType(
            f"Content-Type must be application/json, not {media_type or 'absent'}",
            field="Content-Type",
            supported=["application/json"],
        )
    return await limited_body(request, limits)


async def _read(
    request: Request,
    limits: IngressLimits,
    from_json: Callable[[bytes, IngressLimits], Content],
    from_parts: Callable[[Files, bytes | None, IngressLimits], Content],
) -> Content:
    """Parse the body; parsing runs in a thread, so that the event loop stays free."""
    _check_declared_length(request, limits.max_body_bytes)
    _is_gzip(request)  # before anything else of the body is judged
    media_type = _media_type(request)
    if media_type == MULTIPART:
        files, request_json = await _read_parts(request, limits.max_body_bytes)
        return await asyncio.to_thread(from_parts, files, request_json, limits)
    if media_type != "application/json":
        raise UnsupportedMediaType(
            f"Content-Type must be application/json or {MULTIPART}, not {media_type or 'absent'}",
            field="Content-Type",
            supported=["application/json", MULTIPART],
        )
    return await asyncio.to_thread(from_json, await limited_body(request, limits), limits)


async def limited_body(request: Request, limits: IngressLimits) -> bytes:
    """The whole body of a request, unpacked where it is compressed.

    Raises:
        BodyTooLarge: before it is read where its length is declared, else once the limit is passed.
        UnsupportedMediaType: it is compressed by something else than gzip.
        InvalidRequest: it is not the gzip that it is said to be.
    """
    _check_declared_length(request, limits.max_body_bytes)
    return b"".join([chunk async for chunk in _limited(request, limits.max_body_bytes)])


def _media_type(request: Request) -> str:
    message = Message()
    message["Content-Type"] = request.headers.get("content-type", "")
    return message.get_content_type() if request.headers.get("content-type") else ""


def _check_declared_length(request: Request, max_body_bytes: int) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > max_body_bytes:
        raise _too_large(max_body_bytes)


async def _limited(request: Request, max_body_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body piece by piece, unpacked where it is compressed; the limit holds for either form."""
    inflate = Inflate() if _is_gzip(request) else None
    received = unpacked = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_body_bytes:
            raise _too_large(max_body_bytes)
        if inflate is None:
            yield chunk
            continue
        for packed in slices(chunk):
            inflate.feed(packed)
            # Each read is bounded, and between two of them the request can be cancelled.
            while piece := await asyncio.to_thread(inflate.read):
                unpacked += len(piece)
                if unpacked > max_body_bytes:
                    raise _too_large(max_body_bytes, "the body is unpacked to more than")
                yield piece
    if inflate is not None:
        inflate.check_end()


def _is_gzip(request: Request) -> bool:
    """Whether the body is compressed.

    Raises:
        UnsupportedMediaType: by something else than gzip.
    """
    # One list, in however many header lines (RFC 9110, 5.3), of which identity is no encoding.
    listed = ",".join(request.headers.getlist("content-encoding")).lower().split(",")
    encodings = [encoding for entry in listed if (encoding := entry.strip()) not in ("", "identity")]
    if not encodings:
        return False
    if encodings in (["gzip"], ["x-gzip"]):
        return True
    raise UnsupportedMediaType(
        f"Content-Encoding must be gzip or absent, not {', '.join(encodings)[:32]!r}",
        field="Content-Encoding",
        supported=["gzip", "identity"],
    )


def _too_large(max_body_bytes: int, what: str = "the body is larger than") -> BodyTooLarge:
    return BodyTooLarge(f"{what} {max_body_bytes} bytes", max_body_bytes=max_body_bytes)


async def _read_parts(request: Request, max_body_bytes: int) -> tuple[Files, bytes | None]:
    """The image files and the JSON of the part ``request`` of a multipart body."""
    parser = MultiPartParser(
        request.headers,
        _limited(request, max_body_bytes),
        max_files=MAX_PARTS,
        max_fields=MAX_PARTS,
        max_part_size=max_body_bytes,
    )
    parser.spool_max_size = max_body_bytes  # a body is bounded already: keep it off the disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidRequest(f"the multipart body cannot be read: {error.message}") from error
    try:
        return await _parts(form)
    finally:
        await form.close()  # parts are temporary files, though in memory


async def _parts(form: FormData) -> tuple[Files, bytes | None]:
    parts: dict[str, list[UploadFile | str]] = {}
    items = form.multi_items()
    only_file = sum(name != "request" and isinstance(part, UploadFile) for name, part in items) == 1
    for name, part in items:
        if only_file and name not in PARTS and isinstance(part, UploadFile):
            name = FILE_PARTS[0]  # whatever a tool calls it, nothing else can be meant
        if name not in PARTS:
            raise InvalidRequest(
                f"{name[:64]!r} is no part of a request; the parts are {', '.join(PARTS)}; a file that is sent alone "
                "may have any name",
                field=name[:64],
                supported=list(PARTS),
            )
        parts.setdefault(name, []).append(part)
    for name in ("other", "request"):
        if len(parts.get(name, ())) > 1:
            raise InvalidRequest(f"the part {name} is sent once", field=name)
    request_parts = parts.pop("request", [])
    files = {name: [await _file(name, part) for part in found] for name, found in parts.items()}
    return _files(files), await _content(request_parts[0]) if request_parts else None


async def _content(part: UploadFile | str) -> bytes:
    # The JSON part is commonly sent both ways: as a file with its own media type, and as a field.
    return part.encode("utf-8") if isinstance(part, str) else await part.read()


async def _file(name: str, part: UploadFile | str) -> bytes:
    if isinstance(part, str):
        raise InvalidRequest(f"{name} must be a file part, with a filename", field=name)
    return await part.read()


def _files(parts: dict[str, list[bytes]]) -> Files:
    """Files by field; ``image`` sent more than once is a batch, as ``images`` is."""
    image, images, other = (parts.get(name, []) for name in FILE_PARTS)
    if len(image) > 1 and not images:
        image, images = [], image
    return Files(
        image=image[0] if image else None,
        images=tuple(images) if images else None,
        other=other[0] if other else None,
    )
