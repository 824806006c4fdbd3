"""The panels of the figure. Each function draws one thing onto the axes it is given."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke

from wavescope.engine.types import Explanation, LevelImportance, Prediction
from wavescope.figures.colours import CHANGE, COLORMAP, INK, MUTED, NO_FACTOR, OTHER, TARGET, Display
from wavescope.figures.labels import probability_label, scale_label, shorten
from wavescope.figures.layout import packed_bands, spread
from wavescope.figures.text import FONT, drawable

_OPACITY = 0.78  # of the spatial map over the image
_HINT_MIN_PT = 26.0  # the smallest sub-band side that has room for its letter
_LABEL_GAP_PT = 11.0  # between the scale labels beside the packed map
# White on black is seen on both ends of the map of colours.
_OUTLINED = [Stroke(linewidth=2.2, foreground="black", alpha=0.65), Normal()]


def words(size: float = 8.5, **style: object) -> dict[str, Any]:
    """Text properties that do not depend on the reader's matplotlib settings."""
    return {"fontsize": size, "fontfamily": FONT, "color": INK, **style}


def title(axes: Axes, text: str) -> None:
    """A bold title over the left edge of a panel."""
    axes.set_title(text, loc="left", pad=5, **words(9.5, fontweight="bold"))


def draw_image(axes: Axes, pixels: Float32[np.ndarray, "c h w"]) -> None:
    """The image as the model sees it: RGB, or grey for any other number of channels."""
    _bare(axes)
    if pixels.shape[0] == 3:
        axes.imshow(np.clip(np.moveaxis(pixels, 0, -1), 0.0, 1.0), aspect="auto", interpolation="antialiased")
    else:
        axes.imshow(_luminance(pixels), "gray", aspect="auto", vmin=0, vmax=1, interpolation="antialiased")


def draw_spatial(
    axes: Axes, pixels: Float32[np.ndarray, "c h w"], spatial: Float[np.ndarray, "h w"], display: Display
) -> None:
    """A map over the image's pixels, cell by cell, over the image in grey."""
    _bare(axes)
    axes.imshow(_luminance(pixels), "gray", aspect="auto", vmin=0, vmax=1, interpolation="antialiased")
    axes.imshow(spatial, COLORMAP, norm=display.norm, aspect="auto", interpolation="nearest", alpha=_OPACITY)


def draw_change(axes: Axes, change: Float[np.ndarray, "h w"], display: Display) -> None:
    """Draw where importance was lost and gained, in colours that diverge at 0."""
    _bare(axes)
    axes.imshow(change, CHANGE, norm=display.norm, aspect="auto", interpolation="nearest")


def draw_frame(axes: Axes, box: tuple[float, float, float, float]) -> None:
    """A rectangle on a picture: (left, top, right, bottom) as fractions of its width and height."""
    left, top, right, bottom = box
    low_x, high_x = axes.get_xlim()
    high_y, low_y = axes.get_ylim()
    width, height = high_x - low_x, high_y - low_y
    frame = Rectangle(
        (low_x + left * width, low_y + top * height),
        (right - left) * width,
        (bottom - top) * height,
        fill=False,
        edgecolor="white",
        linewidth=1.4,
        path_effects=_OUTLINED,
    )
    axes.add_patch(frame)


def draw_packed(
    axes: Axes,
    wcam: Float[np.ndarray, "H W"],
    factors: Int[np.ndarray, "H W"],
    levels: Sequence[LevelImportance],
    display: Display,
    size_pt: tuple[float, float],
) -> None:
    """The WCAM in packed layout with sub-band lines, scale labels at the left, orientation letters inside.

    Args:
        wcam: the map.
        factors: coefficients of no factor (-1) are left grey, as no index belongs to them.
        levels: approximation first.
        size_pt: (width, height) of ``axes``, points; decides which letters and labels have room.
    """
    _bare(axes)
    axes.set_facecolor(NO_FACTOR)
    indices = np.ma.masked_array(wcam, factors < 0)
    axes.imshow(indices, COLORMAP, norm=display.norm, aspect="auto", interpolation="nearest")
    height, width = wcam.shape[0], wcam.shape[1]
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    bands = packed_bands((height, width), len(levels) - 1)
    for band in bands:
        if band.orientation == "diagonal":
            x, y = band.left - 0.5, band.top - 0.5
            for xs, ys in (([-0.5, band.right], [y, y]), ([x, x], [-0.5, band.bottom])):
                axes.plot(xs, ys, color="white", linewidth=0.9, path_effects=_OUTLINED, solid_capstyle="butt")
        room = min(
            (band.right - band.left) / width * size_pt[0], (band.bottom - band.top) / height * size_pt[1]
        )
        if band.orientation != "approximation" and room >= _HINT_MIN_PT:
            axes.annotate(
                band.orientation[0],
                (band.left / width, 1 - band.top / height),
                xycoords="axes fraction",
                xytext=(5, -4),
                textcoords="offset points",
                va="top",
                **words(9, color="white", path_effects=_OUTLINED),
            )
    _scale_labels(axes, levels, size_pt[1])


def _scale_labels(axes: Axes, levels: Sequence[LevelImportance], height_pt: float) -> None:
    """Names every level beside its rows, with a line to them where labels had to move apart."""
    edges = [0.0] + [2.0 ** (level - len(levels) + 1) for level in range(len(levels))]
    centres = [height_pt * (low + high) / 2 for low, high in pairwise(edges)]
    rows = axes.get_ylim()[0] + 0.5
    axes.set_yticks([edge * rows - 0.5 for edge in edges], labels=[""] * len(edges))
    axes.tick_params(axis="y", length=4, width=0.8, color=INK)
    for level, centre, place in zip(levels, centres, spread(centres, _LABEL_GAP_PT), strict=True):
        axes.annotate(
            scale_label(level.scale_px),
            (0.0, 1 - centre / height_pt),
            xycoords="axes fraction",
            xytext=(-16, centre - place),
            textcoords="offset points",
            ha="right",
            va="center",
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 2},
            **words(8.5),
        )


def draw_colour_bar(
    axes: Axes, display: Display, label: str, *, over_grey: bool = False, colours: Colormap | None = None
) -> None:
    """A horizontal colour bar with its unit; ``over_grey`` for a map that lets the grey image through."""
    mappable = ScalarMappable(display.norm, colours or (_over_grey() if over_grey else COLORMAP))
    bar = axes.figure.colorbar(mappable, cax=axes, orientation="horizontal", ticks=display.ticks())
    bar.outline.set_linewidth(0.6)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    axes.tick_params(axis="x", labelsize=7.5, labelcolor=INK, labelfontfamily=FONT, length=2.5, width=0.6)
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    axes.set_xlabel(label, **words(8), labelpad=2, linespacing=1.3)


def draw_predictions(axes: Axes, explanation: Explanation, name: str = "Prediction") -> None:
    """The model's top classes with their probabilities; the explained class is dark, and added if missing."""
    rows = list(explanation.prediction)
    if explanation.target.index not in [row.index for row in rows]:
        rows.append(explanation.target)
    title(axes, name)
    axes.set(xlim=(0, 1), ylim=(max(len(rows), 5) - 0.3, -0.75))
    axes.axis("off")
    for place, row in enumerate(rows):
        _prediction_row(axes, place, row, is_target=row.index == explanation.target.index)


def _prediction_row(axes: Axes, place: int, row: Prediction, *, is_target: bool) -> None:
    weight = "bold" if is_target else "normal"
    name = drawable(shorten(row.label, 34))
    axes.text(0, place - 0.12, name, va="bottom", **words(8, fontweight=weight))
    axes.text(1, place - 0.12, probability_label(row), va="bottom", ha="right", **words(8, fontweight=weight))
    axes.barh(place + 0.08, 1.0, height=0.17, color="#eeeeee")
    axes.barh(place + 0.08, row.probability or 0.0, height=0.17, color=TARGET if is_target else OTHER)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(linewidth=0.8, color=INK)


def _luminance(pixels: Float32[np.ndarray, "c h w"]) -> Float[np.ndarray, "h w"]:
    if pixels.shape[0] == 3:
        return np.clip(np.tensordot([0.2126, 0.7152, 0.0722], pixels, axes=1), 0.0, 1.0)  # Rec. 709
    return np.clip(pixels.mean(axis=0), 0.0, 1.0)


def _over_grey() -> Colormap:
    colours = colormaps[COLORMAP](np.linspace(0, 1, 256))[:, :3]
    return LinearSegmentedColormap.from_list("over_grey", _OPACITY * colours + (1 - _OPACITY) * 0.5, 256)
