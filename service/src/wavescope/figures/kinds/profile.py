"""The panels of the scale profile: one bar per sub-band or level, with its standard error."""

from __future__ import annotations

from wavescope.engine.types import Explanation
from wavescope.figures import panels
from wavescope.figures.kinds.wavelet import place_image
from wavescope.figures.page import LEFT_IN, PANEL_IN, TITLE_IN, Page, Row, panel_height
from wavescope.figures.scales import draw_profile

_ROW_IN = 0.27  # height of a bar with its gap


def profile_rows(explanation: Explanation) -> list[Row]:
    """The image, the bars and the prediction, in one row."""
    bands = explanation.profile or ()
    resolved = explanation.indices.resolved if explanation.indices is not None else None
    image_height = panel_height(explanation.image.shape, 2.9)
    bars_height = max(1.75, _ROW_IN * len(bands))

    def draw(page: Page, top: float) -> None:
        place_image(page, (LEFT_IN, top), (2.9, image_height), explanation)
        draw_profile(page.axes(LEFT_IN + 2.9 + 1.55, top + TITLE_IN, 3.3, bars_height), bands, resolved)
        left = page.width - LEFT_IN - (PANEL_IN - 0.6)
        panels.draw_predictions(page.axes(left, top + TITLE_IN, PANEL_IN - 0.6, 2.0), explanation)

    return [Row(TITLE_IN + max(image_height, bars_height + 0.45, 2.0) + 0.1, draw)]
