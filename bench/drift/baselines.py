"""Detectors that others use, with the thresholds that they would set from a reference alone; side by side."""

from __future__ import annotations

import numpy as np
from bench.drift.detectors import (
    DRIFT,
    MMD_WINDOW,
    WINDOW,
    cusum,
    first_at_least,
    kolmogorov_smirnov,
    mmd,
    sums,
)
from bench.drift.side_by_side import THRESHOLDS
from scipy.stats import kstwo

LEVEL = 0.05  # of each look of the Kolmogorov-Smirnov test
TEXTBOOK = 5.0  # threshold of CUSUM, standard deviations
SIMULATED = 1_000_000  # observations that CUSUM is calibrated on, resampled from the reference
PERMUTED = 200_000  # windows that MMD is calibrated on, permuted from the reference
STREAMS_A_REFERENCE = 4  # with MMD, whose calibration takes longest


def ks_critical(level: float, reference: int, window: int = WINDOW) -> float:
    """The difference of distribution functions whose p-value is ``level``, by SciPy's asymptotic two-sample test."""
    return float(kstwo.isf(level, round(reference * window / (reference + window))))


def ks_firsts(reference: np.ndarray, stream: np.ndarray, *, levels: int) -> np.ndarray:
    """(streams,) first alarm of tests of the last 100 observations, after every 100, of several signals (Bonferroni).

    Args:
        reference: (signals, streams, n) integers below ``levels``.
        stream: (signals, streams, observations), likewise.
        levels: number of different scores.
    """
    critical = ks_critical(LEVEL / len(reference), reference.shape[2])
    each = [
        first_at_least(kolmogorov_smirnov(*pair, levels=levels, every=WINDOW), critical)
        for pair in zip(reference, stream, strict=True)
    ]
    return earliest(np.array(each))


def earliest(firsts: np.ndarray) -> np.ndarray:
    """(streams,) the least of (signals, streams) first alarms that are not 0.

    Example:
        >>> earliest(np.array([[0, 0, 9], [0, 4, 3]])).tolist()
        [0, 4, 3]
    """
    least = np.where(firsts > 0, firsts, np.iinfo(np.int64).max).min(axis=0)
    return np.where((firsts > 0).any(axis=0), least, 0)


def cusum_thresholds(reference: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(thresholds,) of CUSUM with a mean run length of c on observations that are drawn from the reference.

    A long walk is cut where it is back at 0: within N observations, N / c of its excursions may reach the threshold.

    Args:
        reference: (n,) scores.
        rng: draws from them.
    """
    z = (reference - reference.mean()) / reference.std(ddof=1) - DRIFT
    walk = sums(z[rng.integers(len(z), size=SIMULATED)])
    starts = np.flatnonzero(walk == 0)
    peaks = np.sort(np.maximum.reduceat(walk, starts))[::-1] if len(starts) else walk[-1:]
    return np.array([peaks[min(round(SIMULATED / c), len(peaks)) - 1] for c in THRESHOLDS])


def cusum_firsts(
    reference: np.ndarray, stream: np.ndarray, rng: np.random.Generator, *, calibrated: bool
) -> np.ndarray:
    """(thresholds, streams) first alarms of CUSUM, of (streams, n) and (streams, observations) scores."""
    found = cusum(reference, stream, two_sided=False)
    if not calibrated:
        return np.tile(first_at_least(found, TEXTBOOK), (len(THRESHOLDS), 1))
    thresholds = np.array([cusum_thresholds(one, rng) for one in reference])
    return np.array([first_at_least(found, column) for column in thresholds.T])


def mmd_thresholds(kernel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(thresholds,) that MMD² of a window exceeds once in c windows which are permuted from the reference.

    The other images of the reference are what a window is compared with.

    Args:
        kernel: (n, n) of the reference.
        rng: permutes it.
    """
    n, w = len(kernel), MMD_WINDOW
    a_time = n // w
    orders = rng.permuted(np.tile(np.arange(n), (PERMUTED // a_time, 1)), axis=1)[:, : a_time * w]
    statistic = against_rest(kernel, orders.reshape(-1, w))
    return np.quantile(statistic, [1 - 1 / c for c in THRESHOLDS], method="higher")


def against_rest(kernel: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """(windows,) unbiased MMD² of some images against all others.

    Args:
        kernel: (n, n).
        windows: (windows, w) images, all different within one.
    """
    n, w = len(kernel), windows.shape[1]
    chosen = np.zeros((len(windows), n), np.float32)
    np.put_along_axis(chosen, windows, 1, axis=1)
    rows, diagonal = kernel.astype(np.float32), np.diag(kernel)
    inside = ((chosen @ rows) * chosen).sum(axis=1, dtype=np.float64)  # with the diagonal
    to_all = chosen @ rows.sum(axis=0)
    own = chosen @ diagonal.astype(np.float32)
    rest = n - w
    others = rows.sum(dtype=np.float64) - 2 * to_all + inside  # among the rest, with the diagonal
    return (
        (inside - own) / (w * (w - 1))
        + (others - (diagonal.sum() - own)) / (rest * (rest - 1))
        - 2 * (to_all - inside) / (w * rest)
    )


def mmd_firsts(
    kernel: np.ndarray, reference: np.ndarray, stream: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(thresholds, streams) first alarms of online MMD after the permuted thresholds (Cobb et al. 2022).

    As many images of the reference as the permuted windows are compared with are what the stream is compared with.

    Args:
        kernel: (images, images).
        reference: (references, n) images; each serves as many streams.
        stream: (streams, observations) images, the streams of a reference side by side.
        rng: permutes.
    """
    thresholds = np.array([mmd_thresholds(kernel[np.ix_(one, one)], rng) for one in reference])
    each = len(stream) // len(reference)
    kept = np.repeat(reference[:, : reference.shape[1] - MMD_WINDOW], each, axis=0)
    found = mmd(kernel, kept, stream)
    return np.array([first_at_least(found, np.repeat(column, each)) for column in thresholds.T])
