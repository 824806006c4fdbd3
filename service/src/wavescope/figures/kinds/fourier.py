"""The panels of the Fourier attribution: the map of the spectrum and its radial profile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import MultipleLocator, NullLocator

from wavescope.engine.types import Explanation, Indices, Ring
from wavescope.figures import panels
from wavescope.figures.colours import COLORMAP, INK, MUTED, TARGET, UNIT, Display, log_display_of
from wavescope.figures.kinds.wavelet import place_image
from wavescope.figures.page import BAR_IN, GAP_IN, LEFT_IN, PANEL_IN, TITLE_IN, Page, Row, panel_height
from wavescope.figures.panels import title, words
from wavescope.figures.text import FONT
from wavescope.figures.unresolved import HATCHED, draw_hatching, unresolved_places

SPECTRUM_IN = 0.2 + BAR_IN  # below a spectrum, for its axis and its colour bar
_PERIODS = (32, 16, 8, 4, 3, 2, 1.5)  # px per cycle, that have room on an axis of frequencies


def fourier_rows(explanation: Explanation) -> list[Row]:
    """The image, the map and the prediction; below, the radial profile."""
    return [_maps_row(explanation), _radial_row(explanation)]


def _maps_row(explanation: Explanation) -> Row:
    image_height = panel_height(explanation.image.shape)

    def draw(page: Page, top: float) -> None:
        place_image(page, (LEFT_IN, top), (PANEL_IN, image_height), explanation)
        left = LEFT_IN + PANEL_IN + GAP_IN + 0.45
        place_spectrum(page, (left, top), explanation, "Which frequencies: Fourier attribution")
        left += PANEL_IN + 1.5 * GAP_IN
        panels.draw_predictions(page.axes(left, top + TITLE_IN, PANEL_IN, 2.0), explanation)

    return Row(TITLE_IN + max(image_height, PANEL_IN + SPECTRUM_IN), draw)


def place_spectrum(page: Page, corner: tuple[float, float], explanation: Explanation, name: str) -> None:
    """The map of the spectrum below its title, with its colour bar, in a row that begins at ``corner``."""
    if explanation.maps is None or explanation.maps.fam is None:
        return
    left, top = corner[0], corner[1] + TITLE_IN
    fam = explanation.maps.fam
    display = log_display_of(fam)
    axes = page.axes(left, top, PANEL_IN, PANEL_IN)
    draw_spectrum(axes, fam, display, name)
    label = display.label(UNIT)
    unresolved = unresolved_places(explanation)
    if unresolved is not None:
        draw_hatching(axes, unresolved, _extent(fam))
        label += f"\n{HATCHED}"
    panels.draw_colour_bar(page.axes(left, top + PANEL_IN + 0.5, PANEL_IN, 0.11), display, label)


def _radial_row(explanation: Explanation) -> Row:
    def draw(page: Page, top: float) -> None:
        axes = page.axes(LEFT_IN + 0.6, top + TITLE_IN + 0.45, 10.6, 1.9)
        draw_radial(axes, explanation.radial or (), explanation.indices)

    return Row(TITLE_IN + 0.45 + 1.9 + 0.5, draw)


def draw_spectrum(axes: Axes, fam: Float[np.ndarray, "h w"], display: Display, name: str) -> None:
    """The map in the centred Nyquist square, whatever the shape of the image."""
    left, right, bottom, top = _extent(fam)
    axes.imshow(
        fam,
        COLORMAP,
        norm=display.norm,
        extent=(left, right, bottom, top),
        aspect="auto",
        interpolation="nearest",
    )
    title(axes, name)
    for axis, name in ((axes.xaxis, "horizontal"), (axes.yaxis, "vertical")):
        axis.set_major_locator(MultipleLocator(0.25))
        axis.set_label_text(f"{name} frequency (cycles per pixel)", **words(8))
    axes.set(xlim=(min(left, -0.5), max(right, 0.5)), ylim=(max(bottom, 0.5), min(top, -0.5)))
    axes.tick_params(labelsize=7.5, labelcolor=INK, labelfontfamily=FONT, length=3, width=0.6)
    axes.yaxis.labelpad = 1
    axes.xaxis.labelpad = 2


def _extent(fam: Float[np.ndarray, "h w"]) -> tuple[float, float, float, float]:
    """(left, right, bottom, top) of the map in cycles per pixel."""
    height, width = fam.shape[0], fam.shape[1]
    # Column j holds the frequency (j - width // 2) / width, in its middle.
    left, right = (-0.5 - width // 2) / width, (width - 0.5 - width // 2) / width
    top, bottom = (-0.5 - height // 2) / height, (height - 0.5 - height // 2) / height
    return left, right, bottom, top


def draw_radial(axes: Axes, rings: Sequence[Ring], indices: Indices | None) -> None:
    """Index per ring against frequency, with 95 % intervals where every ring is a factor of its own.

    The scale is logarithmic where the map's colours are; what is below its end is drawn there.
    """
    title(axes, "Radial profile")
    edges = np.array([rings[0].frequency[0], *(ring.frequency[1] for ring in rings)])
    means = np.array([ring.mean for ring in rings])
    norm = log_display_of(means[None]).norm
    floor = float(norm.vmin or 0.0) if isinstance(norm, LogNorm) else None
    own = indices is not None and len(indices.total) == len(rings) and np.allclose(indices.total, means)
    if own and indices is not None and indices.interval_95 is not None:
        title(axes, "Radial profile, with 95 % intervals")
        low, high = np.maximum(indices.interval_95.T, -np.inf if floor is None else floor)
        axes.stairs(high, edges, baseline=low, fill=True, color="#c9d6e3", linewidth=0)
    axes.stairs(
        means if floor is None else np.maximum(means, floor),
        edges,
        baseline=None,
        color=TARGET,
        linewidth=1.8,
    )
    if floor is None:
        axes.axhline(0, color=INK, linewidth=0.8)
    else:
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.8 * floor)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        axes.yaxis.set_minor_locator(NullLocator())
    axes.axvline(0.5, color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)), zorder=0)
    axes.set_xlim(0, edges[-1])
    axes.xaxis.set_major_locator(MultipleLocator(0.1))
    axes.set_xlabel(
        "frequency (cycles per pixel); beyond the dashed line, corners only", **words(8), labelpad=2
    )
    axes.set_ylabel(UNIT, **words(8))
    axes.tick_params(labelsize=7.5, labelcolor=INK, labelfontfamily=FONT, length=3, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    _name_periods(axes, edges[-1])


def _name_periods(axes: Axes, end: float) -> None:
    """The same axis in pixels per cycle, between the panel and its title."""
    known = [period for period in _PERIODS if 1 / period <= end]
    above = axes.secondary_xaxis("top")
    above.set_xticks([1 / period for period in known], labels=[f"{period:g} px" for period in known])
    above.tick_params(labelsize=7.5, labelcolor=MUTED, labelfontfamily=FONT, length=3, width=0.6, color=MUTED)
    above.spines["top"].set_visible(False)
    axes.set_title("above the chart: pixels per cycle", loc="right", pad=5, **words(8, color=MUTED))
