"""The graph of an ONNX file without its weights, so that a model of gigabytes is looked through in megabytes."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import onnx

from wavescope.models.onnx.messages import content, fields

# Of a tensor's content that is kept: shapes, axes, bounds. Weights are larger.
KEPT_BYTES = 2**12

# Numbers of fields in onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_TENSOR_NAMED = (1, 2, 8)  # dims, data_type, name


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
        for number, head, start, stop in fields(file, 0, size):
            if number == _MODEL_GRAPH:
                _read_graph(file, model.graph, start, stop, kept_bytes)
            else:
                model.MergeFromString(head + content(file, start, stop))
    return model


def _read_graph(file: BinaryIO, graph: onnx.GraphProto, begin: int, end: int, kept_bytes: int) -> None:
    for number, head, start, stop in fields(file, begin, end):
        if number != _GRAPH_INITIALIZER or stop - start <= kept_bytes:
            graph.MergeFromString(head + content(file, start, stop))
            continue
        tensor = graph.initializer.add()
        for field, mark, first, last in fields(file, start, stop):
            if field in _TENSOR_NAMED:
                tensor.MergeFromString(mark + content(file, first, last))
