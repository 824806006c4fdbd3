"""The panels of the pixel-domain Sobol attribution (Fel et al. 2021)."""

from __future__ import annotations

from wavescope.engine.types import Explanation
from wavescope.figures import panels
from wavescope.figures.kinds.wavelet import place_image, place_spatial
from wavescope.figures.page import BAR_IN, GAP_IN, LEFT_IN, PANEL_IN, TITLE_IN, Page, Row, panel_height


def pixel_rows(explanation: Explanation) -> list[Row]:
    """The image, the map over it, and the prediction, in one row."""
    height = panel_height(explanation.image.shape)
    box = PANEL_IN, height

    def draw(page: Page, top: float) -> None:
        place_image(page, (LEFT_IN, top), box, explanation)
        left = LEFT_IN + PANEL_IN + GAP_IN
        place_spatial(page, (left, top), box, explanation, "Where: Sobol attribution of pixels")
        left += PANEL_IN + 1.5 * GAP_IN
        panels.draw_predictions(page.axes(left, top + TITLE_IN, PANEL_IN, 2.0), explanation)

    return [Row(TITLE_IN + max(height + BAR_IN, 2.0), draw)]
