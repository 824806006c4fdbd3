"""The tests of ``wavescope.core.monitoring`` over many streams at once; the service folds one stream at a time.

A test holds them to the folds of the service.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wavescope.core.monitoring.bounded_mean import FRACTIONS
from wavescope.core.monitoring.conformal import KAPPAS

THRESHOLDS = (1e3, 1e4, 1e5)


class Crossings:
    """The first observation, from 1, at which each stream's evidence reaches each threshold; 0 while it has not."""

    def __init__(self, streams: int, thresholds: tuple[float, ...]) -> None:
        self._thresholds = np.asarray(thresholds)
        self.first = np.zeros((len(thresholds), streams), dtype=np.int64)

    def add(self, t: int, evidence: np.ndarray) -> None:
        """Adds the (streams,) evidence after t observations."""
        if (evidence >= self._thresholds[0]).any():
            over = evidence >= self._thresholds[:, None]
            self.first[over & (self.first == 0)] = t


class Pools:
    """Counts of the scores 0..levels − 1 in the pool of every stream, as a tree of sums."""

    def __init__(self, reference: np.ndarray, levels: int) -> None:
        self._depth = max(1, (levels - 1).bit_length())
        self._rows = np.arange(len(reference))[:, None]
        self._tree = np.zeros((len(reference), 2 << self._depth), dtype=np.int32)
        self._shifts = np.arange(self._depth + 1)
        self.size = 0
        for scores in reference.T:
            self.add(scores)

    def _nodes(self, scores: np.ndarray) -> np.ndarray:
        return (scores[:, None] + (1 << self._depth)) >> self._shifts

    def add(self, scores: np.ndarray) -> None:
        """One score joins the pool of every stream."""
        self._tree[self._rows, self._nodes(scores)] += 1
        self.size += 1

    def count(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many are above each stream's score, and how many equal it."""
        nodes = self._nodes(scores)
        right = self._tree[self._rows, nodes | 1]
        return (right * (nodes % 2 == 0))[:, :-1].sum(axis=1), self._tree[self._rows[:, 0], nodes[:, 0]]


def conformal_p(
    reference: np.ndarray, stream: np.ndarray, rng: np.random.Generator, *, levels: int, frozen: bool = False
) -> np.ndarray:
    """(observations, streams) p-values of scores (streams, n) and (streams, observations), integers from 0 on.

    Args:
        reference: of every stream.
        stream: scores that come one by one.
        rng: breaks ties.
        levels: number of different scores.
        frozen: observations do not join the pool, as in a test that takes the reference for the truth.
    """
    pools = Pools(reference, levels)
    p = np.empty(stream.shape[::-1])
    for t, scores in enumerate(stream.T):
        above, equal = pools.count(scores)
        p[t] = (above + rng.uniform(size=len(scores)) * (equal + 1)) / (pools.size + 1)
        if not frozen:
            pools.add(scores)
    return p


def conformal_evidence(p: np.ndarray, *, two_sided: bool = False) -> np.ndarray:
    """(observations, streams) R of p-values of the same shape."""
    sides = np.stack([p, 1 - p]) if two_sided else p[None]
    kappas = np.asarray(KAPPAS)[:, None, None]
    r = np.zeros((len(KAPPAS), len(sides), p.shape[1]))
    evidence = np.empty(p.shape)
    for t in range(len(p)):
        with np.errstate(over="ignore"):  # long after it has crossed every threshold
            r = (1 + r) * kappas * sides[:, t] ** (kappas - 1)
        evidence[t] = r.mean(axis=(0, 1))
    return evidence


def crossings(evidence: np.ndarray, thresholds: tuple[float, ...] = THRESHOLDS) -> np.ndarray:
    """(thresholds, streams) first observation, from 1, at which it is reached; 0 for never."""
    found = Crossings(evidence.shape[1], thresholds)
    for t, now in enumerate(evidence, 1):
        found.add(t, now)
    return found.first


def bounded_crossings(
    bounds: np.ndarray,
    values: Callable[[int], np.ndarray],
    observations: int,
    thresholds: tuple[float, ...] = THRESHOLDS,
) -> np.ndarray:
    """(thresholds, streams) first observation at which the bounded-mean test reaches each; 0 for never.

    Args:
        bounds: (streams, signals) u.
        values: of t from 0 on, (streams, signals) within [0, 1].
        observations: of a stream.
        thresholds: of the mean evidence.
    """
    fractions = np.asarray(FRACTIONS)[:, None, None]
    r = np.zeros((len(FRACTIONS), *bounds.shape))
    found = Crossings(len(bounds), thresholds)
    for t in range(observations):
        r += 1
        with np.errstate(over="ignore"):  # long after it has crossed every threshold
            r *= 1 + fractions * (values(t) / bounds - 1)
        found.add(t + 1, r.mean(axis=(0, 2)))
    return found.first
