"""Bootstrap errors of total indices, by resampling design rows of A, B and C jointly.

After Archer et al. 1997, doi:10.1080/00949659708811825. The method is the one that covers, of those that
``bench/coverage.py`` compares.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from wavescope.core.sobol.estimators import Estimator, Scores, VarianceRows

MIN_ROWS = 4  # with fewer rows a bootstrap sees almost no distinct samples
REPLICATES = 1000
# A resample in which a factor never acts has the index 0, whose logarithm is without end: it counts as a thousandth.
LEAST_RATIO = 1e-3
# Resampled indices held at a time, 8 bytes each: 10,600 factors at once would be 85 MB, several times over.
BLOCK = 2**19


def index_errors(
    estimator: Estimator,
    scores: Scores,
    *,
    seed: int,
    replicates: int = REPLICATES,
    variance_rows: VarianceRows = "ab",
    block: int = BLOCK,
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k 2"]] | None:
    """Standard error and 95 % interval of total indices.

    Estimators that are never negative (``jansen``, ``janon``, ``glen``) err by factors. With σ the standard deviation
    of ln S over resamples times √(N / (N − 1)), since a bootstrap of N rows understates the spread by that much, the
    standard error is σ S and the interval S · exp(± t σ'), t Student's quantile of N − 1 degrees of freedom. σ' is σ,
    but at least its median over the factors that have an effect: of few rows, some factors see too little of their own
    spread. (The spread of S itself is of no use: a resample whose V is small has an S of thousands.)

    The others (``homma``, ``saltelli``) err by sums: S ± t · standard error, the spread of S over resamples, which are
    clipped to one beyond the range that an index can have.

    Intervals end at 1, which no index exceeds, and at 0, or at the estimate where that lies beyond. A factor without
    effect on any row has the error 0 where its index is 0.

    Args:
        estimator: of the total indices.
        scores: of N design rows.
        seed: of the resampling.
        replicates: number of resamples.
        variance_rows: rows that V is taken over; see :func:`wavescope.core.sobol.estimators.variance`.
        block: resampled indices held at a time, which bounds the memory and changes no result.

    Returns:
        (standard_error (K,), interval (K, 2)), both finite, or ``None`` below N = 4.

    Raises:
        ConstantScore: see the estimator.

    Example:
        >>> from wavescope.core.sobol.estimators import ESTIMATORS
        >>> a, b = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 4, 1, 5, 3])
        >>> scores = Scores(a, b, np.stack([a, (a + b) / 2]))  # the first factor does nothing
        >>> standard_error, interval = index_errors(ESTIMATORS["jansen"], scores, seed=0)
        >>> standard_error.round(3).tolist(), interval.round(3).tolist()
        ([0.0, 0.068], [[0.0, 0.0], [0.047, 0.523]])
    """
    from scipy.special import stdtrit  # Student's t; scipy.stats, which has it too, takes a second to import

    n = len(scores.a)
    if n < MIN_ROWS:
        return None
    total = estimator.total(scores, variance_rows=variance_rows)
    weights = _resamples(estimator, scores, seed=seed, replicates=replicates, variance_rows=variance_rows)
    spread = np.empty_like(total)
    for part in _blocks(len(total), len(weights), block):
        resampled = estimator.total(scores.factors(part), variance_rows=variance_rows, weights=weights)
        within = _log_ratio if estimator.never_negative else _clipped
        spread[part] = within(resampled, total[part, None]).std(axis=1, ddof=1)
    spread *= np.sqrt(n / (n - 1))
    quantile = float(stdtrit(n - 1, 0.975))
    lowest, highest = np.minimum(total, 0), np.maximum(total, 1)
    if not estimator.never_negative:
        ends = total - quantile * spread, total + quantile * spread
        return spread, np.stack([np.maximum(ends[0], lowest), np.minimum(ends[1], highest)], axis=-1)
    acts = total > 0
    common = np.median(spread[acts]) if acts.any() else 0.0
    reach = np.exp(quantile * np.maximum(spread, common))
    return spread * total, np.stack([total / reach, np.minimum(total * reach, highest)], axis=-1)


def share_errors(
    estimator: Estimator,
    scores: Scores,
    *,
    seed: int,
    replicates: int = REPLICATES,
    variance_rows: VarianceRows = "ab",
    block: int = BLOCK,
) -> Float[np.ndarray, " k"] | None:
    """Standard errors of the shares S_Tk / Σ S_T: their spread over resamples, times √(N / (N − 1)).

    Arguments and errors as :func:`index_errors`.

    Returns:
        (K,) finite, or ``None`` below N = 4 or where Σ S_T is not positive, so that there are no shares.

    Example:
        >>> from wavescope.core.sobol.estimators import ESTIMATORS
        >>> a, b = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 4, 1, 5, 3])
        >>> scores = Scores(a, b, np.stack([b, (a + b) / 2, np.array([2.0, 3, 3, 4, 4])]))
        >>> share_errors(ESTIMATORS["jansen"], scores, seed=0).round(3).tolist()
        [0.048, 0.012, 0.06]
    """
    n = len(scores.a)
    if n < MIN_ROWS:
        return None
    total = estimator.total(scores, variance_rows=variance_rows)
    if not total.sum() > 0:
        return None
    weights = _resamples(estimator, scores, seed=seed, replicates=replicates, variance_rows=variance_rows)

    def resampled(part: slice) -> Float[np.ndarray, "k r"]:
        return estimator.total(scores.factors(part), variance_rows=variance_rows, weights=weights)

    sums = np.zeros(len(weights))
    for part in _blocks(len(total), len(weights), block):
        sums += resampled(part).sum(axis=0)
    usable = sums > 1e-12 * total.sum()
    share, error = total / total.sum(), np.empty_like(total)
    for part in _blocks(len(total), len(weights), block):
        shares = resampled(part)[:, usable] / sums[usable]
        error[part] = _clipped(shares, share[part, None]).std(axis=1, ddof=1)
    return error * np.sqrt(n / (n - 1))


def _resamples(
    estimator: Estimator, scores: Scores, *, seed: int, replicates: int, variance_rows: VarianceRows
) -> Float[np.ndarray, "r n"]:
    """Weights of the design rows in each resample; without resamples of equal scores, which have no index."""
    n = len(scores.a)
    # A generator of its own: the design's stream must not depend on how the errors are computed.
    rng = np.random.default_rng([seed, 1])
    weights = rng.multinomial(n, np.full(n, 1 / n), size=replicates) / n
    a_alone = variance_rows == "a" or estimator.correlation
    rows = np.stack([scores.a, scores.a if a_alone else scores.b])
    rows = rows - rows.mean()  # before squaring, so that a large mean costs no digits
    var = weights @ (rows**2).mean(axis=0) - (weights @ rows.mean(axis=0)) ** 2
    # What is left of the variance of equal scores is rounding.
    return weights[var > 1e-12 * rows.var()]


def _log_ratio(
    resampled: Float[np.ndarray, "k r"], total: Float[np.ndarray, "k 1"]
) -> Float[np.ndarray, "k r"]:
    """ln(S* / S), 0 for a factor without effect."""
    ratio = np.divide(resampled, total, out=np.ones_like(resampled), where=total > 0)
    return np.log(np.maximum(ratio, LEAST_RATIO))


def _clipped(
    resampled: Float[np.ndarray, "k r"], total: Float[np.ndarray, "k 1"]
) -> Float[np.ndarray, "k r"]:
    """S*, no further than 1 from what an index can be: beyond, a number says no more than "unknown"."""
    return np.clip(resampled, np.minimum(total, 0) - 1, np.maximum(total, 1) + 1)


def _blocks(n_factors: int, replicates: int, block: int) -> Iterator[slice]:
    step = max(1, block // replicates)
    for start in range(0, n_factors, step):
        yield slice(start, start + step)
