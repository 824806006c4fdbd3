"""The panels of gradient attributions: where and on which scales the score is sensitive, and a map of every scale."""

from __future__ import annotations

import numpy as np

from wavescope.engine.types import Attributions, Explanation, LevelMap
from wavescope.figures import panels
from wavescope.figures.colours import display_of
from wavescope.figures.kinds.wavelet import (
    SCALES_LABELS_IN,
    place_image,
    place_packed,
    place_spatial,
    scales_row,
)
from wavescope.figures.labels import ATTRIBUTION_UNITS, scale_label
from wavescope.figures.page import BAR_IN, GAP_IN, LEFT_IN, PANEL_IN, TITLE_IN, Page, Row, panel_height

_MOST_IN_A_ROW = 4


def wam_rows(explanation: Explanation) -> list[Row]:
    """The image with its two maps; the prediction and the shares per scale; a map of every scale."""
    found = explanation.attributions
    if found is None:
        return []
    levels = found.level_maps
    rows = [levels[start : start + _MOST_IN_A_ROW] for start in range(0, len(levels), _MOST_IN_A_ROW)]
    return [
        _maps_row(explanation, found),
        scales_row(explanation, "attributions"),
        *(_levels_row(explanation, row) for row in rows),
    ]


def _maps_row(explanation: Explanation, found: Attributions) -> Row:
    """Image, map over the image and packed map side by side, colour bars under the two maps."""
    height = panel_height(explanation.image.shape)
    unit = ATTRIBUTION_UNITS[found.method]

    def draw(page: Page, top: float) -> None:
        box = (PANEL_IN, height)
        place_image(page, (LEFT_IN, top), box, explanation)
        left = LEFT_IN + PANEL_IN + GAP_IN
        place_spatial(
            page, (left, top), box, explanation, "Where: WAM", unit=f"{unit}, summed over sub-bands"
        )
        left += PANEL_IN + SCALES_LABELS_IN
        place_packed(
            page,
            (left, top),
            box,
            explanation,
            "Where and on which scale: WAM",
            unit=f"{unit} by coefficient",
        )

    return Row(TITLE_IN + height + BAR_IN, draw)


def _levels_row(explanation: Explanation, levels: tuple[LevelMap, ...]) -> Row:
    """Maps of some scales over the image, each in colours of its own."""
    width = (3 * PANEL_IN + GAP_IN) / _MOST_IN_A_ROW - 0.25
    height = panel_height(explanation.image.shape, width)
    size = explanation.image.shape[1:]

    def draw(page: Page, top: float) -> None:
        for place, level in enumerate(levels):
            left = LEFT_IN + place * (width + 0.25)
            axes = page.fitted(left, top + TITLE_IN, (width, height), explanation.image.shape)
            repeats = [
                2 ** int(np.ceil(np.log2(side / cells)))
                for side, cells in zip(size, level.map.shape, strict=True)
            ]
            whole = np.kron(level.map, np.ones(repeats))[: size[0], : size[1]]
            panels.draw_spatial(axes, explanation.image, whole, display_of(whole))
            panels.title(axes, scale_label(level.scale_px))

    return Row(TITLE_IN + height + 0.15, draw)
