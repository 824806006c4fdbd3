"""Estimators of Sobol indices from pick-freeze scores.

``f_a``, ``f_b`` are the scores of the rows of A and B; ``f_c[k, j]`` that of A_j with factor k taken from B_j. In the
formulas a, b, c are these scores less their mean over the rows of A and B, and means are over design rows j. An index
does not depend on where the score has its zero; products of uncentred scores would, at finite N (Sobol' 2001).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from wavescope.core.arrays import Array, namespace
from wavescope.errors import ConstantScore, InvalidRequest

# A score whose spread is a few float32 steps of its size says nothing but how the model rounds.
ROUNDING = 8 * float(np.finfo(np.float32).eps)

Over = Literal["ab", "a"]


def variance(f_a: Float[Array, " n"], f_b: Float[Array, " n"], *, over: Over = "ab") -> Float[Array, ""]:
    """V, the variance of the score over independent rows: A and B together, ddof 1, never C.

    Rows of C are near-copies of A: pooling them adds nothing. From A alone (``over="a"``; paper, below equation 7) the
    relative error is larger for the same forwards.

    Raises:
        ConstantScore: V lies within float32 rounding of the score.
    """
    xp = namespace(f_a, f_b)
    rows = f_a if over == "a" else xp.concat([f_a, f_b])
    return _variance(rows, "independent perturbations")


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """Scores less their mean over A and B, and what averages over design rows.

    Attributes:
        a, b, c: (n,), (n,), (k, n) centred scores.
        mean: over the last axis: (n,) to () and (k, n) to (k,); with r resamples, to (r,) and (k, r).
        offset: the mean of A and B under ``mean``: 0, or (r,).
        var: V under ``mean``: () or (r,).
    """

    a: Array
    b: Array
    c: Array
    mean: Callable[[Array], Array]
    offset: Array
    var: Array


def _sample(f_a: Array, f_b: Array, f_c: Array, over: Over, weights: Array | None) -> _Sample:
    xp = namespace(f_a, f_b, f_c)
    var = variance(f_a, f_b, over=over)
    # Before any product, so that a large mean costs no digits.
    middle = (xp.mean(f_a) + xp.mean(f_b)) / 2
    a, b, c = f_a - middle, f_b - middle, f_c - middle
    if weights is None:
        return _Sample(a, b, c, lambda rows: xp.mean(rows, axis=-1), 0.0, var)

    def mean(rows: Array) -> Array:
        return rows @ weights.T

    offset = (mean(a) + mean(b)) / 2
    n = a.shape[0]
    if over == "a":
        var = (mean(a**2) - mean(a) ** 2) * (n / (n - 1))
    else:
        var = (mean(a**2 + b**2) / 2 - offset**2) * (2 * n / (2 * n - 1))
    return _Sample(a, b, c, mean, offset, var)


def jansen(
    f_a: Float[Array, " n"],
    f_b: Float[Array, " n"],
    f_c: Float[Array, "k n"],
    *,
    over: Over = "ab",
    weights: Float[Array, "r n"] | None = None,
) -> Float[Array, "k ..."]:
    """Total Sobol indices by Jansen's estimator: S_Tk = mean((a − c_k)²) / (2 V).

    Args:
        f_a: (N,) scores of A.
        f_b: (N,) scores of B.
        f_c: (K, N) scores of C.
        over: rows that V is taken over; see :func:`variance`.
        weights: (r, N) of the design rows in each of r resamples, every row summing to 1; each must leave V positive
            (``janon`` and ``glen``: the variance over A).

    Returns:
        (K,) total indices, each at least 0; exactly 0 where c_k = a. With ``weights``, (K, r).

    Raises:
        ConstantScore: see :func:`variance`.
    """
    s = _sample(f_a, f_b, f_c, over, weights)
    return s.mean((s.a - s.c) ** 2) / (2 * s.var)  # Jansen 1999; paper eq. (7)


def homma(
    f_a: Float[Array, " n"],
    f_b: Float[Array, " n"],
    f_c: Float[Array, "k n"],
    *,
    over: Over = "ab",
    weights: Float[Array, "r n"] | None = None,
) -> Float[Array, "k ..."]:
    """Total Sobol indices by Homma and Saltelli's estimator: S_Tk = 1 − (mean(a c_k) − mean(a)²) / V.

    Arguments and errors as :func:`jansen`. Values may leave [0, 1] by sampling error. A factor without effect (c_k = a)
    gets 1 − var(a, ddof 0) / V, which is of the order of 1/√N and not 0: V is taken over more rows than the product.
    """
    s = _sample(f_a, f_b, f_c, over, weights)
    # The last term is the offset's: 0 but in resamples, whose mean differs from the sample's.
    product = s.mean(s.a * s.c) - s.mean(s.a) ** 2 - s.offset * (s.mean(s.c) - s.mean(s.a))
    return 1 - product / s.var  # Homma and Saltelli 1996


def saltelli(
    f_a: Float[Array, " n"],
    f_b: Float[Array, " n"],
    f_c: Float[Array, "k n"],
    *,
    over: Over = "ab",
    weights: Float[Array, "r n"] | None = None,
) -> Float[Array, "k ..."]:
    """Total Sobol indices as in Sobol' 2007 and Saltelli's table of estimators: S_Tk = mean(a (a − c_k)) / V.

    Arguments and errors as :func:`jansen`. Values may leave [0, 1] by sampling error; exactly 0 where c_k = a.
    """
    s = _sample(f_a, f_b, f_c, over, weights)
    change = s.a - s.c
    return (s.mean(s.a * change) - s.offset * s.mean(change)) / s.var  # Saltelli 2010, Table 2 (e)


def janon(
    f_a: Float[Array, " n"],
    f_b: Float[Array, " n"],
    f_c: Float[Array, "k n"],
    *,
    over: Over = "ab",
    weights: Float[Array, "r n"] | None = None,
) -> Float[Array, "k ..."]:
    """Total Sobol indices by Janon's estimator, whose variance is that of a and c_k together.

    S_Tk = 1 − (mean(a c_k) − m²) / (mean((a² + c_k²) / 2) − m²), m = mean((a + c_k) / 2).

    Arguments as :func:`jansen`; ``over`` only decides what counts as constant. Values lie in [0, 2]; exactly 0 where
    c_k = a.

    Raises:
        ConstantScore: see :func:`variance`; or the score does not vary over A (as with a single row).
    """
    _check_spread(f_a)
    s = _sample(f_a, f_b, f_c, over, weights)
    xp = namespace(f_a, f_b, f_c)
    # (k, n), averaged by the same sums as c, so that equal rows give equal bits.
    a_mean = s.mean(xp.zeros_like(s.c) + s.a)
    middle = (a_mean + s.mean(s.c)) / 2
    spread = s.mean((s.a**2 + s.c**2) / 2) - middle**2
    return 1 - (s.mean(s.a * s.c) - middle**2) / spread  # Janon et al. 2014


def glen(
    f_a: Float[Array, " n"],
    f_b: Float[Array, " n"],
    f_c: Float[Array, "k n"],
    *,
    over: Over = "ab",
    weights: Float[Array, "r n"] | None = None,
) -> Float[Array, "k ..."]:
    """Total Sobol indices by Glen and Isaacs' estimator: S_Tk = 1 − corr(a, c_k), Pearson's.

    Arguments and errors as :func:`janon`. Values lie in [0, 2]; exactly 0 where c_k = a. Where c_k does not
    vary there is nothing left of A's variation: the correlation counts as 0 and the index as 1.
    """
    _check_spread(f_a)
    s = _sample(f_a, f_b, f_c, over, weights)
    xp = namespace(f_a, f_b, f_c)
    scale = xp.max(xp.abs(s.a))  # the product of two variances of tiny scores would vanish
    a, c = (xp.zeros_like(s.c) + s.a) / scale, s.c / scale
    a_mean, c_mean, c_square = s.mean(a), s.mean(c), s.mean(c**2)
    a_var, c_var = s.mean(a**2) - a_mean**2, c_square - c_mean**2
    varies = c_var > 1e-12 * c_square  # what is left of the variance of equal values is rounding
    spread = xp.where(varies, a_var * c_var, 1.0) ** 0.5
    correlation = xp.where(varies, s.mean(a * c) - a_mean * c_mean, 0.0) / spread
    return 1 - xp.clip(correlation, -1.0, 1.0)  # Glen and Isaacs 2012


def jansen_first(
    f_a: Float[Array, " n"], f_b: Float[Array, " n"], f_c: Float[Array, "k n"], *, over: Over = "ab"
) -> Float[Array, " k"]:
    """First-order Sobol indices by Jansen's estimator: S_k = 1 − mean((b − c_k)²) / (2 V).

    Arguments and errors as :func:`jansen`; values may leave [0, 1] by sampling error.
    """
    s = _sample(f_a, f_b, f_c, over, None)
    return 1 - s.mean((s.b - s.c) ** 2) / (2 * s.var)  # Jansen 1999; paper eq. (7)


def saltelli_first(
    f_a: Float[Array, " n"], f_b: Float[Array, " n"], f_c: Float[Array, "k n"], *, over: Over = "ab"
) -> Float[Array, " k"]:
    """First-order Sobol indices by Saltelli's estimator: S_k = mean(b (c_k − a)) / V.

    Arguments and errors as :func:`jansen`; values may leave [0, 1] by sampling error; exactly 0 where c_k = a.
    """
    s = _sample(f_a, f_b, f_c, over, None)
    return s.mean(s.b * (s.c - s.a)) / s.var  # Saltelli et al. 2010, Table 2 (b)


ESTIMATORS: dict[str, Callable[..., Array]] = {
    "jansen": jansen,
    "homma": homma,
    "janon": janon,
    "glen": glen,
    "saltelli": saltelli,
}
# They normalise by the spread of A's own rows, not by V.
CORRELATIONS = frozenset({"janon", "glen"})


def check_estimator(name: str, nb_design: int) -> None:
    """Refuses what an estimator cannot do.

    Raises:
        InvalidRequest: an unknown estimator; a single row for ``janon`` or ``glen``, which correlate rows.
    """
    if name not in ESTIMATORS:
        raise InvalidRequest(
            f"estimator is {name!r}; it must be one of {', '.join(ESTIMATORS)}",
            field="estimator",
            choices=list(ESTIMATORS),
        )
    if name in CORRELATIONS and nb_design < 2:
        raise InvalidRequest(
            f"nb_design is {nb_design}; the estimator {name} correlates design rows and needs at least 2",
            field="nb_design",
            minimum=2,
        )


def first_order(
    name: str,
    f_a: Float[Array, " n"],
    f_b: Float[Array, " n"],
    f_c: Float[Array, "k n"],
    *,
    over: Over = "ab",
) -> Float[Array, " k"]:
    """First-order indices that go with the total indices of an estimator: Saltelli's own, Jansen's for all others."""
    estimate = saltelli_first if name == "saltelli" else jansen_first
    return estimate(f_a, f_b, f_c, over=over)


def _check_spread(f_a: Array) -> None:
    """Correlations with A are undefined where A does not vary, though B may."""
    _variance(f_a, "rows of A")


def _variance(rows: Array, what: str) -> Array:
    xp = namespace(rows)
    count = rows.shape[0]
    var = xp.var(rows, correction=1) if count > 1 else xp.mean(rows) * 0
    largest = float(xp.max(xp.abs(rows)))
    if not float(var) > (ROUNDING * largest) ** 2:
        raise ConstantScore(
            f"the score does not vary over the {count} {what} "
            f"(standard deviation {float(var) ** 0.5:.3g} at size {largest:.3g}): indices are undefined"
        )
    return var
