"""The panels of the sufficient image: what is enough for the label, and how the label comes back."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from wavescope.engine.types import Explanation, Prediction, Sufficiency
from wavescope.figures import panels
from wavescope.figures.colours import INK, MUTED, NO_FACTOR, SECOND, TARGET
from wavescope.figures.kinds.wavelet import place_packed, scales_row
from wavescope.figures.labels import depth_words, kept_words, sufficiency_sentence
from wavescope.figures.page import (
    BAR_IN,
    LEFT_IN,
    PANEL_IN,
    SMALL_IN,
    TITLE_IN,
    Page,
    Row,
    panel_height,
    wrapped,
)
from wavescope.figures.panels import title, words
from wavescope.figures.text import FONT

_STEP_IN = SMALL_IN + (11.4 - 4 * SMALL_IN) / 3  # from one of four panels to the next
_BELOW_IN = 0.42  # for two lines below a panel


def sufficiency_rows(explanation: Explanation) -> list[Row]:
    """Four images; what is kept; the curve and the WCAM; the prediction and the scales."""
    found = explanation.sufficiency
    if found is None:
        return []
    return [
        _images_row(explanation, found),
        _words_row(found, explanation.target),
        _curve_row(explanation, found),
        scales_row(explanation),
    ]


def _images_row(explanation: Explanation, found: Sufficiency) -> Row:
    """The image, the sufficient one, those of the top factor alone and of all that are positive."""
    height = panel_height(explanation.image.shape, SMALL_IN)
    factors = len(found.order)
    clean = explanation.target.probability
    shown = [
        ("What the model sees", explanation.image, "" if clean is None else f"probability {clean:.3f}"),
        ("Enough for the label", found.image, _caption(found, found.depth)),
        ("The top factor alone", found.top_image, _caption(found, min(1, factors))),
        (
            "The positive factors",
            found.positive_image,
            _caption(found, found.positive_factors),
        ),
    ]

    def draw(page: Page, top: float) -> None:
        for place, (name, pixels, below) in enumerate(shown):
            left = LEFT_IN + place * _STEP_IN
            axes = page.fitted(left, top + TITLE_IN, (SMALL_IN, height), explanation.image.shape)
            draw_or_say(axes, pixels, "no number of factors\ngives the label")
            title(axes, name)
            place_of = {"xycoords": "axes fraction", "xytext": (0, -5), "textcoords": "offset points"}
            axes.annotate(below, (0, 0), va="top", **place_of, **words(8, linespacing=1.3))

    return Row(TITLE_IN + height + _BELOW_IN, draw)


def draw_or_say(axes: Axes, pixels: Float32[np.ndarray, "c h w"] | None, otherwise: str) -> None:
    """An image, or why there is none."""
    if pixels is not None:
        panels.draw_image(axes, pixels)
        return
    axes.set(xticks=[], yticks=[], facecolor=NO_FACTOR)
    axes.text(0.5, 0.5, otherwise, transform=axes.transAxes, ha="center", va="center", **words(8.5))


def _caption(found: Sufficiency, count: int | None) -> str:
    """Number of factors, and the probability that they give the target."""
    factors = len(found.order)
    if count is None:
        return depth_words(found)
    return f"{count:,} of {factors:,} factors\nprobability {found.probability[count]:.3f}"


def _words_row(found: Sufficiency, target: Prediction) -> Row:
    text = sufficiency_sentence(found, target) + (
        f" {kept_words(found.kept)}" if found.kept and found.depth else ""
    )
    lines = wrapped(text, 150)

    def draw(page: Page, top: float) -> None:
        page.text(LEFT_IN, top + 0.1, "\n".join(lines), 9.5, linespacing=1.35)

    return Row(0.1 + 0.21 * len(lines) + 0.1, draw)


def _curve_row(explanation: Explanation, found: Sufficiency) -> Row:
    height = panel_height(explanation.image.shape)
    chart_height = min(height, PANEL_IN)

    def draw(page: Page, top: float) -> None:
        axes = page.axes(LEFT_IN + 0.5, top + TITLE_IN, 6.0, chart_height + 0.15)
        draw_curve(axes, found, explanation.target)
        left = page.width - LEFT_IN - PANEL_IN
        place_packed(page, (left, top), (PANEL_IN, height), explanation)

    return Row(TITLE_IN + height + BAR_IN, draw)


def draw_curve(axes: Axes, found: Sufficiency, target: Prediction) -> None:
    """The target's probability against the number of top factors, on a scale that is linear up to 1."""
    title(axes, "How the label comes back")
    factors = len(found.order)
    count = np.arange(len(found.probability))
    has_label = found.predicted == target.index
    high = 1.06 * max(0.05, float(found.probability.max()))
    _shade(axes, has_label, high)
    axes.plot(count, found.probability, color=TARGET, linewidth=1.5, drawstyle="steps-mid", zorder=3)
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    axes.set(xlim=(0, max(factors, 1)), ylim=(0, high))
    ticks = [0, *(step * 10**power for power in range(6) for step in (1, 2, 5))]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if tick <= max(factors, 1)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("top factors kept, of " + f"{factors:,}", **words(8), labelpad=2)
    axes.set_ylabel("probability of the target", **words(8))
    axes.tick_params(labelsize=7.5, labelcolor=INK, labelfontfamily=FONT, length=3, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if found.depth is not None:
        _mark_depth(axes, found, found.depth)


def _shade(axes: Axes, has_label: np.ndarray, high: float) -> None:
    """A ground of colour behind the counts whose image has the target's label."""
    edges = np.arange(len(has_label) + 1) - 0.5
    axes.stairs(np.where(has_label, high, 0.0), edges, fill=True, color="#e9eef4", linewidth=0, zorder=0)
    note = (
        "shaded: the image has the target's label" if has_label.any() else "no image has the target's label"
    )
    axes.text(1.0, 1.01, note, transform=axes.transAxes, ha="right", va="bottom", **words(8, color=MUTED))


def _mark_depth(axes: Axes, found: Sufficiency, depth: int) -> None:
    value = float(found.probability[depth])
    axes.axvline(depth, color=SECOND, linewidth=1.4, zorder=2, clip_on=False)
    axes.scatter(depth, value, s=42, color=SECOND, edgecolor="white", linewidth=0.9, zorder=5, clip_on=False)
    left = depth > np.sqrt(len(found.order))  # the note stands where the axis has room
    axes.annotate(
        f"depth {depth:,}",
        (depth, 0.93),
        xycoords=("data", "axes fraction"),
        xytext=(-6 if left else 6, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
        **words(9, fontweight="bold"),
    )
