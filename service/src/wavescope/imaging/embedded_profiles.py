"""Colour profiles of files, also where Pillow does not look for them: JPEG 2000, BMP, GIF, and long ones of PNG."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from PIL import Image, PngImagePlugin

from wavescope.imaging.file_parts import jp2_header, png_chunk, png_chunks

MAX_PROFILE_BYTES: Final = 2**23  # profiles of printers have up to three million

_PROFILE_METHODS: Final = (b"\x02", b"\x03")  # of JPEG 2000: a restricted profile, and any
_BMP_HEADER_BYTES: Final = 124  # of version 5
_BMP_FILE_HEADER_BYTES: Final = 14
_GIF_PROFILE: Final = b"\x21\xff\x0bICCRGBG1012"  # begins an extension
_EMBEDDED: Final = b"DEBM"


def embedded_profile(image: Image.Image, data: bytes) -> bytes | None:
    """ICC profile of an image; ``None`` where there is none, or it is incomplete.

    Args:
        image: as it was opened.
        data: bytes of its file; none where there is none.
    """
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and profile:
        return profile
    if image.format == "JPEG2000":
        methods = [box for name, box in jp2_header(data) if name == b"colr"]
        return next((box[3:] for box in methods if box[:1] in _PROFILE_METHODS), None)
    if image.format == "BMP":
        return _read_bmp_profile(data)
    if image.format == "GIF":
        return _read_gif_profile(data)
    if image.format == "PNG" and "icc_profile" not in image.info:
        return _unpack_png_profile(data, MAX_PROFILE_BYTES)
    return None


def without_long_profile(data: bytes) -> bytes:
    """A PNG without a profile that is too long for Pillow, which would refuse the image; other files as they are."""
    limit = PngImagePlugin.MAX_TEXT_CHUNK
    for name, start, end in png_chunks(data):
        if name == b"iCCP":
            profile = _unpack(data[start:end], limit)
            return (
                data[: start - 8] + data[end + 4 :] if profile is not None and len(profile) > limit else data
            )
    return data


def _unpack_png_profile(data: bytes, limit: int) -> bytes | None:
    content = png_chunk(data, b"iCCP")
    return None if content is None else _unpack(content, limit)


def _unpack(content: bytes, limit: int) -> bytes | None:
    """Unpack an iCCP chunk, up to one byte above the limit; ``None`` for a damaged one."""
    _, _, packed = content.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(packed[1:], limit + 1) or None
    except zlib.error:
        return None


def _read_bmp_profile(data: bytes) -> bytes | None:
    try:
        (header,) = struct.unpack_from("<I", data, _BMP_FILE_HEADER_BYTES)
        kind, offset, length = struct.unpack_from("<4s52xII", data, _BMP_FILE_HEADER_BYTES + 56)
    except struct.error:
        return None
    if header != _BMP_HEADER_BYTES or kind != _EMBEDDED:
        return None
    start = _BMP_FILE_HEADER_BYTES + offset
    return data[start : start + length] or None


def _read_gif_profile(data: bytes) -> bytes | None:
    position = data.find(_GIF_PROFILE)
    if position < 0:
        return None
    position += len(_GIF_PROFILE)
    profile = bytearray()
    while position < len(data) and (size := data[position]) and len(profile) <= MAX_PROFILE_BYTES:
        profile += data[position + 1 : position + 1 + size]
        position += 1 + size
    return bytes(profile) or None
