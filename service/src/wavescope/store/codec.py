"""Codec of frozen dataclasses: to bytes and back, exact to the bit; decoding cannot run code.

A value is encoded by the type hints of its class: nested dataclasses, tuples, ``dict[str, X]``, ``Literal``, optional
values, numbers, text, bytes and NumPy arrays; below ``Any`` there are JSON values alone. The container is

    magic (4) · version (1) · CRC-32 of all that follows (4) · length of the header (4) · header · blobs

The header is JSON: the value, with a reference in place of every array and byte string, and for each blob its length
and whether it is deflated. A class may gain fields with defaults: older data get the defaults. It
may lose fields that its ``FORMER_FIELDS`` names: in older data they are passed over.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import struct
import types
import typing
import zlib
from collections.abc import Iterator
from typing import Any, Literal, TypeVar, Union

import numpy as np

ValueT = TypeVar("ValueT")

MAGIC = b"wvsc"
VERSION = 1
_PREFIX = struct.Struct("<4sBI")  # magic, version, CRC-32
_LENGTH = struct.Struct("<I")  # of the header

# An explanation of a 224-pixel photograph is 1.2 MB of arrays, of which level 1 leaves a quarter in 7 ms. Higher levels
# take longer and leave as much; chunks of scores are too small to bother.
_DEFLATE_FROM_BYTES = 4096
_DEFLATE_LEVEL = 1

_DTYPE = re.compile(r"[<>|][biufc]\d{1,2}")
_SCALARS = (bool, int, float, str, bytes)
_BOTH_UNIONS = (Union, types.UnionType)


def encode(value: object, hint: Any = None) -> bytes:
    """Encode a value as bytes.

    Args:
        value: instance of a dataclass, or of ``hint``.
        hint: type to encode it as; ``None`` for its class, ``tuple[Explanation, ...]`` for several.

    Raises:
        TypeError: a part of it does not have the hinted type, or has a type that the codec does not support.

    Example:
        >>> decode(encode((1, 2.5), tuple[int, float]), tuple[int, float])
        (1, 2.5)
    """
    blobs: list[bytes] = []
    table: list[list[Any]] = []
    packed = _pack(value, hint or type(value), blobs, table)
    header = json.dumps([packed, table], separators=(",", ":")).encode()
    rest = b"".join([_LENGTH.pack(len(header)), header, *blobs])
    return _PREFIX.pack(MAGIC, VERSION, zlib.crc32(rest)) + rest


def decode(data: bytes, hint: type[ValueT]) -> ValueT:
    """Decode a value from the bytes of :func:`encode`; its arrays are writable.

    The memory it takes is at most a thousand times the size of ``data``, the largest ratio of deflate.

    Args:
        data: bytes that ``encode`` returned.
        hint: type that the value was encoded as.

    Raises:
        ValueError: the bytes are not such a value.
    """
    try:
        packed, blobs = _open(data)
        return _unpack(packed, hint, blobs)
    except RecursionError:
        raise _invalid("it is nested too deeply") from None


def _invalid(reason: str) -> ValueError:
    return ValueError(f"these bytes are not a stored value: {reason}")


# ---- container -------------------------------------------------------------------------------------------------------
class _Blobs:
    """Blobs by number; each can be taken once, so that a short header cannot multiply one of them."""

    def __init__(self, parts: list[tuple[bytes, bool]]) -> None:
        self._parts = dict(enumerate(parts))

    def take(self, reference: Any, size: int | None = None) -> bytes:
        """Take a blob: as it is, or, with a ``size``, inflated to that many bytes."""
        if type(reference) is not int or reference not in self._parts:
            raise _invalid(f"it has no blob {reference!r} left")
        blob, deflated = self._parts.pop(reference)
        if deflated and size is not None:
            blob = _inflate(blob, size)
        if size is not None and len(blob) != size:
            raise _invalid(f"blob {reference} has {len(blob)} bytes instead of {size}")
        return blob


def _inflate(blob: bytes, size: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        # One byte more than the size suffices to detect too many.
        return inflater.decompress(blob, size + 1)
    except (zlib.error, OverflowError) as error:
        raise _invalid("a blob cannot be inflated") from error


def _open(data: bytes) -> tuple[Any, _Blobs]:
    """Open a container: the packed value and the blobs."""
    start = _PREFIX.size + _LENGTH.size
    if len(data) < start:
        raise _invalid(f"{len(data)} bytes are too few")
    magic, version, check = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise _invalid(f"they begin with {bytes(magic)!r}")
    if version != VERSION:
        raise _invalid(f"they are of version {version}, and only version {VERSION} is known")
    if zlib.crc32(memoryview(data)[_PREFIX.size :]) != check:
        raise _invalid("the check sum is wrong")
    stop = start + _LENGTH.unpack_from(data, _PREFIX.size)[0]
    try:
        header = json.loads(data[start:stop])
    except ValueError as error:
        raise _invalid("the header is not JSON") from error
    match header:
        case [packed, [*table]] if stop <= len(data):
            return packed, _Blobs(list(_cut(memoryview(data)[stop:], table)))
    raise _invalid("the header is incomplete")


def _cut(rest: memoryview, table: list[Any]) -> Iterator[tuple[bytes, bool]]:
    """Cut the blobs that follow the header: (blob, whether it is deflated)."""
    for entry in table:
        match entry:
            case [int(length), bool(deflated)] if 0 <= length <= len(rest):
                yield bytes(rest[:length]), deflated
                rest = rest[length:]
            case _:
                raise _invalid("its table of blobs is wrong")
    if rest:
        raise _invalid(f"{len(rest)} bytes are left over")


# ---- types -----------------------------------------------------------------------------------------------------------
@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Get the type hints of a dataclass by field, in order."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _is_array(hint: Any) -> bool:
    # jaxtyping's annotations are classes that name the array's class and its shape.
    return hint is np.ndarray or getattr(hint, "array_type", None) is np.ndarray


def _items(hint: Any, length: int) -> tuple[Any, ...] | None:
    """Get the hints of a tuple's items; ``None`` if the hint does not allow so many."""
    items = typing.get_args(hint)
    if len(items) == 2 and items[1] is Ellipsis:
        return (items[0],) * length
    return items if len(items) == length else None


def _allowed(value: Any, hint: Any) -> bool:
    """Check whether a value is one of a ``Literal``; ``True`` is not 1."""
    return any(type(value) is type(one) and value == one for one in typing.get_args(hint))


def _is_json(value: Any) -> bool:
    """Check whether a value survives JSON unchanged."""
    if type(value) is dict:
        return all(type(key) is str and _is_json(item) for key, item in value.items())
    if type(value) is list:
        return all(map(_is_json, value))
    return value is None or type(value) in (bool, int, float, str)


def _is_scalar(value: Any, hint: Any) -> bool:
    # An int where a float is asked for is right by PEP 484, and stays an int.
    return type(value) is hint or (hint is float and type(value) is int)


# ---- pack ------------------------------------------------------------------------------------------------------------
def _fits(value: Any, hint: Any) -> bool:
    """Check whether a value has the hinted type, its items aside."""
    origin = typing.get_origin(hint)
    if hint is Any:
        return _is_json(value)
    if origin is Literal:
        return _allowed(value, hint)
    if hint is None or hint is types.NoneType:
        return value is None
    if _is_array(hint):
        return type(value) is np.ndarray and _DTYPE.fullmatch(value.dtype.str) is not None
    if origin is tuple:
        return type(value) is tuple and _items(hint, len(value)) is not None
    if origin is dict:
        return type(value) is dict and all(type(key) is str for key in value)
    if dataclasses.is_dataclass(hint):
        return type(value) is hint
    return hint in _SCALARS and _is_scalar(value, hint)


def _pack(value: Any, hint: Any, blobs: list[bytes], table: list[list[Any]]) -> Any:
    """Convert a value to JSON; arrays and byte strings go to ``blobs``."""
    if isinstance(value, np.generic):
        value = value.item()
    if typing.get_origin(hint) in _BOTH_UNIONS:
        hint = next((one for one in typing.get_args(hint) if _fits(value, one)), hint)
    if not _fits(value, hint):
        raise TypeError(f"a {type(value).__name__} cannot be encoded as {hint}")
    if isinstance(value, np.ndarray):
        reference = _put(value.tobytes(), blobs, table, deflate=value.nbytes >= _DEFLATE_FROM_BYTES)
        return [value.dtype.str, list(value.shape), reference]
    if isinstance(value, bytes):
        return _put(value, blobs, table, deflate=False)  # encoded images, compressed already
    if isinstance(value, tuple):
        items = _items(hint, len(value)) or ()
        return [_pack(item, kind, blobs, table) for item, kind in zip(value, items, strict=True)]
    if dataclasses.is_dataclass(value):
        hints = _hints(type(value))
        return {name: _pack(getattr(value, name), kind, blobs, table) for name, kind in hints.items()}
    if isinstance(value, dict) and hint is not Any:
        kind = typing.get_args(hint)[1]
        return {key: _pack(item, kind, blobs, table) for key, item in value.items()}
    return value


def _put(blob: bytes, blobs: list[bytes], table: list[list[Any]], *, deflate: bool) -> int:
    """Add a blob, deflated if that makes it smaller; return its number."""
    smaller = zlib.compress(blob, _DEFLATE_LEVEL) if deflate else blob
    deflated = len(smaller) < len(blob)
    blobs.append(smaller if deflated else blob)
    table.append([len(blobs[-1]), deflated])
    return len(blobs) - 1


# ---- unpack ----------------------------------------------------------------------------------------------------------
def _unpack(packed: Any, hint: Any, blobs: _Blobs) -> Any:
    """Convert the JSON of :func:`_pack` back to a value of the hinted type."""
    origin = typing.get_origin(hint)
    if hint is Any:
        return packed
    if origin in _BOTH_UNIONS:
        return _unpack_union(packed, hint, blobs)
    if _is_array(hint):
        return _unpack_array(packed, blobs)
    if hint is bytes:
        return blobs.take(packed)
    if origin is tuple and isinstance(packed, list):
        items = _items(hint, len(packed))
        if items is not None:
            return tuple(_unpack(item, kind, blobs) for item, kind in zip(packed, items, strict=True))
    elif origin is dict and isinstance(packed, dict):
        kind = typing.get_args(hint)[1]
        return {key: _unpack(item, kind, blobs) for key, item in packed.items()}
    elif dataclasses.is_dataclass(hint) and isinstance(packed, dict):
        return _unpack_dataclass(packed, typing.cast("type", hint), blobs)
    elif _fits(packed, hint):
        return packed
    raise _invalid(f"a {type(packed).__name__} is in the place of {hint}")


def _unpack_union(packed: Any, hint: Any, blobs: _Blobs) -> Any:
    if packed is None and types.NoneType in typing.get_args(hint):
        return None
    reason = _invalid(f"nothing of {hint} is there")
    for one in typing.get_args(hint):
        if one is not types.NoneType:
            try:
                return _unpack(packed, one, blobs)
            except ValueError as error:
                reason = error
    raise reason


def _unpack_dataclass(packed: dict[str, Any], cls: type, blobs: _Blobs) -> Any:
    hints = _hints(cls)
    former: frozenset[str] = getattr(cls, "FORMER_FIELDS", frozenset())
    unknown = packed.keys() - hints.keys() - former
    if unknown:
        raise _invalid(f"{cls.__name__} has no field {min(unknown)!r}")
    fields = {name: _unpack(item, hints[name], blobs) for name, item in packed.items() if name in hints}
    try:
        return cls(**fields)
    except TypeError as error:
        raise _invalid(f"no {cls.__name__} can be made of its fields") from error


def _unpack_array(packed: Any, blobs: _Blobs) -> np.ndarray:
    match packed:
        case [str(name), [*shape], reference] if _DTYPE.fullmatch(name):
            pass
        case _:
            raise _invalid(f"a {type(packed).__name__} is in the place of an array")
    try:
        dtype = np.dtype(name)
    except TypeError as error:
        raise _invalid(f"no array is of type {name}") from error
    if not all(type(side) is int and side >= 0 for side in shape):
        raise _invalid("the shape of an array is wrong")
    size = dtype.itemsize * functools.reduce(int.__mul__, shape, 1)
    blob = blobs.take(reference, size)
    try:
        # A copy is aligned and writable.
        return np.frombuffer(blob, dtype).reshape(shape).copy()
    except (ValueError, OverflowError) as error:
        raise _invalid("the shape of an array is wrong") from error
