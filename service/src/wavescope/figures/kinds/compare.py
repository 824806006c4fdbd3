"""The panels of a comparison: two images, where and on which scales importance moved from one to the other."""

from __future__ import annotations

from matplotlib.axes import Axes

from wavescope.engine.types import Comparison, Explanation
from wavescope.figures import panels
from wavescope.figures.colours import CHANGE, FIRST, MUTED, Display, change_display_of
from wavescope.figures.kinds.wavelet import place_image, place_spatial
from wavescope.figures.labels import scale_label
from wavescope.figures.page import BAR_IN, LEFT_IN, PANEL_IN, SMALL_IN, TITLE_IN, Page, Row, panel_height
from wavescope.figures.panels import title, words
from wavescope.figures.scales import beside, draw_pairs

_STEP_IN = SMALL_IN + (11.4 - 4 * SMALL_IN) / 3  # from one of four panels to the next
_NAMES = ("image", "other image")


def comparison_rows(explanation: Explanation) -> list[Row]:
    """Both images with their maps; what changed in place and in scale; both predictions and the two shifts."""
    found = explanation.comparison
    if found is None:
        return []
    return [
        pair_row(explanation, found.other, ("Image", "Other image")),
        _change_row(explanation, found),
        _answers_row(explanation, found),
    ]


def pair_row(
    first: Explanation,
    second: Explanation,
    names: tuple[str, str],
    frame: tuple[float, float, float, float] | None = None,
) -> Row:
    """Two images, each beside the map over it.

    Args:
        frame: a rectangle on the first: (left, top, right, bottom) as fractions of its width and height.
    """
    height = max(panel_height(each.image.shape, SMALL_IN) for each in (first, second))
    box = SMALL_IN, height

    def draw(page: Page, top: float) -> None:
        for place, (each, name) in enumerate(zip((first, second), names, strict=True)):
            left = LEFT_IN + 2 * place * _STEP_IN
            axes = place_image(page, (left, top), box, each, name)
            if frame is not None and place == 0:
                panels.draw_frame(axes, frame)
            place_spatial(page, (left + _STEP_IN, top), box, each, "Where: spatial WCAM")

    return Row(TITLE_IN + height + BAR_IN, draw)


def _change_row(explanation: Explanation, found: Comparison) -> Row:
    height = panel_height(found.place_change.shape, PANEL_IN)
    chart_height = max(1.75, 0.3 * len(found.scales))
    shifts_top = TITLE_IN + chart_height + 1.1

    def draw(page: Page, top: float) -> None:
        axes = page.fitted(LEFT_IN, top + TITLE_IN, (PANEL_IN, height), found.place_change.shape)
        display = change_display_of(found.place_change)
        panels.draw_change(axes, found.place_change, display)
        title(axes, "Where importance moved")
        _change_bar(page.axes(LEFT_IN, top + TITLE_IN + height + 0.1, PANEL_IN, 0.11), display)
        left, width = LEFT_IN + PANEL_IN + 1.35, 5.9
        chart = page.axes(left, top + TITLE_IN, width, chart_height)
        title(chart, "How importance moved between scales")
        draw_pairs(
            chart,
            [scale_label(change.scale_px) for change in found.scales],
            [(change.share, change.other_share) for change in found.scales],
            _NAMES,
            [f"{100 * change.change:+.1f}".replace("-", "−") for change in found.scales],
        )
        beside(chart, -0.62, "points")
        draw_shifts(page.axes(left, top + shifts_top, width, 1.0), found.scale_shift, found.place_shift)

    return Row(max(TITLE_IN + height + BAR_IN, shifts_top + 1.1), draw)


def _change_bar(axes: Axes, display: Display) -> None:
    """The colour bar of the change map. Its shares per pixel are small: a power of ten is taken out."""
    label = "share of the importance per pixel\n(blue: the image had more; orange: the other has)"
    panels.draw_colour_bar(axes, display, label, colours=CHANGE)
    axes.xaxis.set_major_formatter(
        lambda value, _: f"{value:+.0e}".replace("e-0", "e-").replace("-", "−") if value else "0"
    )


def _answers_row(explanation: Explanation, found: Comparison) -> Row:
    def draw(page: Page, top: float) -> None:
        for place, (each, name) in enumerate(zip((explanation, found.other), _NAMES, strict=True)):
            left = LEFT_IN + place * (PANEL_IN + 1.35)
            axes = page.axes(left, top + TITLE_IN, PANEL_IN, 1.75)
            panels.draw_predictions(axes, each, f"Prediction: {name}")

    return Row(TITLE_IN + 1.75 + 0.1, draw)


def draw_shifts(axes: Axes, scale_shift: float, place_shift: float) -> None:
    """The two numbers of a comparison, each on its range of 0 to 1."""
    title(axes, "How much of the importance moved, in all")
    axes.set(xlim=(0, 1), ylim=(3, -0.1))
    axes.axis("off")
    for place, (name, value) in enumerate((("between scales", scale_shift), ("between places", place_shift))):
        row = 1.1 * place + 0.3
        axes.text(0, row, f"{name} ({('scale', 'place')[place]} shift)", va="center", **words(8.5))
        axes.barh(row, 0.56, 0.34, left=0.34, color="#eeeeee")
        axes.barh(row, 0.56 * value, 0.34, left=0.34, color=FIRST)
        axes.text(1, row, f"{value:.3f}", va="center", ha="right", **words(10.5, fontweight="bold"))
    note = "0: none, 1: all of it (total variation distance of the shares)"
    axes.text(0.34, 2.1, note, va="center", **words(8, color=MUTED))
