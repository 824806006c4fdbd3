"""Linear classifiers in ONNX files of every order of axes, number format and set of outputs, and their scores.

As exporters write them: NHWC from TensorFlow, pixels of uint8, labels before scores, maps and features beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

from wavescope.engine.types import Preprocessing
from wavescope.models.spec import ModelSpec

FLOAT = TensorProto.FLOAT
SIZE = (8, 9)
TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
    "uint8": TensorProto.UINT8,
    "bfloat16": TensorProto.BFLOAT16,
    "int8": TensorProto.INT8,
    "int64": TensorProto.INT64,
}
NAMES = ("channels", "height", "width")

Made = tuple[list[Any], ValueInfoProto]


def output(name: str, operator: str, **attributes: Any) -> Made:
    """An output that one operator makes of the scores."""
    kind = TensorProto.INT64 if operator == "ArgMax" else FLOAT
    node = helper.make_node(operator, ["scored"], [name], **attributes)
    return [node], helper.make_tensor_value_info(name, kind, None)


def scores(name: str = "scores") -> Made:
    """The (n, classes) that a classifier returns."""
    return output(name, "Identity")


def shaped(name: str, *shape: int, source: str = "scored") -> Made:
    """The scores, or ``pixels``, in another shape; its first side may be -1 or 0 for the batch."""
    constant = numpy_helper.from_array(np.array(shape, np.int64), f"{name} shape")
    nodes = [
        helper.make_node("Constant", [], [f"{name} shape"], value=constant),
        helper.make_node("Reshape", [source, f"{name} shape"], [name]),
    ]
    return nodes, helper.make_tensor_value_info(name, FLOAT, None)


def label(name: str = "label") -> Made:
    """The predicted class of each image, int64."""
    return output(name, "ArgMax", axis=1, keepdims=0)


def zip_map(name: str = "probabilities") -> Made:
    """The sequence of maps that scikit-learn's exporter makes of scores."""
    node = helper.make_node("ZipMap", ["scored"], [name], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    tensor = helper.make_tensor_type_proto(FLOAT, [])
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, tensor))
    return [node], helper.make_value_info(name, kind)


def cast(name: str, dtype: str) -> Made:
    """The scores in another number format."""
    node = helper.make_node("Cast", ["scored"], [name], to=TYPES[dtype])
    return [node], helper.make_tensor_value_info(name, TYPES[dtype], None)


@dataclass(frozen=True)
class Graph:
    """A linear classifier of the pixels, which sees 0..255 where its input is uint8, and divides by 255.

    Attributes:
        layout: of the input.
        dtype: of the input.
        channels, size, classes: of the model.
        free: names of the axes that the file leaves open, of ``batch`` and ``NAMES``.
        batch: of a batch axis that is not free.
        outputs: in order.
        flat: whether the model takes any order of the axes, for it flattens them before it looks.
        ranked: whether the file states the shape of the input.
        seed: of the weights.
    """

    layout: str = "nchw"
    dtype: str = "float32"
    channels: int = 3
    size: tuple[int, int] = SIZE
    classes: int = 3
    free: frozenset[str] = frozenset(("batch",))
    batch: int = 1
    outputs: tuple[Made, ...] = field(default_factory=lambda: (scores(),))
    flat: bool = False
    ranked: bool = True
    seed: int = 0

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing that the model expects: none for pixels."""
        mean, std = (0.0, 1.0) if self.dtype == "uint8" else (0.5, 0.25)
        return Preprocessing(self.size, None, (mean,) * self.channels, (std,) * self.channels)

    def weights(self) -> np.ndarray:
        """(classes, c, h, w)."""
        shape = (self.classes, self.channels, *self.size)
        return np.random.default_rng(self.seed).standard_normal(shape).astype(np.float32)

    def scored(self, images: np.ndarray) -> np.ndarray:
        """(n, classes) of normalised images (n, c, h, w), in float64."""
        if self.dtype == "uint8":
            images = np.rint(np.clip(images, 0, 1) * np.float32(255)) / 255
        elif self.dtype == "float16":
            images = images.astype(np.float16)
        return np.einsum("nchw,kchw->nk", images.astype(np.float64), self.weights())

    def model(self) -> onnx.ModelProto:
        """The model as ONNX."""
        sides = dict(zip(NAMES, (self.channels, *self.size), strict=True))
        order = NAMES if self.layout == "nchw" else (*NAMES[1:], NAMES[0])
        shape: list[Any] = ["batch" if "batch" in self.free else self.batch]
        shape += [name if name in self.free else sides[name] for name in order]
        nodes = [helper.make_node("Cast", ["images"], ["floats"], to=FLOAT)]
        source = "floats"
        if self.dtype == "uint8":
            nodes += [
                helper.make_node("Constant", [], ["full"], value=numpy_helper.from_array(np.float32(255))),
                helper.make_node("Div", ["floats", "full"], ["unit"]),
            ]
            source = "unit"
        if self.layout == "nhwc":
            nodes.append(helper.make_node("Transpose", [source], ["pixels"], perm=[0, 3, 1, 2]))
        else:
            nodes.append(helper.make_node("Identity", [source], ["pixels"]))
        weights = self.weights()
        if self.flat:
            nodes += [
                helper.make_node("Flatten", [source], ["flattened"]),
                helper.make_node("MatMul", ["flattened", "weights"], ["scored"]),
            ]
            weights = (
                (weights if self.layout == "nchw" else weights.transpose(0, 2, 3, 1))
                .reshape(self.classes, -1)
                .T
            )
        else:
            nodes += [
                helper.make_node("Conv", ["pixels", "weights"], ["found"]),
                helper.make_node("Flatten", ["found"], ["scored"]),
            ]
        for made, _ in self.outputs:
            nodes += made
        graph = helper.make_graph(
            nodes,
            "graph",
            [helper.make_tensor_value_info("images", TYPES[self.dtype], shape if self.ranked else None)],
            [info for _, info in self.outputs],
            [numpy_helper.from_array(np.ascontiguousarray(weights), "weights")],
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)

    def write(
        self, folder: Path, change: Callable[[onnx.ModelProto], object] = lambda model: None, **fields: Any
    ) -> ModelSpec:
        """The model in a file of ``folder``, as the registry names it."""
        model = self.model()
        change(model)
        path = folder / "graph.onnx"
        path.write_bytes(model.SerializeToString())
        given = {"preprocessing": self.preprocessing, "outputs": "logits", "device": "cpu", "threads": 1}
        return ModelSpec(name="toy", source=f"onnx:{path}", **given | fields)
