"""The panels of the zoom experiment: what becomes visible when the image is enlarged twice (paper, section 4.3)."""

from __future__ import annotations

from wavescope.engine.types import CropBox, Explanation, Zoom
from wavescope.figures import panels
from wavescope.figures.kinds.compare import pair_row
from wavescope.figures.labels import percent, scale_label
from wavescope.figures.page import LEFT_IN, PANEL_IN, TITLE_IN, Page, Row
from wavescope.figures.panels import title
from wavescope.figures.scales import draw_pairs


def zoom_rows(explanation: Explanation) -> list[Row]:
    """Both crops with their maps; both predictions and the shares per scale, the new one on a coloured ground."""
    found = explanation.zoom
    if found is None:
        return []
    frame = _inside(found.zoomed.crop, explanation.crop)
    names = ("Regular (framed: what ×2 shows)" if frame else "Regular", "Enlarged ×2")
    return [pair_row(explanation, found.zoomed, names, frame), _scales_row(explanation, found)]


def _inside(inner: CropBox, outer: CropBox) -> tuple[float, float, float, float] | None:
    """``inner`` in fractions of ``outer``, both in pixels of the original; ``None`` where it is no true part."""
    width, height = outer.right - outer.left, outer.bottom - outer.top
    left, right = (inner.left - outer.left) / width, (inner.right - outer.left) / width
    top, bottom = (inner.top - outer.top) / height, (inner.bottom - outer.top) / height
    is_part = (
        min(left, top) >= -0.01 and max(right, bottom) <= 1.01 and min(right - left, bottom - top) < 0.99
    )
    return (left, top, right, bottom) if is_part else None


def _scales_row(explanation: Explanation, found: Zoom) -> Row:
    levels = found.levels
    chart_height = max(1.75, 0.36 * len(levels))

    def draw(page: Page, top: float) -> None:
        top += TITLE_IN
        width = PANEL_IN - 0.7
        panels.draw_predictions(page.axes(LEFT_IN, top, width, 1.75), explanation, "Prediction: regular")
        left = LEFT_IN + width + 0.3
        panels.draw_predictions(page.axes(left, top, width, 1.75), found.zoomed, "Prediction: enlarged ×2")
        chart = page.axes(left + width + 1.2, top, 3.75, chart_height)
        title(
            chart, f"New scale: {percent(found.new_share)} by sums, {percent(found.new_mean_share)} by means"
        )
        draw_pairs(
            chart,
            [scale_label(level.scale_px) for level in levels],
            [(level.share, level.zoomed_share) for level in levels],
            ("regular", "enlarged ×2"),
            [percent(level.zoomed_share) for level in levels],
            highlighted=next((place for place, level in enumerate(levels) if level.share is None), None),
        )

    return Row(TITLE_IN + max(chart_height + 0.8, 1.85), draw)
