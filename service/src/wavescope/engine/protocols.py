"""What the engine asks of its surroundings."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from wavescope.core.arrays import Array
from wavescope.engine.types import ModelDetails


@runtime_checkable
class Classifier(Protocol):
    """A loaded image classifier."""

    @property
    def details(self) -> ModelDetails:
        """What the model says of itself."""
        ...

    def to_device(self, array: np.ndarray) -> Array:
        """``array`` in the library and on the device that ``forward`` takes; its dtype is kept."""
        ...

    def forward(self, images: Array) -> Array:
        """(n, classes) raw outputs of (n, c, h, w) float32 images that are normalised by ``(x - mean) / std``.

        Any n ≥ 1; at most ``details.batch_size`` are on the device at once.
        """
        ...


@runtime_checkable
class Recorder(Protocol):
    """Counts what happens; the engine never knows who listens."""

    def rendered(self, model: str, images: int, seconds: float) -> None: ...

    def scored(self, model: str, images: int, seconds: float) -> None: ...


class Silent:
    """A recorder that keeps nothing."""

    def rendered(self, model: str, images: int, seconds: float) -> None:
        return None

    def scored(self, model: str, images: int, seconds: float) -> None:
        return None
