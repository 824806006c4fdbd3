"""Operators of an ONNX file, read without the package ``onnx``, and whether each has a derivative here.

A model says whether it has gradients when it is loaded, where neither ``onnx`` nor weights should come into memory:
names of operators and of their tensors are enough for that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from wavescope.models.onnx.messages import content, fields, varint

OLDEST_OPSET = 11  # Slice, Pad and Clip take numbers as inputs

# Operators whose rule is in :mod:`wavescope.models.onnx.gradient_rules`; a test compares them.
DIFFERENTIABLE: Final = frozenset({
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Conv", "Div", "Dropout", "Erf", "Exp",
    "Expand", "Flatten", "Gather", "Gelu", "Gemm", "GlobalAveragePool", "HardSigmoid", "HardSwish", "Identity",
    "LayerNormalization", "LeakyRelu", "MatMul", "MaxPool", "Mul", "Neg", "Pad", "Pow", "ReduceMean", "ReduceSum",
    "Relu", "Reshape", "Sigmoid", "Slice", "Softmax", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze",
})  # fmt: skip
# Operators whose output has no derivative: numbers of pixels, and indices.
CONSTANT: Final = frozenset({"Shape", "Size", "ArgMax", "ArgMin", "ConstantOfShape"})
# Operators with graphs of their own, which take tensors that are not among their inputs.
_WITH_GRAPHS: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})

# Numbers of fields in onnx.proto.
_MODEL_GRAPH, _MODEL_OPSET = 7, 8
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_GRAPH_NODE = 1
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR, _NODE_DOMAIN = 1, 2, 4, 7


class NoGradientError(Exception):
    """A graph has no gradient by the rules here; the text says what stands against it."""


class Step(Protocol):
    """A node of a graph: its operator, and names of the tensors that it takes and gives."""

    @property
    def op(self) -> str: ...

    @property
    def inputs(self) -> tuple[str, ...]: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Operator:
    """A node of a file's graph: what :class:`Step` has, and nothing else."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def qualified(domain: str, name: str) -> str:
    """Name of an operator, after that of its domain where it is none of ONNX's own.

    Example:
        >>> qualified("", "Conv"), qualified("com.microsoft", "QLinearAdd")
        ('Conv', 'com.microsoft.QLinearAdd')
    """
    return name if is_onnx(domain) else f"{domain}.{name}"


def is_onnx(domain: str) -> bool:
    """Whether a domain is that of ONNX's own operators, which has two names."""
    return domain in ("", "ai.onnx")


def active_tensors(steps: Iterable[Step], images: str) -> set[str]:
    """Names of tensors that depend on the images; nodes are in an order in which they can be computed."""
    active = {images}
    for step in steps:
        if step.op in _WITH_GRAPHS or (
            step.op not in CONSTANT and any(name in active for name in step.inputs)
        ):
            active.update(name for name in step.outputs if name)
    return active


def check_operators(steps: Iterable[Step], *, opset: int, images: str, scores: str) -> None:
    """Check that operators between images and scores have rules, by their names alone.

    Args:
        steps: all nodes, in order.
        opset: version of ONNX's own operators.
        images, scores: names of the input and of the output.

    Raises:
        NoGradientError: with the first that has none.
    """
    steps = list(steps)
    active = active_tensors(steps, images)
    if scores not in active:
        raise NoGradientError("its scores do not depend on the images by differentiable operators")
    for step in steps:
        if step.op not in DIFFERENTIABLE and any(name in active for name in step.outputs):
            raise NoGradientError(f"the operator {step.op} has no rule")
    if opset < OLDEST_OPSET:
        raise NoGradientError(f"it is of opset {opset}, and gradients are made from {OLDEST_OPSET} on")


def read_operators(path: Path) -> tuple[list[Operator], int]:
    """The nodes of a file's graph in order, and the version of ONNX's own operators.

    Args:
        path: of the ONNX file, of which weights are passed over.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no ONNX file, or is cut off.
    """
    operators: list[Operator] = []
    opset = 1
    with path.open("rb") as file:
        for number, _, start, stop in fields(file, 0, path.stat().st_size):
            if number == _MODEL_GRAPH:
                operators += [
                    _operator(file, first, last)
                    for field, _, first, last in fields(file, start, stop)
                    if field == _GRAPH_NODE
                ]
            elif number == _MODEL_OPSET:
                opset = max(opset, _opset(file, start, stop))
    return operators, opset


def _operator(file: BinaryIO, begin: int, end: int) -> Operator:
    found: dict[int, list[str]] = {
        number: [] for number in (_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR, _NODE_DOMAIN)
    }
    for number, _, start, stop in fields(file, begin, end):
        if number in found:
            found[number].append(content(file, start, stop).decode("utf-8", "replace"))
    name, domain = ("".join(found[number][-1:]) for number in (_NODE_OPERATOR, _NODE_DOMAIN))
    return Operator(qualified(domain, name), tuple(found[_NODE_INPUT]), tuple(found[_NODE_OUTPUT]))


def _opset(file: BinaryIO, begin: int, end: int) -> int:
    """Version in an entry of ONNX's own operators; 0 of another domain."""
    domain, version = "", 0
    for number, _, start, stop in fields(file, begin, end):
        if number == _OPSET_DOMAIN:
            domain = content(file, start, stop).decode("utf-8", "replace")
        elif number == _OPSET_VERSION:
            version, _ = varint(content(file, start, stop), 0)
    return version if is_onnx(domain) else 0
