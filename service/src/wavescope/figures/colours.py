"""Colours that a colour-blind reader tells apart, and how an index becomes a colour.

The map of colours is viridis: perceptually uniform, and of rising luminance to readers with and without
deuteranopia, in grey print too. Orientations differ in luminance and in hatching for the same reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.ticker import MaxNLocator

from wavescope.figures.layout import Orientation

COLORMAP = "viridis"
UNIT = "total Sobol index"

INK = "#1a1a1a"
MUTED = "#5c5c5c"
TARGET = "#00386c"
OTHER = "#b9bcc2"
NO_FACTOR = "#d9d9d9"

_SKEWED_BELOW = 0.25  # mean over maximum under which a linear scale leaves most of the map black


@dataclass(frozen=True, slots=True)
class Style:
    """How the importance of an orientation is drawn. The hatching runs as the orientation does."""

    face: str
    hatch: str


ORIENTATION_STYLES: dict[Orientation, Style] = {
    "horizontal": Style("#10406f", "---"),
    "vertical": Style("#7d7c78", "|||"),
    "diagonal": Style("#e3cd5b", "///"),
    "approximation": Style("#f4f4f4", ""),
}


@dataclass(frozen=True, slots=True)
class Display:
    """How a map of indices is shown.

    Attributes:
        norm: from index to the position in the map of colours.
        scale: what a colour bar must say about ``norm``; empty for a linear one.
        clipped: the smallest index where it is negative and so drawn as 0; ``None`` otherwise.
    """

    norm: Normalize
    scale: str
    clipped: float | None

    def label(self, unit: str = UNIT, *further: str) -> str:
        """The colour bar's label: its unit and, on a second line, all that is not plain about the colours."""
        notes = [self.scale] if self.scale else []
        if self.clipped is not None:
            notes.append(f"negative down to {self.clipped:.2g} drawn as 0")
        notes += further
        return f"{unit}\n({'; '.join(notes)})" if notes else unit

    def ticks(self) -> list[float]:
        """Round values about evenly apart on the colour bar, none beyond its end."""
        end = float(self.norm.vmax or 1.0)
        if not isinstance(self.norm, PowerNorm):
            return [tick for tick in MaxNLocator(5).tick_values(0.0, end) if 0.0 <= tick <= end]
        step = _round_down(end / 9)  # squares of 0 … 3 at least: evenly apart under the root
        return [step * root**2 for root in range(math.isqrt(int(end / step * (1 + 1e-9))) + 1)]


def _round_down(value: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is at most ``value``."""
    power = 10.0 ** math.floor(math.log10(value))
    return power * max(digit for digit in (1, 2, 5) if digit * power <= value * (1 + 1e-9))


def display_of(values: Float[np.ndarray, "h w"]) -> Display:
    """Chooses linear or square-root colours, from 0 to the largest index.

    Total indices are skewed: a few cells hold most of the importance. Where the mean is far below the
    maximum, a square root keeps the small ones visible. Negative indices are noise of the estimator (their
    true value is at least 0) and share the colour of 0.

    Args:
        values: a map of indices, finite.
    """
    largest = float(values.max())
    smallest = float(values.min())
    clipped = smallest if smallest < 0 else None
    if largest <= 0:
        return Display(Normalize(0.0, 1.0, clip=True), "", clipped)
    mean = float(np.clip(values, 0, None).mean())
    if mean / largest < _SKEWED_BELOW:
        return Display(PowerNorm(0.5, 0.0, largest, clip=True), "square-root colour scale", clipped)
    return Display(Normalize(0.0, largest, clip=True), "", clipped)
