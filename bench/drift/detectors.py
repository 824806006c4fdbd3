"""Detectors of change, side by side over many streams: (observations, streams) statistics that alarms are read from.

Scores are integers: ranks of the values among all that a stream can have, so that equal values are equal. MMD takes
kernels instead, the bounded-mean test values within [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from bench.drift.side_by_side import conformal_evidence, conformal_p

from wavescope.core.monitoring.bounded_mean import FRACTIONS, RISK, upper_bound

WINDOW = 100  # of the Kolmogorov-Smirnov test
MMD_WINDOW = 25
DRIFT = 0.5  # standard deviations that CUSUM takes off each observation


def conformal(
    reference: np.ndarray, stream: np.ndarray, rng: np.random.Generator, *, levels: int, two_sided: bool
) -> np.ndarray:
    """R of the conformal test of (streams, n) reference and (streams, observations) scores, integers from 0 on."""
    p = conformal_p(reference, stream, rng, levels=levels)
    return conformal_evidence(p, two_sided=two_sided)


def bounded_mean(
    reference: np.ndarray, values: Callable[[int], np.ndarray], observations: int, tolerance: float
) -> np.ndarray:
    """R of the bounded-mean test.

    Args:
        reference: (streams, n, signals) within [0, 1].
        values: of t from 0 on, (streams, signals) within [0, 1].
        observations: of a stream.
        tolerance: ε.
    """
    signals = reference.shape[2]
    bounds = np.array(
        [
            [upper_bound(column, risk=RISK / signals) for column in np.ascontiguousarray(one.T)]
            for one in reference
        ]
    )
    bounds = np.minimum(bounds + tolerance, 1)
    fractions = np.asarray(FRACTIONS)[:, None, None]
    r = np.zeros((len(FRACTIONS), *bounds.shape))
    found = np.empty((observations, len(reference)))
    for t in range(observations):
        r += 1
        r *= 1 + fractions * (values(t) / bounds - 1)
        np.minimum(r, 1e200, out=r)  # long after an alarm
        found[t] = r.mean(axis=(0, 2))
    return found


def kolmogorov_smirnov(
    reference: np.ndarray, stream: np.ndarray, *, levels: int, every: int, window: int = WINDOW
) -> np.ndarray:
    """Largest difference of the distribution functions of the last observations and the reference.

    It is looked at after ``window`` observations, and then after every ``every``; in between it is the last.

    Args:
        reference: (streams, n) integers below ``levels``.
        stream: (streams, observations), likewise.
        levels: number of different scores.
        every: observations between looks.
        window: observations that are looked at.
    """
    streams, n = reference.shape
    counts = np.zeros((streams, levels + 1), np.float32)
    np.add.at(counts, (np.repeat(np.arange(streams), n), reference.ravel() + 1), 1 / n)
    below = np.cumsum(counts, axis=1)  # share of the reference below each score
    rows = np.arange(streams)[:, None]
    found = np.zeros((stream.shape[1], streams))
    steps = np.arange(window)
    for end in range(window, stream.shape[1] + 1, every):
        seen = np.sort(stream[:, end - window : end], axis=1)
        new = np.ones((streams, window + 1), bool)
        new[:, 1:-1] = seen[:, 1:] != seen[:, :-1]
        before = np.where(new[:, :-1], np.abs(steps / window - below[rows, seen]), 0)
        after = np.where(new[:, 1:], np.abs((steps + 1) / window - below[rows, seen + 1]), 0)
        found[end - 1 : end - 1 + every] = np.maximum(before, after).max(axis=1)
    return found


def cusum(reference: np.ndarray, stream: np.ndarray, *, two_sided: bool) -> np.ndarray:
    """CUSUM of scores in the reference's standard deviations from its mean, less 0.5 an observation.

    Args:
        reference: (streams, n) scores.
        stream: (streams, observations).
        two_sided: the larger of both sides.
    """
    z = ((stream - reference.mean(axis=1, keepdims=True)) / reference.std(axis=1, ddof=1, keepdims=True)).T
    found = sums(z - DRIFT)
    return np.maximum(found, sums(-z - DRIFT)) if two_sided else found


def sums(steps: np.ndarray) -> np.ndarray:
    """S_t = max(0, S_{t−1} + step) along the first axis, from S_0 = 0.

    Example:
        >>> sums(np.array([1.0, -3.0, 2.0, 1.0])).tolist()
        [1.0, 0.0, 2.0, 3.0]
    """
    walk = np.cumsum(steps, axis=0)
    return walk - np.minimum(np.minimum.accumulate(walk, axis=0), 0)


def mmd(
    kernel: np.ndarray, reference: np.ndarray, stream: np.ndarray, *, window: int = MMD_WINDOW
) -> np.ndarray:
    """Unbiased MMD² of the last observations and the reference; 0 while there are fewer.

    Args:
        kernel: (items, items) of everything that can be observed.
        reference: (streams, n) items.
        stream: (streams, observations) items.
        window: observations that are looked at.
    """
    streams, n = reference.shape
    means = np.empty((streams, len(kernel)), np.float32)
    inside = np.empty(streams)
    for at, items in enumerate(reference):
        means[at] = kernel[items].mean(axis=0)
        inside[at] = (means[at, items].sum() * n - np.trace(kernel[np.ix_(items, items)])) / (n * (n - 1))
    rows = np.arange(streams)
    pairs, cross = np.zeros(streams), np.zeros(streams)  # sums over the window
    found = np.zeros((stream.shape[1], streams))
    for t in range(stream.shape[1]):
        new, others = stream[:, t], stream[:, max(0, t - window + 1) : t]
        if t >= window:
            old = stream[:, t - window]
            pairs -= kernel[old[:, None], others].sum(axis=1)
            cross -= means[rows, old]
        pairs += kernel[new[:, None], others].sum(axis=1)
        cross += means[rows, new]
        if t >= window - 1:
            found[t] = inside + 2 * pairs / (window * (window - 1)) - 2 * cross / window
    return found


def gaussian_kernel(rows: np.ndarray, like: np.ndarray) -> np.ndarray:
    """(items, items) exp(−‖x − y‖² / 2m²) of rows in standard deviations, m² the median over pairs, both of ``like``.

    Args:
        rows: (items, d), or (items,).
        like: rows of the images before the change.
    """
    flat, base = rows.reshape(len(rows), -1), like.reshape(len(like), -1)
    scale = base.std(axis=0)
    flat, base = (flat / scale).astype(np.float32), (base / scale).astype(np.float32)
    among = squares(base, base)[np.triu_indices(len(base), 1)]
    return np.exp(-squares(flat, flat) / (2 * np.median(among)))


def squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) squared distances of (n, d) and (m, d) rows."""
    return np.maximum((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T, 0)


def first_at_least(statistic: np.ndarray, threshold: np.ndarray | float) -> np.ndarray:
    """(streams,) observations, from 1, at which a statistic first reaches a threshold; 0 for never.

    Example:
        >>> first_at_least(np.array([[1.0, 0.0], [2.0, 1.0], [3.0, 0.0]]), 2.0).tolist()
        [2, 0]
    """
    over = statistic >= threshold
    return np.where(over.any(axis=0), over.argmax(axis=0) + 1, 0)
