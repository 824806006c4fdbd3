"""How near total indices are to the truth, and how often their intervals hold it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from wavescope.core.maps import importance
from wavescope.core.partition import Partition

TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Truth:
    """Total indices of a full plan of many rows and of a seed of its own; itself an estimate.

    Attributes:
        total: (K,) Jansen's.
        reach: (K,) half the length of its 95 % intervals, of the logarithm.
    """

    total: np.ndarray
    reach: np.ndarray


def quality(total: np.ndarray, truth: np.ndarray, factors: Partition, levels: int) -> dict[str, float]:
    """Of K indices against K true ones.

    Returns:
        ``correlation``, ``spearman``; ``top20``, ``top50``: how many of the largest are among the truly largest;
        ``held50``: sum of true indices of its 50 largest over that of the 50 truly largest; ``levels``: half the sum of
        the differences of level shares; ``scale``: sum of indices over that of the truth.
    """
    best = np.sort(truth)[::-1]
    return {
        "correlation": float(np.corrcoef(total, truth)[0, 1]),
        "spearman": float(spearmanr(total, truth).statistic),
        "top20": float(overlap(total, truth, 20)),
        "top50": float(overlap(total, truth, 50)),
        "held50": float(truth[largest(total, 50)].sum() / best[:50].sum()),
        "levels": float(np.abs(shares(total, factors, levels) - shares(truth, factors, levels)).sum() / 2),
        "scale": float(total.sum() / truth.sum()),
    }


def coverage(interval: np.ndarray, truth: Truth) -> dict[str, float]:
    """Of (K, 2) intervals, how many hold the truth.

    Returns:
        ``covered``: the part of the factors with an effect; ``covered50``: of the 50 truly largest; ``allowed50``: the
        same where the truth's own error is added to the interval, root sum of squares of the logarithms' reaches.
    """
    inside = held(interval, truth.total)
    top = largest(truth.total, 50)
    ends = np.log(np.maximum(interval[top], TINY))
    off = np.abs(ends.mean(axis=1) - np.log(np.maximum(truth.total[top], TINY)))
    reach = np.hypot((ends[:, 1] - ends[:, 0]) / 2, truth.reach[top])
    return {
        "covered": float(inside[truth.total > 0].mean()),
        "covered50": float(inside[top].mean()),
        "allowed50": float((off <= reach).mean()),
    }


def held(interval: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(K,) which of (K, 2) intervals hold the truth."""
    low, high = interval.T
    return (low <= truth) & (truth <= high)


def largest(total: np.ndarray, count: int) -> np.ndarray:
    """The factors of the largest indices, ties in factor order."""
    return np.argsort(-total, kind="stable")[:count]


def overlap(one: np.ndarray, other: np.ndarray, count: int) -> int:
    """How many of the ``count`` largest of one are among those of the other."""
    return len(np.intersect1d(largest(one, count), largest(other, count)))


def shares(total: np.ndarray, factors: Partition, levels: int) -> np.ndarray:
    """(levels + 1,) of the sum of indices by level, as an explanation gives them."""
    return np.asarray([level.share for level, _ in importance(factors, total, levels)])
