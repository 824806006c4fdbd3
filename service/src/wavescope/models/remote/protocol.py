"""Client protocol of remote models, implemented once per wire protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32

from wavescope.models.layouts import Layout
from wavescope.models.remote.tensors import Described, Scores


@dataclass(frozen=True, slots=True)
class Wire:
    """Format in which a batch of images is sent.

    Attributes:
        input: name of the tensor.
        datatype: of the tensor, a key of ``tensors.DTYPES``.
        output: name of the tensor that is asked for; empty for the first one.
        layout: order of its axes.
    """

    input: str
    datatype: str
    output: str
    layout: Layout

    def laid_out(self, images: Float32[np.ndarray, "n c h w"]) -> np.ndarray:
        """The images in memory as they are sent, but for their datatype."""
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1) if self.layout == "nhwc" else images)


class Client(Protocol):
    """Talks to one server, from any thread.

    Every method raises :class:`~wavescope.models.remote.faults.Unavailable`, ``TooLarge`` or ``Refused``.
    """

    def describe(self, timeout_s: float) -> Described:
        """The server's description of the model."""
        ...

    def infer(self, images: Float32[np.ndarray, "n c h w"], wire: Wire, timeout_s: float) -> Scores:
        """Raw outputs of one batch."""
        ...

    def close(self) -> None:
        """Ends the connections."""
        ...
