"""Maps, level importance, ranking and depth as the authors' code computes them (``compat: "reference"``)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32, Int, Int32, UInt8

from wavescope.core.maps import RingMean
from wavescope.core.partition import Partition, grid
from wavescope.core.wavelets import bands

# Of the cubic convolution kernel, as in OpenCV and torch (Keys 1981 recommends -0.5, which Pillow takes).
SHARPNESS = -0.75


@lru_cache(maxsize=64)
def bicubic_matrix(source: int, target: int) -> Float[np.ndarray, "target source"]:
    """Cubic convolution along one axis: resized = matrix @ values.

    Half-pixel centres, edges replicated, no smoothing when shrinking.

    Args:
        source, target: samples before and after, at least 1.
    """
    place = (np.arange(target) + 0.5) * source / target - 0.5
    left = np.floor(place).astype(np.int64)
    t = place - left
    a = SHARPNESS
    weights = [
        a * (((t + 1) - 5) * (t + 1) + 8) * (t + 1) - 4 * a,
        ((a + 2) * t - (a + 3)) * t**2 + 1,
        ((a + 2) * (1 - t) - (a + 3)) * (1 - t) ** 2 + 1,
        a * (((2 - t) - 5) * (2 - t) + 8) * (2 - t) - 4 * a,
    ]
    matrix = np.zeros((target, source))
    for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
        np.add.at(matrix, (np.arange(target), np.clip(left + offset, 0, source - 1)), weight)
    matrix.setflags(write=False)
    return matrix


def bicubic(values: Float[np.ndarray, "h w"], height: int, width: int) -> Float[np.ndarray, "H W"]:
    """``values`` enlarged to (height, width) by cubic convolution; overshoots beside edges, as the authors' maps do."""
    return bicubic_matrix(values.shape[0], height) @ values @ bicubic_matrix(values.shape[1], width).T


def reference_packed(
    name: str, factors: Partition, total: Float[np.ndarray, " k"], levels: int, grid_size: int
) -> Float32[np.ndarray, "H W"]:
    """The WCAM in packed layout: grid_size × grid_size indices enlarged by cubic convolution.

    Cells that are no factor (``approximation: keep``) count 0. A partition other than ``grid``, which the authors' code
    does not have, keeps its exact map.

    Args:
        name: of the partition.
        factors: the partition of the packed array.
        total: (K,) total indices.
        levels: of the transform.
        grid_size: cells per side.
    """
    height, width = factors.factors.shape
    if name != "grid":
        return np.append(total, 0.0)[factors.factors].astype(np.float32)  # -1 picks the appended zero
    cells = np.zeros(grid_size**2)
    if factors.n_factors == grid_size**2:
        cells[:] = total
    else:
        inside = factors.factors >= 0
        cells[grid(height, width, levels, grid_size)[inside]] = total[factors.factors[inside]]
    return bicubic(cells.reshape(grid_size, grid_size), height, width).astype(np.float32)


def reference_spatial(
    packed: Float32[np.ndarray, "H W"], levels: int, size: tuple[int, int]
) -> Float32[np.ndarray, "h w"]:
    """The spatial WCAM: every sub-band's block of the packed map enlarged by cubic convolution, and summed.

    Args:
        packed: of :func:`reference_packed`.
        levels: of the transform.
        size: (height, width) of the image; padding beyond it is cut off.
    """
    height, width = packed.shape
    blocks = [packed[band.slices].astype(np.float64) for band in bands(height, width, levels)]
    summed = sum(bicubic(block, height, width) for block in blocks)
    return np.asarray(summed)[: size[0], : size[1]].astype(np.float32)


def reference_maps(
    name: str,
    factors: Partition,
    total: Float[np.ndarray, " k"],
    levels: int,
    grid_size: int,
    size: tuple[int, int],
) -> tuple[Float32[np.ndarray, "H W"], Float32[np.ndarray, "h w"]]:
    """(:func:`reference_packed`, :func:`reference_spatial`) with their arguments."""
    packed = reference_packed(name, factors, total, levels, grid_size)
    return packed, reference_spatial(packed, levels, size)


def reference_level_shares(
    packed: Float32[np.ndarray, "H W"], levels: int
) -> Float[np.ndarray, "levels_and_0 3"]:
    """Importance by level and orientation: means of the packed map, over the sum of all of them.

    A level's importance is mean(h) + mean(v) + mean(d), the sum of its row. Level 0 is read off as if the approximation
    were transformed once more: its own bottom-left, top-right and bottom-right quarters; the top-left one is missing.
    (Our own importance takes the approximation whole.)

    Args:
        packed: of :func:`reference_packed`.
        levels: L.

    Returns:
        (L + 1, 3) of horizontal, vertical, diagonal; adds up to 1, or is all 0 where the map is.
    """
    means = np.array(
        [_quarter_means(packed.astype(np.float64), levels - level) for level in range(levels + 1)]
    )
    whole = float(means.sum())
    return means / whole if whole else np.zeros_like(means)


def _quarter_means(packed: Float[np.ndarray, "H W"], halvings: int) -> tuple[float, float, float]:
    """Means of the three detail quarters of the top-left part that ``halvings`` leave."""
    tall, wide = (side >> (halvings + 1) for side in packed.shape)
    if min(tall, wide) == 0:  # an approximation one coefficient wide has no quarters
        alone = float(packed[: packed.shape[0] >> halvings, : packed.shape[1] >> halvings].mean())
        return alone, alone, alone
    lower, right = slice(tall, 2 * tall), slice(wide, 2 * wide)
    return (
        float(packed[lower, :wide].mean()),
        float(packed[:tall, right].mean()),
        float(packed[lower, right].mean()),
    )


def reference_fam_map(
    name: str, factors: Partition, total: Float[np.ndarray, " k"]
) -> Float32[np.ndarray, "h w"]:
    """The FAM in the centred Nyquist square, on a logarithmic scale: log(Σ_k m_k S_Tk) of rings, log(1 + S_T) of cells.

    The authors' map is −∞ where an index is 0. Ours stays finite: such a frequency gets the logarithm of the smallest
    positive index (of the smallest normal float32 where there is none), and a cell's index counts from 0.

    Args:
        name: ``circle``, ``square`` or ``grid``.
        factors: of the centred spectrum; every frequency has one.
        total: (K,) total indices.
    """
    if name == "grid":
        return np.log1p(np.maximum(total, 0.0))[factors.factors].astype(np.float32)
    present = total[np.unique(factors.factors)]  # rings without a frequency have an index of 0
    positive = present[present > 0]
    floor = float(positive.min()) if positive.size else float(np.finfo(np.float32).tiny)
    return np.log(np.maximum(total, floor))[factors.factors].astype(np.float32)


def reference_radial(name: str, total: Float[np.ndarray, " k"]) -> list[RingMean]:
    """The indices of rings as a profile; rings beyond the largest frequency included, as factors of no effect.

    Args:
        name: ``circle`` (rings of 1/K cycles per pixel) or ``square`` (of 1/(2K)).
        total: (K,) total indices, from the centre outwards.
    """
    step = (1.0 if name == "circle" else 0.5) / len(total)
    whole = float(total.sum())
    return [
        RingMean(ring * step, (ring + 1) * step, float(index), float(index) / whole if whole else 0.0)
        for ring, index in enumerate(total)
    ]


def reference_grey(total: Float[np.ndarray, " k"]) -> UInt8[np.ndarray, " k"]:
    """Indices stretched from their smallest to their largest onto 0..255, and floored; all 0 where they are equal."""
    low, high = float(total.min()), float(total.max())
    if not high > low:
        return np.zeros(len(total), dtype=np.uint8)
    return ((total - low) / (high - low) * 255).astype(np.uint8)


def reference_rank(total: Float[np.ndarray, " k"]) -> Int32[np.ndarray, " k"]:
    """Factors by their 8-bit index, largest first; the many ties in factor order."""
    return np.argsort(255 - reference_grey(total), kind="stable").astype(np.int32)


def reference_depth(predicted: Int[np.ndarray, " n"], label: int) -> int | None:
    """Reconstruction depth as the authors count it: from 0, so one less than the number of factors.

    Args:
        predicted: (K + 1,) the class predicted with the n top factors alone, n = 0..K. The image of no factor is not
            looked at.
        label: the model's own prediction for the unperturbed image.

    Returns:
        n − 1 of the first n ≥ 1 whose class is ``label``; ``None`` where there is none.
    """
    found = np.flatnonzero(predicted[1:] == label)
    return int(found[0]) if found.size else None
