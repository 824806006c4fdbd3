"""Tensors as the Open Inference Protocol has them: images in, numbers out, as bytes or as lists."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wavescope.errors import InvalidRequest
from wavescope.ingress.kserve.pixels import encode_pixels, numbers

PIXELS, BYTES = "UINT8", "BYTES"
MAX_LENGTH = 2**31 - 1
_CHANNELS = (3, 1)  # of RGB and of grey pixels
# Little-endian, as the protocol has them.
DTYPES = {"BOOL": "|b1", "UINT8": "|u1", "INT32": "<i4", "INT64": "<i8", "FP32": "<f4", "FP64": "<f8"}
_DATATYPES = {np.dtype(dtype).str: name for name, dtype in DTYPES.items()}
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Header:
    """Name, datatype and shape of an input tensor.

    Attributes:
        name: such as ``image``.
        datatype: ``BYTES`` or ``UINT8``.
        shape: (n,) or (n, 1) encoded files, or pixels, RGB or grey: (n, height, width, 3 or 1), or
            (n, 3 or 1, height, width) where the last axis cannot be channels.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Raises :class:`InvalidRequest`: it is none that an image can have."""
        shown = self.name[:64]
        if self.datatype not in (BYTES, PIXELS):
            raise InvalidRequest(
                f"input {shown} must have the datatype BYTES (encoded files) or UINT8 (RGB pixels), "
                f"not {self.datatype[:32]!r}",
                field=shown,
                supported=[BYTES, PIXELS],
            )
        if not all(1 <= length <= MAX_LENGTH for length in self.shape):
            raise InvalidRequest(
                f"input {shown} must have a shape of lengths from 1 to {MAX_LENGTH}",
                field=shown,
                minimum=1,
                maximum=MAX_LENGTH,
            )
        if not self._fits():
            wanted = (
                "[n] or [n, 1]"
                if self.datatype == BYTES
                else "[n, height, width, 3] or [n, 3, height, width]"
            )
            hint = ""
            if (
                self.datatype == PIXELS
                and len(self.shape) == 3
                and {self.shape[0], self.shape[2]} & {*_CHANNELS}
            ):
                hint = f": give the axis of the batch as well, {[1, *self.shape]}"
            raise InvalidRequest(
                f"input {shown} of datatype {self.datatype} must have the shape {wanted}, not {list(self.shape[:8])}"
                f"{hint}",
                field=shown,
            )

    def _fits(self) -> bool:
        if self.datatype == BYTES:
            return len(self.shape) == 1 or (len(self.shape) == 2 and self.shape[1] == 1)
        return len(self.shape) == 4 and (self.shape[3] in _CHANNELS or self.shape[1] in _CHANNELS)

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)


def images_from_raw(header: Header, raw: bytes) -> tuple[bytes, ...]:
    """The encoded images in the binary form of a tensor.

    Raises:
        InvalidRequest: it has not the length that its shape asks for.
    """
    if header.datatype == PIXELS:
        if len(raw) != header.size:
            raise _wrong_size(header, f"{header.size} bytes", f"{len(raw)}")
        return encode_batch(np.frombuffer(raw, np.uint8).reshape(header.shape))
    images: list[bytes] = []
    offset = 0
    while offset + _LENGTH.size <= len(raw) and len(images) < header.size:
        (length,) = _LENGTH.unpack_from(raw, offset)
        offset += _LENGTH.size
        images.append(raw[offset : offset + length])
        offset += length
    if len(images) != header.size or offset != len(raw):
        raise _wrong_size(header, f"{header.size} files, each after its length in 4 bytes", "something else")
    return tuple(images)


def images_from_list(header: Header, elements: Sequence[Any]) -> tuple[bytes, ...]:
    """The encoded images in a list of elements.

    Args:
        header: of the tensor.
        elements: files in ``bytes``, or pixels as integers 0..255; flat, nested as the shape is, or nested with axes of
            length 1 left out and neighbouring axes in one, which is the same order.

    Raises:
        InvalidRequest: they are too few, too many or of another type.
    """
    if header.datatype == BYTES:
        files = tuple(flat(elements))
        if len(files) != header.size:
            raise _wrong_size(header, f"{header.size} files", f"{len(files)}")
        return files
    array = numbers(elements, header.name)
    if array.dtype.kind != "i":
        raise InvalidRequest(f"input {header.name} of datatype UINT8 must hold integers", field=header.name)
    if array.size != header.size:
        raise _wrong_size(header, f"{header.size} integers", f"{array.size}")
    if not _steps(array.shape) <= _steps(header.shape):
        raise _wrong_size(
            header,
            f"its {header.size} integers flat, or in lists nested as the shape is",
            f"nested as {list(array.shape)}",
        )
    if array.min() < 0 or array.max() > 255:
        raise InvalidRequest(
            f"input {header.name} of datatype UINT8 must hold integers from 0 to 255",
            field=header.name,
            maximum=255,
        )
    return encode_batch(array.astype(np.uint8).reshape(header.shape))


def _steps(shape: tuple[int, ...]) -> set[int]:
    """The numbers of elements that steps along the axes pass over: a shape that merges axes of another has fewer."""
    return {math.prod(shape[axis:]) for axis in range(len(shape) + 1)}


def flat(elements: Sequence[Any]) -> list[Any]:
    """The elements of lists in lists, one level deep at most."""
    found: list[Any] = []
    for element in elements:
        if isinstance(element, list):
            found.extend(element)
        else:
            found.append(element)
    return found


def encode_batch(pixels: np.ndarray) -> tuple[bytes, ...]:
    """The encoded images of pixels, with their channels in the last axis, else in the second."""
    if pixels.shape[3] not in _CHANNELS:
        pixels = pixels.transpose(0, 2, 3, 1)
    return tuple(encode_pixels(np.ascontiguousarray(image)) for image in pixels)


def _wrong_size(header: Header, wanted: str, found: str) -> InvalidRequest:
    return InvalidRequest(
        f"input {header.name} of shape {list(header.shape)} must hold {wanted}, not {found}",
        field=header.name,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """A tensor of a reply.

    Attributes:
        name: such as ``spatial_wcam``.
        content: an array of a datatype of the protocol, or one text per image.
    """

    name: str
    content: np.ndarray | tuple[str, ...]

    @property
    def datatype(self) -> str:
        return BYTES if isinstance(self.content, tuple) else datatype_of(self.content)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.content),) if isinstance(self.content, tuple) else self.content.shape

    def raw(self) -> bytes:
        """The binary form: row-major, little-endian; each text after its length in 4 bytes."""
        if isinstance(self.content, tuple):
            encoded = [text.encode("utf-8") for text in self.content]
            return b"".join(_LENGTH.pack(len(text)) + text for text in encoded)
        return np.ascontiguousarray(self.content, dtype=DTYPES[self.datatype]).tobytes()

    def listed(self) -> list[Any]:
        """The elements, flat: numbers or text."""
        return list(self.content) if isinstance(self.content, tuple) else self.content.ravel().tolist()


def datatype_of(array: np.ndarray) -> str:
    """The protocol's name of an array's type."""
    return _DATATYPES[array.dtype.newbyteorder("<").str]
