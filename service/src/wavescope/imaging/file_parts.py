"""Parts of files that Pillow does not read: chunks of PNG, boxes and components of JPEG 2000."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

from PIL import Image

from wavescope.imaging.file_structure import MAX_PNG_CHUNKS

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_CODESTREAM = b"\xff\x4f\xff\x51"  # its start, and the marker of its sizes
_MAX_BOXES = 1000
_PARTLY_READ = frozenset({"PNG", "JPEG2000", "BMP", "GIF", "AVIF"})  # whose colours Pillow does not read
_HEAD_BYTES = 64


def file_of(image: Image.Image) -> bytes:
    """Bytes of the file of an image that is opened and not loaded, the first few of formats that Pillow reads whole.

    None where there is no file, or no longer.
    """
    try:
        file = getattr(image, "fp", None)
        if file is None or getattr(image, "format", None) is None:
            return b""
        position = file.tell()
        file.seek(0)
        try:
            return bytes(file.read(-1 if image.format in _PARTLY_READ else _HEAD_BYTES))
        finally:
            file.seek(position)
    except (OSError, ValueError, AttributeError, TypeError):  # closed, or a stream
        return b""


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Iterate over the chunks of a PNG before its pixels: name, and where the content begins and ends."""
    position = len(PNG_SIGNATURE)
    if not data.startswith(PNG_SIGNATURE):
        return
    for _ in range(MAX_PNG_CHUNKS):
        if position + 8 > len(data):
            return
        length, name = struct.unpack_from(">I4s", data, position)
        if name == b"IDAT" or position + 8 + length > len(data):
            return
        yield name, position + 8, position + 8 + length
        position += 12 + length


def png_chunk(data: bytes, name: bytes) -> bytes | None:
    """Content of the first chunk of a name before the pixels of a PNG; ``None`` where there is none."""
    return next((data[start:end] for found, start, end in png_chunks(data) if found == name), None)


def jp2_header(data: bytes) -> list[tuple[bytes, bytes]]:
    """Boxes of the header of a JPEG 2000 file, by name and content; none of a bare codestream."""
    if not data.startswith(_JP2_SIGNATURE):
        return []
    for name, start, end in islice(_boxes(data, 0, len(data)), _MAX_BOXES):
        if name == b"jp2h":
            return [
                (found, data[first:last])
                for found, first, last in islice(_boxes(data, start, end), _MAX_BOXES)
            ]
    return []


def jpeg2000_bits(data: bytes) -> tuple[int, ...]:
    """Bits per sample of every component of a JPEG 2000 file, of its codestream; none where it is damaged."""
    start = 0
    if data.startswith(_JP2_SIGNATURE):
        boxes = islice(_boxes(data, 0, len(data)), _MAX_BOXES)
        start = next((first for name, first, _ in boxes if name == b"jp2c"), len(data))
    if not data.startswith(_CODESTREAM, start):
        return ()
    try:
        (components,) = struct.unpack_from(">H", data, start + 40)
        sizes = struct.unpack_from(">" + "B2x" * components, data, start + 42)
    except struct.error:
        return ()
    return tuple((size & 0x7F) + 1 for size in sizes)


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Iterate over the boxes of ISO 15444-1, annex I: name, and where the content begins and ends."""
    while start + 8 <= end:
        length, name = struct.unpack_from(">I4s", data, start)
        head = 8
        if length == 1 and start + 16 <= end:
            (length,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        last = end if length == 0 else min(end, start + length)
        if last < start + head:
            return
        yield name, start + head, last
        start = last
