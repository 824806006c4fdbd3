"""Fourier attribution frequency by frequency: the sums of the paper's equations 11 and 12, written out."""

from __future__ import annotations

import cmath
import math
from fractions import Fraction

import numpy as np


def slow_dft(image: np.ndarray) -> dict[tuple[int, int], complex]:
    """(h, w) to {(u, v): Σ_k Σ_l X(k, l) exp(−2iπ(uk/n + vl/m))}, u and v from −(size // 2) on."""
    height, width = image.shape
    return {
        (u, v): complex((image * _wave(u, v, height, width, -1)).sum())
        for u in _centred(height)
        for v in _centred(width)
    }


def slow_fourier_render(image: np.ndarray, factors: np.ndarray, mask: np.ndarray, held: float) -> np.ndarray:
    """Complex (c, h, w): each frequency's magnitude times its mask value, its phase kept, and the inverse sum."""
    _, height, width = image.shape
    rendered = np.zeros(image.shape, dtype=complex)
    for channel, into in zip(image.astype(np.float64), rendered, strict=True):
        for (u, v), value in slow_dft(channel).items():
            factor = int(factors[u + height // 2, v + width // 2])
            magnitude = abs(value) * (mask[factor] if factor >= 0 else held)
            into += cmath.rect(magnitude, cmath.phase(value)) * _wave(u, v, height, width, 1)
    return rendered / (height * width)


def slow_rings(name: str, height: int, width: int, rings: int) -> np.ndarray:
    """The ring of every frequency of the Nyquist square, empty rings counted; exact, in fractions."""
    distances = np.array(
        [
            [_distance(name, Fraction(u, height), Fraction(v, width)) for v in _centred(width)]
            for u in _centred(height)
        ]
    )
    farthest = distances.max()
    return np.array([[_ring(name, distance / farthest, rings) for distance in row] for row in distances])


def slow_fourier_grid(height: int, width: int, grid_size: int) -> np.ndarray:
    """The cell of the first, in row-major order, of {(u, v), (−u, −v) mod (n, m)}; cells counted over all g²."""
    cells: dict[tuple[int, int], int] = {}
    for i, u in enumerate(_centred(height)):
        for j, v in enumerate(_centred(width)):
            mirror = (-u % height, -v % width)
            cell = (i * grid_size // height) * grid_size + j * grid_size // width
            cells[u % height, v % width] = cells.get(mirror, cell)
    return np.array([[cells[u % height, v % width] for v in _centred(width)] for u in _centred(height)])


def compacted(labels: np.ndarray) -> np.ndarray:
    """The labels renumbered 0, 1, 2 … in order, without gaps."""
    order = {label: place for place, label in enumerate(sorted(set(labels.ravel().tolist())))}
    return np.array([[order[label] for label in row] for row in labels.tolist()])


def slow_radial_profile(fam_map: np.ndarray, rings: int) -> list[tuple[float, float, float, float]]:
    """Per circular ring that holds a frequency: its edges in cycles per pixel, mean index, part of the sum of means."""
    height, width = fam_map.shape
    of = slow_rings("circle", height, width, rings)
    farthest = math.sqrt((height // 2 / height) ** 2 + (width // 2 / width) ** 2)
    means = {
        ring: float(np.mean(fam_map[of == ring], dtype=np.float64))
        for ring in range(rings)
        if (of == ring).any()
    }
    return [
        (farthest * ring / rings, farthest * (ring + 1) / rings, mean, mean / sum(means.values()))
        for ring, mean in means.items()
    ]


def _centred(size: int) -> range:
    return range(-(size // 2), size - size // 2)


def _wave(u: int, v: int, height: int, width: int, sign: int) -> np.ndarray:
    k, l = np.indices((height, width))  # noqa: E741
    return np.exp(sign * 2j * np.pi * (u * k / height + v * l / width))


def _distance(name: str, down: Fraction, across: Fraction) -> Fraction:
    """From frequency 0; squared for circles, so that it stays a fraction."""
    return down**2 + across**2 if name == "circle" else max(abs(down), abs(across))


def _ring(name: str, part: Fraction, rings: int) -> int:
    """The last ring whose inner edge, ring/rings of the farthest, is not beyond ``part`` of it."""
    power = 2 if name == "circle" else 1
    return max(ring for ring in range(rings) if Fraction(ring, rings) ** power <= part)
