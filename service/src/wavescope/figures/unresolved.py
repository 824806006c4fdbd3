"""Unresolved factors of an adaptive plan: not perturbed by themselves, so that their indices are predictions."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from wavescope.core.maps import factor_map, spatial_map
from wavescope.engine.types import Explanation
from wavescope.figures.layout import rectangles

HATCHED = "hatched: not perturbed by itself;\nat most its group's bound"
MOSTLY_HATCHED = "hatched: more than half from factors\nnot perturbed by themselves"
# White over black is seen on every colour of the map; (colour, opacity, width in points).
_LINES = (("black", 0.35, 1.2), ("white", 0.6, 0.5))
_DENSITY = "////"


def unresolved_places(explanation: Explanation) -> Bool[np.ndarray, "H W"] | None:
    """Places where ``maps.factors`` has a factor that was not perturbed by itself; ``None`` where there is none."""
    maps, indices = explanation.maps, explanation.indices
    if maps is None or indices is None or indices.resolved is None or indices.resolved.all():
        return None
    return np.append(~indices.resolved, False)[maps.factors]  # -1 picks the appended one


def predicted_pixels(explanation: Explanation) -> Bool[np.ndarray, "h w"] | None:
    """Pixels whose map is more than half of such factors; ``None`` where there are none."""
    maps, indices = explanation.maps, explanation.indices
    places = unresolved_places(explanation)
    if places is None or maps is None or indices is None or maps.wcam is None or maps.spatial is None:
        return places
    packed = factor_map(maps.factors, np.maximum(indices.total, 0.0))
    size, levels = maps.spatial.shape, len(explanation.levels or ()) - 1
    whole, predicted = (spatial_map(each, levels, size) for each in (packed, packed * places))
    return predicted > whole / 2


def draw_hatching(
    axes: Axes,
    places: Bool[np.ndarray, "h w"],
    extent: tuple[float, float, float, float] | None = None,
) -> None:
    """Hatches ``places`` of a picture that lies on ``axes``.

    Args:
        places: one entry per pixel of the picture.
        extent: (left, right, bottom, top) of the picture; ``None`` where a pixel is 1 wide and the first is around 0.
    """
    height, width = places.shape
    left, right, bottom, top = extent or (-0.5, width - 0.5, height - 0.5, -0.5)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    scale = np.array([(right - left) / width, (bottom - top) / height])
    outlines = [
        Path((corners * (x1 - x0, y1 - y0) + (x0, y0)) * scale + (left, top), closed=True)
        for x0, y0, x1, y1 in rectangles(places)
    ]
    if not outlines:
        return
    for colour, opacity, width_pt in _LINES:
        hatching = PathPatch(
            Path.make_compound_path(*outlines),
            facecolor="none",
            edgecolor=(colour, opacity),
            linewidth=0,
            hatch=_DENSITY,
        )
        hatching.set_hatch_linewidth(width_pt)
        axes.add_patch(hatching)
