"""Importance per scale as bars: stacked by orientation, or two explanations side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import MaxNLocator

from wavescope.engine.types import BandImportance, LevelImportance, ProfileBand
from wavescope.figures.colours import FIRST, INK, ORIENTATION_STYLES, SECOND, WHOLE_LEVEL, Style
from wavescope.figures.labels import band_label, percent, scale_label
from wavescope.figures.layout import Orientation
from wavescope.figures.panels import title, words
from wavescope.figures.text import FONT, drawable

LEGEND: dict[Orientation, str] = {
    "horizontal": "horizontal (h)",
    "vertical": "vertical (v)",
    "diagonal": "diagonal (d)",
    "approximation": "approximation",
}

SUMMED = "total Sobol indices"  # what shares are of, but for attributions
_PALE = 0.3  # opacity of a bar that is a prediction
HALO = [Stroke(linewidth=2.6, foreground="white"), Normal()]  # keeps a dark line apart from a dark bar


def draw_scales(axes: Axes, levels: Sequence[LevelImportance], summed: str = SUMMED) -> None:
    """Share of importance per scale, or of what else is summed, coarse at the top, stacked by orientation.

    A diamond shows the mean per coefficient, normalised: 1-2 px has 64 times the coefficients of 8-16 px, so
    that a sum alone favours fine scales.
    """
    title(axes, "Importance per scale" if summed == SUMMED else "Attribution per scale")
    for place, level in enumerate(levels):
        _stack(axes, place, level)
    ends = [level.share for level in levels] + [level.mean_share for level in levels]
    axes.scatter(
        [level.mean_share for level in levels],
        range(len(levels)),
        marker="D",
        s=20,
        facecolor="white",
        edgecolor=INK,
        linewidth=1.0,
        zorder=4,
        clip_on=False,
    )
    share_axis(axes, [scale_label(level.scale_px) for level in levels], ends, summed)
    _legend(axes)


def share_axis(axes: Axes, labels: Sequence[str], shares: Sequence[float], summed: str = SUMMED) -> None:
    """Rows named by ``labels``, the first at the top, over an axis of percent that holds 0 and all ``shares``."""
    axes.set_yticks(range(len(labels)), labels=labels)
    axes.set_ylim(len(labels) - 0.45, -0.55)
    low, high = min(0.0, *shares), max(*shares, 0.05)
    axes.set_xlim(1.1 * low, high + 0.04 * (high - low))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{round(100 * value, 6):g} %")
    axes.set_xlabel(f"share of the summed {summed}", **words(8), labelpad=2)
    axes.tick_params(labelsize=8.5, labelcolor=INK, labelfontfamily=FONT, length=3, width=0.6)
    axes.tick_params(axis="y", length=0)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.spines[["top", "right", "left"]].set_visible(False)


def beside(axes: Axes, place: float, text: str, *, weight: str = "normal") -> None:
    """A number in a column at the right of a chart, in the row ``place``."""
    axes.annotate(
        text,
        (1.0, place),
        xycoords=("axes fraction", "data"),
        xytext=(42, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        **words(8.5, fontweight=weight),
    )


def draw_profile(
    axes: Axes, bands: Sequence[ProfileBand], resolved: Bool[np.ndarray, " k"] | None = None
) -> None:
    """Share of importance per sub-band, coarse at the top, a line of one standard error to each side.

    Args:
        resolved: per sub-band, whether it was perturbed by itself; the others are pale. ``None`` where all are.
    """
    pale = np.zeros(len(bands), bool) if resolved is None else ~resolved
    title(axes, "Importance per sub-band" + (" (pale: predicted)" if pale.any() else ""))
    ends: list[float] = []
    for place, band in enumerate(bands):
        whole = band.level > 0 and band.orientation is None
        name = "approximation" if band.level == 0 else band.orientation
        style = WHOLE_LEVEL if whole else ORIENTATION_STYLES[name]  # pyright: ignore[reportArgumentType]
        _bar(axes, place, band.share, 0.0, style, opacity=_PALE if pale[place] else 1.0)
        error = band.share_standard_error
        ends += [band.share - (error or 0.0), band.share + (error or 0.0)]
        if error is not None:
            line = axes.errorbar(band.share, place, xerr=error, color=INK, elinewidth=1.0, capsize=2.5)
            line.lines[2][0].set_path_effects(HALO)
        beside(axes, place, percent(band.share))
    share_axis(axes, [band_label(band.level, band.orientation, band.scale_px) for band in bands], ends)
    for place, (above, below) in enumerate(pairwise(bands)):
        if above.level != below.level:
            axes.axhline(place + 0.5, color="#dddddd", linewidth=0.6, zorder=0)


def draw_pairs(
    axes: Axes,
    labels: Sequence[str],
    pairs: Sequence[tuple[float | None, float]],
    names: tuple[str, str],
    notes: Sequence[str],
    *,
    highlighted: int | None = None,
) -> None:
    """Two shares per row, joined by a line: a circle for the first explanation, a diamond for the second.

    Args:
        labels: of the rows, the first at the top.
        pairs: per row, the share in the first explanation, ``None`` where it has no such row, and in the second.
        names: of the two explanations.
        notes: per row, what stands at the right.
        highlighted: a row laid on a coloured ground.
    """
    if highlighted is not None:
        axes.axhspan(highlighted - 0.5, highlighted + 0.5, color="#fbead9", linewidth=0, zorder=0)
    for place, (first, second) in enumerate(pairs):
        if first is not None:
            axes.plot([first, second], [place, place], color="#9a9a9a", linewidth=2.2, zorder=2)
            _mark(axes, first, place, FIRST, "o")
        else:
            axes.plot([0, second], [place, place], color=SECOND, linewidth=1.2, linestyle=":", zorder=2)
        _mark(axes, second, place, SECOND, "D")
        beside(axes, place, notes[place], weight="bold" if place == highlighted else "normal")
    share_axis(axes, labels, [value for pair in pairs for value in pair if value is not None])
    axes.set_xlim(left=min(axes.get_xlim()[0], -0.02 * axes.get_xlim()[1]))  # room for half a mark at 0
    handles = [
        Line2D([], [], marker=mark, markersize=6, linestyle="", color=colour)
        for mark, colour in (("o", FIRST), ("D", SECOND))
    ]
    axes.legend(
        handles,
        [drawable(name) for name in names],
        loc="lower left",
        bbox_to_anchor=(-0.02, -0.02 - 0.62 / _height_in(axes)),
        ncols=2,
        frameon=False,
        prop={"family": FONT, "size": 8.5},
        labelcolor=INK,
        handletextpad=0.3,
        columnspacing=1.2,
    )


def _mark(axes: Axes, x: float, y: float, colour: str, marker: str) -> None:
    size = 52 if marker == "o" else 40
    axes.scatter(
        x, y, marker=marker, s=size, color=colour, edgecolor="white", linewidth=0.8, zorder=4, clip_on=False
    )


def _height_in(axes: Axes) -> float:
    return axes.get_position().height * axes.figure.get_figheight()  # pyright: ignore[reportAttributeAccessIssue]


def _stack(axes: Axes, place: int, level: LevelImportance) -> None:
    """One scale's bar; negative parts grow to the left, so that no part hides another."""
    right, left = 0.0, 0.0
    for orientation, share in _parts(level):
        style = ORIENTATION_STYLES[orientation]
        start = right if share >= 0 else left
        _bar(axes, place, share, start, style)
        right, left = right + max(share, 0.0), left + min(share, 0.0)
    beside(axes, place, percent(level.share))


def _bar(
    axes: Axes, place: float, length: float, start: float, style: Style, *, opacity: float = 1.0
) -> None:
    """A hatched bar, outlined apart: the colour of an edge is that of its hatching."""
    axes.barh(
        place,
        length,
        0.62,
        left=start,
        facecolor=style.face,
        hatch=style.hatch,
        edgecolor="white",
        linewidth=0,
        alpha=opacity,
    )
    axes.barh(place, length, 0.62, left=start, facecolor="none", edgecolor=INK, linewidth=0.6)


def _parts(level: LevelImportance) -> list[tuple[Orientation, float]]:
    bands: dict[Orientation, BandImportance | None] = {
        "horizontal": level.horizontal,
        "vertical": level.vertical,
        "diagonal": level.diagonal,
    }
    if all(band is None for band in bands.values()):
        return [("approximation", level.share)]
    return [(name, band.share) for name, band in bands.items() if band is not None]


def _legend(axes: Axes) -> None:
    hatched = [
        (_patch(style.face, style.hatch, "white"), _patch("none", "", INK))
        for style in ORIENTATION_STYLES.values()
    ]
    mean = Line2D(
        [], [], marker="D", markersize=4.5, linestyle="", markerfacecolor="white", markeredgecolor=INK
    )
    axes.legend(
        [*hatched, mean],
        [LEGEND[name] for name in ORIENTATION_STYLES] + ["mean per coefficient,\nnormalised"],
        loc="upper left",
        bbox_to_anchor=(1.13, 1.02),
        frameon=False,
        prop={"family": FONT, "size": 8},
        labelcolor=INK,
        handlelength=1.8,
        handleheight=1.0,
    )


def _patch(face: str, hatch: str, edge: str) -> Patch:
    return Patch(facecolor=face, hatch=hatch, edgecolor=edge, linewidth=0.6)
