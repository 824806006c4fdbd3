"""Gradients of an ONNX model by a session of its own."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from wavescope.models.onnx.gradient import GRADIENT, WEIGHTS
from wavescope.models.onnx.probe import Signature
from wavescope.models.onnx.runtime import ort


class GradientSession:
    """A second graph beside a model's, of outputs and gradients.

    It holds a second copy of the weights, and, while gradients are computed, the activations of ``rows`` images.

    Args:
        session: of the file with what :func:`wavescope.models.onnx.gradient.differentiate` appends to it.
        signature: how the model takes images, and which output has the scores.
        rows: images of one run.
        fixed: whether each run has exactly so many.
    """

    def __init__(
        self, session: ort.InferenceSession, signature: Signature, *, rows: int, fixed: bool
    ) -> None:
        self._session = session
        self._signature = signature
        self._fixed = fixed
        self.rows = rows

    def run(
        self, images: Float32[np.ndarray, "n c h w"], weights: Float32[np.ndarray, "n outputs"]
    ) -> tuple[Float32[np.ndarray, "n outputs"], Float32[np.ndarray, "n c h w"]]:
        """(outputs, derivatives of the sum of weights times outputs by the images) of at most ``rows`` images."""
        count = images.shape[0]
        if self._fixed and count < self.rows:
            images, weights = (
                np.concatenate([array, np.zeros((self.rows - count, *array.shape[1:]), array.dtype)])
                for array in (images, weights)
            )
        taken = self._signature.input
        shaped = weights.reshape(len(weights), *self._signature.row_shape)
        feed = {taken.name: taken.arrange(images), WEIGHTS: shaped.astype(self._signature.score_dtype)}
        scores, gradients = self._session.run([self._signature.output, GRADIENT], feed)
        found = np.asarray(gradients, np.float32)[:count]
        if taken.layout == "nhwc":
            found = found.transpose(0, 3, 1, 2)
        return np.asarray(scores, np.float32).reshape(len(images), -1)[:count], np.ascontiguousarray(found)
