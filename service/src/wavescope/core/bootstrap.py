"""Sampling error of total indices, by resampling design rows of A, B and C jointly (Archer et al. 1997).

The method is the one that covers, of those that ``bench/coverage.py`` compares.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from wavescope.core.estimators import CORRELATIONS, ESTIMATORS, Over

MIN_ROWS = 4  # with fewer rows a bootstrap sees almost no distinct samples
REPLICATES = 1000
NEVER_NEGATIVE = frozenset({"jansen", "janon", "glen"})
# A resample in which a factor never acts has the index 0, whose logarithm is without end: it counts as a thousandth.
LEAST_RATIO = 1e-3
# Resampled indices held at a time, 8 bytes each: 10,600 factors at once would be 85 MB, several times over.
BLOCK = 2**19


def index_errors(
    name: str,
    f_a: Float[np.ndarray, " n"],
    f_b: Float[np.ndarray, " n"],
    f_c: Float[np.ndarray, "k n"],
    *,
    seed: int,
    replicates: int = REPLICATES,
    over: Over = "ab",
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
        name: a key of ``ESTIMATORS``.
        f_a, f_b: (N,) scores of A and B.
        f_c: (K, N) scores of C.
        seed: of the resampling.
        replicates: number of resamples.
        over: rows that V is taken over; see :func:`wavescope.core.estimators.variance`.

    Returns:
        (standard_error (K,), interval (K, 2)), both finite, or ``None`` below N = 4.

    Raises:
        ConstantScore: see the estimator.
    """
    n = len(f_a)
    if n < MIN_ROWS:
        return None
    total = ESTIMATORS[name](f_a, f_b, f_c, over=over)
    weights = _resamples(name, f_a, f_b, seed=seed, replicates=replicates, over=over)
    spread = np.empty_like(total)
    for part in _blocks(len(total), len(weights)):
        resampled = ESTIMATORS[name](f_a, f_b, f_c[part], over=over, weights=weights)
        within = _log_ratio if name in NEVER_NEGATIVE else _clipped
        spread[part] = within(resampled, total[part, None]).std(axis=1, ddof=1)
    spread *= np.sqrt(n / (n - 1))
    quantile = float(student.ppf(0.975, n - 1))
    lowest, highest = np.minimum(total, 0), np.maximum(total, 1)
    if name not in NEVER_NEGATIVE:
        ends = total - quantile * spread, total + quantile * spread
        return spread, np.stack([np.maximum(ends[0], lowest), np.minimum(ends[1], highest)], axis=-1)
    acts = total > 0
    common = np.median(spread[acts]) if acts.any() else 0.0
    reach = np.exp(quantile * np.maximum(spread, common))
    return spread * total, np.stack([total / reach, np.minimum(total * reach, highest)], axis=-1)


def share_errors(
    name: str,
    f_a: Float[np.ndarray, " n"],
    f_b: Float[np.ndarray, " n"],
    f_c: Float[np.ndarray, "k n"],
    *,
    seed: int,
    replicates: int = REPLICATES,
    over: Over = "ab",
) -> Float[np.ndarray, " k"] | None:
    """Standard errors of the shares S_Tk / Σ S_T: their spread over resamples, times √(N / (N − 1)).

    Arguments and errors as :func:`index_errors`.

    Returns:
        (K,) finite, or ``None`` below N = 4 or where Σ S_T is not positive, so that there are no shares.
    """
    n = len(f_a)
    if n < MIN_ROWS:
        return None
    total = ESTIMATORS[name](f_a, f_b, f_c, over=over)
    if not total.sum() > 0:
        return None
    weights = _resamples(name, f_a, f_b, seed=seed, replicates=replicates, over=over)

    def resampled(part: slice) -> Float[np.ndarray, "k r"]:
        return ESTIMATORS[name](f_a, f_b, f_c[part], over=over, weights=weights)

    sums = np.zeros(len(weights))
    for part in _blocks(len(total), len(weights)):
        sums += resampled(part).sum(axis=0)
    usable = sums > 1e-12 * total.sum()
    share, error = total / total.sum(), np.empty_like(total)
    for part in _blocks(len(total), len(weights)):
        shares = resampled(part)[:, usable] / sums[usable]
        error[part] = _clipped(shares, share[part, None]).std(axis=1, ddof=1)
    return error * np.sqrt(n / (n - 1))


def _resamples(
    name: str,
    f_a: Float[np.ndarray, " n"],
    f_b: Float[np.ndarray, " n"],
    *,
    seed: int,
    replicates: int,
    over: Over,
) -> Float[np.ndarray, "r n"]:
    """How often each design row is drawn, over N; without resamples whose scores are all equal, which have no index."""
    n = len(f_a)
    # A generator of its own: the design's stream must not depend on how the errors are computed.
    rng = np.random.default_rng([seed, 1])
    weights = rng.multinomial(n, np.full(n, 1 / n), size=replicates) / n
    rows = np.stack([f_a, f_a if over == "a" or name in CORRELATIONS else f_b])
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


def _blocks(n_factors: int, replicates: int) -> Iterator[slice]:
    step = max(1, BLOCK // replicates)
    for start in range(0, n_factors, step):
        yield slice(start, start + step)
