"""Gradients of models by their pixels: ONNX graphs against finite differences and torch, torch against both."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from wavescope.engine.protocols import Differentiable
from wavescope.engine.types import Preprocessing
from wavescope.errors import ModelFailure
from wavescope.models.load import load
from wavescope.models.onnx.backend import OnnxBackend
from wavescope.models.onnx.export import build
from wavescope.models.onnx.gradient_rules import RULES
from wavescope.models.onnx.operators import DIFFERENTIABLE, check_operators, read_operators
from wavescope.models.onnx.skeleton import read_skeleton
from wavescope.models.spec import ModelSpec

SIDE = 8
CHANNELS = 4
CLASSES = 5
FLOAT = TensorProto.FLOAT
PREPROCESSING = Preprocessing(
    size=(SIDE, SIDE), resize=None, mean=(0.5,) * CHANNELS, std=(0.5, 0.25, 1.0, 2.0)
)


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(0, 0.7, shape)


def write(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, Any], **options: Any) -> Path:
    """A classifier of ``x`` (n, 4, 8, 8): the nodes to ``y``, and a linear one of all of ``y`` to five scores.

    Options: ``features``, numbers of ``y``; ``kind``, ``batch``, ``shape`` of ``x``; ``opset``; ``head=False``, where
    the nodes lead to the scores themselves.
    """
    kind = options.get("kind", FLOAT)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    batch = options.get("batch", "n")
    initializers = [
        numpy_helper.from_array(
            np.asarray(value, dtype if np.asarray(value).dtype.kind == "f" else None), name
        )
        for name, value in constants.items()
    ]
    opset = options.get("opset", 20)
    shape = (batch, *(options.get("shape") or (CHANNELS, SIDE, SIDE)))
    ending = []
    if options.get("head", True):
        features = options["features"]
        head = numpy_helper.from_array(random(features, CLASSES).astype(dtype), "head")
        initializers.append(head)
        ending = [node("Flatten", "y", "flat"), node("MatMul", "flat head", "scores")]
    graph = helper.make_graph(
        [*nodes, *ending],
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("scores", kind, [batch, CLASSES])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


def spec_of(path: Path, **fields: Any) -> ModelSpec:
    given = {"preprocessing": PREPROCESSING, "outputs": "logits", "device": "cpu"} | fields
    return ModelSpec(name="m", source=f"onnx:{path}", **given)


def opened(path: Path, **fields: Any) -> OnnxBackend:
    found = load(spec_of(path, **fields), cache_dir=Path("unused"))
    assert isinstance(found, OnnxBackend)
    return found


def images(rows: int = 3, shape: tuple[int, ...] = (CHANNELS, SIDE, SIDE)) -> np.ndarray:
    return np.random.default_rng(rows).normal(0, 1, (rows, *shape)).astype(np.float32)


def vectors(rows: int = 3) -> np.ndarray:
    return np.random.default_rng(rows + 9).normal(0, 1, (rows, CLASSES)).astype(np.float32)


def check(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, Any], **options: Any) -> None:
    """Gradients of a graph in float32 against slopes of the same in float64, by ONNX's own reference."""
    model = opened(write(path / "m.onnx", nodes, constants, **options))
    assert model.details.gradients
    rows = model.signature.input.rows or 2
    given, weights = images(rows), vectors(rows)
    outputs, gradients = model.gradients(given, weights)
    np.testing.assert_allclose(outputs, model.forward(given), rtol=1e-5, atol=1e-5)
    reference = ReferenceEvaluator(
        str(write(path / "reference.onnx", nodes, constants, kind=TensorProto.DOUBLE, **options))
    )
    expected = slopes(reference, given, weights, one_by_one=rows == 1)
    np.testing.assert_allclose(gradients, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def slopes(
    reference: ReferenceEvaluator,
    given: np.ndarray,
    weights: np.ndarray,
    *,
    one_by_one: bool,
    step: float = 1e-5,
) -> np.ndarray:
    """Central differences by pixels: each number of every image is moved by itself."""

    def scores(moved: np.ndarray) -> np.ndarray:
        parts = np.split(moved, len(moved)) if one_by_one else [moved]
        return np.concatenate([np.asarray(reference.run(None, {"x": part})[0]) for part in parts])

    found = np.empty(given.shape)
    for row, image in enumerate(given.astype(np.float64)):
        moves = step * np.eye(image.size).reshape(-1, *image.shape)
        by_number = (scores(image + moves) - scores(image - moves)) / (2 * step)
        found[row] = (by_number @ weights[row].astype(np.float64)).reshape(image.shape)
    return found / np.array(PREPROCESSING.std)[:, None, None]


FEATURES = CHANNELS * SIDE * SIDE
LINE = np.linspace(0.5, 1.5, CHANNELS)
# Nodes from x to y, the constants in them, and the numbers of y: one graph or more for every operator.
OPERATORS: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], int]] = {
    "Conv": ([node("Conv", "x w b", "y", pads=[1] * 4)], {"w": random(6, 4, 3, 3), "b": random(6)}, 6 * 64),
    "Conv strides": (
        [node("Conv", "x w", "y", pads=[1, 0, 1, 1], strides=[2, 3])],
        {"w": random(6, 4, 3, 3)},
        6 * 4 * 3,
    ),
    "Conv groups": ([node("Conv", "x w", "y", group=2)], {"w": random(6, 2, 3, 3)}, 6 * 36),
    "Conv depthwise": (
        [node("Conv", "x w", "y", group=4, pads=[2] * 4, strides=[2, 2])],
        {"w": random(4, 1, 5, 5)},
        4 * 16,
    ),
    "Conv depthwise plain": (
        [node("Conv", "x w", "y", group=4, pads=[1] * 4)],
        {"w": random(4, 1, 3, 3)},
        4 * 64,
    ),
    "Conv multiplier": ([node("Conv", "x w", "y", group=4)], {"w": random(8, 1, 3, 3)}, 8 * 36),
    "Conv dilated": ([node("Conv", "x w", "y", dilations=[2, 3], pads=[1] * 4)], {"w": random(2, 4, 3, 3)}, 2 * 24),
    "Conv same": (
        [node("Conv", "x w", "y", auto_pad="SAME_UPPER", strides=[2, 2])],
        {"w": random(2, 4, 3, 3)},
        2 * 16,
    ),
    "Conv same lower": (
        [node("Conv", "x w", "y", auto_pad="SAME_LOWER", strides=[3, 3])],
        {"w": random(2, 4, 4, 4)},
        2 * 9,
    ),
    "Conv valid": ([node("Conv", "x w", "y", auto_pad="VALID", strides=[3, 2])], {"w": random(2, 4, 2, 2)}, 24),
    "Conv pads beyond": ([node("Conv", "x w", "y", pads=[1] * 4)], {"w": random(2, 4, 1, 1)}, 200),
    "Relu": ([node("Relu", "x", "y")], {}, FEATURES),
    "LeakyRelu": ([node("LeakyRelu", "x", "y", alpha=0.2)], {}, FEATURES),
    "Clip": ([node("Clip", "x low high", "y")], {"low": np.array(-0.5), "high": np.array(0.7)}, FEATURES),
    "Clip above": ([node("Clip", "x low", "y")], {"low": np.array(-0.5)}, FEATURES),
    "Sigmoid": ([node("Sigmoid", "x", "y")], {}, FEATURES),
    "HardSigmoid": ([node("HardSigmoid", "x", "y", alpha=0.4, beta=0.3)], {}, FEATURES),
    "HardSwish": ([node("HardSwish", "x", "y")], {}, FEATURES),
    "Tanh": ([node("Tanh", "x", "y")], {}, FEATURES),
    "Exp": ([node("Exp", "x", "y")], {}, FEATURES),
    "Neg": ([node("Neg", "x", "y")], {}, FEATURES),
    "Identity": ([node("Identity", "x", "y")], {}, FEATURES),
    "Dropout": ([node("Dropout", "x", "y")], {}, FEATURES),
    "Pow": ([node("Pow", "x e", "y")], {"e": np.array(2.0)}, FEATURES),
    "Pow of three": ([node("Pow", "x e", "y")], {"e": np.array(3.0)}, FEATURES),
    "Sqrt": ([node("Exp", "x", "e"), node("Sqrt", "e", "y")], {}, FEATURES),
    "Add": ([node("Sigmoid", "x", "a"), node("Add", "a x", "b"), node("Add", "b b", "y")], {}, FEATURES),
    "Add constant": ([node("Add", "c x", "y")], {"c": random(CHANNELS, 1, 1)}, FEATURES),
    "Sum": ([node("Tanh", "x", "a"), node("Sum", "a x a", "y")], {}, FEATURES),
    "Sub": ([node("Tanh", "x", "a"), node("Sub", "a x", "y")], {}, FEATURES),
    "Mul": (
        [node("GlobalAveragePool", "x", "p"), node("Sigmoid", "p", "s"), node("Mul", "s x", "y")],
        {},
        FEATURES,
    ),
    "Mul in another rank": (
        [node("ReduceMean", "x axes", "p", keepdims=0), node("Mul", "p x", "y")],
        {"axes": np.array([0, 1])},
        FEATURES,
    ),
    "Div": ([node("Exp", "x", "e"), node("Div", "x e", "y")], {}, FEATURES),
    "GlobalAveragePool": ([node("GlobalAveragePool", "x", "y")], {}, CHANNELS),
    "ReduceMean": ([node("ReduceMean", "x axes", "y", keepdims=0)], {"axes": np.array([-1, 2])}, CHANNELS),
    "ReduceSum": ([node("ReduceSum", "x axes", "y")], {"axes": np.array([1])}, 64),
    "AveragePool": ([node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1] * 4)], {}, FEATURES),
    "AveragePool padded": (
        [
            node(
                "AveragePool", "x", "y", kernel_shape=[3, 2], pads=[1] * 4, strides=[2, 2], count_include_pad=1
            )
        ],
        {},
        4 * 4 * 5,
    ),
    "AveragePool ceil": (
        [node("AveragePool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)],
        {},
        4 * 16,
    ),
    "MaxPool": ([node("MaxPool", "x", "y", kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])], {}, 4 * 16),
    "Gemm": (
        [node("Flatten", "x", "f"), node("Gemm", "f w b", "y", alpha=0.5)],
        {"w": random(256, 6), "b": random(6)},
        6,
    ),
    "Gemm transposed": (
        [node("Flatten", "x", "f"), node("Gemm", "f w", "y", transB=1)],
        {"w": random(6, 256)},
        6,
    ),
    "MatMul": ([node("MatMul", "x w", "y")], {"w": random(SIDE, 3)}, 4 * 8 * 3),
    "MatMul of both": ([node("Tanh", "x", "a"), node("MatMul", "a x", "y")], {}, FEATURES),
    "MatMul from the left": ([node("MatMul", "w x", "y")], {"w": random(3, SIDE)}, 4 * 3 * 8),
    "Flatten": ([node("Flatten", "x", "y")], {}, FEATURES),
    "Reshape": ([node("Reshape", "x s", "a"), node("Tanh", "a", "y")], {"s": np.array([0, -1, 4])}, FEATURES),
    "Squeeze": (
        [node("GlobalAveragePool", "x", "p"), node("Squeeze", "p axes", "y")],
        {"axes": np.array([2, 3])},
        CHANNELS,
    ),
    "Unsqueeze": ([node("Unsqueeze", "x axes", "y")], {"axes": np.array([1])}, FEATURES),
    "Transpose": ([node("Transpose", "x", "a", perm=[0, 3, 1, 2]), node("Tanh", "a", "y")], {}, FEATURES),
    "BatchNormalization": (
        [node("BatchNormalization", "x s b m v", "y", epsilon=0.01)],
        {"s": LINE, "b": LINE, "m": LINE, "v": LINE},
        FEATURES,
    ),
    "LayerNormalization": (
        [node("LayerNormalization", "x s b", "y", axis=-1)],
        {"s": np.linspace(0.5, 1.5, SIDE), "b": np.zeros(SIDE)},
        FEATURES,
    ),
    "Concat": (
        [node("Tanh", "x", "a"), node("Concat", "a x c", "y", axis=-1)],
        {"c": random(1, CHANNELS, SIDE, 2)},
        4 * 8 * 18,
    ),
    "Softmax": ([node("Softmax", "x", "y", axis=1)], {}, FEATURES),
    "Slice": (
        [node("Slice", "x starts ends axes", "y")],
        {"starts": np.array([1, -3]), "ends": np.array([3, 2**60]), "axes": np.array([1, 3])},
        2 * 8 * 3,
    ),
    "Gather": ([node("Gather", "x i", "y", axis=2)], {"i": np.array(3)}, 4 * 8),
    "Pad": ([node("Pad", "x pads", "y")], {"pads": np.array([0, 0, 1, 2, 0, 0, 0, 1])}, 4 * 9 * 11),
    "Expand": (
        [node("GlobalAveragePool", "x", "p"), node("Expand", "p s", "y")],
        {"s": np.array([1, 4, 3, 2])},
        4 * 6,
    ),
}  # fmt: skip
# The batch of these is fixed: the graph mixes its images, or repeats a constant for them.
FIXED = {"Mul in another rank": 1, "Concat": 1}


@pytest.mark.parametrize("case", OPERATORS)
def test_the_rule_of_an_operator_gives_the_slopes_of_its_graph(tmp_path: Path, case: str) -> None:
    nodes, constants, features = OPERATORS[case]
    check(tmp_path, nodes, constants, features=features, batch=FIXED.get(case, "n"))


# ONNX's reference computes erf in float32, so that its slopes are noise.
BY_TORCH: dict[str, tuple[list[onnx.NodeProto], Callable[[torch.Tensor], torch.Tensor]]] = {
    "Erf": ([node("Erf", "x", "y")], torch.erf),
    "Gelu": ([node("Gelu", "x", "y")], torch.nn.functional.gelu),
    "Cast": (
        [
            node("Cast", "x", "a", to=TensorProto.DOUBLE),
            node("Exp", "a", "b"),
            node("Cast", "b", "y", to=FLOAT),
        ],
        torch.exp,
    ),
}


@pytest.mark.parametrize("case", BY_TORCH)
def test_the_rule_of_an_operator_gives_the_derivatives_of_torch(tmp_path: Path, case: str) -> None:
    nodes, function = BY_TORCH[case]
    model = opened(write(tmp_path / "m.onnx", nodes, {}, features=FEATURES))
    given, weights = images(), vectors()
    pixels = torch.from_numpy(given).double().requires_grad_()
    scores = function(pixels).flatten(1) @ torch.from_numpy(random(FEATURES, CLASSES))
    (expected,) = torch.autograd.grad(scores, pixels, torch.from_numpy(weights).double())
    found = model.gradients(given, weights)[1] * np.array(PREPROCESSING.std)[:, None, None]
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_every_rule_is_tested() -> None:
    tested = [nodes for nodes, *_ in (*OPERATORS.values(), *BY_TORCH.values())]
    assert {one.op_type for nodes in tested for one in nodes} == set(RULES) == DIFFERENTIABLE


@pytest.mark.parametrize("opset", [11, 12, 17])
def test_graphs_of_earlier_opsets_have_gradients(tmp_path: Path, opset: int) -> None:
    nodes = [
        node("Conv", "x w", "a", pads=[1] * 4),
        node("Relu", "a", "b"),
        node("ReduceMean", "b", "p", axes=[2, 3]),
        node("Mul", "p b", "y"),
    ]
    check(tmp_path, nodes, {"w": random(4, 4, 3, 3)}, features=256, opset=opset)


def test_shapes_that_the_graph_computes_are_followed(tmp_path: Path) -> None:
    """As older exporters write ``x.view(x.size(0), -1)``."""
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape zero", "rows", axis=0),
        node("Unsqueeze", "rows axis", "first"),
        node("Concat", "first rest", "target", axis=0),
        node("Tanh", "x", "t"),
        node("Reshape", "t target", "y"),
    ]
    constants = {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1])}
    check(tmp_path, nodes, constants, features=256)


BRANCH = helper.make_graph(
    [node("Tanh", "x", "t")], "branch", [], [helper.make_tensor_value_info("t", FLOAT, None)]
)


@pytest.mark.parametrize(
    ("nodes", "constants", "reason", "told"),
    [
        ([node("Sin", "x", "y")], {}, "the operator Sin has no rule", True),
        # A form of an operator that its rule does not cover: the name does not say so.
        ([node("Pad", "x pads", "y", mode="reflect")], {"pads": np.array([0] * 8)},
         "Pad with anything but a constant", False),
        ([node("Shape", "x", "s"), node("ConstantOfShape", "s", "y", value=helper.make_tensor("v", FLOAT, [1], [3.0]))],
         {}, "its scores do not depend on the images by differentiable operators", True),
        # A branch takes tensors that are not among its inputs.
        ([node("If", "yes", "a", **{f"{name}_branch": BRANCH for name in ("then", "else")}), node("Add", "a x", "y")],
         {"yes": np.array(True)}, "the operator If has no rule", True),
    ],
)  # fmt: skip
def test_a_graph_without_a_gradient_says_why_and_scores_all_the_same(
    tmp_path: Path, nodes: list[onnx.NodeProto], constants: dict[str, Any], reason: str, told: bool
) -> None:
    model = opened(write(tmp_path / "m.onnx", nodes, constants, features=FEATURES))
    assert model.details.no_gradients == (reason if told else None)
    assert model.forward(images()).shape == (3, CLASSES)
    with pytest.raises(ModelFailure, match=f"model 'm' has no gradients: {re.escape(reason)}"):
        model.gradients(images(), vectors())


def small(path: Path, **options: Any) -> Path:
    """Convolution, gate, pooling and a branch."""
    nodes = [
        node("Conv", "x w", "a", pads=[1] * 4, strides=[2, 2]),
        node("HardSwish", "a", "b"),
        node("Conv", "b v", "c"),
        node("Add", "b c", "d"),
        node("GlobalAveragePool", "d", "y"),
    ]
    return write(path, nodes, {"w": random(6, 4, 3, 3), "v": random(6, 6, 1, 1)}, features=6, **options)


def test_what_a_file_says_in_another_way_has_the_same_gradients(tmp_path: Path) -> None:
    given, weights = images(5), vectors(5)
    model = opened(small(tmp_path / "m.onnx"))
    _, expected = model.gradients(given, weights)
    fixed = opened(small(tmp_path / "fixed.onnx", batch=3))
    found = [fixed.gradients(given[start : start + 3], weights[start : start + 3])[1] for start in (0, 3)]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-5, atol=1e-7)
    half = opened(small(tmp_path / "half.onnx", kind=TensorProto.FLOAT16))
    outputs, gradients = half.gradients(given, weights)
    assert (outputs.dtype, gradients.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(gradients, expected, atol=0.02 * np.abs(expected).max())
    single = opened(small(tmp_path / "single.onnx", kind=FLOAT))
    np.testing.assert_allclose(
        single.gradients(given, weights)[1], expected, atol=1e-5 * np.abs(expected).max()
    )


def test_channels_last_files_give_gradients_with_channels_first(tmp_path: Path) -> None:
    nodes = [node("Transpose", "x", "a", perm=[0, 3, 1, 2]), node("Conv", "a w", "b"), node("Tanh", "b", "y")]
    shape = (SIDE, SIDE, CHANNELS)
    path = write(tmp_path / "m.onnx", nodes, {"w": random(2, 4, 3, 3)}, features=72, shape=shape)
    model = opened(path, input_layout="nhwc")
    given, weights = images(2), vectors(2)
    _, gradients = model.gradients(given, weights)
    step = np.zeros_like(given)
    step[:, 1, 2, 3] = 1e-2
    slope = (model.forward(given + step) - model.forward(given - step)) / 2e-2
    expected = (slope * weights).sum(axis=1) / PREPROCESSING.std[1]
    np.testing.assert_allclose(gradients[:, 1, 2, 3], expected, rtol=1e-2)


@pytest.mark.parametrize(("outputs", "tail"), [("logits", []), ("sigmoid", ["Sigmoid"])])
def test_the_classes_of_a_binary_model_have_the_gradients_of_their_outputs(
    tmp_path: Path, outputs: Any, tail: list[str]
) -> None:
    nodes = [
        node("Tanh", "x", "t"),
        node("Flatten", "t", "f"),
        node("MatMul", "f w", "scores" if not tail else "z"),
    ]
    nodes += [node(op, "z", "scores") for op in tail]
    path = write(tmp_path / "m.onnx", nodes, {"w": 0.1 * random(FEATURES, 1)}, head=False)
    model = opened(path, outputs=outputs)
    given = 0.1 * images(2)
    step = np.zeros_like(given)
    step[:, 2, 5, 1] = 1e-2
    slopes = (model.forward(given + step) - model.forward(given - step)) / 2e-2 / PREPROCESSING.std[2]
    for index in (0, 1):
        weights = np.zeros((2, 2), np.float32)
        weights[:, index] = 1
        found, gradients = model.gradients(given, weights)
        np.testing.assert_array_equal(found, model.forward(given))
        np.testing.assert_allclose(gradients[:, 2, 5, 1], slopes[:, index], rtol=1e-2)


def test_pixels_in_whole_numbers_have_no_gradient(tmp_path: Path) -> None:
    nodes = [
        node("Cast", "x", "a", to=FLOAT),
        node("Flatten", "a", "f"),
        node("MatMul", "f w", "s"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("s", FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(random(192, CLASSES).astype(np.float32), "w")],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8), path)
    plain = Preprocessing(size=(SIDE, SIDE), resize=None, mean=(0.0,) * 3, std=(1.0,) * 3)
    model = opened(path, preprocessing=plain)
    assert model.details.no_gradients == "its input is of whole numbers"
    with pytest.raises(ModelFailure, match="has no gradients: its input is of whole numbers"):
        model.gradients(images(), vectors())


def test_weights_in_another_file_are_found(tmp_path: Path) -> None:
    path = small(tmp_path / "m.onnx")
    model = onnx.load(path)
    folder = tmp_path / "apart"
    folder.mkdir()
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    _, expected = opened(path).gradients(images(), vectors())
    apart = opened(folder / "m.onnx")
    np.testing.assert_array_equal(apart.gradients(images(), vectors())[1], expected)


def test_the_second_graph_is_made_when_the_first_gradient_is_asked_for(tmp_path: Path) -> None:
    path = small(tmp_path / "m.onnx")
    model = opened(path)
    small(tmp_path / "m.onnx", kind=TensorProto.FLOAT16)
    with pytest.raises(ModelFailure, match=r"'m.onnx' is not the file any more that it was loaded from"):
        model.gradients(images(), vectors())


@pytest.mark.parametrize("opset", [9, 10])
def test_graphs_of_too_early_an_opset_have_none(tmp_path: Path, opset: int) -> None:
    model = opened(write(tmp_path / "m.onnx", [node("Tanh", "x", "y")], {}, features=FEATURES, opset=opset))
    assert model.details.no_gradients == f"it is of opset {opset}, and gradients are made from 11 on"


def test_without_the_package_onnx_a_file_says_that_it_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavescope.models.onnx.backend.find_spec", lambda name: None)
    model = opened(small(tmp_path / "m.onnx"))
    assert model.forward(images()).shape == (3, CLASSES)
    assert model.details.no_gradients is not None
    with pytest.raises(ModelFailure, match=r"the package onnx, .* install wavescope\[onnx\]"):
        model.gradients(images(), vectors())


def test_operators_are_read_as_the_package_onnx_reads_them(exported_model: Path, tmp_path: Path) -> None:
    for path in (exported_model, small(tmp_path / "m.onnx", opset=13)):
        whole = onnx.load(path)
        operators, opset = read_operators(path)
        assert opset == whole.opset_import[0].version
        assert [(one.op, one.inputs, one.outputs) for one in operators] == [
            (one.op_type, tuple(one.input), tuple(one.output)) for one in whole.graph.node
        ]
        check_operators(
            operators, opset=opset, images=whole.graph.input[0].name, scores=whole.graph.output[0].name
        )


def test_the_larger_initializers_are_left_in_the_file(tmp_path: Path) -> None:
    nodes, weights = [node("MatMul", "x w", "y")], random(SIDE, 3000)
    path = write(tmp_path / "m.onnx", nodes, {"w": weights}, features=CHANNELS * SIDE * 3000)
    whole, found = onnx.load(path), read_skeleton(path)
    assert found.ByteSize() < 2000
    assert [list(tensor.dims) for tensor in found.graph.initializer] == [[SIDE, 3000], [96000, CLASSES]]
    for tensor in whole.graph.initializer:
        tensor.ClearField("raw_data")
    assert found == whole
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="the file is cut off"):
        read_skeleton(path)


def test_gradients_of_the_embedded_model_are_those_of_torch(
    default_model: OnnxBackend, normalised: Callable[[str, Preprocessing], np.ndarray]
) -> None:
    """Of the logit of its own class and of one that has nothing to do with the image, on a photograph and on noise."""
    assert isinstance(default_model, Differentiable)
    preprocessing = default_model.details.preprocessing
    photograph = normalised("chelsea.png", preprocessing)
    noise = np.random.default_rng(0).normal(0, 1, photograph.shape).astype(np.float32)
    given = np.concatenate([photograph, photograph, noise])
    weights = np.zeros((3, 1000), np.float32)
    weights[[0, 1, 2], [int(default_model.forward(photograph).argmax()), 7, 7]] = 1
    outputs, gradients = default_model.gradients(given, weights)
    module = build().requires_grad_(False)
    pixels = torch.from_numpy(given).requires_grad_()
    logits = module(pixels)
    (expected,) = torch.autograd.grad((logits * torch.from_numpy(weights)).sum(), pixels)
    expected = expected.numpy() / np.array(preprocessing.std, np.float32)[:, None, None]
    np.testing.assert_allclose(outputs, logits.detach().numpy(), atol=1e-4)
    np.testing.assert_allclose(outputs, default_model.forward(given), atol=1e-4)
    for found, own in zip(gradients, expected, strict=True):
        # A unit that float32 puts on the other side of a kink moves the few pixels that it sees.
        assert np.linalg.norm(found - own) < 1e-3 * np.linalg.norm(own)
        assert float(np.abs(found - own).max()) < 2e-3 * float(np.abs(own).max())


def test_an_image_has_the_same_gradient_bits_in_any_batch(default_model: OnnxBackend) -> None:
    given = np.random.default_rng(1).normal(0, 1, (5, 3, 224, 224)).astype(np.float32)
    weights = np.zeros((5, 1000), np.float32)
    weights[:, 281] = 1
    _, together = default_model.gradients(given, weights)
    for row in range(5):
        _, alone = default_model.gradients(given[row : row + 1], weights[row : row + 1])
        np.testing.assert_array_equal(alone[0], together[row])


# ---- torch ---------------------------------------------------------------------------------------
SMALL = Preprocessing(size=(64, 64), resize=64)


def torch_model(source: str = "torchvision:resnet18", **fields: Any) -> Any:
    given = {"weights": "random", "device": "cpu", "preprocessing": SMALL} | fields
    return load(ModelSpec(name="t", source=source, **given), cache_dir=Path("unused"), threads=2)


def test_torch_gradients_are_slopes_of_the_outputs() -> None:
    model = torch_model()
    assert isinstance(model, Differentiable)
    assert model.details.gradients
    given = np.random.default_rng(0).normal(0, 1, (3, 3, 64, 64)).astype(np.float32)
    weights = np.random.default_rng(1).normal(0, 1, (3, 1000)).astype(np.float32)
    outputs, gradients = model.gradients(model.to_device(given), model.to_device(weights))
    torch.testing.assert_close(outputs, model.forward(model.to_device(given)), rtol=1e-4, atol=1e-4)
    assert not outputs.requires_grad
    # The sum over any direction, here the gradient itself, so that float32 shows it.
    std = np.array(SMALL.std, np.float32)[:, None, None]
    direction = gradients.numpy() / np.sqrt((gradients.numpy() ** 2).sum(axis=(1, 2, 3), keepdims=True))
    step = 1e-2 * direction / std
    ends = [
        model.forward(model.to_device(given + sign * step)).numpy().astype(np.float64) for sign in (1, -1)
    ]
    slopes = ((ends[0] - ends[1]) * weights).sum(axis=1) / 2e-2
    expected = (gradients.numpy() * direction).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(slopes, expected, rtol=2e-2)


def test_torch_gradients_take_batches_of_any_size_and_tensors_of_inference_mode() -> None:
    model = torch_model(batch_size=2)
    given = torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    weights = torch.zeros(5, 1000)
    weights[:, 3] = 1
    _, expected = model.gradients(given, weights)
    with torch.inference_mode():
        _, found = model.gradients(given + 0, weights + 0)
    assert torch.equal(found, expected)
    _, again = model.gradients(given[:2], weights[:2])
    assert torch.equal(again, expected[:2])
    assert all(not parameter.requires_grad for parameter in model._module.parameters())


def test_a_torch_model_that_is_not_differentiable_says_so(tmp_path: Path) -> None:
    class Rounding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(3 * 64 * 64, 4)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return self.head(images.flatten(1))

    path = tmp_path / "m.pt2"
    program = torch.export.export(
        Rounding().eval(), (torch.zeros(2, 3, 64, 64),), dynamic_shapes=({0: torch.export.Dim("n", max=64)},)
    )
    torch.export.save(program, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    model = torch_model(f"torch-export:{path}", outputs="logits", weights=None, sha256=digest)
    assert model.details.no_gradients == "torch does not differentiate one of its operators"
    with pytest.raises(ModelFailure, match="model 't' has no gradients: torch does not differentiate"):
        model.gradients(torch.zeros(1, 3, 64, 64), torch.ones(1, 4))


@pytest.mark.parametrize("source", ["torchscript", "torch-export"])
def test_programs_in_files_have_gradients(tmp_path: Path, source: str) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, stride=2),
        torch.nn.Hardswish(),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 31 * 31, 3),
    ).eval()
    example = torch.zeros(2, 3, 64, 64)
    path = tmp_path / "m.pt2"
    if source == "torchscript":
        torch.jit.save(torch.jit.trace(module, example), path)
    else:
        free = ({0: torch.export.Dim("n", max=64)},)
        torch.export.save(torch.export.export(module, (example,), dynamic_shapes=free), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    model = torch_model(f"{source}:{path}", outputs="logits", weights=None, sha256=digest)
    assert model.details.gradients
    given = torch.randn(3, 3, 64, 64).requires_grad_()
    weights = torch.randn(3, 3)
    (expected,) = torch.autograd.grad((module(given) * weights).sum(), given)
    _, found = model.gradients(given.detach(), weights)
    torch.testing.assert_close(found, expected / torch.tensor(SMALL.std)[:, None, None], rtol=1e-4, atol=1e-5)
