"""The panels of explanations in the wavelet domain: where the model looks, on which scales, how much on each."""

from __future__ import annotations

from matplotlib.axes import Axes

from wavescope.engine.types import Explanation
from wavescope.figures import panels
from wavescope.figures.colours import UNIT, display_of
from wavescope.figures.page import BAR_IN, GAP_IN, LEFT_IN, PANEL_IN, TITLE_IN, Page, Row, fit, panel_height
from wavescope.figures.scales import SUMMED, draw_scales
from wavescope.figures.unresolved import (
    HATCHED,
    MOSTLY_HATCHED,
    draw_hatching,
    predicted_pixels,
    unresolved_places,
)

SCALES_LABELS_IN = 0.95  # left of a packed map, for its scales


def wavelet_rows(explanation: Explanation) -> list[Row]:
    """The image with its two maps; below, the prediction and the importance per scale."""
    return [_maps_row(explanation), scales_row(explanation)]


def _maps_row(explanation: Explanation) -> Row:
    """Image, spatial WCAM and packed WCAM side by side, colour bars under the two maps."""
    height = panel_height(explanation.image.shape)

    def draw(page: Page, top: float) -> None:
        place_image(page, (LEFT_IN, top), (PANEL_IN, height), explanation)
        left = LEFT_IN + PANEL_IN + GAP_IN
        place_spatial(page, (left, top), (PANEL_IN, height), explanation, "Where: spatial WCAM")
        left += PANEL_IN + SCALES_LABELS_IN
        place_packed(page, (left, top), (PANEL_IN, height), explanation)

    return Row(TITLE_IN + height + BAR_IN, draw)


def scales_row(explanation: Explanation, summed: str = SUMMED) -> Row:
    """The prediction, and the importance per scale by orientation; ``summed`` is what shares are of."""
    levels = explanation.levels or ()
    height = max(1.75, 0.26 * len(levels))

    def draw(page: Page, top: float) -> None:
        top += TITLE_IN
        panels.draw_predictions(page.axes(LEFT_IN, top, PANEL_IN, height), explanation)
        draw_scales(page.axes(LEFT_IN + PANEL_IN + GAP_IN + 0.55, top, 4.85, height), levels, summed)

    return Row(TITLE_IN + height + 0.5, draw)


def place_image(
    page: Page,
    corner: tuple[float, float],
    box: tuple[float, float],
    explanation: Explanation,
    name: str = "What the model sees",
) -> Axes:
    """The explained image below its title, in a (width, height) box whose row begins at ``corner``."""
    axes = page.fitted(corner[0], corner[1] + TITLE_IN, box, explanation.image.shape)
    panels.draw_image(axes, explanation.image)
    panels.title(axes, name)
    return axes


def place_spatial(
    page: Page,
    corner: tuple[float, float],
    box: tuple[float, float],
    explanation: Explanation,
    name: str,
    *,
    unit: str | None = None,
) -> None:
    """The map over the image's pixels, with its colour bar; ``unit`` where it is not that of total indices."""
    maps = explanation.maps
    if maps is None or maps.spatial is None:
        return
    left, top = corner[0], corner[1] + TITLE_IN
    display = display_of(maps.spatial)
    axes = page.fitted(left, top, box, explanation.image.shape)
    panels.draw_spatial(axes, explanation.image, maps.spatial, display)
    panels.title(axes, name)
    of_indices = UNIT if maps.spatial_wcam is None else f"{UNIT}, summed over sub-bands"
    label = display.label(unit or of_indices)
    predicted = predicted_pixels(explanation)
    if predicted is not None and predicted.any():
        draw_hatching(axes, predicted)
        label += f"\n{HATCHED if maps.spatial_wcam is None else MOSTLY_HATCHED}"
    bar = page.axes(left, top + box[1] + 0.1, box[0], 0.11)
    panels.draw_colour_bar(bar, display, label, over_grey=True)


def place_packed(
    page: Page,
    corner: tuple[float, float],
    box: tuple[float, float],
    explanation: Explanation,
    name: str = "Where and on which scale: WCAM",
    *,
    unit: str = UNIT,
) -> None:
    """The map over packed coefficients, with its colour bar."""
    maps = explanation.maps
    if maps is None or maps.packed is None:
        return
    left, top = corner[0], corner[1] + TITLE_IN
    display = display_of(maps.packed)
    width, height = fit(box, maps.packed.shape)
    axes = page.fitted(left, top, box, maps.packed.shape)
    panels.draw_packed(
        axes, maps.packed, maps.factors, explanation.levels or (), display, (72 * width, 72 * height)
    )
    panels.title(axes, name)
    label = display.label(unit, *(["grey: not perturbed"] if (maps.factors < 0).any() else []))
    unresolved = unresolved_places(explanation)
    if unresolved is not None:
        draw_hatching(axes, unresolved)
        label += f"\n{HATCHED}"
    panels.draw_colour_bar(page.axes(left, top + box[1] + 0.1, box[0], 0.11), display, label)
