"""The bootstrap of total indices as a loop over resamples, each built out row by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import t as student
from tests.oracles.indices import SLOW_TOTAL, slow_variance

LOGARITHMIC = ("jansen", "janon", "glen")


def slow_errors(
    name: str, f_a: np.ndarray, f_b: np.ndarray, f_c: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(standard errors, intervals); ``counts[r, j]`` is how often design row j is in resample r."""
    n, factors = len(f_a), len(f_c)
    total = SLOW_TOTAL[name](f_a, f_b, f_c)
    found = list(_resampled(name, f_a, f_b, f_c, counts))
    quantile = float(student.ppf(0.975, n - 1))
    if name not in LOGARITHMIC:
        error = np.array([_spread([_held(r[k], total[k]) for r in found], n) for k in range(factors)])
        low = [max(s - quantile * e, min(s, 0.0)) for s, e in zip(total, error, strict=True)]
        high = [min(s + quantile * e, max(s, 1.0)) for s, e in zip(total, error, strict=True)]
        return error, np.array([low, high]).T
    sigma = [
        _spread([math.log(max(r[k] / total[k], 1e-3)) for r in found], n) if total[k] > 0 else 0.0
        for k in range(factors)
    ]
    usual = float(np.median([s for s, index in zip(sigma, total, strict=True) if index > 0]))
    interval = []
    for s, index in zip(sigma, total, strict=True):
        reach = math.exp(quantile * max(s, usual))
        interval.append([index / reach, min(index * reach, max(index, 1.0))])
    return np.array(sigma) * total, np.array(interval)


def slow_share_errors(
    name: str, f_a: np.ndarray, f_b: np.ndarray, f_c: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Spread of each index over the sum of all."""
    total = SLOW_TOTAL[name](f_a, f_b, f_c)
    share = total / total.sum()
    shares = [r / r.sum() for r in _resampled(name, f_a, f_b, f_c, counts) if r.sum() > 1e-9]
    return np.array([_spread([_held(s[k], share[k]) for s in shares], len(f_a)) for k in range(len(total))])


def _resampled(
    name: str, f_a: np.ndarray, f_b: np.ndarray, f_c: np.ndarray, counts: np.ndarray
) -> Iterator[np.ndarray]:
    """The same rows of A, B and C together, V and all means computed anew; those without any spread left out."""
    estimate: Callable[..., np.ndarray] = SLOW_TOTAL[name]
    for times in counts:
        rows = [j for j in range(len(f_a)) for _ in range(int(times[j]))]
        other = f_a if name in ("janon", "glen") else f_b
        if slow_variance(f_a[rows], other[rows]) > 0:
            yield estimate(f_a[rows], f_b[rows], f_c[:, rows])


def _spread(values: list[float], n: int) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)) * math.sqrt(n / (n - 1))


def _held(value: float, estimate: float) -> float:
    """Within one of the range an index or a share can have."""
    return min(max(value, min(estimate, 0.0) - 1), max(estimate, 1.0) + 1)
