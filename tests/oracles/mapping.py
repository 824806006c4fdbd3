"""Maps and importance, coefficient by coefficient."""

from __future__ import annotations

import numpy as np
from tests.oracles.partitions import band_of


def slow_packed(factors: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Every coefficient gets the index of its factor, 0 where it has none."""
    return np.array([[total[f] if f >= 0 else 0.0 for f in row] for row in factors])


def slow_spatial(packed: np.ndarray, levels: int, size: tuple[int, int]) -> np.ndarray:
    """Pixel (i, j) gets, from every band, the value of the coefficient that lies over it."""
    height, width = packed.shape
    summed = np.zeros(size)
    for i in range(size[0]):
        for j in range(size[1]):
            step = 2**levels
            summed[i, j] += packed[i // step, j // step]
            for level in range(1, levels + 1):
                step = 2 ** (levels - level + 1)
                tall, wide = height // step, width // step
                y, x = i // step, j // step
                summed[i, j] += packed[tall + y, x] + packed[y, wide + x] + packed[tall + y, wide + x]
    return summed


def slow_importance(
    factors: np.ndarray, total: np.ndarray, levels: int
) -> dict[object, tuple[float, float, float]]:
    """{level or (level, orientation): (sum, share, mean_share)}.

    sum = Σ_k S_Tk · |cell_k ∩ level| / |cell_k|; share = sum / Σ over levels; mean = average over the level's
    coefficients of the map of indices, and mean_share = mean / Σ of means over levels. An orientation's mean is its
    part of the level's average: its coefficients' sum over the number of coefficients of the level.
    """
    height, width = factors.shape
    sizes = [int(np.sum(factors == k)) for k in range(len(total))]
    sums: dict[object, float] = {}
    values: dict[object, float] = {}
    counts: dict[object, int] = {}
    for i in range(height):
        for j in range(width):
            level, orientation, *_ = band_of(i, j, height, width, levels)
            k = factors[i, j]
            index = float(total[k]) if k >= 0 else 0.0
            for key in (level, (level, orientation)):
                sums[key] = sums.get(key, 0.0) + (index / sizes[k] if k >= 0 else 0.0)
                values[key] = values.get(key, 0.0) + index
                counts[key] = counts.get(key, 0) + 1
    every_sum = sum(sums[level] for level in range(levels + 1))
    every_mean = sum(values[level] / counts[level] for level in range(levels + 1))

    def entry(key: object, level: int) -> tuple[float, float, float]:
        return sums[key], sums[key] / every_sum, values[key] / counts[level] / every_mean

    found: dict[object, tuple[float, float, float]] = {}
    for level in range(levels + 1):
        found[level] = entry(level, level)
        for orientation in ("horizontal", "vertical", "diagonal") if level else ():
            found[level, orientation] = entry((level, orientation), level)
    return found
