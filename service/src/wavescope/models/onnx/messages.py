"""Messages of protocol buffers in a file, read field by field, without the classes of their definition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def fields(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[int, bytes, int, int]]:
    """(number, bytes before its content, where the content begins and ends) of the fields of a message, in order.

    Args:
        file: seekable; contents are passed over unread.
        begin, end: positions of the message in the file.

    Raises:
        ValueError: it is no protocol buffer, or is cut off.
    """
    at = begin
    while at < end:
        file.seek(at)
        head = file.read(min(20, end - at))
        key, used = varint(head, 0)
        wire = key & 7
        if wire == _LENGTH:
            length, used = varint(head, used)
        elif wire == _VARINT:
            length = varint(head, used)[1] - used
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"no protocol buffer: a field of type {wire}")
        start = at + used
        at = start + length
        if at > end:
            raise ValueError("the file is cut off")
        yield key >> 3, head[:used], start, at


def varint(data: bytes, at: int) -> tuple[int, int]:
    """(number, position behind it) of a number of seven bits a byte."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("no protocol buffer: a number without end")


def content(file: BinaryIO, start: int, stop: int) -> bytes:
    """The bytes of a field from ``start`` to ``stop``."""
    file.seek(start)
    return file.read(stop - start)
