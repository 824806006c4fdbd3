"""Partitions of the packed wavelet coefficients into factors; one mask value per factor.

A partition is a map from coefficient to factor. Coefficients of no factor (-1) are held at ``held`` times their value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int, Int32

from wavescope.core.wavelets import Band, bands
from wavescope.errors import InvalidRequest

Approximation = Literal["perturb", "keep", "drop"]


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Factors of a packed array.

    Attributes:
        factors: (H, W) int32, the factor of every coefficient, 0..n_factors-1, or -1 for none.
        n_factors: K.
        held: what coefficients of no factor are multiplied by: 1 (kept) or 0 (dropped).
    """

    factors: Int32[np.ndarray, "H W"]
    n_factors: int
    held: float = 1.0


def cell_of(size: int, cells: int) -> Int[np.ndarray, " size"]:
    """The cell of every index of an axis of the packed array: i·g // S."""
    return np.arange(size) * cells // size


def cell_edges(side: int, size: int, grid_size: int) -> Int[np.ndarray, " edges"]:
    """Edges of the cells of a band ``side`` long in a packed axis ``size`` long: ceil(side·g/size) cells."""
    cells = -(-side * grid_size // size)
    return np.arange(cells + 1) * side // cells


def grid(height: int, width: int, levels: int, grid_size: int) -> Int[np.ndarray, "H W"]:
    """grid_size² square cells over the packed array, row-major (paper, appendix A.1.1); cells may straddle bands."""
    rows, columns = cell_of(height, grid_size), cell_of(width, grid_size)
    return rows[:, None] * grid_size + columns[None, :]


def aligned(height: int, width: int, levels: int, grid_size: int) -> Int[np.ndarray, "H W"]:
    """Cells of about the grid's size that never straddle two sub-bands; band by band, row-major within a band."""
    factors = np.empty((height, width), dtype=np.int64)
    first = 0
    for band in bands(height, width, levels):
        (top, bottom), (left, right) = band.rows, band.columns
        row_edges = cell_edges(bottom - top, height, grid_size)
        column_edges = cell_edges(right - left, width, grid_size)
        rows = np.searchsorted(row_edges, np.arange(bottom - top), side="right") - 1
        columns = np.searchsorted(column_edges, np.arange(right - left), side="right") - 1
        across = len(column_edges) - 1
        factors[band.slices] = first + rows[:, None] * across + columns[None, :]
        first += (len(row_edges) - 1) * across
    return factors


def subbands(height: int, width: int, levels: int, grid_size: int) -> Int[np.ndarray, "H W"]:
    """One factor per sub-band: approximation, then horizontal, vertical, diagonal of each level, coarse to fine."""
    factors = np.empty((height, width), dtype=np.int64)
    for index, band in enumerate(bands(height, width, levels)):
        factors[band.slices] = index
    return factors


def by_level(height: int, width: int, levels: int, grid_size: int) -> Int[np.ndarray, "H W"]:
    """One factor per level: approximation, then coarse to fine."""
    factors = np.empty((height, width), dtype=np.int64)
    for band in bands(height, width, levels):
        factors[band.slices] = band.level
    return factors


PARTITIONS: dict[str, Callable[[int, int, int, int], Int[np.ndarray, "H W"]]] = {
    "grid": grid,
    "aligned": aligned,
    "subbands": subbands,
    "levels": by_level,
}


def partition(
    name: str, height: int, width: int, levels: int, *, grid_size: int, approximation: Approximation
) -> Partition:
    """The named partition of a packed (height, width) array.

    Args:
        name: a key of ``PARTITIONS``.
        height, width: sides of the packed array, multiples of 2^levels.
        levels: dyadic levels.
        grid_size: cells per side, for ``grid`` and ``aligned``; 1..min(height, width).
        approximation: ``perturb`` like any band; ``keep`` or ``drop`` take it out of the factors: cells wholly in it
            are no factors, cells that straddle it act on their detail part.

    Raises:
        InvalidRequest: a grid finer than the packed array.
    """
    if name in ("grid", "aligned") and not 1 <= grid_size <= min(height, width):
        raise InvalidRequest(
            f"grid_size is {grid_size}; the packed coefficients are {height} x {width}, "
            f"so it must be between 1 and {min(height, width)}",
            field="grid_size",
            minimum=1,
            maximum=min(height, width),
        )
    factors = PARTITIONS[name](height, width, levels, grid_size)
    if approximation == "perturb":
        return Partition(factors.astype(np.int32), int(factors.max()) + 1)
    context: Band = bands(height, width, levels)[0]
    factors[context.slices] = -1
    present, compact = np.unique(factors, return_inverse=True)  # -1 sorts first
    relabelled = compact.reshape(factors.shape) - 1
    return Partition(
        relabelled.astype(np.int32), len(present) - 1, held=1.0 if approximation == "keep" else 0.0
    )
