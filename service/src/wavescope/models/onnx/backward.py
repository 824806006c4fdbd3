"""The graph that gradients are written into: names, shapes and types of tensors, and the nodes added so far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from wavescope.models.onnx.operators import NoGradientError, is_onnx, qualified

# A batch of so many images is what shapes are inferred for: no other length of a classifier is a multiple of it.
ROWS = 1_000_003
Shape = tuple[int | None, ...]
_CONSTANTS = ("value", "value_float", "value_floats", "value_int", "value_ints")
_PREFIX = "wavescope_gradient_"


class Node:
    """A node of the graph, with its attributes by name."""

    def __init__(self, proto: onnx.NodeProto) -> None:
        self.op = qualified(proto.domain, proto.op_type)
        self.inputs: tuple[str, ...] = tuple(proto.input)
        self.outputs: tuple[str, ...] = tuple(proto.output)
        self._attributes = {attribute.name: attribute for attribute in proto.attribute}

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute as a number, text or list of numbers; ``default`` where it is not given."""
        found = self._attributes.get(name)
        if found is None:
            return default
        value = helper.get_attribute_value(found)
        return value.decode() if isinstance(value, bytes) else value

    def input(self, position: int) -> str:
        """Name of an input; empty where it is left out."""
        return self.inputs[position] if position < len(self.inputs) else ""


class Graph:
    """A model's graph, and the nodes that are added to it.

    Args:
        model: with at least the small initializers.
        shapes: of its tensors, where known.
        types: of its tensors, numbers of ``onnx.TensorProto``.
        active: names of tensors that depend on the images.
    """

    def __init__(
        self, model: onnx.ModelProto, shapes: dict[str, Shape], types: dict[str, int], active: set[str]
    ) -> None:
        self.opset = max((entry.version for entry in model.opset_import if is_onnx(entry.domain)), default=1)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._shapes = shapes
        self._types = types
        self._active = active
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._tensors |= {
            node.output[0]: _constant(node.attribute[0])
            for node in model.graph.node
            if node.op_type == "Constant" and node.attribute[0].name in _CONSTANTS
        }
        self._count = 0

    def active(self, name: str) -> bool:
        """Whether a tensor depends on the images."""
        return name in self._active

    def shape(self, name: str) -> Shape:
        """Shape of a tensor, ``None`` for each axis that grows with the batch.

        Raises:
            NoGradientError: it is not known.
        """
        found = self._shapes.get(name)
        if found is None:
            raise NoGradientError(f"the shape of {name!r} is not known")
        return found

    def fixed_shape(self, name: str, axes: Iterable[int]) -> tuple[int, ...]:
        """Lengths of some axes of a tensor, none of which may grow with the batch."""
        shape = self.shape(name)
        found = [shape[axis] for axis in axes]
        if None in found:
            raise NoGradientError(f"an axis of {name!r} that is pooled or convolved grows with the batch")
        return tuple(side for side in found if side is not None)

    def value(self, name: str) -> np.ndarray | None:
        """Content of a small constant; ``None`` of anything else."""
        tensor = self._tensors.get(name)
        if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
            return None
        if not self._holds(tensor):
            return None
        return numpy_helper.to_array(tensor)

    def known(self, name: str, what: str) -> np.ndarray:
        """Content of a small constant; NoGradientError, which says ``what`` it is, where it is none."""
        found = self.value(name)
        if found is None:
            raise NoGradientError(f"{what} is computed, not a constant")
        return found

    def op(self, op_type: str, *inputs: str, count: int = 1, **attributes: Any) -> str:
        """Adds a node; returns the name of its first output."""
        return self.ops(op_type, *inputs, count=count, **attributes)[0]

    def ops(self, op_type: str, *inputs: str, count: int, **attributes: Any) -> tuple[str, ...]:
        """Adds a node; returns the names of its outputs."""
        names = tuple(self._name() for _ in range(count))
        self.nodes.append(helper.make_node(op_type, list(inputs), list(names), **attributes))
        return names

    def constant(self, value: np.ndarray) -> str:
        """Adds a constant of the array's own type."""
        name = self._name()
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def integers(self, values: Sequence[int]) -> str:
        """Adds a constant of int64."""
        return self.constant(np.asarray(values, np.int64))

    def number(self, like: str, value: float) -> str:
        """Adds a number of the type of tensor ``like``."""
        return self.constant(np.asarray(value, self.dtype(like)))

    def dtype(self, name: str) -> np.dtype:
        """Element type of a tensor as NumPy's."""
        return helper.tensor_dtype_to_np_dtype(self.type(name))

    def type(self, name: str) -> int:
        """Element type of a tensor."""
        return self._types.get(name, TensorProto.FLOAT)

    def reshaped_as(self, gradient: str, name: str) -> str:
        """``gradient`` in the shape of tensor ``name``."""
        return self.op("Reshape", gradient, self.op("Shape", name))

    def reshaped(self, name: str, shape: Shape) -> str:
        """A tensor in a shape of which one axis at most grows with the batch."""
        if sum(side is None for side in shape) > 1:
            raise NoGradientError(f"two axes of {name!r} grow with the batch")
        return self.op("Reshape", name, self.integers([-1 if side is None else side for side in shape]))

    def summed(self, name: str, axes: Sequence[int]) -> str:
        """The sum over axes, which keep length 1."""
        if not axes:
            return name
        if self.opset < 13:
            return self.op("ReduceSum", name, axes=list(axes), keepdims=1)
        return self.op("ReduceSum", name, self.integers(axes), keepdims=1)

    def unbroadcast(self, gradient: str, shape: Shape, name: str) -> str:
        """``gradient`` of ``shape``, summed over the axes along which tensor ``name`` was repeated."""
        own = self.shape(name)
        if own == shape:
            return gradient
        missing = len(shape) - len(own)
        padded = (1,) * missing + own
        axes = [axis for axis, side in enumerate(padded) if side == 1 and shape[axis] != 1]
        found = self.summed(gradient, axes)
        return self.reshaped_as(found, name) if missing else found

    def scaled(self, gradient: str, like: str, factor: float) -> str:
        """``gradient`` times a number."""
        return gradient if factor == 1 else self.op("Mul", gradient, self.number(like, factor))

    def axis(self, name: str, axis: int) -> int:
        """An axis of a tensor, counted from the first."""
        return axis % max(len(self.shape(name)), 1)

    def _name(self) -> str:
        self._count += 1
        return f"{_PREFIX}{self._count}"

    @staticmethod
    def _holds(tensor: onnx.TensorProto) -> bool:
        """Whether the content was kept when the file was read."""
        if math.prod(tensor.dims) == 0:
            return True
        return bool(
            tensor.raw_data
            or tensor.float_data
            or tensor.int32_data
            or tensor.int64_data
            or tensor.double_data
            or tensor.uint64_data
        )


def _constant(attribute: onnx.AttributeProto) -> onnx.TensorProto:
    if attribute.name == "value":
        return attribute.t
    dtype = np.float32 if attribute.name.startswith("value_float") else np.int64
    return numpy_helper.from_array(np.asarray(helper.get_attribute_value(attribute), dtype))


def batch_free(shape: Sequence[int], rows: int) -> Shape:
    """A shape inferred for ``rows`` images, ``None`` for each axis that grows with them.

    >>> batch_free((1_000_003, 3, 8, 8), ROWS)
    (None, 3, 8, 8)
    """
    return tuple(None if rows == ROWS and side and side % rows == 0 else side for side in shape)
