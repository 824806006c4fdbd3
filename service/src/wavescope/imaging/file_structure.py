"""Limits of the structure of a file: scans, chunks, tags and plain numbers are counted without decoding.

Pixels and frames are limited elsewhere, and only the first frame is decoded. Repetition can still cost far more than
the pixels: a progressive JPEG of 300 kB with 500 empty scans takes half a minute, and Pillow reads PNG chunks, numbers
of plain PPM files and entries of TIFF tags one by one in Python.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from wavescope.errors import NotAnImage

MAX_JPEG_SCANS: Final = 100  # encoders write about ten
FEW_SCANS: Final = 20
MAX_PNG_CHUNKS: Final = 65_536  # 8 KiB each are common, and 32 MiB have 4,096 of these
MAX_PLAIN_BYTES: Final = 2**20
MAX_TAGS: Final = 65_535  # all that a TIFF other than a BigTIFF can have
MAX_TAG_VALUES: Final = 1_000_000  # a large TIFF may have as many strips
MAX_EXIF_BYTES: Final = 2**20

_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# Bytes per value of a TIFF's types.
_SIZES: Final = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}


def check_structure(data: bytes) -> None:
    """Check the structure of a JPEG, PNG, plain PPM or TIFF; other formats and damaged files pass.

    Raises:
        NotAnImage: there are too many scans, chunks, entries or plain numbers.
    """
    if data.startswith(b"\xff\xd8\xff"):
        check_count("scans", count_jpeg_scans(data), MAX_JPEG_SCANS)
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        check_count("chunks", _count_png_chunks(data), MAX_PNG_CHUNKS)
    elif data[:2] in (b"P1", b"P2", b"P3"):
        check_count("bytes of plain text", len(data), MAX_PLAIN_BYTES)
    elif data[:2] in (b"II", b"MM"):
        tags, values = _count_tags(data)
        check_count("tags", tags, MAX_TAGS)
        check_count("values in a tag", values, MAX_TAG_VALUES)


def check_count(parts: str, count: int, limit: int) -> None:
    """Raise NotAnImage if a file has more parts of a kind than the limit."""
    if count > limit:
        raise NotAnImage(f"the image has more than {limit} {parts}", field="image", limit=limit)


def count_jpeg_scans(data: bytes) -> int:
    """Count the scans of a JPEG, up to one above the limit.

    Up to :data:`FEW_SCANS` the scans of previews and of data behind the image count too. Above, the end of the first
    image ends the count: telephones append films.
    """
    if (
        most := data.count(bytes((0xFF, _START_OF_SCAN)))
    ) <= FEW_SCANS:  # a hundred times as fast as the search below
        return most
    scans, position = 0, 2
    while scans <= MAX_JPEG_SCANS and (marker := _MARKER.search(data, position)):
        kind = data[marker.start() + 1]
        if kind == _END_OF_IMAGE:
            break
        scans += kind == _START_OF_SCAN
        position = marker.end()
        # The segment is skipped, as a preview in it has scans too.
        if kind != _START_OF_SCAN and len(data) >= position + 2:
            position += int.from_bytes(data[position : position + 2], "big")
    return scans


def _count_png_chunks(data: bytes) -> int:
    """Count the chunks of a PNG, up to one above the limit."""
    chunks, position = 0, 8
    while chunks <= MAX_PNG_CHUNKS and position + 8 <= len(data):
        position += 12 + int.from_bytes(data[position : position + 4], "big")
        chunks += 1
    return chunks


def _count_tags(data: bytes) -> tuple[int, int]:
    """Count the tags of the first directory of a TIFF, and the values of the longest one that fits into the file."""
    order = "<" if data[:2] == b"II" else ">"
    try:
        (magic,) = struct.unpack_from(order + "H", data, 2)
        if magic == 43:
            (start,) = struct.unpack_from(order + "Q", data, 8)
            (tags,) = struct.unpack_from(order + "Q", data, start)
            entry, first = order + "HHQ8x", start + 8
        else:
            (start,) = struct.unpack_from(order + "I", data, 4)
            (tags,) = struct.unpack_from(order + "H", data, start)
            entry, first = order + "HHI4x", start + 2
    except (struct.error, OverflowError):
        return 0, 0
    size = struct.calcsize(entry)
    tags = min(tags, max(0, len(data) - first) // size)
    if tags > MAX_TAGS:
        return tags, 0
    declared = (struct.unpack_from(entry, data, first + n * size)[1:] for n in range(tags))
    return tags, max(
        (count for kind, count in declared if count * _SIZES.get(kind, len(data)) <= len(data)), default=0
    )
