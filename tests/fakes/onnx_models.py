"""Tiny classifiers in ONNX files, of inputs unlike 224 x 224 RGB, with what they compute in NumPy beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from wavescope.engine.types import Preprocessing
from wavescope.models.spec import ModelSpec

CLASSES = 4
FILTERS = 5
STRIDE = 4  # also the side of the filters, so that they meet without overlap and a last odd row is not seen


@dataclass(frozen=True)
class OnnxToy:
    """``STRIDE`` x ``STRIDE`` filters, ReLU, and a linear layer of all they found: where things are matters.

    Attributes:
        name: of the model.
        preprocessing: decides the number of channels and the size of the input.
        seed: of the weights.
    """

    name: str
    preprocessing: Preprocessing
    seed: int = 0

    def weights(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Filters (f, c, s, s), their biases (f,), and the linear layer (features, classes)."""
        channels, height, width = self.preprocessing.shape
        rng = np.random.default_rng(self.seed)
        cells = (height // STRIDE) * (width // STRIDE)
        fan_in = channels * STRIDE**2
        filters = rng.standard_normal((FILTERS, channels, STRIDE, STRIDE)) / np.sqrt(fan_in)
        linear = rng.standard_normal((FILTERS * cells, CLASSES)) / np.sqrt(cells)
        biases = rng.standard_normal(FILTERS)
        return filters.astype(np.float32), biases.astype(np.float32), linear.astype(np.float32)

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """(classes,) of one image (c, h, w) in [0, 1], slowly and in float64."""
        filters, biases, linear = self.weights()
        channels, height, width = self.preprocessing.shape
        mean, std = (
            np.reshape(values, (channels, 1, 1))
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )
        rows, columns = height // STRIDE, width // STRIDE
        seen = ((pixels - mean) / std)[:, : rows * STRIDE, : columns * STRIDE]
        blocks = seen.reshape(channels, rows, STRIDE, columns, STRIDE)
        found = np.einsum("fcab,ciajb->fij", filters.astype(np.float64), blocks) + biases[:, None, None]
        return np.maximum(found, 0).ravel() @ linear

    def write(self, folder: Path) -> ModelSpec:
        """The model in a file of ``folder``, as the registry names it."""
        filters, biases, linear = self.weights()
        nodes = [
            helper.make_node(
                "Conv", ["images", "filters", "biases"], ["found"], strides=[STRIDE] * 2, pads=[0] * 4
            ),
            helper.make_node("Relu", ["found"], ["positive"]),
            helper.make_node("Flatten", ["positive"], ["features"]),
            helper.make_node("MatMul", ["features", "linear"], ["logits"]),
        ]
        graph = helper.make_graph(
            nodes,
            self.name,
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", *self.preprocessing.shape])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])],
            [
                numpy_helper.from_array(filters, "filters"),
                numpy_helper.from_array(biases, "biases"),
                numpy_helper.from_array(linear, "linear"),
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        path = folder / f"{self.name}.onnx"
        onnx.save(model, path)
        return ModelSpec(
            name=self.name,
            source=f"onnx:{path}",
            preprocessing=self.preprocessing,
            outputs="logits",
            device="cpu",
            threads=1,
        )


GREY = OnnxToy("grey", Preprocessing(size=(48, 48), resize=56, mean=(0.45,), std=(0.22,)))
WIDE = OnnxToy("wide", Preprocessing(size=(96, 160), resize=None))
MULTISPECTRAL = OnnxToy(
    "multispectral", Preprocessing(size=(64, 64), resize=72, mean=(0.1, 0.2, 0.3), std=(0.05, 0.4, 1.5))
)
ODD = OnnxToy("odd", Preprocessing(size=(33, 47), resize=50, interpolation="bicubic"))
TOYS = (GREY, WIDE, MULTISPECTRAL, ODD)
