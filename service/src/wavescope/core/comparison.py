"""Distance between two explanations, by scale and by place (paper, section 4.1), each as one number from 0 to 1."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Float64


def normalised(values: Float[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
    """Values as parts of their sum.

    Total indices cannot be negative, but what some estimators (Homma, Saltelli) make of them can: that counts as 0.
    Without any positive value all stay 0.
    """
    clipped = np.maximum(values.astype(np.float64), 0.0)
    total = float(clipped.sum())
    return clipped / total if total else clipped


def total_variation(p: Float[np.ndarray, "*s"], q: Float[np.ndarray, "*s"]) -> float:
    """Total variation distance sup_A |p(A) − q(A)|: the larger of what p has beyond q and what q has beyond p.

    For two distributions this is Σ|p − q| / 2. It also holds where one of them is all 0: the distance is then 1, and 0
    where both are.

    Args:
        p, q: as :func:`normalised` gives them.

    Returns:
        0 (equal) to 1 (disjoint).
    """
    more, less = np.maximum(p - q, 0.0), np.maximum(q - p, 0.0)
    return min(1.0, max(float(more.sum()), float(less.sum())))  # a sum of rounded parts may exceed 1


def scale_shift(shares: Float[np.ndarray, " l"], other_shares: Float[np.ndarray, " l"]) -> float:
    """Total variation distance of the levels' shares of two images, 0..1."""
    return total_variation(normalised(shares), normalised(other_shares))


def place_shift(
    spatial: Float[np.ndarray, "h w"], other_spatial: Float[np.ndarray, "h w"]
) -> tuple[float, Float32[np.ndarray, "h w"]]:
    """Total variation distance of two normalised spatial maps, 0..1, and where they differ.

    Returns:
        the distance; (h, w) the normalised map of the other image minus that of the first: positive where it gained.
    """
    before, after = normalised(spatial), normalised(other_spatial)
    return total_variation(before, after), (after - before).astype(np.float32)
