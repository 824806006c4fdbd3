"""The panels of robustness: which corruptions at which severity take the label away (paper, appendix B.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from wavescope.engine.types import Explanation, Robustness
from wavescope.figures import panels
from wavescope.figures.colours import COLORMAP, INK, TARGET, Display
from wavescope.figures.kinds.sufficient_image import draw_or_say
from wavescope.figures.kinds.wavelet import place_image, scales_row
from wavescope.figures.labels import corruption_label, depth_words, percent
from wavescope.figures.page import LEFT_IN, PANEL_IN, TITLE_IN, Page, Row, panel_height
from wavescope.figures.panels import title, words
from wavescope.figures.scales import beside
from wavescope.figures.text import FONT, drawable

_CELL_IN = (0.56, 0.262)
_NAMES_IN = 1.5  # left of the heat map
_HEAT_LEFT_IN = LEFT_IN + PANEL_IN + _NAMES_IN + 0.2
_SHOWN_IN = 2.55  # width of the two images


def robustness_rows(explanation: Explanation) -> list[Row]:
    """The image and the sufficient image beside the heat map; below, the prediction and the scales."""
    return [heat_row(explanation), scales_row(explanation)]


def heat_row(explanation: Explanation) -> Row:
    """The image, the sufficient image where there is one, and the label under every corruption."""
    found = explanation.robustness
    if found is None:
        return Row(0, lambda page, top: None)
    names = list(found.shares)
    severities = sorted({each.severity for each in found.corrupted})
    image_height = panel_height(explanation.image.shape, _SHOWN_IN)
    heat = _CELL_IN[0] * max(len(severities), 1), _CELL_IN[1] * len(names)
    left_height = (TITLE_IN + image_height) * (1 if explanation.sufficiency is None else 2) + 0.35

    def draw(page: Page, top: float) -> None:
        place_image(page, (LEFT_IN, top), (_SHOWN_IN, image_height), explanation)
        _place_sufficient(page, top + TITLE_IN + image_height + 0.1, image_height, explanation)
        axes = page.axes(_HEAT_LEFT_IN, top + TITLE_IN, *heat)
        display = Display(Normalize(0.0, 1.0), "", None)
        draw_heat(axes, found, names, severities, display)
        bar = page.axes(_HEAT_LEFT_IN, top + TITLE_IN + heat[1] + 0.5, heat[0], 0.11)
        panels.draw_colour_bar(bar, display, "probability of the target\n(×: another label is given)")
        shares = page.axes(_HEAT_LEFT_IN + heat[0] + 0.45, top + TITLE_IN, 2.2, heat[1])
        draw_shares(shares, found, names)

    return Row(TITLE_IN + max(heat[1] + 1.25, left_height - TITLE_IN), draw)


def _place_sufficient(page: Page, top: float, height: float, explanation: Explanation) -> None:
    found = explanation.sufficiency
    if found is None:
        return
    axes = page.fitted(LEFT_IN, top + TITLE_IN, (_SHOWN_IN, height), explanation.image.shape)
    draw_or_say(axes, found.image, "no number of factors\ngives the label")
    title(axes, f"Reconstruction depth: {depth_words(found)}")


def draw_heat(
    axes: Axes, found: Robustness, names: Sequence[str], severities: Sequence[int], display: Display
) -> None:
    """The target's probability per corruption and severity; a cross where another label is given."""
    values = np.full((len(names), len(severities)), np.nan)
    title(axes, f"Label kept: {percent(found.share)}")
    axes.set(xlim=(-0.5, len(severities) - 0.5), ylim=(len(names) - 0.5, -0.5))
    for each in found.corrupted:
        row, column = names.index(each.corruption), severities.index(each.severity)
        values[row, column] = each.probability
        light = display.norm(each.probability) > 0.6
        text = f"{each.probability:.2f}" + ("" if each.same_label else " ×")
        weight = "normal" if each.same_label else "bold"
        ink = words(7.5, color="black" if light else "white", fontweight=weight)
        axes.text(column, row, text, ha="center", va="center", **ink)
    axes.imshow(values, COLORMAP, norm=display.norm, aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(names)), labels=[drawable(corruption_label(name)) for name in names])
    axes.set_xticks(range(len(severities)), labels=[str(severity) for severity in severities])
    axes.set_xlabel("severity", **words(8), labelpad=2)
    axes.tick_params(labelsize=8.5, labelcolor=INK, labelfontfamily=FONT, length=0)
    axes.set_xticks(np.arange(len(severities) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.0)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)


def draw_shares(axes: Axes, found: Robustness, names: Sequence[str]) -> None:
    """Share of the severities that keep the label, per corruption, in the rows of the heat map."""
    title(axes, "per corruption")
    axes.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5), yticks=[])
    for place, name in enumerate(names):
        axes.barh(place, 1.0, 0.5, color="#eeeeee")
        axes.barh(place, found.shares[name], 0.5, color=TARGET)
        beside(axes, place, f"{100 * found.shares[name]:.0f} %")
    axes.set_xticks([0, 0.5, 1], labels=["0 %", "50 %", "100 %"])
    axes.set_xlabel("severities that keep the label", **words(8), labelpad=2)
    axes.tick_params(labelsize=8, labelcolor=INK, labelfontfamily=FONT, length=3, width=0.6)
    axes.spines[:].set_visible(False)
