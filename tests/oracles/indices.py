"""Sobol indices: closed forms of two standard test functions, and the estimators as loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Known:
    """A function of factors in [0, 1] whose indices are known.

    Attributes:
        f: (n, k) rows to (n,) values.
        first, total: (k,) exact indices.
        variance: exact variance of f.
    """

    f: Callable[[np.ndarray], np.ndarray]
    first: np.ndarray
    total: np.ndarray
    variance: float


def ishigami(a: float = 7.0, b: float = 0.1) -> Known:
    """sin x1 + a sin² x2 + b x3⁴ sin x1, x uniform on [−π, π] (Ishigami and Homma 1990)."""

    def f(rows: np.ndarray) -> np.ndarray:
        x = (2 * rows - 1) * math.pi
        return np.sin(x[:, 0]) + a * np.sin(x[:, 1]) ** 2 + b * x[:, 2] ** 4 * np.sin(x[:, 0])

    v1 = 0.5 * (1 + b * math.pi**4 / 5) ** 2
    v2 = a**2 / 8
    v13 = b**2 * math.pi**8 * (1 / 18 - 1 / 50)
    v = v1 + v2 + v13
    return Known(f, np.array([v1, v2, 0.0]) / v, np.array([v1 + v13, v2, v13]) / v, v)


def g_function(a: tuple[float, ...] = (0.0, 1.0, 4.5, 9.0, 99.0, 99.0)) -> Known:
    """Π (|4x_i − 2| + a_i) / (1 + a_i) (Saltelli and Sobol' 1995): V_i = 1 / (3 (1 + a_i)²), V = Π(1 + V_i) − 1."""
    scale = np.array(a)

    def f(rows: np.ndarray) -> np.ndarray:
        return np.prod((np.abs(4 * rows - 2) + scale) / (1 + scale), axis=1)

    partial = 1 / (3 * (1 + scale) ** 2)
    v = float(np.prod(1 + partial) - 1)
    total = np.array(
        [partial[i] * np.prod(1 + np.delete(partial, i)) for i in range(len(a))]
    )  # every subset that holds i
    return Known(f, partial / v, total / v, v)


def linear(weights: np.ndarray) -> Known:
    """Σ w_k x_k, x uniform on [0, 1]: V_k = w_k² / 12, no interaction, so S_k = S_Tk = w_k² / Σ w²."""
    v = float(np.sum(weights**2)) / 12
    share = weights**2 / np.sum(weights**2)
    return Known(lambda rows: rows @ weights, share, share, v)


def pick_freeze(
    f: Callable[[np.ndarray], np.ndarray], a: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(f(A), f(B), f(C)): C⁽ᵏ⁾ is A with column k taken from B, built out in full."""
    f_c = np.empty((a.shape[1], a.shape[0]))
    for k in range(a.shape[1]):
        c = a.copy()
        c[:, k] = b[:, k]
        f_c[k] = f(c)
    return f(a), f(b), f_c


def slow_variance(f_a: np.ndarray, f_b: np.ndarray) -> float:
    """Over the rows of A and B together, ddof 1."""
    values = [float(v) for v in f_a] + [float(v) for v in f_b]
    mean = math.fsum(values) / len(values)
    return math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)


def slow_jansen(f_a: np.ndarray, f_b: np.ndarray, f_c: np.ndarray) -> np.ndarray:
    """S_Tk = Σ_j (a_j − c_kj)² / (2 N V)."""
    n, v = len(f_a), slow_variance(f_a, f_b)
    return np.array(
        [math.fsum((float(f_a[j]) - float(row[j])) ** 2 for j in range(n)) / (2 * n * v) for row in f_c]
    )


def slow_homma(f_a: np.ndarray, f_b: np.ndarray, f_c: np.ndarray) -> np.ndarray:
    """1 − (mean(a c) − mean(a)²) / V of scores less their mean over A and B."""
    a, _, c = _centred(f_a, f_b, f_c)
    v = slow_variance(f_a, f_b)
    return np.array(
        [1 - (_mean(x * y for x, y in zip(a, row, strict=True)) - _mean(a) ** 2) / v for row in c]
    )


def slow_saltelli(f_a: np.ndarray, f_b: np.ndarray, f_c: np.ndarray) -> np.ndarray:
    """Mean(a (a − c)) / V of scores less their mean over A and B."""
    a, _, c = _centred(f_a, f_b, f_c)
    v = slow_variance(f_a, f_b)
    return np.array([_mean(x * (x - y) for x, y in zip(a, row, strict=True)) / v for row in c])


def slow_janon(f_a: np.ndarray, f_b: np.ndarray, f_c: np.ndarray) -> np.ndarray:
    """1 − (mean(a c) − m²) / (mean((a² + c²) / 2) − m²), m = mean((a + c) / 2)."""
    a, _, c = _centred(f_a, f_b, f_c)
    found = []
    for row in c:
        pairs = list(zip(a, row, strict=True))
        m = _mean((x + y) / 2 for x, y in pairs)
        spread = _mean((x * x + y * y) / 2 for x, y in pairs) - m * m
        found.append(1 - (_mean(x * y for x, y in pairs) - m * m) / spread)
    return np.array(found)


def slow_glen(f_a: np.ndarray, f_b: np.ndarray, f_c: np.ndarray) -> np.ndarray:
    """1 − Pearson's correlation of a and c, 1 where c does not vary."""
    found = []
    for row in f_c:
        a, c = f_a - _mean(f_a), row - _mean(row)
        if np.ptp(row) == 0:
            found.append(1.0)
        else:
            norm = math.sqrt(math.fsum(a * a)) * math.sqrt(math.fsum(c * c))
            found.append(1 - math.fsum(a * c) / norm)
    return np.array(found)


def slow_jansen_first(f_a: np.ndarray, f_b: np.ndarray, f_c: np.ndarray) -> np.ndarray:
    """S_k = 1 − Σ_j (b_j − c_kj)² / (2 N V)."""
    n, v = len(f_a), slow_variance(f_a, f_b)
    return np.array(
        [1 - math.fsum((float(f_b[j]) - float(row[j])) ** 2 for j in range(n)) / (2 * n * v) for row in f_c]
    )


def slow_saltelli_first(f_a: np.ndarray, f_b: np.ndarray, f_c: np.ndarray) -> np.ndarray:
    """S_k = mean(b (c − a)) / V of scores less their mean over A and B."""
    a, b, c = _centred(f_a, f_b, f_c)
    v = slow_variance(f_a, f_b)
    return np.array([_mean(y * (z - x) for x, y, z in zip(a, b, row, strict=True)) / v for row in c])


SLOW_TOTAL = {
    "jansen": slow_jansen,
    "homma": slow_homma,
    "janon": slow_janon,
    "glen": slow_glen,
    "saltelli": slow_saltelli,
}


def _mean(values: Iterable[float]) -> float:
    held = [float(v) for v in values]
    return math.fsum(held) / len(held)


def _centred(
    f_a: np.ndarray, f_b: np.ndarray, f_c: np.ndarray
) -> tuple[list[float], list[float], list[list[float]]]:
    middle = _mean([*f_a, *f_b])
    a, b, *c = ([float(v) - middle for v in row] for row in (f_a, f_b, *f_c))
    return a, b, c


def jansen_standard_error(f_a: np.ndarray, f_b: np.ndarray, f_c: np.ndarray, variance: float) -> np.ndarray:
    """Standard error of Jansen's total index over N independent rows, by the delta method.

    S = D / V with D the mean of d_j = (a_j − c_j)² / 2 and V a variance over 2N values, which to first order is the
    mean over j of v_j = ((a_j − μ)² + (b_j − μ)²) / 2. So S − S₀ ≈ mean_j (d_j − S₀ v_j) / V.
    """
    mean = np.concatenate([f_a, f_b]).mean()
    d = (f_a - f_c) ** 2 / 2
    v = ((f_a - mean) ** 2 + (f_b - mean) ** 2) / 2
    influence = (d - d.mean(axis=1, keepdims=True) / variance * v) / variance
    return influence.std(axis=1, ddof=1) / math.sqrt(len(f_a))
