"""Layout: sub-bands in the packed coefficient array, rectangles of a picture, and distances of labels.

Packed layout (``pywt.coeffs_to_array``): the approximation at the top left; around it, level by level, the
horizontal detail at the bottom left, the vertical one at the top right, the diagonal one at the bottom right.
Level 1 is the coarsest detail, level L the finest and outermost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool

Orientation = Literal["approximation", "horizontal", "vertical", "diagonal"]


@dataclass(frozen=True, slots=True)
class Band:
    """One sub-band of the packed array: rows ``top`` to ``bottom``, columns ``left`` to ``right``."""

    level: int
    orientation: Orientation
    left: float
    top: float
    right: float
    bottom: float


def packed_bands(shape: tuple[int, int], levels: int) -> tuple[Band, ...]:
    """The 3·levels + 1 sub-bands of a packed array.

    Args:
        shape: (height, width) of the packed array, coefficients; a multiple of 2^levels gives whole numbers.
        levels: dyadic levels, at least 0.

    Returns:
        The approximation, then level 1 … L, each horizontal, vertical, diagonal.
    """
    height, width = shape
    inner_w, inner_h = width / 2**levels, height / 2**levels
    bands = [Band(0, "approximation", 0, 0, inner_w, inner_h)]
    for level in range(1, levels + 1):
        outer_w, outer_h = 2 * inner_w, 2 * inner_h
        bands += [
            Band(level, "horizontal", 0, inner_h, inner_w, outer_h),
            Band(level, "vertical", inner_w, 0, outer_w, inner_h),
            Band(level, "diagonal", inner_w, inner_h, outer_w, outer_h),
        ]
        inner_w, inner_h = outer_w, outer_h
    return tuple(bands)


def rectangles(places: Bool[np.ndarray, "h w"]) -> list[tuple[int, int, int, int]]:
    """(left, top, right, bottom) of rectangles that are disjoint and together all of ``places``.

    Rows that are equal to the one above them are one rectangle with it: a cell of a partition is one, not one per row.
    """
    found: list[tuple[int, int, int, int]] = []
    changed = 1 + np.flatnonzero((places[1:] != places[:-1]).any(axis=1))
    edges = [0, *changed.tolist(), len(places)]
    for top, bottom in pairwise(edges):
        steps = np.diff(np.concatenate([[0], places[top].astype(np.int8), [0]]))
        starts, stops = np.flatnonzero(steps > 0).tolist(), np.flatnonzero(steps < 0).tolist()
        found += [(left, top, right, bottom) for left, right in zip(starts, stops, strict=True)]
    return found


def spread(positions: Sequence[float], gap: float) -> tuple[float, ...]:
    """Moves ``positions`` (ascending) as little as needed for neighbours to be ``gap`` apart.

    Neighbours that are too close become one block around the mean of what they wanted, and blocks that touch
    merge: the least-squares answer (pool adjacent violators).
    """
    blocks: list[tuple[float, int]] = []  # (where its first member goes, how many members)
    for index, position in enumerate(positions):
        start, count = position - index * gap, 1
        while blocks and blocks[-1][0] >= start:
            previous, members = blocks.pop()
            start = (previous * members + start * count) / (members + count)
            count += members
        blocks.append((start, count))
    starts = [start for start, count in blocks for _ in range(count)]
    return tuple(start + index * gap for index, start in enumerate(starts))
