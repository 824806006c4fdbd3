"""Encoding of paths, Pillow images and arrays as the bytes of an image file; Pillow is not needed."""

from __future__ import annotations

import io
import struct
import zlib
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels: PNG colour type


@runtime_checkable
class PillowImage(Protocol):
    """Methods of ``PIL.Image.Image`` that are used."""

    mode: str

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None: ...

    def convert(self, mode: str) -> PillowImage: ...

    def getexif(self) -> Any: ...


Image = str | PathLike[str] | bytes | np.ndarray | PillowImage


def encode_image(image: Image) -> bytes:
    """Read or encode an image as the bytes of a file.

    Args:
        image: path of a file, its bytes, a Pillow image, or an array (height, width) or (height, width,
            channels) of uint8 or uint16 with 1 to 4 channels: grey, grey and alpha, RGB, RGBA.

    Raises:
        TypeError: the image is none of these.
        ValueError: the array has another shape or dtype.
        OSError: the file cannot be read.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | PathLike):
        return Path(image).read_bytes()
    if isinstance(image, np.ndarray):
        return encode_png(image)
    if isinstance(image, PillowImage):
        return _from_pillow(image)
    raise TypeError(f"image must be a path, bytes, an array or a Pillow image, not {type(image).__name__}")


def _from_pillow(image: PillowImage) -> bytes:
    buffer = io.BytesIO()
    exif = image.getexif()  # holds the orientation, which the service applies
    drawable = image if image.mode in _PNG_MODES else image.convert("RGB")
    drawable.save(buffer, format="PNG", exif=exif)
    return buffer.getvalue()


def encode_png(array: np.ndarray) -> bytes:
    """Encode an array as a PNG file, lossless.

    Raises:
        ValueError: the array has another shape or dtype than :func:`encode_image` takes.
    """
    pixels = array[:, :, None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOUR_TYPES or 0 in pixels.shape:
        raise ValueError(f"an array must be (height, width) or (height, width, 1 to 4), not {array.shape}")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"an array must be uint8 or uint16, not {array.dtype}: scale floats before")
    height, width, channels = pixels.shape
    depth = pixels.dtype.itemsize
    rows = np.ascontiguousarray(pixels, dtype=f">u{depth}").view(np.uint8).reshape(height, -1)
    # Filter 0, none, before each row.
    filtered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8 * depth, _COLOUR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), 3)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
