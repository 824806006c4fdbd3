"""The figure of an explanation: the image, where the model looks, on which scales, and how much on each."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wavescope.engine.types import Explanation, LevelImportance, Maps
from wavescope.errors import InvalidRequest
from wavescope.figures import panels
from wavescope.figures.colours import INK, MUTED, UNIT, display_of
from wavescope.figures.labels import caption, constant_sentence, heading
from wavescope.figures.text import FONT, drawable

_WIDTH_IN = 12.0
_PANEL_IN = 3.4
_PANEL_HEIGHTS_IN = (1.2, 4.6)
_LEFT_IN, _GAP_IN, _LABELS_IN = 0.3, 0.35, 0.95
_DPI_LIMITS = (20, 600)


@dataclass(frozen=True, slots=True)
class _Page:
    """Places axes in inches from the top left corner."""

    figure: Figure
    width: float
    height: float

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        box = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def fitted(self, left: float, top: float, box: tuple[float, float], shape: tuple[int, ...]) -> Axes:
        """Axes of the aspect of ``shape`` (…, height, width), centred in a (width, height) box."""
        width, height = _fit(box, shape)
        return self.axes(left + (box[0] - width) / 2, top + (box[1] - height) / 2, width, height)

    def text(self, left: float, top: float, text: str, size: float, **style: object) -> None:
        self.figure.text(
            left / self.width,
            1 - top / self.height,
            text,
            va="top",
            fontsize=size,
            fontfamily=FONT,
            **{"color": INK, **style},  # pyright: ignore[reportArgumentType]
        )


def draw_png(explanation: Explanation, *, dpi: int = 100) -> bytes:
    """Draws an explanation as a PNG.

    The same explanation gives the same bytes: nothing of the request's identity, of time or of the machine is
    in them. No global state of matplotlib is touched, so threads may draw at once.

    Args:
        explanation: of any outcome; ``constant_score`` gives the image and a sentence.
        dpi: resolution, 20..600; the figure is 12 inches wide.

    Returns:
        The bytes of a PNG file.

    Raises:
        InvalidRequest: if ``dpi`` is outside its range.
    """
    check_dpi(dpi)
    figure = build_figure(explanation)
    buffer = BytesIO()
    # "Software" would name the version of matplotlib.
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def check_dpi(dpi: int) -> None:
    """Raise ``InvalidRequest`` for a resolution outside 20..600; 600 dpi are about 7,200 px across."""
    low, high = _DPI_LIMITS
    if not low <= dpi <= high:
        raise InvalidRequest(f"dpi must be {low}..{high}, got {dpi}", field="dpi", minimum=low, maximum=high)


def build_figure(explanation: Explanation) -> Figure:
    """The figure as matplotlib artists, on an Agg canvas and outside pyplot's registry."""
    if explanation.maps is None or explanation.levels is None:
        return _constant_figure(explanation)
    notes = _notes(explanation, 180)
    panel_height = _panel_height(explanation.image.shape)
    scales_height = max(1.75, 0.26 * len(explanation.levels))
    bottom_top = 0.8 + panel_height + 1.25
    height = bottom_top + scales_height + 0.65 + 0.17 * len(notes) + 0.1
    page = _page(_WIDTH_IN, height)
    page.text(_LEFT_IN, 0.14, "\n".join(_wrapped(heading(explanation), 100)), 12.5)
    _maps_row(page, explanation, explanation.maps, explanation.levels, panel_height)
    panels.draw_predictions(page.axes(_LEFT_IN, bottom_top, _PANEL_IN, scales_height), explanation)
    scales_left = _LEFT_IN + _PANEL_IN + _GAP_IN + 0.55
    panels.draw_scales(page.axes(scales_left, bottom_top, 4.85, scales_height), explanation.levels)
    page.text(_LEFT_IN, bottom_top + scales_height + 0.6, "\n".join(notes), 8, color=MUTED, linespacing=1.35)
    return page.figure


def _maps_row(
    page: _Page, explanation: Explanation, maps: Maps, levels: Sequence[LevelImportance], height: float
) -> None:
    """Image, spatial WCAM and packed WCAM side by side, colour bars under the two maps."""
    top, bar_top = 0.8, 0.8 + height + 0.1
    box = (_PANEL_IN, height)

    image = page.fitted(_LEFT_IN, top, box, explanation.image.shape)
    panels.draw_image(image, explanation.image)
    panels.title(image, "What the model sees")

    left = _LEFT_IN + _PANEL_IN + _GAP_IN
    spatial = page.fitted(left, top, box, explanation.image.shape)
    display = display_of(maps.spatial_wcam)
    panels.draw_spatial(spatial, explanation.image, maps.spatial_wcam, display)
    panels.title(spatial, "Where: spatial WCAM")
    label = display.label(f"{UNIT}, summed over sub-bands")
    panels.draw_colour_bar(page.axes(left, bar_top, _PANEL_IN, 0.11), display, label, over_grey=True)

    left += _PANEL_IN + _LABELS_IN
    packed = page.fitted(left, top, box, maps.wcam.shape)
    display = display_of(maps.wcam)
    fitted = _fit(box, maps.wcam.shape)
    panels.draw_packed(packed, maps, levels, display, (72 * fitted[0], 72 * fitted[1]))
    panels.title(packed, "Where and on which scale: WCAM")
    label = display.label(UNIT, *(["grey: not perturbed"] if (maps.factors < 0).any() else []))
    panels.draw_colour_bar(page.axes(left, bar_top, _PANEL_IN, 0.11), display, label)


def _constant_figure(explanation: Explanation) -> Figure:
    width = 2 * _PANEL_IN + 3 * _LEFT_IN
    panel_height = _panel_height(explanation.image.shape)
    sentence = _wrapped(constant_sentence(explanation), 98)
    notes = _notes(explanation, 115)
    text_top = 0.8 + max(panel_height, 2.0) + 0.2
    height = text_top + 0.22 * len(sentence) + 0.17 * len(notes) + 0.25
    page = _page(width, height)
    page.text(_LEFT_IN, 0.14, "\n".join(_wrapped(heading(explanation), 72)), 11)
    image = page.fitted(_LEFT_IN, 0.8, (_PANEL_IN, panel_height), explanation.image.shape)
    panels.draw_image(image, explanation.image)
    panels.title(image, "What the model sees")
    panels.draw_predictions(page.axes(2 * _LEFT_IN + _PANEL_IN, 0.8, _PANEL_IN, 2.0), explanation)
    page.text(_LEFT_IN, text_top, "\n".join(sentence), 10, linespacing=1.35)
    notes_top = text_top + 0.22 * len(sentence) + 0.05
    page.text(_LEFT_IN, notes_top, "\n".join(notes), 8, color=MUTED, linespacing=1.35)
    return page.figure


def _page(width: float, height: float) -> _Page:
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return _Page(figure, width, height)


def _panel_height(shape: tuple[int, ...]) -> float:
    low, high = _PANEL_HEIGHTS_IN
    return min(max(_PANEL_IN * shape[-2] / shape[-1], low), high)


def _fit(box: tuple[float, float], shape: tuple[int, ...]) -> tuple[float, float]:
    scale = min(box[0] / shape[-1], box[1] / shape[-2])
    return scale * shape[-1], scale * shape[-2]


def _notes(explanation: Explanation, columns: int) -> list[str]:
    """The caption and the warnings, wrapped."""
    paragraphs = [caption(explanation), *(f"Note: {warning}" for warning in explanation.warnings)]
    return [line for text in paragraphs for line in _wrapped(text, columns)]


def _wrapped(text: str, columns: int) -> list[str]:
    # Wrapped before it is escaped, so that no escape is cut in two.
    return [drawable(line) for line in textwrap.wrap(text, columns, max_lines=3, placeholder=" …")]
