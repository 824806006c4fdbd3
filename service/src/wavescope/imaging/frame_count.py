"""Limit of the frames of a file: films and long documents are refused, although only a first frame is decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Final

from PIL import Image

from wavescope.errors import ImageTooLarge
from wavescope.imaging.file_structure import check_count

MAX_GIF_BLOCKS: Final = 2**18  # blocks have at most 255 bytes; 32 MiB have 131,586 of these

_GIF_IMAGE, _GIF_EXTENSION = 0x2C, 0x21
_COLOURS: Final = 0x80  # flag of a colour table; its size is in the three lowest bits


def check_frames(image: Image.Image, data: bytes, max_frames: int) -> int:
    """Check the number of frames without decoding, from the header, or along the file's parts; return it.

    Args:
        image: image opened from the data.
        data: bytes of the file.
        max_frames: largest number of frames.

    Raises:
        ImageTooLarge: there are more frames.
        NotAnImage: the file is a GIF of more than ``MAX_GIF_BLOCKS`` blocks.
    """
    # Pillow would walk along a GIF or TIFF too, but it keeps much for every frame.
    if image.format == "GIF":
        frames = _count_up_to(max_frames + 1, _gif_images(data))
    elif image.format == "TIFF":
        frames = _count_up_to(max_frames + 1, _tiff_directories(data))
    else:
        frames = getattr(image, "n_frames", 1)
    if frames > max_frames:
        raise ImageTooLarge(
            f"the image has more than {max_frames} frames; send the one that is meant",
            field="image",
            max_frames=max_frames,
        )
    # A telephone's JPEG has previews behind it, which are no frames to choose from.
    return 1 if image.format == "MPO" else frames


def _count_up_to(limit: int, positions: Iterator[int]) -> int:
    return sum(1 for _ in islice(positions, limit))


def _gif_images(data: bytes) -> Iterator[int]:
    """Iterate over the positions of the images of a GIF, as far as the file is sound."""
    blocks, position = 0, 13 + _colour_table_bytes(data, 10)
    while position + 1 < len(data):
        kind = data[position]
        if kind == _GIF_IMAGE:
            yield position
            position += 11 + _colour_table_bytes(data, position + 9)
        elif kind == _GIF_EXTENSION:
            position += 2
        else:
            return
        while position < len(data) and (size := data[position]):
            position += 1 + size
            blocks += 1
            check_count("blocks", blocks, MAX_GIF_BLOCKS)
        position += 1


def _colour_table_bytes(data: bytes, flags: int) -> int:
    """Size in bytes of the colour table that the flags declare."""
    if flags >= len(data) or not data[flags] & _COLOURS:
        return 0
    return 3 * 2 ** ((data[flags] & 7) + 1)


def _tiff_directories(data: bytes) -> Iterator[int]:
    """Iterate over the positions of the directories of a TIFF, one per page; endless if they form a loop."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"\x2b\x00", b"\x00\x2b")
    pointer, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    try:
        (position,) = struct.unpack_from(order + pointer, data, 8 if big else 4)
        while position:
            (entries,) = struct.unpack_from(order + count, data, position)
            yield position
            behind = position + struct.calcsize(order + count) + entries * entry
            (position,) = struct.unpack_from(order + pointer, data, behind)
    except (struct.error, OverflowError):
        return
