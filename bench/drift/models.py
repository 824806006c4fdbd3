"""The default model, with an output for its embedding, and changed in ways that leave every image as it was."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from bench.screening.models import FOLDER
from onnx import numpy_helper

import wavescope
from wavescope.engine.protocols import Classifier
from wavescope.models.onnx.embedded import PREPROCESSING, exported
from wavescope.models.spec import DEFAULT_MODEL
from wavescope.settings import load_settings

STEM = "_conv_stem.weight"


def rounded(weights: np.ndarray, *, by_channel: bool) -> np.ndarray:
    """Weights rounded to 8 bits: 255 values from −m to m, with m the largest of the tensor, or of an output channel.

    Example:
        >>> rounded(np.array([[127.0, 0.4], [1.0, 0.4]]), by_channel=False).tolist()
        [[127.0, 0.0], [1.0, 0.0]]
    """
    axes = tuple(range(1 if by_channel else 0, weights.ndim))
    step = np.maximum(np.abs(weights).max(axis=axes, keepdims=True), 1e-30) / 127
    return np.rint(weights / step) * step


def _rounded(by_channel: bool, name: str, weights: np.ndarray) -> np.ndarray:
    return rounded(weights, by_channel=by_channel) if weights.ndim >= 2 else weights


def _swapped(name: str, weights: np.ndarray) -> np.ndarray:
    return weights[:, ::-1] if name == STEM else weights


CHANGES: dict[str, Callable[[str, np.ndarray], np.ndarray]] = {
    "unchanged": lambda name, weights: weights,
    "8-bit weights by channel": partial(_rounded, True),
    "8-bit weights by tensor": partial(_rounded, False),
    "red and blue swapped": _swapped,
}


@cache
def classifier(change: str = "unchanged") -> Classifier:
    """The model with its weights changed, on one thread; once a process."""
    spec = replace(DEFAULT_MODEL, num_cpus=1, threads=1)
    return wavescope.load_model(spec if change == "unchanged" else replace(spec, weights=str(file(change))))


def file(change: str) -> Path:
    """The ONNX file with its weights changed; made where it is not there yet."""
    original = exported(load_settings().cache_dir)
    if change == "unchanged":
        return original
    path = FOLDER / f"{original.stem}-{change.replace(' ', '-')}.onnx"
    if not path.exists():
        model = onnx.load(original)
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32:
                made = np.ascontiguousarray(CHANGES[change](tensor.name, values), np.float32)
                tensor.CopyFrom(numpy_helper.from_array(made, tensor.name))
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        onnx.save(model, unfinished)
        unfinished.replace(path)
    return path


class Embedder:
    """Features before the last layer, and logits.

    Args:
        change: see :data:`CHANGES`.
    """

    def __init__(self, change: str) -> None:
        import onnxruntime

        model = onnx.load(file(change))
        (self._name,) = (
            node.input[0] for node in model.graph.node if node.output[0] == model.graph.output[0].name
        )
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(self._name))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(model.SerializeToString(), options)
        self._input = model.graph.input[0].name

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(1280,) features and (1000,) logits of a (3, 224, 224) crop in [0, 1]."""
        mean, std = (
            np.asarray(values, np.float32)[:, None, None]
            for values in (PREPROCESSING.mean, PREPROCESSING.std)
        )
        given = ((pixels - mean) / std)[None].astype(np.float32)
        features, logits = self._session.run([self._name, "logits"], {self._input: given})
        return features[0], logits[0]


@cache
def embedder(change: str = "unchanged") -> Embedder:
    """The embedder of a changed model, once a process."""
    return Embedder(change)
