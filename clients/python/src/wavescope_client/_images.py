"""Encoding of paths, Pillow images and arrays as the bytes of an image file; Pillow is not needed."""

from __future__ import annotations

import io
import os
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


@runtime_checkable
class BinaryFile(Protocol):
    """An open file."""

    def read(self) -> bytes: ...


@runtime_checkable
class ArrayLike(Protocol):
    """A tensor of torch, or an array of another library."""

    @property
    def shape(self) -> Any: ...

    def __array__(self) -> np.ndarray: ...


Image = str | PathLike[str] | bytes | BinaryFile | np.ndarray | PillowImage | ArrayLike


def encode_image(image: Image, name: str = "image") -> bytes:
    """Read or encode an image as the bytes of a file.

    Args:
        image: path of a file, its bytes, the file opened in binary mode, a Pillow image, or an array or tensor
            (height, width) or (height, width, channels) of uint8 or uint16 with 1 to 4 channels: grey, grey and alpha,
            RGB, RGBA.
        name: name of the image in errors.

    Raises:
        TypeError: the image is none of these.
        ValueError: the array has another shape or dtype, or the file is empty.
        OSError: the file cannot be read.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | PathLike):
        return _read_path(image, name)
    if isinstance(image, np.ndarray):
        return encode_png(image, name)
    if isinstance(image, PillowImage):
        return _from_pillow(image)
    if isinstance(image, BinaryFile):
        return _read_file(image, name)
    if isinstance(image, ArrayLike):
        return encode_png(_to_array(image), name)
    hint = f": give an array, np.asarray({name}, dtype=np.uint8)" if isinstance(image, list | tuple) else ""
    raise TypeError(
        f"{name} must be a path, an open file, bytes, an array or a Pillow image, not {type(image).__name__}{hint}"
    )


def _read_path(path: str | PathLike[str], name: str) -> bytes:
    text = os.fspath(path)
    if text.startswith("data:"):
        raise ValueError(f"{name} is a data: URL: give the bytes, base64.b64decode(url.partition(',')[2])")
    if text.startswith(("http://", "https://")):
        raise ValueError(f"{name} is an address: nothing is fetched; give the bytes of the file")
    return Path(path).read_bytes()


def _read_file(file: BinaryFile, name: str) -> bytes:
    try:
        data: Any = file.read()
    except UnicodeDecodeError as error:
        raise TypeError(f"{name} is a file opened as text: open it with mode 'rb'") from error
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"{name} is a file that gives {type(data).__name__}: open it with mode 'rb'")
    if not data:
        raise ValueError(f"{name} is a file without further bytes: it is empty, or was read before")
    return bytes(data)


def _to_array(image: Any) -> np.ndarray:
    """Convert a tensor, on whatever device and with or without a gradient, or what NumPy reads as an array."""
    if hasattr(image, "detach") and hasattr(image, "cpu"):
        image = image.detach().cpu()
    try:
        return np.asarray(image)
    except TypeError:  # a type that NumPy does not have, such as bfloat16
        return np.asarray(image.float())


def _from_pillow(image: PillowImage) -> bytes:
    buffer = io.BytesIO()
    exif = image.getexif()  # holds the orientation, which the service applies
    drawable = image if image.mode in _PNG_MODES else image.convert("RGB")
    drawable.save(buffer, format="PNG", exif=exif)
    return buffer.getvalue()


def encode_png(array: np.ndarray, name: str = "image") -> bytes:
    """Encode an array as a PNG file, lossless.

    Raises:
        ValueError: the array has another shape or dtype than :func:`encode_image` takes.
    """
    pixels = array[:, :, None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOUR_TYPES or 0 in pixels.shape:
        raise ValueError(
            f"{name}: an array must be (height, width) or (height, width, 1 to 4), not {array.shape}"
            f"{_shape_remedy(array.shape, name)}"
        )
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{name}: an array must be uint8 or uint16, not {array.dtype}{_dtype_remedy(array, name)}"
        )
    height, width, channels = pixels.shape
    depth = pixels.dtype.itemsize
    rows = np.ascontiguousarray(pixels, dtype=f">u{depth}").view(np.uint8).reshape(height, -1)
    # Filter 0, none, before each row.
    filtered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8 * depth, _COLOUR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), 3)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _shape_remedy(shape: tuple[int, ...], name: str) -> str:
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return f": it looks like (channels, height, width): transpose it, {name}.transpose(1, 2, 0)"
    if len(shape) == 4 and shape[0] == 1:
        return f": it looks like a batch of one image: take {name}[0]"
    if len(shape) == 4:
        return f": it looks like a batch of {shape[0]} images: give them to explain_batch"
    return ""


def _dtype_remedy(array: np.ndarray, name: str) -> str:
    """The way to a type that PNG has, from the range of the values."""
    if array.dtype.kind not in "biuf":
        return ""
    if array.dtype == np.bool_:
        return f": give {name} * np.uint8(255)"
    least, most = float(array.min()), float(array.max())
    text = f": it holds {least:.4g} to {most:.4g}"
    if array.dtype.kind == "f" and least >= 0 and most <= 1:
        return f"{text}; give np.rint({name} * 255).astype(np.uint8)"
    if least >= 0 and most <= 255:
        return f"{text}; give np.rint({name}).astype(np.uint8)"
    return f"{text}; scale it to 0 to 255 before, and give it without the model's mean and std"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
