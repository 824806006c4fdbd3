"""The bootstrap of total indices as a loop over resamples, each built out row by row."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import t as student
from tests.oracles.indices import slow_jansen, slow_variance


def slow_standard_error(f_a: np.ndarray, f_b: np.ndarray, f_c: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Spread of the total indices over resamples; ``counts[r, j]`` is how often design row j is in resample r."""
    n = len(f_a)
    found = []
    for times in counts:
        rows = [j for j in range(n) for _ in range(int(times[j]))]
        if slow_variance(f_a[rows], f_b[rows]) > 0:
            found.append(slow_jansen(f_a[rows], f_b[rows], f_c[:, rows]))
    spread = np.array(
        [
            math.sqrt(
                sum((row[k] - sum(r[k] for r in found) / len(found)) ** 2 for row in found) / (len(found) - 1)
            )
            for k in range(f_c.shape[0])
        ]
    )
    return spread * math.sqrt(n / (n - 1))


def slow_interval(total: np.ndarray, error: np.ndarray, n: int) -> np.ndarray:
    """total · exp(± t · error / total), a point at 0 where the index is 0; its end at most 1, or the estimate."""
    quantile = float(student.ppf(0.975, n - 1))
    return np.array(
        [
            [s * math.exp(-quantile * e / s), min(s * math.exp(quantile * e / s), max(s, 1.0))]
            if s > 0
            else [0.0, 0.0]
            for s, e in zip(total, error, strict=True)
        ]
    )
