"""Ranking, reconstruction depth and what is kept, one factor or coefficient at a time."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np


def slow_rank(total: Sequence[float]) -> list[int]:
    """Takes the largest of what is left, the first among equals, until nothing is left."""
    left = list(range(len(total)))
    order = []
    while left:
        best = left[0]
        for k in left[1:]:
            if total[k] > total[best]:
                best = k
        order.append(best)
        left.remove(best)
    return order


def slow_depth(predicted: Sequence[int], target: int) -> tuple[str, int | None]:
    """Tries the empty image, then one factor more each time."""
    for n, label in enumerate(predicted):
        if label == target:
            return ("sufficient" if n else "empty_suffices"), n
    return "none_suffices", None


def slow_kept(
    coefficients: np.ndarray, factors: np.ndarray, held: float, chosen: set[int]
) -> tuple[int, float, list[int]]:
    """(number, sum of squares, integers of 1/255) of the kept coefficients, channel by channel, row by row."""
    number, energy, integers = 0, 0.0, []
    channels, height, width = coefficients.shape
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                factor = int(factors[i, j])
                if factor in chosen or (factor == -1 and held == 1.0):
                    value = float(coefficients[c, i, j])
                    number += 1
                    energy += value * value
                    integers.append(round(value * 255))
    return number, energy, integers


def inflate(blob: bytes, n_factors: int, number: int) -> tuple[set[int], list[int]]:
    """(factors, integers) of a stored part of ``number`` coefficients."""
    raw = zlib.decompress(blob)
    listed = -(-n_factors // 8)
    chosen = {k for k in range(n_factors) if raw[k // 8] >> (7 - k % 8) & 1}
    width = (len(raw) - listed) // number if number else 2
    return chosen, list(struct.unpack(f"<{number}{ {2: 'h', 4: 'i'}[width] }", raw[listed:]))
