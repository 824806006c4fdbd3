"""Sequential tests as their definitions read: every rank counted, every product over every moment of change."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Rule = Callable[[Sequence[float], float, float], float]  # pool, score, θ to p


def ranked(pool: Sequence[float], score: float, theta: float) -> float:
    """p of a score: how unusually large it is among the pool."""
    above = equal = 0
    for other in pool:
        above += other > score
        equal += other == score
    return (above + theta * (equal + 1)) / (len(pool) + 1)


def p_values(
    reference: Sequence[float], stream: Sequence[float], thetas: Sequence[float], rule: Rule = ranked
) -> list[float]:
    """p of every observation, in time that grows with the square of their number."""
    pool, found = list(reference), []
    for score, theta in zip(stream, thetas, strict=True):
        found.append(rule(pool, score, theta))
        pool.append(score)
    return found


def evidence(bets: Sequence[float]) -> float:
    """Σ over ν of the product of the bets from ν on."""
    return math.fsum(math.prod(bets[first:]) for first in range(len(bets)))


def capital(values: Sequence[float], mean: float, risk: float, largest: float = 0.9) -> list[float]:
    """Capital, after each value, of bets that the mean is below ``mean`` (Waudby-Smith and Ramdas 2024)."""
    capital, found = 1.0, []
    for index, value in enumerate(values):
        means = [(0.5 + math.fsum(values[: t + 1])) / (t + 2) for t in range(index)]
        squares = math.fsum((x - m) ** 2 for x, m in zip(values[:index], means, strict=True))
        variance = (0.25 + squares) / (index + 1)
        bet = math.sqrt(-2 * math.log(risk) / (len(values) * variance))
        capital *= 1 - min(bet, largest / (1 - mean)) * (value - mean)
        found.append(capital)
    return found


def log_ratios(shares: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Centred log ratios in an orthonormal basis, (b − 1, b), of vectors whose sum is 0."""
    logs = np.log(shares)
    return basis @ (logs - logs.mean())
