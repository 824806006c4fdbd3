"""Partitions coefficient by coefficient."""

from __future__ import annotations

import math

import numpy as np


def band_of(
    row: int, column: int, height: int, width: int, levels: int
) -> tuple[int, str, int, int, int, int]:
    """(level, orientation, row and column within the band, height and width of the band) of a packed coefficient."""
    for level in range(levels, 0, -1):
        tall, wide = height >> (levels - level + 1), width >> (levels - level + 1)
        if row >= tall and column >= wide:
            return level, "diagonal", row - tall, column - wide, tall, wide
        if row >= tall:
            return level, "horizontal", row - tall, column, tall, wide
        if column >= wide:
            return level, "vertical", row, column - wide, tall, wide
    return 0, "approximation", row, column, height >> levels, width >> levels


def slow_grid(height: int, width: int, grid_size: int) -> np.ndarray:
    """cell(i) = i·g // S on both axes, row-major."""
    return np.array(
        [
            [(i * grid_size // height) * grid_size + j * grid_size // width for j in range(width)]
            for i in range(height)
        ]
    )


def slow_aligned(height: int, width: int, levels: int, grid_size: int) -> np.ndarray:
    """A band side s of S gets ceil(s·g/S) cells, edges floor(i·s/n); named (band, cell row, cell column) in order."""
    names: dict[tuple[int, int, int, int], list[tuple[int, int]]] = {}
    order = {"approximation": 0, "horizontal": 1, "vertical": 2, "diagonal": 3}
    for i in range(height):
        for j in range(width):
            level, orientation, y, x, tall, wide = band_of(i, j, height, width, levels)
            cell_y = _cell(y, tall, math.ceil(tall * grid_size / height))
            cell_x = _cell(x, wide, math.ceil(wide * grid_size / width))
            names.setdefault((3 * level + order[orientation], 0, cell_y, cell_x), []).append((i, j))
    factors = np.full((height, width), -1)
    for index, name in enumerate(sorted(names)):
        for place in names[name]:
            factors[place] = index
    return factors


def _cell(at: int, side: int, cells: int) -> int:
    edges = [i * side // cells for i in range(cells + 1)]
    return next(i for i in range(cells) if edges[i] <= at < edges[i + 1])
