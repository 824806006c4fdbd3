"""Gradients of an ONNX model by a session of its own, which is opened when the first is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from wavescope.errors import ModelFailure
from wavescope.models.files import Identity, identity
from wavescope.models.onnx.probe import Signature
from wavescope.models.onnx.runtime import ort

Open = Callable[[bytes, Path], ort.InferenceSession]


class GradientSession:
    """A second graph beside a model's, of outputs and gradients.

    The file is read again when the first gradient is asked for, and what is appended to it is a few kilobytes: until
    then nothing more is in memory. Afterwards there is a second copy of the weights, and, while gradients are computed,
    the activations of ``rows`` images.

    Args:
        name: of the model, for messages.
        path: of the ONNX file.
        loaded: its identity when it was loaded.
        appended: as of :func:`wavescope.models.onnx.gradient.differentiate`.
        signature: how the model takes images, and which output has the scores.
        open_session: opens a session of a model's bytes, whose further files are in a folder.
        rows: images of one run.
        fixed: whether each run has exactly so many.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        loaded: Identity,
        appended: bytes,
        signature: Signature,
        open_session: Open,
        *,
        rows: int,
        fixed: bool,
    ) -> None:
        self._name = name
        self._path = path
        self._identity = loaded
        self._appended = appended
        self._signature = signature
        self._open = open_session
        self._fixed = fixed
        self._session: ort.InferenceSession | None = None
        self._opening = threading.Lock()
        self.rows = rows

    @property
    def opened(self) -> bool:
        """Whether there is a session by now."""
        return self._session is not None

    def run(
        self, images: Float32[np.ndarray, "n c h w"], weights: Float32[np.ndarray, "n outputs"]
    ) -> tuple[Float32[np.ndarray, "n outputs"], Float32[np.ndarray, "n c h w"]]:
        """(outputs, derivatives of the sum of weights times outputs by the images) of at most ``rows`` images.

        Raises:
            ModelFailure: the file is another one by now.
        """
        from wavescope.models.onnx.gradient import GRADIENT, WEIGHTS

        session = self._opened()
        count = images.shape[0]
        if self._fixed and count < self.rows:
            images, weights = (
                np.concatenate([array, np.zeros((self.rows - count, *array.shape[1:]), array.dtype)])
                for array in (images, weights)
            )
        taken = self._signature.input
        shaped = weights.reshape(len(weights), *self._signature.row_shape)
        feed = {taken.name: taken.arrange(images), WEIGHTS: shaped.astype(self._signature.score_dtype)}
        scores, gradients = session.run([self._signature.output, GRADIENT], feed)
        found = np.asarray(gradients, np.float32)[:count]
        if taken.layout == "nhwc":
            found = found.transpose(0, 3, 1, 2)
        return np.asarray(scores, np.float32).reshape(len(images), -1)[:count], np.ascontiguousarray(found)

    def _opened(self) -> ort.InferenceSession:
        with self._opening:
            if self._session is None:
                content = self._path.read_bytes() if self._path.is_file() else b""
                check_identity(self._name, self._path, self._identity)
                self._session = self._open(content + self._appended, self._path.parent)
            return self._session


def check_identity(name: str, path: Path, loaded: Identity) -> None:
    """Refuses a file that is not the one a model was loaded from.

    Raises:
        ModelFailure: it was replaced, or is gone.
    """
    if identity(path) != loaded:
        raise ModelFailure(
            f"model {name!r}: {path.name!r} is not the file any more that it was loaded from, and its gradients need "
            "it: load it again"
        )
