"""The graph of an ONNX file without its weights, so that a model of gigabytes is looked through in megabytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import onnx

# Of a tensor's content that is kept: shapes, axes, bounds. Weights are larger.
KEPT_BYTES = 2**12

# Numbers of fields in onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_TENSOR_NAMED = (1, 2, 8)  # dims, data_type, name
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def read_skeleton(path: Path, *, kept_bytes: int = KEPT_BYTES) -> onnx.ModelProto:
    """The model in a file, whose larger initializers have a name, a type and a shape, and no content.

    Args:
        path: of the ONNX file.
        kept_bytes: the largest initializer whose content is kept.

    Raises:
        ValueError: it is no ONNX file, or is cut off.
    """
    model = onnx.ModelProto()
    with path.open("rb") as file:
        size = path.stat().st_size
        for number, head, start, stop in _fields(file, 0, size):
            if number == _MODEL_GRAPH:
                _read_graph(file, model.graph, start, stop, kept_bytes)
            else:
                model.MergeFromString(head + _bytes(file, start, stop))
    return model


def _read_graph(file: BinaryIO, graph: onnx.GraphProto, begin: int, end: int, kept_bytes: int) -> None:
    for number, head, start, stop in _fields(file, begin, end):
        if number != _GRAPH_INITIALIZER or stop - start <= kept_bytes:
            graph.MergeFromString(head + _bytes(file, start, stop))
            continue
        tensor = graph.initializer.add()
        for field, mark, first, last in _fields(file, start, stop):
            if field in _TENSOR_NAMED:
                tensor.MergeFromString(mark + _bytes(file, first, last))


def _fields(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[int, bytes, int, int]]:
    """(number, bytes before its content, where the content begins and ends) of the fields of a message, in order."""
    at = begin
    while at < end:
        file.seek(at)
        head = file.read(min(20, end - at))
        key, used = _varint(head, 0)
        wire = key & 7
        if wire == _LENGTH:
            length, used = _varint(head, used)
        elif wire == _VARINT:
            length = _varint(head, used)[1] - used
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"no protocol buffer: a field of type {wire}")
        start = at + used
        at = start + length
        if at > end:
            raise ValueError("the file is cut off")
        yield key >> 3, head[:used], start, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
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


def _bytes(file: BinaryIO, start: int, stop: int) -> bytes:
    file.seek(start)
    return file.read(stop - start)
