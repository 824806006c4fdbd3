"""The figure of an explanation of any kind."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

from matplotlib.figure import Figure

from wavescope.engine.types import Explanation
from wavescope.errors import InvalidRequest
from wavescope.figures import panels
from wavescope.figures.kinds.compare import comparison_rows
from wavescope.figures.kinds.contrast import contrast_rows
from wavescope.figures.kinds.faithfulness import faithfulness_row
from wavescope.figures.kinds.fourier import fourier_rows
from wavescope.figures.kinds.pixel import pixel_rows
from wavescope.figures.kinds.profile import profile_rows
from wavescope.figures.kinds.robustness import heat_row, robustness_rows
from wavescope.figures.kinds.sufficient_image import sufficiency_rows
from wavescope.figures.kinds.wam import wam_rows
from wavescope.figures.kinds.wavelet import place_image, wavelet_rows
from wavescope.figures.kinds.zoom import zoom_rows
from wavescope.figures.labels import constant_sentence
from wavescope.figures.page import LEFT_IN, PANEL_IN, TITLE_IN, Page, Row, compose, panel_height, wrapped

_DPI_LIMITS = (20, 600)
_NARROW_IN = 2 * PANEL_IN + 3 * LEFT_IN


def draw_png(explanation: Explanation, *, dpi: int = 100) -> bytes:
    """Draws an explanation as a PNG.

    The same explanation gives the same bytes: nothing of the request's identity, of time or of the machine is
    in them. No global state of matplotlib is touched, so threads may draw at once.

    Args:
        explanation: of any kind and outcome; ``constant_score`` gives the image and a sentence.
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
    if explanation.maps is None and explanation.robustness is None:
        return compose(explanation, [_image_row(explanation), _sentence_row(explanation, 98)], _NARROW_IN)
    if explanation.maps is None:  # how robust the label is needs no map
        return compose(explanation, [heat_row(explanation), _sentence_row(explanation, 170)])
    rows = next(rows_of for has, rows_of in _PRODUCTS if has(explanation))(explanation)
    rows += contrast_rows(explanation)
    if explanation.faithfulness:
        rows.append(faithfulness_row(explanation.faithfulness))
    return compose(explanation, rows)


# The first product that an explanation has is what its figure is about; the last is had by all with a map.
_PRODUCTS: tuple[tuple[Callable[[Explanation], bool], Callable[[Explanation], list[Row]]], ...] = (
    (lambda explanation: explanation.robustness is not None, robustness_rows),
    (lambda explanation: explanation.comparison is not None, comparison_rows),
    (lambda explanation: explanation.zoom is not None, zoom_rows),
    (lambda explanation: explanation.sufficiency is not None, sufficiency_rows),
    (lambda explanation: explanation.profile is not None, profile_rows),
    (lambda explanation: explanation.radial is not None, fourier_rows),
    (lambda explanation: explanation.attributions is not None, wam_rows),
    (lambda explanation: explanation.levels is not None, wavelet_rows),
    (lambda _: True, pixel_rows),
)


def _image_row(explanation: Explanation) -> Row:
    height = panel_height(explanation.image.shape)

    def draw(page: Page, top: float) -> None:
        place_image(page, (LEFT_IN, top), (PANEL_IN, height), explanation)
        axes = page.axes(2 * LEFT_IN + PANEL_IN, top + TITLE_IN, PANEL_IN, 2.0)
        panels.draw_predictions(axes, explanation)

    return Row(TITLE_IN + max(height, 2.0) + 0.2, draw)


def _sentence_row(explanation: Explanation, columns: int) -> Row:
    """Row with the reason why there is no map."""
    lines = wrapped(constant_sentence(explanation), columns)

    def draw(page: Page, top: float) -> None:
        page.text(LEFT_IN, top, "\n".join(lines), 10, linespacing=1.35)

    return Row(0.22 * len(lines), draw)
