"""Shiryaev-Roberts evidence in logarithms, and when the change began.

With bets b_1, b_2, … whose mean is at most 1 while nothing has changed, R_t = (1 + R_{t-1}) b_t from R_0 = 0 is the
sum, over every moment ν ≤ t that a change may have come at, of the product of the bets since: R_t = Σ_ν Π_{s=ν..t}
b_s. Everything is kept as ln R, so that nothing overflows, with one row for every signal or side and a column for
every bettor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

LEVEL = 0.95  # of the interval of a change


def grow(
    log_r: Float64[np.ndarray, "s b"], log_bets: Float64[np.ndarray, "s b"]
) -> Float64[np.ndarray, "s b"]:
    """ln R after one more observation: ln((1 + R) b).

    Args:
        log_r: ln R before; −inf for R = 0.
        log_bets: logarithms of the bets, finite.

    Example:
        >>> grow(np.array([[-np.inf, 0.0]]), np.log([[0.5, 3.0]])).round(3).tolist()
        [[-0.693, 1.792]]
    """
    return np.logaddexp(0.0, log_r) + log_bets


def log_sum(logs: Float[np.ndarray, ...]) -> float:
    """ln Σ exp of all entries; −inf where all are.

    Example:
        >>> round(log_sum(np.log([1.0, 2.0, 4.0])), 6) == round(math.log(7), 6)
        True
    """
    largest = float(logs.max())
    return largest if math.isinf(largest) else largest + math.log(float(np.exp(logs - largest).sum()))


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """Moment at which a change began, as far as the bets can say.

    Attributes:
        seq: sequence number of the first changed observation, the most probable one.
        interval: sequence numbers that it lies between with 95 % of the weight, both included.
        earlier: whether the interval may begin before the first of the observations that are remembered.
    """

    seq: int
    interval: tuple[int, int]
    earlier: bool


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The last observations since R was 0, from which the moment of a change is estimated.

    Attributes:
        seqs: (m,) sequence numbers.
        values: (m, v) that the bets followed from.
        before: (s, b) ln R before the first of them.
    """

    seqs: Int64[np.ndarray, " m"]
    values: Float64[np.ndarray, "m v"]
    before: Float64[np.ndarray, "s b"]

    @staticmethod
    def empty(signals: int, bettors: int) -> History:
        """A history without observations, of R = 0, with a value for every signal or side."""
        before = np.full((signals, bettors), -np.inf)
        return History(np.empty(0, dtype=np.int64), np.empty((0, signals)), before)

    def add(self, seq: int, values: Float64[np.ndarray, " v"]) -> History:
        """The history with one more observation."""
        return History(np.append(self.seqs, seq), np.concatenate([self.values, values[None]]), self.before)

    def drop(self, log_bets: Float64[np.ndarray, "s b"]) -> History:
        """The history without its first observation, whose bets these were."""
        return History(self.seqs[1:], self.values[1:], grow(self.before, log_bets))


def change_point(
    seqs: Int64[np.ndarray, " m"],
    log_bets: Float64[np.ndarray, "m s b"],
    before: Float64[np.ndarray, "s b"],
    weights: Float64[np.ndarray, "s b"],
    *,
    level: float = LEVEL,
) -> ChangePoint | None:
    """The first changed observation.

    R_t is a sum over ν. Its terms, averaged over bettors as R is and divided by their sum, are the posterior
    probabilities of ν where every moment is equally probable beforehand and the bets are likelihood ratios. The
    estimate is the ν of the largest term; the interval leaves (1 − level) / 2 of the sum on either side. Bets are no
    likelihood ratios of the change that comes, so that the interval's level is nominal: docs/monitoring.md has how
    often it holds.

    Args:
        seqs: sequence numbers of the observations remembered, at least one for an estimate.
        log_bets: their bets, of every signal and bettor.
        before: ln R before the first of them.
        weights: of signals and bettors in the mean, positive.
        level: of the interval.

    Returns:
        ``None`` without observations.

    Example:
        >>> bets = np.log([0.5, 0.5, 4.0, 4.0, 4.0]).reshape(5, 1, 1)
        >>> change_point(np.arange(5), bets, np.full((1, 1), -np.inf), np.ones((1, 1)))
        ChangePoint(seq=2, interval=(0, 4), earlier=False)
    """
    if not len(seqs):
        return None
    since = np.cumsum(log_bets[::-1], axis=0)[::-1]  # Σ_{s=ν..t}
    terms = np.concatenate([(before + since[0])[None], since]) + np.log(weights)
    logs = np.array([log_sum(term) for term in terms])
    mass = np.exp(logs - logs.max())
    below = np.cumsum(mass) / mass.sum()
    tail = (1 - level) / 2
    first, last = int(np.searchsorted(below, tail)), int(np.searchsorted(below, 1 - tail))
    last = min(last, len(seqs))
    ends = int(seqs[max(first - 1, 0)]), int(seqs[max(last - 1, 0)])
    return ChangePoint(int(seqs[int(np.argmax(logs[1:]))]), ends, first == 0)
