"""What a map is worth: how well it repeats, how much it is about its class, and where its figures come from."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from wavescope.core.estimators import CORRELATIONS, ESTIMATORS, Over
from wavescope.errors import ConstantScore


def spearman(x: Float[np.ndarray, " k"], y: Float[np.ndarray, " k"]) -> float | None:
    """Spearman's rank correlation, ties ranked by their mean; ``None`` where either is tied throughout."""
    ranks = np.stack([rankdata(x), rankdata(y)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    norms = np.sqrt((ranks**2).sum(axis=1))
    if not norms.all():
        return None
    return float(np.clip((ranks[0] @ ranks[1]) / (norms[0] * norms[1]), -1, 1))


def reliability(odd: Float[np.ndarray, " k"], even: Float[np.ndarray, " k"]) -> float | None:
    """Spearman's r of the indices from two halves, corrected to the whole: 2 r / (1 + |r|), within [-1, 1].

    ``None`` where either half is tied throughout (Spearman 1910; Brown 1910).
    """
    r = spearman(odd, even)
    return None if r is None else 2 * r / (1 + abs(r))


def split_half(
    name: str,
    f_a: Float[np.ndarray, " n"],
    f_b: Float[np.ndarray, " n"],
    f_c: Float[np.ndarray, "k n"],
    *,
    over: Over = "ab",
) -> float | None:
    """Split-half reliability: Spearman's r of the total indices from odd with those from even design rows.

    Half the rows say less than all: corrected to the whole design by Spearman and Brown, 2 r / (1 + |r|), which stays
    within [-1, 1].

    Args:
        name: a key of ``ESTIMATORS``.
        f_a, f_b: (N,) scores of A and B.
        f_c: (K, N) scores of C.
        over: rows that V is taken over.

    Returns:
        -1..1; ``None`` where there is no telling: too few rows (1, or 5 of a correlation), a half whose score does not
        vary, indices all equal.
    """
    # Two rows always correlate in full: a half needs three for an estimator that is a correlation.
    if len(f_a) < (6 if name in CORRELATIONS else 2):
        return None
    estimate = ESTIMATORS[name]
    try:
        odd = estimate(f_a[::2], f_b[::2], f_c[:, ::2], over=over)
        even = estimate(f_a[1::2], f_b[1::2], f_c[:, 1::2], over=over)
    except ConstantScore:
        return None
    return reliability(odd, even)


def class_contrast(total: Float[np.ndarray, " k"], other_total: Float[np.ndarray, " k"]) -> float | None:
    """1 − Spearman's correlation with another class's total indices: 0 for the same map, 1 for an unrelated one.

    ``None`` where either map is the same everywhere.
    """
    r = spearman(total, other_total)
    return None if r is None else 1 - r


def interaction(
    f_a: Float[np.ndarray, " n"], f_b: Float[np.ndarray, " n"], f_c: Float[np.ndarray, "k n"]
) -> float | None:
    """How far factors act together: what is missing when their single effects are added up, over the effect of all.

    Root mean square of (b − a) − Σ_k (c_k − a) over that of b − a: 0 for an additive score at any N, but for rounding.
    (Σ of the first-order indices tells the same of many rows; of 8 it was seen to err by 0.4.)

    Returns:
        at least 0, without a bound; ``None`` where no row of B scores other than its row of A.
    """
    together = f_b - f_a
    missing = together - (f_c - f_a).sum(axis=0)
    size, left = float((together**2).mean()), float((missing**2).mean())
    return math.sqrt(left / size) if size > 0 else None


def unresolved_share(total: Float[np.ndarray, " k"], standard_error: Float[np.ndarray, " k"]) -> float | None:
    """Share of factors whose standard error is above half the index, of those with an effect; ``None`` without any."""
    acts = total != 0
    return float((standard_error[acts] > np.abs(total[acts]) / 2).mean()) if acts.any() else None


def saturation(rows: Float[np.ndarray, " n"]) -> float:
    """Share of independent rows whose score is at the end of the scores' range that holds more of them.

    At the end is within 1 % of the range; the row that marks the end is not counted. 0 where scores spread out;
    towards 1 where the score is stuck, as a probability near 0 or 1 is, and few rows tell.
    """
    low, high = rows.min(), rows.max()
    near = 0.01 * (high - low)
    stuck = max(int((rows <= low + near).sum()), int((rows >= high - near).sum()))
    return (stuck - 1) / (len(rows) - 1)
