"""The panels of a contrast: why the target and not another class, where and on which scales or frequencies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wavescope.core.maps import factor_map
from wavescope.engine.types import Contrast, Explanation, Maps
from wavescope.figures import panels
from wavescope.figures.colours import CHANGE, change_display_of
from wavescope.figures.kinds.fourier import SPECTRUM_IN, draw_radial, place_spectrum
from wavescope.figures.kinds.wavelet import place_spatial
from wavescope.figures.labels import contrast_sentence
from wavescope.figures.page import (
    BAR_IN,
    GAP_IN,
    LEFT_IN,
    PANEL_IN,
    TITLE_IN,
    Page,
    Row,
    panel_height,
    wrapped,
)
from wavescope.figures.scales import draw_scales

_CHART_LEFT_IN = LEFT_IN + PANEL_IN + GAP_IN + 0.55
_CHART_IN = (4.85, 1.9)  # width and height of what stands beside the map; a legend stands at its right
_RADIAL_IN = 6.2  # width of a radial profile, which has none
_LABEL_IN = 0.3  # of a spectrum's colour bar, below what another row leaves to it
_SENTENCE_IN = 0.1  # above it, and another below


def contrast_rows(explanation: Explanation) -> list[Row]:
    """The question in words; below, the map of the contrast beside its scales or frequencies. Empty without one."""
    found = explanation.contrast
    if found is None:
        return []
    as_map = _as_explanation(explanation, found)
    return [_sentence_row(explanation), *([] if as_map is None else [_map_row(as_map)])]


def _sentence_row(explanation: Explanation) -> Row:
    lines = wrapped(contrast_sentence(explanation), 150)

    def draw(page: Page, top: float) -> None:
        page.text(LEFT_IN, top + _SENTENCE_IN, "\n".join(lines), 9.5, linespacing=1.35)

    return Row(2 * _SENTENCE_IN + 0.21 * len(lines), draw)


def _map_row(contrast: Explanation) -> Row:
    fourier, mapped = contrast.radial is not None, contrast.profile is None  # whole sub-bands have no places
    height = 0.0
    if mapped:
        height = (
            PANEL_IN + SPECTRUM_IN + _LABEL_IN if fourier else panel_height(contrast.image.shape) + BAR_IN
        )
    chart_height = max(_CHART_IN[1], 0.26 * len(contrast.levels or ()))

    def draw(page: Page, top: float) -> None:
        if fourier:
            place_spectrum(page, (LEFT_IN + 0.45, top), contrast, "Which frequencies: contrast")
        elif mapped:
            box = PANEL_IN, height - BAR_IN
            place_spatial(page, (LEFT_IN, top), box, contrast, "Where: contrast")
        if contrast.radial is not None:
            axes = page.axes(_CHART_LEFT_IN + 0.9, top + TITLE_IN + 0.45, _RADIAL_IN, _CHART_IN[1])
            draw_radial(axes, contrast.radial, contrast.indices)
        elif contrast.levels is not None:
            draw_scales(
                page.axes(_CHART_LEFT_IN, top + TITLE_IN, _CHART_IN[0], chart_height), contrast.levels
            )
        elif mapped:
            box = PANEL_IN, height - BAR_IN
            _place_effects(page, (LEFT_IN + PANEL_IN + GAP_IN, top), box, contrast)

    return Row(TITLE_IN + max(height, chart_height + 0.5 if contrast.levels else 0.0), draw)


def _place_effects(
    page: Page, corner: tuple[float, float], box: tuple[float, float], contrast: Explanation
) -> None:
    """The signed effects of pixels that are factors, with their colour bar; 0 where they are not known."""
    maps, indices = contrast.maps, contrast.indices
    if maps is None or indices is None or indices.effect is None:
        return
    effects = np.array([0.0 if effect is None else effect for effect in indices.effect])
    drawn = factor_map(maps.factors, effects)
    display = change_display_of(drawn)
    left, top = corner[0], corner[1] + TITLE_IN
    axes = page.fitted(left, top, box, contrast.image.shape)
    panels.draw_change(axes, drawn, display)
    panels.title(axes, "For the one or for the other: signed effects")
    label = "signed effect on the difference of logits\n(orange: for the class; blue: for the other)"
    bar = page.axes(left, top + box[1] + 0.1, box[0], 0.11)
    panels.draw_colour_bar(bar, display, label, colours=CHANGE)


def _as_explanation(explanation: Explanation, found: Contrast) -> Explanation | None:
    """The explanation with the indices and maps of its contrast in place of its own; ``None`` where it has none."""
    maps, indices = explanation.maps, found.indices
    if maps is None or indices is None or found.map is None:
        return None
    if explanation.profile is not None:  # which shows no map
        drawn = maps
    elif maps.wcam is not None:
        drawn = Maps(maps.factors, wcam=factor_map(maps.factors, indices.total), spatial_wcam=found.map)
    elif maps.fam is not None:
        drawn = Maps(maps.factors, fam=found.map)
    else:
        drawn = Maps(maps.factors, sobol=found.map)
    return replace(explanation, indices=indices, maps=drawn, levels=found.levels, radial=found.radial)
