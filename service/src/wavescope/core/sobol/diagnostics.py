"""Diagnostics of a map: split-half reliability, contrast with another class, interaction, resolution, saturation.

A reply gives them as ``worth``.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from wavescope.core.ranks import ranks
from wavescope.core.sobol.estimators import Estimator, Scores, VarianceRows
from wavescope.errors import ConstantScore


def spearman(x: Float[np.ndarray, " k"], y: Float[np.ndarray, " k"]) -> float | None:
    """Spearman's rank correlation, ties ranked by their mean; ``None`` where either is tied throughout.

    Example:
        >>> round(spearman(np.array([1.0, 2, 3]), np.array([1.0, 3, 2])), 3)
        0.5
    """
    found = np.stack([ranks(x), ranks(y)])
    found -= found.mean(axis=1, keepdims=True)
    norms = np.sqrt((found**2).sum(axis=1))
    if not norms.all():
        return None
    return float(np.clip((found[0] @ found[1]) / (norms[0] * norms[1]), -1, 1))


def reliability(odd: Float[np.ndarray, " k"], even: Float[np.ndarray, " k"]) -> float | None:
    """Reliability of indices from those of two halves, by Spearman and Brown: 2 r / (1 + |r|), within [-1, 1].

    r is Spearman's rank correlation. ``None`` where either half is tied throughout. Spearman 1910,
    doi:10.1111/j.2044-8295.1910.tb00206.x; Brown 1910, doi:10.1111/j.2044-8295.1910.tb00207.x.

    Example:
        >>> round(reliability(np.array([1.0, 2, 3]), np.array([1.0, 3, 2])), 3)
        0.667
    """
    r = spearman(odd, even)
    return None if r is None else 2 * r / (1 + abs(r))


def split_half(estimator: Estimator, scores: Scores, *, variance_rows: VarianceRows = "ab") -> float | None:
    """Split-half reliability: Spearman's r of the total indices from odd with those from even design rows.

    Half the rows say less than all: the correlation is corrected to the whole design by :func:`reliability`.

    Args:
        estimator: of the total indices.
        scores: of N design rows.
        variance_rows: rows that V is taken over.

    Returns:
        -1..1; ``None`` where it is undefined: too few rows (1, or 5 of a correlation), a half whose score does not
        vary, indices all equal.

    Example:
        >>> from wavescope.core.sobol.estimators import ESTIMATORS
        >>> a, b = np.array([1.0, 2, 3, 4]), np.array([2.0, 4, 1, 3])
        >>> scores = Scores(a, b, np.stack([a, (a + b) / 2, b]))
        >>> round(split_half(ESTIMATORS["jansen"], scores), 3)  # both halves rank the factors alike
        1.0
    """
    # Two rows always correlate in full: a half needs three for an estimator that is a correlation.
    if len(scores.a) < (6 if estimator.correlation else 2):
        return None
    try:
        odd = estimator.total(scores.rows(slice(None, None, 2)), variance_rows=variance_rows)
        even = estimator.total(scores.rows(slice(1, None, 2)), variance_rows=variance_rows)
    except ConstantScore:
        return None
    return reliability(odd, even)


def class_contrast(total: Float[np.ndarray, " k"], other_total: Float[np.ndarray, " k"]) -> float | None:
    """1 − Spearman's correlation with another class's total indices: 0 for the same map, 1 for an unrelated one.

    ``None`` where either map is the same everywhere.

    Example:
        >>> round(class_contrast(np.array([0.1, 0.2, 0.3]), np.array([0.3, 0.2, 0.1])), 3)
        2.0
    """
    r = spearman(total, other_total)
    return None if r is None else 1 - r


def interaction(scores: Scores) -> float | None:
    """Strength of interactions: the part of the joint effect of all factors that their single effects do not add up to.

    Root mean square of (b − a) − Σ_k (c_k − a) over that of b − a: 0 for an additive score at any N, but for rounding.
    (Of many rows, Σ of the first-order indices says the same; of 8 it was seen to err by 0.4.)

    Returns:
        at least 0, without an upper bound; ``None`` where no row of B scores other than its row of A.

    Example:
        >>> a, b = np.array([[0.1, 0.5], [0.4, 0.2]]), np.array([[0.9, 0.3], [0.6, 0.8]])  # (N, K) design
        >>> changed = np.array([[[0.9, 0.5], [0.6, 0.2]], [[0.1, 0.3], [0.4, 0.8]]])  # (K, N, K): C
        >>> interaction(Scores(a.sum(1), b.sum(1), changed.sum(2))) < 1e-12  # an additive score
        True
        >>> round(interaction(Scores(a.prod(1), b.prod(1), changed.prod(2))), 2)
        0.44
    """
    together = scores.b - scores.a
    missing = together - (scores.c - scores.a).sum(axis=0)
    size, left = float((together**2).mean()), float((missing**2).mean())
    return math.sqrt(left / size) if size > 0 else None


def unresolved_share(total: Float[np.ndarray, " k"], standard_error: Float[np.ndarray, " k"]) -> float | None:
    """Share of factors whose standard error is above half the index, of those with an effect; ``None`` without any.

    Example:
        >>> unresolved_share(np.array([0.4, 0.1, 0.0]), np.array([0.1, 0.1, 0.0]))
        0.5
    """
    acts = total != 0
    return float((standard_error[acts] > np.abs(total[acts]) / 2).mean()) if acts.any() else None


def saturation(rows: Float[np.ndarray, " n"]) -> float:
    """Share of independent rows whose score is at the end of the scores' range that holds more of them.

    At the end is within 1 % of the range; the row that marks the end is not counted. 0 where scores spread out;
    towards 1 where the score is saturated, as a probability near 0 or 1 is, and few rows are informative.

    Example:
        >>> saturation(np.array([0.999, 1.0, 1.0, 0.998, 0.3]))
        0.75
    """
    return max(saturation_of_ends(rows))


def saturation_of_ends(rows: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Shares of :func:`saturation` at the lower and at the upper end of the range.

    Example:
        >>> saturation_of_ends(np.array([0.999, 1.0, 1.0, 0.998, 0.3]))
        (0.0, 0.75)
    """
    low, high = rows.min(), rows.max()
    near = 0.01 * (high - low)
    ends = int((rows <= low + near).sum()), int((rows >= high - near).sum())
    return (ends[0] - 1) / (len(rows) - 1), (ends[1] - 1) / (len(rows) - 1)
