"""Derivatives of ONNX operators: of a node, and the derivative by its output, the derivatives by its inputs.

Each rule has the formula of the operator's documentation, differentiated. ``y`` is the output, ``dy`` the derivative by
it; derivatives are those that torch gives, at kinks too: zero at the bounds of ``Clip`` and at 0 of ``Relu``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Final

import numpy as np

from wavescope.models.onnx.backward import Graph, Node
from wavescope.models.onnx.operators import NoGradientError

# The derivatives by each input, by its position; those of inputs that do not depend on the images are left out.
Rule = Callable[[Graph, Node, str], dict[int, str]]
_REVERSED_END = -(2**31)
_SCATTER_ADDS = 16  # the first opset whose ScatterElements adds


# ---- convolution and pooling --------------------------------------------------------------------
def _windows(
    g: Graph, node: Node, kernel: tuple[int, ...]
) -> tuple[list[int], list[int], list[int], list[int], tuple[int, ...], tuple[int, ...]]:
    """(strides, dilations, pads before, pads after, lengths in, lengths out) of the axes that windows move along."""
    rank = len(kernel)
    axes = range(2, 2 + rank)
    before, after = g.fixed_shape(node.inputs[0], axes), g.fixed_shape(node.outputs[0], axes)
    strides = list(node.get("strides", [1] * rank))
    dilations = list(node.get("dilations", [1] * rank))
    pads = list(node.get("pads", [0] * 2 * rank))
    auto = node.get("auto_pad", "NOTSET")
    starts, ends = pads[:rank], pads[rank:]
    if auto.startswith("SAME"):
        for i in range(rank):
            total = max((after[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 - before[i], 0)
            less, more = total // 2, total - total // 2
            starts[i], ends[i] = (less, more) if auto == "SAME_UPPER" else (more, less)
    elif auto == "VALID":
        starts, ends = [0] * rank, [0] * rank
    return strides, dilations, starts, ends, before, after


def _conv(g: Graph, node: Node, dy: str) -> dict[int, str]:
    weights = node.inputs[1]
    if g.active(weights) or g.active(node.input(2)):
        raise NoGradientError("weights of a Conv are computed from the images")
    shape = g.fixed_shape(weights, range(len(g.shape(weights))))
    kernel = shape[2:]
    strides, dilations, starts, ends, before, after = _windows(g, node, kernel)
    groups = node.get("group", 1)
    reach = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
    if all(stride == 1 for stride in strides) and all(
        r >= max(s, e) for r, s, e in zip(reach, starts, ends, strict=True)
    ):
        # The same convolution with turned weights: ONNX Runtime has faster kernels for it than for ConvTranspose.
        pads = [r - s for r, s in zip(reach, starts, strict=True)]
        pads += [r - e for r, e in zip(reach, ends, strict=True)]
        turned = _turned(g, weights, shape, groups)
        return {0: g.op("Conv", dy, turned, pads=pads, dilations=dilations, group=groups)}
    output = [
        length - ((out - 1) * s + r + 1 - start - end)
        for length, out, s, r, start, end in zip(before, after, strides, reach, starts, ends, strict=True)
    ]
    if any(side < 0 for side in output):
        raise NoGradientError(f"the windows of {node.op} end outside its input")
    return {
        0: g.op(
            "ConvTranspose", dy, weights, strides=strides, dilations=dilations, pads=starts + ends, group=groups,
            output_padding=output, kernel_shape=list(kernel),
        )
    }  # fmt: skip


def _turned(g: Graph, weights: str, shape: tuple[int, ...], groups: int) -> str:
    """Weights with inputs and outputs of each group exchanged, and every window reversed."""
    outputs, inputs, *kernel = shape
    rank = len(kernel)
    found = weights
    if groups == 1:
        found = g.op("Transpose", found, perm=[1, 0, *range(2, 2 + rank)])
    elif not (inputs == 1 and outputs == groups):
        split = g.op("Reshape", found, g.integers([groups, outputs // groups, inputs, *kernel]))
        exchanged = g.op("Transpose", split, perm=[0, 2, 1, *range(3, 3 + rank)])
        found = g.op("Reshape", exchanged, g.integers([groups * inputs, outputs // groups, *kernel]))
    axes = [axis for axis, length in enumerate(kernel, start=2) if length > 1]
    if not axes:
        return found
    count = len(axes)
    ends = [g.integers(values) for values in ([-1] * count, [_REVERSED_END] * count, axes, [-1] * count)]
    return g.op("Slice", found, *ends)


def _average_pool(g: Graph, node: Node, dy: str) -> dict[int, str]:
    kernel = tuple(node.get("kernel_shape"))
    rank = len(kernel)
    strides, dilations, starts, ends, before, after = _windows(g, node, kernel)
    (channels,) = g.fixed_shape(node.inputs[0], [1])
    reach = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
    padded = bool(node.get("count_include_pad", 0))
    counts = []  # of pixels that each window averages, along each axis
    for i in range(rank):
        low, high = (-starts[i], before[i] + ends[i]) if padded else (0, before[i])
        places = np.arange(after[i])[:, None] * strides[i] - starts[i] + np.arange(kernel[i]) * dilations[i]
        counts.append(((places >= low) & (places < high)).sum(axis=1))
    size = functools.reduce(np.multiply, np.ix_(*counts)).astype(np.float64)
    like = node.inputs[0]
    dtype = g.dtype(like)
    weighted = g.op("Mul", dy, g.constant((1 / size)[None, None].astype(dtype)))
    ones = g.constant(np.ones((channels, 1, *kernel), dtype))
    output = [
        length - ((out - 1) * s + r + 1 - start - end)
        for length, out, s, r, start, end in zip(before, after, strides, reach, starts, ends, strict=True)
    ]
    # With ceil_mode the last windows end behind the pads: so much more is cut off.
    ends = [end + max(-side, 0) for end, side in zip(ends, output, strict=True)]
    return {
        0: g.op(
            "ConvTranspose", weighted, ones, strides=strides, dilations=dilations, pads=starts + ends,
            group=channels, output_padding=[max(side, 0) for side in output], kernel_shape=list(kernel),
        )
    }  # fmt: skip


def _max_pool(g: Graph, node: Node, dy: str) -> dict[int, str]:
    if g.opset < _SCATTER_ADDS:
        raise NoGradientError(
            f"MaxPool has a gradient from opset {_SCATTER_ADDS} on: this graph has {g.opset}"
        )
    if node.get("storage_order", 0):
        raise NoGradientError("MaxPool counts columns first")
    names = ("kernel_shape", "strides", "dilations", "pads", "auto_pad", "ceil_mode")
    attributes = {name: node.get(name) for name in names if node.get(name) is not None}
    images = node.inputs[0]
    # Places are counted over the whole batch.
    _, places = g.ops("MaxPool", images, count=2, **attributes)
    flat = g.integers([-1])
    size = g.op("Reshape", g.op("Size", images), flat)
    empty = g.op("Expand", g.number(images, 0), size)
    summed = g.op(
        "ScatterElements", empty, g.op("Reshape", places, flat), g.op("Reshape", dy, flat), reduction="add"
    )
    return {0: g.reshaped_as(summed, images)}


def _global_average(g: Graph, node: Node, dy: str) -> dict[int, str]:
    images = node.inputs[0]
    size = math.prod(g.fixed_shape(images, range(2, len(g.shape(images)))))
    return {0: g.op("Expand", g.scaled(dy, images, 1 / size), g.op("Shape", images))}


def _reduce(mean: bool) -> Rule:
    def rule(g: Graph, node: Node, dy: str) -> dict[int, str]:
        given = node.inputs[0]
        shape = g.shape(given)
        axes = node.get("axes")
        if axes is None and node.input(1):
            axes = g.known(node.input(1), f"the axes of {node.op}").tolist()
        if not axes:
            if node.get("noop_with_empty_axes", 0):
                return {0: dy}
            axes = list(range(len(shape)))
        axes = [axis % len(shape) for axis in axes]
        if mean:
            dy = g.scaled(dy, given, 1 / math.prod(g.fixed_shape(given, axes)))
        if not node.get("keepdims", 1):
            dy = g.reshaped(dy, tuple(1 if axis in axes else side for axis, side in enumerate(shape)))
        return {0: g.op("Expand", dy, g.op("Shape", given))}

    return rule


# ---- linear ----------------------------------------------------------------------------------
def _gemm(g: Graph, node: Node, dy: str) -> dict[int, str]:
    left, right = node.inputs[:2]
    transposed = node.get("transA", 0), node.get("transB", 0)
    alpha = node.get("alpha", 1.0)
    found: dict[int, str] = {}
    if g.active(left):
        if transposed[0]:
            found[0] = g.op("Gemm", right, dy, transA=transposed[1], transB=1, alpha=alpha)
        else:
            found[0] = g.op("Gemm", dy, right, transB=1 - transposed[1], alpha=alpha)
    if g.active(right):
        if transposed[1]:
            found[1] = g.op("Gemm", dy, left, transA=1, transB=transposed[0], alpha=alpha)
        else:
            found[1] = g.op("Gemm", left, dy, transA=1 - transposed[0], alpha=alpha)
    if g.active(node.input(2)):
        scaled = g.scaled(dy, node.outputs[0], node.get("beta", 1.0))
        found[2] = g.unbroadcast(scaled, g.shape(node.outputs[0]), node.input(2))
    return found


def _matmul(g: Graph, node: Node, dy: str) -> dict[int, str]:
    left, right = node.inputs
    ranks = [len(g.shape(name)) for name in node.inputs]
    if min(ranks) < 2:
        raise NoGradientError("MatMul of a vector")
    found: dict[int, str] = {}
    if g.active(left):
        product, shape = g.op("MatMul", dy, _swapped(g, right)), g.shape(left)[-2:]
        found[0] = g.unbroadcast(product, (*g.shape(node.outputs[0])[:-2], *shape), left)
    if g.active(right):
        product, shape = g.op("MatMul", _swapped(g, left), dy), g.shape(right)[-2:]
        found[1] = g.unbroadcast(product, (*g.shape(node.outputs[0])[:-2], *shape), right)
    return found


def _swapped(g: Graph, name: str) -> str:
    rank = len(g.shape(name))
    return g.op("Transpose", name, perm=[*range(rank - 2), rank - 1, rank - 2])


def _batch_normalization(g: Graph, node: Node, dy: str) -> dict[int, str]:
    images, scale, _, _, variance = node.inputs
    if node.get("training_mode", 0) or len([name for name in node.outputs if name]) > 1:
        raise NoGradientError("BatchNormalization in training mode")
    epsilon = g.number(variance, node.get("epsilon", 1e-5))
    factor = g.op("Div", scale, g.op("Sqrt", g.op("Add", variance, epsilon)))
    rank = len(g.shape(images))
    aligned = g.op("Reshape", factor, g.integers([1, -1, *[1] * (rank - 2)]))
    return {0: g.op("Mul", dy, aligned)}


def _layer_normalization(g: Graph, node: Node, dy: str) -> dict[int, str]:
    """Derivative with x' = (x - mean) / s: dx = (dx' - mean(dx') - x'·mean(dx'·x')) / s, where dx' = dy·scale."""
    given, scale = node.inputs[:2]
    shape = g.shape(given)
    axes = list(range(node.get("axis", -1) % len(shape), len(shape)))
    part = 1 / math.prod(g.fixed_shape(given, axes))

    def mean(name: str) -> str:
        return g.scaled(g.summed(name, axes), given, part)

    centred = g.op("Sub", given, mean(given))
    epsilon = g.number(given, node.get("epsilon", 1e-5))
    spread = g.op("Sqrt", g.op("Add", mean(g.op("Mul", centred, centred)), epsilon))
    normal = g.op("Div", centred, spread)
    scaled = g.op("Mul", dy, scale)
    along = g.op("Mul", normal, mean(g.op("Mul", scaled, normal)))
    return {0: g.op("Div", g.op("Sub", g.op("Sub", scaled, mean(scaled)), along), spread)}


# ---- element by element --------------------------------------------------------------------------
def _binary(derivatives: Callable[[Graph, Node, str], tuple[Callable[[], str], Callable[[], str]]]) -> Rule:
    """The rule of an operator of two inputs that are broadcast; of its derivatives before they are summed."""

    def rule(g: Graph, node: Node, dy: str) -> dict[int, str]:
        by_input = derivatives(g, node, dy)
        shape = g.shape(node.outputs[0])
        return {
            position: g.unbroadcast(make(), shape, name)
            for position, (name, make) in enumerate(zip(node.inputs, by_input, strict=True))
            if g.active(name)
        }

    return rule


def _quotient(g: Graph, node: Node, dy: str) -> tuple[Callable[[], str], Callable[[], str]]:
    def by_divisor() -> str:
        return g.op("Neg", g.op("Div", g.op("Mul", dy, node.outputs[0]), node.inputs[1]))

    return lambda: g.op("Div", dy, node.inputs[1]), by_divisor


def _sum(g: Graph, node: Node, dy: str) -> dict[int, str]:
    shape = g.shape(node.outputs[0])
    return {i: g.unbroadcast(dy, shape, name) for i, name in enumerate(node.inputs) if g.active(name)}


def _power(g: Graph, node: Node, dy: str) -> dict[int, str]:
    base, exponent = node.inputs
    value = g.known(exponent, "the exponent of Pow")
    if value.size != 1:
        raise NoGradientError("Pow with several exponents")
    power = float(value.reshape(()))
    if power == 2:
        return {0: g.op("Mul", dy, g.scaled(base, base, 2.0))}
    return {0: g.op("Mul", dy, g.scaled(g.op("Pow", base, g.number(base, power - 1)), base, power))}


def _unary(derivative: Callable[[Graph, Node], str]) -> Rule:
    """The rule of an operator of one input, of its derivative."""
    return lambda g, node, dy: {0: g.op("Mul", dy, derivative(g, node))}


def _relu(g: Graph, node: Node, dy: str) -> dict[int, str]:
    y = node.outputs[0]
    return {0: _where(g, dy, y, g.op("Greater", y, g.number(y, 0)))}


def _where(g: Graph, dy: str, like: str, condition: str) -> str:
    """``dy`` where the condition holds, else 0. By a product: ONNX Runtime's own Where takes five times as long."""
    return g.op("Mul", dy, g.op("Cast", condition, to=g.type(like)))


def _clip(g: Graph, node: Node, dy: str) -> dict[int, str]:
    y = node.outputs[0]
    conditions: list[str] = []
    for position, name, compare in ((1, "min", "Greater"), (2, "max", "Less")):
        bound = node.input(position)
        if g.active(bound):
            raise NoGradientError("bounds of a Clip are computed from the images")
        if not bound and node.get(name) is not None:
            bound = g.number(y, node.get(name))
        if bound:
            conditions.append(g.op(compare, y, bound))
    if len(conditions) == 2:
        conditions = [g.op("And", *conditions)]
    return {0: _where(g, dy, y, conditions[0]) if conditions else dy}


def _leaky_relu(g: Graph, node: Node, dy: str) -> dict[int, str]:
    x = node.inputs[0]
    slope = g.scaled(dy, x, node.get("alpha", 0.01))
    return {0: g.op("Where", g.op("Greater", x, g.number(x, 0)), dy, slope)}


def _sigmoid(g: Graph, node: Node) -> str:
    y = node.outputs[0]
    return g.op("Mul", y, g.op("Sub", g.number(y, 1), y))


def _between(g: Graph, y: str) -> str:
    inside = g.op("And", g.op("Greater", y, g.number(y, 0)), g.op("Less", y, g.number(y, 1)))
    return g.op("Cast", inside, to=g.type(y))


def _hard_sigmoid(g: Graph, node: Node) -> str:
    y = node.outputs[0]
    return g.scaled(_between(g, y), y, node.get("alpha", 0.2))


def _hard_swish(g: Graph, node: Node) -> str:
    x = node.inputs[0]
    # By numbers and Clip, not HardSigmoid, which ONNX Runtime has for float32 alone.
    line = g.op("Add", g.scaled(x, x, 1 / 6), g.number(x, 0.5))
    gate = g.op("Clip", line, g.number(x, 0), g.number(x, 1))
    inside = g.op("And", g.op("Greater", line, g.number(x, 0)), g.op("Less", line, g.number(x, 1)))
    slope = g.scaled(g.op("Cast", inside, to=g.type(x)), x, 1 / 6)
    return g.op("Add", gate, g.op("Mul", x, slope))


def _tanh(g: Graph, node: Node) -> str:
    y = node.outputs[0]
    return g.op("Sub", g.number(y, 1), g.op("Mul", y, y))


def _gauss(g: Graph, x: str, width: float, height: float) -> str:
    """height · exp(-x² / width)."""
    return g.scaled(g.op("Exp", g.scaled(g.op("Mul", x, x), x, -1 / width)), x, height)


def _erf(g: Graph, node: Node) -> str:
    return _gauss(g, node.inputs[0], 1.0, 2 / math.sqrt(math.pi))


def _gelu(g: Graph, node: Node) -> str:
    """Φ(x) + x·φ(x)."""
    x = node.inputs[0]
    if node.get("approximate", "none") != "none":
        raise NoGradientError("Gelu by tanh")
    half = g.scaled(g.op("Erf", g.scaled(x, x, 1 / math.sqrt(2))), x, 0.5)
    density = _gauss(g, x, 2.0, 1 / math.sqrt(2 * math.pi))
    return g.op("Add", g.op("Add", half, g.number(x, 0.5)), g.op("Mul", x, density))


def _softmax(g: Graph, node: Node, dy: str) -> dict[int, str]:
    y = node.outputs[0]
    rank = len(g.shape(y))
    axis = node.get("axis", -1 if g.opset >= 13 else 1) % rank
    if g.opset < 13 and axis != rank - 1:
        raise NoGradientError("Softmax over several axes at once")
    weighted = g.op("Mul", dy, y)
    return {0: g.op("Sub", weighted, g.op("Mul", y, g.summed(weighted, [axis])))}


# ---- shape ---------------------------------------------------------------------------------------
def _reshaped(g: Graph, node: Node, dy: str) -> dict[int, str]:
    return {0: g.reshaped_as(dy, node.inputs[0])}


def _transpose(g: Graph, node: Node, dy: str) -> dict[int, str]:
    rank = len(g.shape(node.inputs[0]))
    order = node.get("perm", list(reversed(range(rank))))
    return {0: g.op("Transpose", dy, perm=[order.index(axis) for axis in range(rank)])}


def _concat(g: Graph, node: Node, dy: str) -> dict[int, str]:
    axis = g.axis(node.outputs[0], node.get("axis"))
    found: dict[int, str] = {}
    start = 0
    for position, name in enumerate(node.inputs):
        (length,) = g.fixed_shape(name, [axis])
        if g.active(name):
            places = [g.integers([value]) for value in (start, start + length, axis)]
            found[position] = g.op("Slice", dy, *places)
        start += length
    return found


def _padded(g: Graph, dy: str, name: str, axes: dict[int, tuple[int, int]]) -> str:
    """``dy`` with zeros before and behind it along axes, in number those of tensor ``name``."""
    rank = len(g.shape(name))
    pads = [axes.get(axis, (0, 0))[side] for side in (0, 1) for axis in range(rank)]
    return g.op("Pad", dy, g.integers(pads), g.number(name, 0))


def _slice(g: Graph, node: Node, dy: str) -> dict[int, str]:
    given = node.inputs[0]
    rank = len(g.shape(given))
    starts, ends, axes, steps = (
        g.known(node.input(i), "the range of a Slice").tolist() if node.input(i) else [] for i in range(1, 5)
    )
    if set(steps) - {1}:
        raise NoGradientError("Slice with steps")
    axes = [axis % rank for axis in (axes or range(len(starts)))]
    cut: dict[int, tuple[int, int]] = {}
    for axis, start, end in zip(axes, starts, ends, strict=True):
        (length,) = g.fixed_shape(given, [axis])
        first, last, _ = slice(start, end).indices(length)
        cut[axis] = (first, length - last)
    return {0: _padded(g, dy, given, cut)}


def _gather(g: Graph, node: Node, dy: str) -> dict[int, str]:
    given = node.inputs[0]
    index = g.known(node.inputs[1], "the index of a Gather")
    if index.size != 1:
        raise NoGradientError("Gather of several indices")
    axis = g.axis(given, node.get("axis", 0))
    (length,) = g.fixed_shape(given, [axis])
    shape = g.shape(given)
    one = g.reshaped(dy, (*shape[:axis], 1, *shape[axis + 1 :]))
    place = int(index.reshape(())) % length
    return {0: _padded(g, one, given, {axis: (place, length - 1 - place)})}


def _pad(g: Graph, node: Node, dy: str) -> dict[int, str]:
    if node.get("mode", "constant") != "constant" or node.input(3):
        raise NoGradientError("Pad with anything but a constant")
    given = node.inputs[0]
    shape = g.shape(given)
    pads = g.known(node.inputs[1], "the pads of a Pad").tolist()
    rank = len(shape)
    axes = [axis for axis in range(rank) if pads[axis] or pads[axis + rank]]
    if not axes:
        return {0: dy}
    if min(pads) < 0:
        raise NoGradientError("Pad that cuts")
    lengths = g.fixed_shape(given, axes)
    starts = [pads[axis] for axis in axes]
    ends = [start + length for start, length in zip(starts, lengths, strict=True)]
    return {0: g.op("Slice", dy, g.integers(starts), g.integers(ends), g.integers(axes))}


def _expand(g: Graph, node: Node, dy: str) -> dict[int, str]:
    return {0: g.unbroadcast(dy, g.shape(node.outputs[0]), node.inputs[0])}


def _cast(g: Graph, node: Node, dy: str) -> dict[int, str]:
    return {0: g.op("Cast", dy, to=g.type(node.inputs[0]))}


def _same(g: Graph, node: Node, dy: str) -> dict[int, str]:
    del g, node
    return {0: dy}


RULES: Final[dict[str, Rule]] = {
    "Add": _sum,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Div": _binary(_quotient),
    "Dropout": _same,
    "Erf": _unary(_erf),
    "Exp": _unary(lambda g, node: node.outputs[0]),
    "Expand": _expand,
    "Flatten": _reshaped,
    "Gather": _gather,
    "Gelu": _unary(_gelu),
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "HardSigmoid": _unary(_hard_sigmoid),
    "HardSwish": _unary(_hard_swish),
    "Identity": _same,
    "LayerNormalization": _layer_normalization,
    "LeakyRelu": _leaky_relu,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Mul": _binary(
        lambda g, node, dy: (
            lambda: g.op("Mul", dy, node.inputs[1]),
            lambda: g.op("Mul", dy, node.inputs[0]),
        )
    ),
    "Neg": lambda g, node, dy: {0: g.op("Neg", dy)},
    "Pad": _pad,
    "Pow": _power,
    "ReduceMean": _reduce(mean=True),
    "ReduceSum": _reduce(mean=False),
    "Relu": _relu,
    "Reshape": _reshaped,
    "Sigmoid": _unary(_sigmoid),
    "Slice": _slice,
    "Softmax": _softmax,
    "Sqrt": lambda g, node, dy: {0: g.op("Div", g.scaled(dy, node.outputs[0], 0.5), node.outputs[0])},
    "Squeeze": _reshaped,
    "Sub": _binary(lambda g, node, dy: (lambda: dy, lambda: g.op("Neg", dy))),
    "Sum": _sum,
    "Tanh": _unary(_tanh),
    "Transpose": _transpose,
    "Unsqueeze": _reshaped,
}
