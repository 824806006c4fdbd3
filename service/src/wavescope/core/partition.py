"""Partitions of coefficients into factors, one mask value per factor: packed wavelets, frequencies, pixels.

A partition is a map from coefficient to factor. Coefficients of no factor (-1) are held at ``held`` times their value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Int, Int32

from wavescope.core.wavelets import Band, bands
from wavescope.errors import InvalidRequest

Approximation = Literal["perturb", "keep", "drop"]


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Factors of an array of coefficients.

    Attributes:
        factors: (H, W) int32, the factor of every coefficient, 0..n_factors-1, or -1 for none: packed wavelets, centred
            frequencies (frequency 0 at (H // 2, W // 2)), or pixels.
        n_factors: K.
        held: what coefficients of no factor are multiplied by: 1 (kept) or 0 (dropped).
    """

    factors: Int32[np.ndarray, "H W"]
    n_factors: int
    held: float = 1.0


def factor_sums(
    values: Float[np.ndarray, "h w"], factors: Int[np.ndarray, "h w"], n_factors: int
) -> Float64[np.ndarray, " k"]:
    """(K,) sum of values over every factor, in double precision; those of no factor are left out.

    Args:
        values: of coefficients or pixels.
        factors: 0..K−1; −1 and K for none.
        n_factors: K.

    Example:
        >>> factor_sums(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0, 1], [1, -1]]), 2).tolist()
        [1.0, 5.0]
    """
    inside = factors >= 0
    sums = np.bincount(factors[inside], weights=values[inside], minlength=n_factors)[:n_factors]
    return sums.astype(np.float64, copy=False)  # integers where nothing is inside


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
    if name in ("grid", "aligned"):
        check_grid_size(grid_size, height, width, "the packed coefficients are")
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


def pixel_partition(height: int, width: int, grid_size: int) -> Partition:
    """grid_size² square cells of pixels, row-major: the cell of index i is i·g // S.

    Raises:
        InvalidRequest: more cells than pixels along a side.
    """
    check_grid_size(grid_size, height, width, "the image is")
    factors = grid(height, width, 0, grid_size)
    return Partition(factors.astype(np.int32), grid_size**2)


def circle(height: int, width: int, rings: int) -> Int[np.ndarray, "h w"]:
    """The ring of every frequency by √(fu² + fv²), centred (paper, appendix A.3); rings are of equal width."""
    down, across = _frequencies(height, width)
    squared = down[:, None] ** 2 + across[None, :] ** 2
    farthest = int(squared.max())
    # Ring r begins where r/rings of the largest frequency is reached; in integers, no frequency slips over an edge.
    edges = [-(-(r * r * farthest) // (rings * rings)) for r in range(rings)]
    return np.searchsorted(np.asarray(edges, dtype=np.int64), squared, side="right") - 1


def square(height: int, width: int, rings: int) -> Int[np.ndarray, "h w"]:
    """The ring of every frequency by max(|fu|, |fv|), centred (paper, appendix A.3); rings are of equal width."""
    down, across = _frequencies(height, width)
    larger = np.maximum(down[:, None], across[None, :])
    farthest = int(larger.max())
    edges = [-(-(r * farthest) // rings) for r in range(rings)]
    return np.searchsorted(np.asarray(edges, dtype=np.int64), larger, side="right") - 1


def fourier_grid(height: int, width: int, grid_size: int) -> Int[np.ndarray, "h w"]:
    """The cell of every frequency, centred; a frequency and its mirror (−u, −v) are in the cell of the first of them.

    First in row-major order of the centred spectrum: the half-plane of negative vertical frequencies.
    """
    cells = grid(height, width, 0, grid_size)
    places = np.arange(height * width).reshape(height, width)
    first = np.minimum(places, mirrored(places))
    return cells.ravel()[first]


FOURIER_PARTITIONS: dict[str, Callable[[int, int, int], Int[np.ndarray, "h w"]]] = {
    "circle": circle,
    "square": square,
    "grid": fourier_grid,
}


def fourier_partition(name: str, height: int, width: int, *, grid_size: int) -> Partition:
    """The named partition of the centred spectrum of a (height, width) image.

    Rings that hold no frequency, as they may in a small image, are no factors: factors are numbered from the centre
    without gaps, and ``grid_size - n_factors`` rings were empty. A factor that holds a frequency holds its mirror.

    Args:
        name: a key of ``FOURIER_PARTITIONS``.
        height, width: of the image, px.
        grid_size: rings from 0 to the largest frequency for ``circle`` and ``square``; cells per side for ``grid``,
            about half of whose squares are distinct factors. 1..min(height, width).

    Raises:
        InvalidRequest: more rings or cells than frequencies along a side.
    """
    check_grid_size(grid_size, height, width, "the spectrum is")
    found = FOURIER_PARTITIONS[name](height, width, grid_size)
    present, factors = np.unique(found, return_inverse=True)
    return Partition(factors.reshape(height, width).astype(np.int32), len(present))


def max_frequency(name: str, height: int, width: int) -> float:
    """The largest frequency present, cycles per pixel, by the measure of ``square``'s rings or else of ``circle``'s."""
    down, across = height // 2 / height, width // 2 / width
    return max(down, across) if name == "square" else float(np.hypot(down, across))


def mirrored(centred: Int[np.ndarray, "h w"]) -> Int[np.ndarray, "h w"]:
    """The value at (−u, −v) for every frequency (u, v) of a centred array; a Nyquist frequency is its own mirror."""
    # Frequency 0, in the middle, stays where it is.
    return np.roll(centred[::-1, ::-1], [(side + 1) % 2 for side in centred.shape], axis=(0, 1))


def _frequencies(height: int, width: int) -> tuple[Int[np.ndarray, " h"], Int[np.ndarray, " w"]]:
    """|fu| and |fv| of the centred spectrum as integers, in the same unit: 1 / lcm(height, width) cycles per pixel."""
    common = math.lcm(height, width)
    down, across = (abs(np.arange(size) - size // 2) * (common // size) for size in (height, width))
    return down, across


def check_grid_size(grid_size: int, height: int, width: int, what: str) -> None:
    """Refuses more cells or rings than a (height, width) array has places along its shorter side.

    Args:
        what: begins the sentence about the size, such as ``"the spectrum is"``.

    Raises:
        InvalidRequest: names the limit.
    """
    largest = min(height, width)
    if not 1 <= grid_size <= largest:
        raise InvalidRequest(
            f"grid_size is {grid_size}; {what} {height} x {width}, so it must be between 1 and {largest}",
            field="grid_size",
            minimum=1,
            maximum=largest,
        )
