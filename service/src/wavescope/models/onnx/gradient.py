"""The gradient of an ONNX classifier as a second ONNX graph, by reverse-mode differentiation of its nodes.

ONNX Runtime's own gradient builder is in its training build alone, which is no longer published; ONNX's ``Gradient``
operator has no kernel; other libraries convert the graph to torch first, or (onnx-ad 0.2, onnax 0.1) are experiments.
So the nodes are gone through from the
scores back to the images, and each adds the nodes of its derivative by the table in
:mod:`wavescope.models.onnx.gradient_rules`. No torch is needed, and no weight is read: the new nodes refer to the
initializers of the file by name, and what is made is appended to the file's own bytes, which is how messages of
protocol buffers are merged.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, shape_inference

from wavescope.models.onnx.backward import ROWS, Graph, Node, Shape, batch_free
from wavescope.models.onnx.gradient_rules import RULES
from wavescope.models.onnx.operators import NoGradientError, active_tensors, check_operators
from wavescope.models.onnx.skeleton import read_skeleton

WEIGHTS = "wavescope_output_weights"
GRADIENT = "wavescope_image_gradient"
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


def differentiate(path: Path, *, images: str, shape: tuple[int, ...], scores: str, rows: int | None) -> bytes:
    """The gradient of the scores in an ONNX file by its images, as bytes to append to those of the file.

    The model then has one more input, ``WEIGHTS``, of the shape and type of its scores, and one more output,
    ``GRADIENT``, of the shape and type of the images: the derivatives of the sum of weights times scores.

    Args:
        path: of the file.
        images: name of the input.
        shape: of one image, in the order of the input's axes.
        scores: name of the output.
        rows: of a batch axis that is fixed; ``None`` for one that is free.

    Raises:
        NoGradientError: an operator has no rule, or a form that its rule does not cover; or the input is of integers.
    """
    try:
        model = read_skeleton(path)
    except (OSError, ValueError, DecodeError) as error:
        raise NoGradientError("the file cannot be read") from error
    kind = _prepare(model, images, (rows or ROWS, *shape))
    if kind not in _FLOATS:
        raise NoGradientError("its input is of whole numbers")
    shapes, kinds = _infer(model, rows or ROWS)
    nodes = [Node(node) for node in model.graph.node]
    graph = Graph(model, shapes, kinds, active_tensors(nodes, images))
    check_operators(nodes, opset=graph.opset, images=images, scores=scores)
    found = _backwards(graph, nodes, scores, images)
    return _serialised(graph, found, weights=kinds[scores], images=kind)


def _prepare(model: onnx.ModelProto, images: str, shape: tuple[int, ...]) -> int:
    """Fixes the shape of the input, forgets every other, and returns the input's type."""
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    for given in model.graph.input:
        if given.name == images:
            kind = given.type.tensor_type.elem_type
            given.CopyFrom(helper.make_tensor_value_info(images, kind, list(shape)))
            return kind
    raise NoGradientError(f"there is no input {images!r}")


def _infer(model: onnx.ModelProto, rows: int) -> tuple[dict[str, Shape], dict[str, int]]:
    """Shapes and types of all tensors, as far as they can be known without running the model."""
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:  # of C++: no base of its own
        raise NoGradientError("shapes of its tensors cannot be inferred") from error
    shapes: dict[str, Shape] = {}
    types: dict[str, int] = {}
    for tensor in inferred.initializer:
        shapes[tensor.name], types[tensor.name] = tuple(tensor.dims), tensor.data_type
    for info in (*inferred.input, *inferred.value_info, *inferred.output):
        kind = info.type.tensor_type
        types[info.name] = kind.elem_type
        sides = [side.dim_value if side.HasField("dim_value") else -1 for side in kind.shape.dim]
        if kind.HasField("shape") and -1 not in sides:
            shapes[info.name] = batch_free(sides, rows)
    return shapes, types


def _backwards(graph: Graph, nodes: list[Node], scores: str, images: str) -> str:
    """Adds the derivatives of all nodes between images and scores; returns the name of that by the images."""
    collected: dict[str, list[str]] = {scores: [WEIGHTS]}
    for node in reversed(nodes):
        given = [name for name in node.outputs if name in collected]
        if not given:
            continue
        if given != [node.outputs[0]]:
            raise NoGradientError(f"a further output of {node.op} is used")
        rule = RULES[node.op]
        derivatives = rule(graph, node, _total(graph, collected.pop(node.outputs[0])))
        for position, derivative in derivatives.items():
            name = node.inputs[position]
            if graph.active(name):
                collected.setdefault(name, []).append(derivative)
    return _total(graph, collected[images])


def _total(graph: Graph, derivatives: list[str]) -> str:
    found = derivatives[0]
    for other in derivatives[1:]:
        found = graph.op("Add", found, other)
    return found


def _serialised(graph: Graph, found: str, *, weights: int, images: int) -> bytes:
    addition = onnx.ModelProto()
    addition.graph.node.extend(graph.nodes)
    addition.graph.node.append(helper.make_node("Identity", [found], [GRADIENT]))
    addition.graph.initializer.extend(graph.initializers)
    addition.graph.input.append(helper.make_tensor_value_info(WEIGHTS, weights, None))
    addition.graph.output.append(helper.make_tensor_value_info(GRADIENT, images, None))
    return addition.SerializeToString()
