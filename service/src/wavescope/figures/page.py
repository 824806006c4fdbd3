"""A page that rows of panels are laid on, in inches from its top left corner, between a heading and notes."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wavescope.engine.types import Explanation
from wavescope.figures.colours import INK, MUTED
from wavescope.figures.labels import caption, heading, screening_words, worth_words
from wavescope.figures.text import FONT, drawable

WIDTH_IN = 12.0
LEFT_IN = 0.3  # of the first panel of every row
PANEL_IN = 3.4  # width of a panel, three in a row
SMALL_IN = 2.65  # width of a panel, four in a row
GAP_IN = 0.35  # between neighbouring panels without labels between them
TITLE_IN = 0.3  # above a panel, for its title
BAR_IN = 0.95  # below a panel, for its colour bar with a label of up to four lines
_HEADING_IN = 0.5
_LINE_IN = 0.17  # of the notes
_RATIOS = (0.35, 1.35)  # least and most height of a panel over its width


@dataclass(frozen=True, slots=True)
class Page:
    """Places axes and text in inches from the top left corner."""

    figure: Figure
    width: float
    height: float

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        box = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def fitted(self, left: float, top: float, box: tuple[float, float], shape: tuple[int, ...]) -> Axes:
        """Axes of the aspect of ``shape`` (…, height, width), centred in a (width, height) box."""
        width, height = fit(box, shape)
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


@dataclass(frozen=True, slots=True)
class Row:
    """One row of panels.

    Attributes:
        height: inches, all titles and labels included.
        draw: puts the row on a page, its upper edge so many inches below the page's.
    """

    height: float
    draw: Callable[[Page, float], None]


def compose(explanation: Explanation, rows: Sequence[Row], width: float = WIDTH_IN) -> Figure:
    """The heading, the rows from top to bottom, the caption and the warnings, on an Agg canvas outside pyplot."""
    size = 12.5 if width == WIDTH_IN else 11.0
    headed = wrapped(heading(explanation), round(104 * width / size))
    notes = _notes(explanation, round(15 * width))
    top = _HEADING_IN + 0.22 * (len(headed) - 1)
    height = top + sum(row.height for row in rows) + 0.1 + _LINE_IN * len(notes) + 0.1
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    page = Page(figure, width, height)
    page.text(LEFT_IN, 0.14, "\n".join(headed), size)
    for row in rows:
        row.draw(page, top)
        top += row.height
    page.text(LEFT_IN, top + 0.1, "\n".join(notes), 8, color=MUTED, linespacing=1.35)
    return figure


def fit(box: tuple[float, float], shape: tuple[int, ...]) -> tuple[float, float]:
    """The largest (width, height) of the aspect of ``shape`` (…, height, width) in a (width, height) box."""
    scale = min(box[0] / shape[-1], box[1] / shape[-2])
    return scale * shape[-1], scale * shape[-2]


def panel_height(shape: tuple[int, ...], width: float = PANEL_IN) -> float:
    """The height of a panel of ``width`` inches for an image of ``shape``, within what a page can bear."""
    low, high = _RATIOS
    return width * min(max(shape[-2] / shape[-1], low), high)


def wrapped(text: str, columns: int, lines: int = 3) -> list[str]:
    """``text`` in at most ``lines`` lines of ``columns`` characters, safe to draw."""
    # Wrapped before it is escaped, so that no escape is cut in two.
    return [drawable(line) for line in textwrap.wrap(text, columns, max_lines=lines, placeholder=" …")]


def _notes(explanation: Explanation, columns: int) -> list[str]:
    """The caption, what an adaptive plan found, what the map is worth, and the warnings, wrapped."""
    paragraphs = [caption(explanation), screening_words(explanation), worth_words(explanation)]
    paragraphs += [f"Note: {warning}" for warning in explanation.warnings]
    if explanation.contrast is not None:
        paragraphs += [f"Note on the contrast: {warning}" for warning in explanation.contrast.warnings]
    return [line for text in paragraphs if text for line in wrapped(text, columns)]
