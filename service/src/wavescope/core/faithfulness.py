"""Faithfulness of a map to the model: insertion, deletion and µ-fidelity (paper, equations 8 to 10).

A feature is a pixel or, in the domain of a transform, a factor. Removing it puts it at the baseline, 0: black for a
pixel, no coefficient for a factor. Scores come from elsewhere: this module says which features go, and what the
scores amount to.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int32

from wavescope.core.partition import Partition, grid
from wavescope.core.ranks import ranks
from wavescope.core.sobol.estimators import ROUNDING

# Steps of an insertion or deletion curve. The area under a monotone curve is off by at most half a step of its range:
# 1 % here, 5 % with the 10 steps of Xplique. Petsiuk et al. 2018 take one row of pixels a step (224).
STEPS = 50
# Subsets of µ-fidelity, as Xplique: the standard error of a correlation is then about 1 / sqrt(199) = 0.07 at most.
SAMPLES = 200
# Part of the features that a subset removes, as Xplique. There each feature is removed with this probability; here
# exactly this many are (|u| = d in equation 10). The correlation there is Spearman's; here both are given.
SUBSET = 0.2
# Cells per side for µ-fidelity over pixels, as Xplique: single pixels hardly change a score.
GRID = 9


def counts(n_features: int, steps: int = STEPS) -> Int32[np.ndarray, " s"]:
    """Number of features inserted, or deleted, after each step: 0, …, ``n_features``.

    Steps differ by at most one feature, and are fewer where there are fewer features. Divided by ``n_features`` these
    are the fractions that go with a curve.

    Args:
        n_features: at least 1.
        steps: at least 1.

    Returns:
        (min(steps, n_features) + 1,) strictly increasing.
    """
    steps = min(steps, n_features)
    return (np.arange(steps + 1) * n_features // steps).astype(np.int32)


def rank_groups(values: Float[np.ndarray, "h w"], steps: int = STEPS) -> Int32[np.ndarray, "h w"]:
    """The step at which each pixel is inserted, or deleted: 0 for the most important.

    As factors of a partition of the pixels, taken in the order 0, 1, …, they give both curves. Petsiuk et al. insert
    into a blurred image; the paper and Xplique, and so this, into the baseline.

    Args:
        values: the map, larger for more important; ties go in row-major order.
        steps: as in :func:`counts`, which gives the pixels after each step.
    """
    edges = counts(values.size, steps)
    ranked = np.argsort(-values.ravel(), kind="stable")
    groups = np.empty(values.size, dtype=np.int32)
    groups[ranked] = np.repeat(np.arange(len(edges) - 1, dtype=np.int32), np.diff(edges))
    return groups.reshape(values.shape)


def area(curve: Float[np.ndarray, " s"], fraction: Float[np.ndarray, " s"]) -> float:
    """Area under a curve by trapezoids, in units of the score when ``fraction`` runs from 0 to 1.

    Args:
        curve: (s,) scores.
        fraction: (s,) of the features, increasing.
    """
    return float((np.diff(fraction) * (curve[1:] + curve[:-1]) / 2).sum())


def superpixels(height: int, width: int, grid_size: int = GRID) -> Partition:
    """The features of µ-fidelity over pixels: grid_size² cells, row-major; fewer where a side has fewer pixels."""
    factors = grid(height, width, 0, min(grid_size, height, width))
    return Partition(factors.astype(np.int32), int(factors.max()) + 1)


def subset_size(n_features: int) -> int:
    """d, the features that a subset of µ-fidelity removes: a part ``SUBSET`` of them, at least one."""
    return max(1, round(SUBSET * n_features))


def mu_fidelity(
    importance: Float[np.ndarray, " k"],
    masks: Float[np.ndarray, "m k"],
    clean_score: float,
    scores: Float[np.ndarray, " m"],
) -> tuple[float | None, float | None]:
    """µ-fidelity: correlation over subsets u of Σ_{i∈u} g(x_i) with f(x) − f(x with u at the baseline).

    Args:
        importance: (K,) g, of each feature.
        masks: (m, K) 0 where the feature is removed, 1 elsewhere.
        clean_score: f(x).
        scores: (m,) of the image under each mask.

    Returns:
        (Pearson, Spearman), -1..1; both ``None`` where either side varies by no more than float32 rounding.

    Source:
        Bhatt et al. 2020; paper, equation (10).
    """
    # Summed row by row, not by a matrix product, whose order of summation depends on the number of threads.
    sums = ((1.0 - masks.astype(np.float64)) * importance).sum(axis=1)
    drops = clean_score - scores.astype(np.float64)
    size = max(abs(clean_score), float(np.abs(scores).max()))
    if not (_varies(sums, float(np.abs(sums).max())) and _varies(drops, size)):
        return None, None
    return _pearson(sums, drops), _pearson(ranks(sums), ranks(drops))


def _varies(values: Float[np.ndarray, " m"], size: float) -> bool:
    """Whether values made of numbers of a given size vary beyond what float32 rounding makes of them."""
    return size > 0 and float((values / size).std()) > ROUNDING


def _pearson(x: Float[np.ndarray, " m"], y: Float[np.ndarray, " m"]) -> float:
    # Brought to unit size first, so that squares of tiny scores do not vanish.
    x, y = x - x.mean(), y - y.mean()
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    correlation = (x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum())
    return float(np.clip(correlation, -1.0, 1.0))  # rounding must not make it leave its range
