"""Sampling error of total indices, by resampling design rows of A, B and C jointly (Archer et al. 1997)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from wavescope.core.estimators import jansen

MIN_ROWS = 4  # with fewer rows a bootstrap sees almost no distinct samples
REPLICATES = 1000


def jansen_errors(
    f_a: Float[np.ndarray, " n"],
    f_b: Float[np.ndarray, " n"],
    f_c: Float[np.ndarray, "k n"],
    *,
    seed: int,
    replicates: int = REPLICATES,
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k 2"]] | None:
    """Standard error and 95 % interval of Jansen's total indices.

    V is computed anew for every resample. The standard error is scaled by sqrt(N / (N − 1)), since a bootstrap of N
    rows understates the spread by that much. The interval is taken on the logarithm of the index, never negative,
    with Student's quantile of N − 1 degrees of freedom, and ends at 1, which no total index exceeds.

    Args:
        f_a, f_b: (N,) scores of A and B.
        f_c: (K, N) scores of C.
        seed: of the resampling.
        replicates: number of resamples.

    Returns:
        (standard_error (K,), interval (K, 2)), or ``None`` below N = 4.

    Raises:
        ConstantScore: see :func:`wavescope.core.estimators.variance`.
    """
    n = len(f_a)
    if n < MIN_ROWS:
        return None
    total = jansen(f_a, f_b, f_c)
    # A generator of its own: the design's stream must not depend on how the errors are computed.
    rng = np.random.default_rng([seed, 1])
    weights = rng.multinomial(n, np.full(n, 1 / n), size=replicates) / n  # (replicates, n)
    squared = ((f_a - f_c) ** 2).T  # (n, k)
    pooled = np.concatenate([f_a, f_b])
    centred = pooled - pooled.mean()  # before squaring, so that a large mean costs no digits
    halves = np.concatenate([weights, weights], axis=1) / 2
    var = (halves @ centred**2 - (halves @ centred) ** 2) * (2 * n / (2 * n - 1))
    # A resample whose scores are all equal has no index; what is left of its V is rounding.
    usable = var > 1e-12 * pooled.var()
    totals = (weights[usable] @ squared) / (2 * var[usable, None])
    error = totals.std(axis=0, ddof=1) * np.sqrt(n / (n - 1))
    relative = np.divide(error, total, out=np.zeros_like(error), where=total > 0)
    # Beyond exp(700) a double overflows; such an interval says "unknown" in any case.
    reach = np.exp(np.minimum(student.ppf(0.975, n - 1) * relative, 700.0))
    # No total index exceeds 1, though its estimate may.
    upper = np.minimum(total * reach, np.maximum(total, 1.0))
    return error, np.stack([total / reach, upper], axis=-1)
