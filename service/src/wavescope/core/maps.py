"""Maps of scales, frequencies and pixels from indices per factor, and importance per level and per ring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int32

from wavescope.core.partition import Partition, circle, max_frequency
from wavescope.core.wavelets import Band, bands


def factor_map(
    factors: Int32[np.ndarray, "H W"], total: Float[np.ndarray, " k"]
) -> Float32[np.ndarray, "H W"]:
    """The total index of every coefficient's factor; 0 where it has none. Exact: no interpolation.

    Args:
        factors: of packed wavelet coefficients, of centred frequencies, or of pixels; -1 for none.
        total: (K,) total indices.
    """
    return np.append(total, 0.0)[factors].astype(np.float32)  # -1 picks the appended zero


def spatial_map(
    packed: Float32[np.ndarray, "H W"], levels: int, size: tuple[int, int]
) -> Float32[np.ndarray, "h w"]:
    """The spatial WCAM (paper, appendix A.2.1): every sub-band's block re-indexed in space, and summed.

    Args:
        packed: the packed map.
        levels: of the transform.
        size: (height, width) of the image; padding beyond it is cut off.

    Returns:
        (height, width); each block is enlarged by value-preserving nearest upsampling.
    """
    height, width = packed.shape
    summed = np.zeros((height, width), dtype=np.float64)
    for band in bands(height, width, levels):
        block = packed[band.slices].astype(np.float64)
        summed += np.kron(block, np.ones((height // block.shape[0], width // block.shape[1])))
    return summed[: size[0], : size[1]].astype(np.float32)


@dataclass(frozen=True, slots=True)
class Importance:
    """``sum`` of indices, ``share`` of the sum over all levels, ``mean_share`` of the mean per coefficient."""

    sum: float
    share: float
    mean_share: float


def importance(
    partition: Partition, total: Float[np.ndarray, " k"], levels: int
) -> list[tuple[Importance, dict[str, Importance]]]:
    """Importance per level, 0 (approximation) to L (finest), and per orientation within each detail level.

    A level's sum is Σ_k S_Tk · |cell_k ∩ level| / |cell_k|; its mean is the average over its coefficients of the packed
    map, normalised over levels (paper, Table 1). Orientations of a level add up to the level in all three numbers.

    Returns:
        per level, its importance and those of ``horizontal``, ``vertical``, ``diagonal`` (empty for level 0).
    """
    factors = partition.factors
    sizes = np.bincount(factors[factors >= 0], minlength=partition.n_factors)
    index = np.append(total, 0.0)
    density = np.append(total / np.maximum(sizes, 1), 0.0)  # of a coefficient: its part of the factor's index
    height, width = factors.shape
    found = [
        (band, float(density[factors[band.slices]].sum()), float(index[factors[band.slices]].mean()))
        for band in bands(height, width, levels)
    ]
    return _by_level(found, levels)


def coefficient_importance(
    packed: Float[np.ndarray, "H W"], levels: int
) -> list[tuple[Importance, dict[str, Importance]]]:
    """Importance per level and per orientation as of :func:`importance`, of a map that has a value per coefficient.

    Args:
        packed: at least 0.
        levels: of the transform.
    """
    height, width = packed.shape
    found = [
        (band, float(packed[band.slices].sum()), float(packed[band.slices].mean()))
        for band in bands(height, width, levels)
    ]
    return _by_level(found, levels)


def level_maps(packed: Float[np.ndarray, "H W"], levels: int) -> list[Float32[np.ndarray, "h w"]]:
    """Maps of levels 0 (approximation) to L, each at its own resolution and summed over orientations."""
    height, width = packed.shape
    found = [np.zeros((height >> levels, width >> levels))]
    found += [np.zeros((height >> depth, width >> depth)) for depth in range(levels, 0, -1)]
    for band in bands(height, width, levels):
        found[band.level] += packed[band.slices]
    return [each.astype(np.float32) for each in found]


def _by_level(
    found: list[tuple[Band, float, float]], levels: int
) -> list[tuple[Importance, dict[str, Importance]]]:
    """Importance per level from the sum and the mean of every sub-band."""
    all_sums = sum(band_sum for _, band_sum, _ in found)
    # A detail level's mean is that of its three equal bands, so each band counts a third; level 0 is one band.
    all_means = sum(mean if band.level == 0 else mean / 3 for band, _, mean in found)

    def entry(sums: float, means: float) -> Importance:
        return Importance(sums, sums / all_sums if all_sums else 0.0, means / all_means if all_means else 0.0)

    per_level: list[tuple[Importance, dict[str, Importance]]] = []
    for level in range(levels + 1):
        parts = [(band, band_sum, mean) for band, band_sum, mean in found if band.level == level]
        thirds = 1 if level == 0 else 3
        whole = entry(sum(part[1] for part in parts), sum(part[2] for part in parts) / thirds)
        oriented = {band.orientation: entry(s, m / thirds) for band, s, m in parts if level > 0}
        per_level.append((whole, oriented))
    return per_level


class RingMean(NamedTuple):
    """One ring of a radial profile: [low, high) cycles per pixel, mean index, ``mean`` over the sum of all means."""

    low: float
    high: float
    mean: float
    share: float


def radial_profile(fam_map: Float[np.ndarray, "h w"], rings: int) -> list[RingMean]:
    """The map of frequencies in one dimension: its mean over circular rings of equal width.

    With partition ``circle`` of as many rings, a ring's mean is its factor's index.

    Args:
        fam_map: index of every frequency's factor, centred: frequency 0 at (h // 2, w // 2).
        rings: from 0 to the largest frequency present, which the last ring includes.

    Returns:
        per ring that holds a frequency, from the centre.
    """
    height, width = fam_map.shape
    found = circle(height, width, rings).ravel()
    counts = np.bincount(found, minlength=rings)
    sums = np.bincount(found, weights=fam_map.ravel().astype(np.float64), minlength=rings)
    means = [(ring, float(sums[ring] / counts[ring])) for ring in range(rings) if counts[ring]]
    whole = sum(mean for _, mean in means)
    step = max_frequency("circle", height, width) / rings
    return [
        RingMean(ring * step, (ring + 1) * step, mean, mean / whole if whole else 0.0) for ring, mean in means
    ]
