"""Colours that a colour-blind reader can distinguish, and the colour of an index.

The map of colours is viridis: perceptually uniform, and of rising luminance to readers with and without
deuteranopia, in grey print too. Orientations differ in luminance and in hatching for the same reason. Two things
that are compared are dark blue and orange, and differ in their markers; what changed between them runs from the one
colour over near white to the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize, PowerNorm
from matplotlib.ticker import MaxNLocator

from wavescope.figures.layout import Orientation

COLORMAP = "viridis"
UNIT = "total Sobol index"

INK = "#1a1a1a"
MUTED = "#5c5c5c"
TARGET = "#00386c"
OTHER = "#b9bcc2"
NO_FACTOR = "#d9d9d9"
FIRST, SECOND = TARGET, "#d9730d"  # of two that are compared
CHANGE = LinearSegmentedColormap.from_list("change", [FIRST, "#7fa6cc", "#f6f6f6", "#f3ae6d", "#a94f00"], 257)

_SKEWED_BELOW = 0.25  # mean over maximum under which a linear scale leaves most of the map black
_DECADES = 4  # below the largest index that a logarithmic scale shows


@dataclass(frozen=True, slots=True)
class Style:
    """Style in which the importance of an orientation is drawn. The hatching runs as the orientation does."""

    face: str
    hatch: str


ORIENTATION_STYLES: dict[Orientation, Style] = {
    "horizontal": Style("#10406f", "---"),
    "vertical": Style("#7d7c78", "|||"),
    "diagonal": Style("#e3cd5b", "///"),
    "approximation": Style("#f4f4f4", ""),
}

WHOLE_LEVEL = Style("#6d8fb0", "")  # of a factor that is all orientations of a level


@dataclass(frozen=True, slots=True)
class Display:
    """Display of a map of indices.

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
        if isinstance(self.norm, LogNorm):
            return _log_ticks(float(self.norm.vmin or end), end)
        if self.norm.vmin is not None and self.norm.vmin < 0:
            return [
                tick for tick in MaxNLocator(4, symmetric=True).tick_values(-end, end) if abs(tick) <= end
            ]
        if not isinstance(self.norm, PowerNorm):
            return [tick for tick in MaxNLocator(5).tick_values(0.0, end) if 0.0 <= tick <= end]
        step = _round_down(end / 9)  # squares of 0 … 3 at least: evenly apart under the root
        return [step * root**2 for root in range(math.isqrt(int(end / step * (1 + 1e-9))) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten from ``low`` to ``high``, with their 2s and 5s where the powers alone are few."""
    span = math.log10(high / low)
    digits = (1, 2, 5) if span < 1.6 else (1, 3) if span < 3 else (1,)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**exponent for exponent in exponents for digit in digits]
    return [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]


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


def log_display_of(values: Float[np.ndarray, "h w"]) -> Display:
    """Chooses logarithmic colours, for indices that span decades as those of a spectrum do.

    Args:
        values: indices, finite. Where they span less than a factor of 4, or none is positive, the scale is that of
            :func:`display_of`.
    """
    positive = values[values > 0]
    if positive.size == 0 or (largest := float(positive.max())) < 4 * float(positive.min()):
        return display_of(values)
    low = max(float(positive.min()), largest * 10.0**-_DECADES)
    return Display(
        LogNorm(low, largest, clip=True),
        f"logarithmic colour scale; below {low:.2g} drawn as {low:.2g}"
        if (values < low).any()
        else "logarithmic colour scale",
        None,
    )


def change_display_of(values: Float[np.ndarray, "h w"]) -> Display:
    """Linear colours with 0 in their middle, for :data:`CHANGE`.

    Args:
        values: differences of two maps that each sum to 1. A thousandth of an even share is the least that the whole
            range of colours is spent on: below it there is rounding alone.
    """
    reach = max(float(np.abs(values).max()), 1e-3 / values.size)
    return Display(Normalize(-reach, reach, clip=True), "", None)
