"""Insertion, deletion and µ-fidelity, feature by feature, for models that are plain functions of the features."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import numpy as np

Model = Callable[[list[float]], float]


def slow_ranking(importance: Sequence[float]) -> list[int]:
    """Features, most important first; equal ones in their order."""
    return sorted(range(len(importance)), key=lambda i: (-importance[i], i))


def slow_deletion(
    model: Model, x: Sequence[float], ranking: Sequence[int], counts: Sequence[int]
) -> list[float]:
    """Equation 8: f of x with its most important features at 0, for each number of them."""
    return [model([0.0 if i in ranking[:n] else x[i] for i in range(len(x))]) for n in counts]


def slow_insertion(
    model: Model, x: Sequence[float], ranking: Sequence[int], counts: Sequence[int]
) -> list[float]:
    """Equation 9: f of x with all but its most important features at 0, for each number of them."""
    return [model([x[i] if i in ranking[:n] else 0.0 for i in range(len(x))]) for n in counts]


def even_area(curve: Sequence[float]) -> float:
    """Petsiuk et al. 2018, for steps of equal size: the sum less half of both ends, per step."""
    return (sum(curve) - curve[0] / 2 - curve[-1] / 2) / (len(curve) - 1)


def slow_mu_fidelity(
    model: Model, x: Sequence[float], importance: Sequence[float], subsets: Sequence[Sequence[int]]
) -> tuple[float, float]:
    """Equation 10 over given subsets: (Pearson, Spearman) of their importance and of what removing them costs."""
    sums = [sum(importance[i] for i in subset) for subset in subsets]
    drops = [
        model(list(x)) - model([0.0 if i in subset else x[i] for i in range(len(x))]) for subset in subsets
    ]
    by_rank = statistics.correlation(slow_ranks(sums), slow_ranks(drops))
    return statistics.correlation(sums, drops), by_rank


def slow_ranks(values: Sequence[float]) -> list[float]:
    """1 for the smallest; equal values share the mean of their ranks."""
    return [sum(v < w for v in values) + (sum(v == w for v in values) + 1) / 2 for w in values]


def masked(image: np.ndarray, factors: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The (c, h, w) image with each pixel times its factor's mask value: baseline 0."""
    out = image.copy()
    for i in range(image.shape[1]):
        for j in range(image.shape[2]):
            out[:, i, j] *= mask[factors[i, j]]
    return out
