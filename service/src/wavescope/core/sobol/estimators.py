"""Estimators of Sobol indices from pick-freeze scores, one record each in :data:`ESTIMATORS`.

In the formulas a, b, c are the scores of A, B and C less their mean over the rows of A and B, and means are over
design rows j. An index does not depend on where the score has its zero; products of uncentred scores would, at finite N
(Sobol' 2001, doi:10.1016/S0378-4754(00)00270-6).

The bootstrap passes ``weights`` instead of indexing rows outside: a thousand resamples of a formula are then a few
matrix products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from wavescope.core.arrays import Array, namespace
from wavescope.errors import ConstantScore, InvalidRequest

# A score whose spread is a few float32 steps of its size says nothing but how the model rounds.
ROUNDING = 8 * float(np.finfo(np.float32).eps)

# Which independent rows V is taken over: A and B together, or A alone.
VarianceRows = Literal["ab", "a"]
Weights = Float[Array, "r n"]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of a pick-freeze design.

    Attributes:
        a: (N,) scores of the rows of A.
        b: (N,) scores of the rows of B.
        c: (K, N) scores of C: ``c[k, j]`` is that of A_j with factor k taken from B_j.

    Example:
        >>> a, b = np.array([1.0, 2, 3, 4]), np.array([2.0, 4, 1, 3])
        >>> scores = Scores(a, b, np.stack([a, b]))  # the first factor does nothing, the second one everything
        >>> scores.factors(slice(1, 2)).c.tolist()
        [[2.0, 4.0, 1.0, 3.0]]
        >>> scores.rows(slice(0, 2)).a.tolist()
        [1.0, 2.0]
    """

    a: Float[Array, " n"]
    b: Float[Array, " n"]
    c: Float[Array, "k n"]

    def rows(self, which: slice) -> Scores:
        """Scores of some design rows."""
        return Scores(self.a[which], self.b[which], self.c[:, which])

    def factors(self, which: slice) -> Scores:
        """Scores of some factors."""
        return Scores(self.a, self.b, self.c[which])


@runtime_checkable
class TotalIndices(Protocol):
    """Formula of total Sobol indices; :func:`jansen` describes the arguments."""

    def __call__(
        self, scores: Scores, *, variance_rows: VarianceRows = "ab", weights: Weights | None = None
    ) -> Float[Array, "k ..."]: ...


@runtime_checkable
class FirstOrderIndices(Protocol):
    """Formula of first-order Sobol indices; :func:`jansen` describes the arguments."""

    def __call__(self, scores: Scores, *, variance_rows: VarianceRows = "ab") -> Float[Array, " k"]: ...


@dataclass(frozen=True, slots=True)
class Estimator:
    """A published estimator of Sobol indices, with all that depends on which one it is.

    Attributes:
        name: of the choice ``estimator`` in a request.
        total: total indices.
        first: first-order indices that go with them.
        source: publication of the formula of the total indices.
        doi: of that publication.
        never_negative: whether total indices are at least 0, so that they err by factors (see
            :func:`wavescope.core.sobol.bootstrap.index_errors`).
        correlation: whether it correlates C with A: it divides by the spread of A's own rows, and not by V.
        min_rows: least N.
        adaptive: whether an adaptive plan, which scores no rows of B, computes it.

    Example:
        >>> [name for name, estimator in ESTIMATORS.items() if estimator.never_negative]
        ['jansen', 'janon', 'glen']
    """

    name: str
    total: TotalIndices
    first: FirstOrderIndices
    source: str
    doi: str
    never_negative: bool = False
    correlation: bool = False
    min_rows: int = 1
    adaptive: bool = False


def variance(scores: Scores, *, variance_rows: VarianceRows = "ab") -> Float[Array, ""]:
    """V, the variance of the score over independent rows: A and B together, ddof 1, never C.

    Rows of C are near-copies of A: pooling them adds nothing. From A alone (``variance_rows="a"``; paper, below
    equation 7) the relative error is larger for the same forwards.

    Raises:
        ConstantScore: V lies within float32 rounding of the score.

    Example:
        >>> a, b = np.array([1.0, 2, 3, 4]), np.array([2.0, 4, 1, 3])
        >>> scores = Scores(a, b, np.stack([a, b]))
        >>> round(float(variance(scores)), 3), round(float(variance(scores, variance_rows="a")), 3)
        (1.429, 1.667)
    """
    xp = namespace(scores.a, scores.b)
    return row_variance(scores.a if variance_rows == "a" else xp.concat([scores.a, scores.b]))


def row_variance(rows: Float[Array, " m"], name: str = "independent perturbations") -> Float[Array, ""]:
    """Variance of the scores of independent rows, ddof 1.

    Args:
        rows: (M,) scores.
        name: what the rows are, for the error's message.

    Raises:
        ConstantScore: the variance lies within float32 rounding of the score, as that of a single row does.

    Example:
        >>> float(row_variance(np.array([1.0, 2.0, 3.0])))
        1.0
        >>> row_variance(np.array([0.5, 0.5]))
        Traceback (most recent call last):
        wavescope.errors.ConstantScore: the score does not vary over the 2 independent perturbations ...
    """
    xp = namespace(rows)
    count = rows.shape[0]
    var = xp.var(rows, correction=1) if count > 1 else xp.mean(rows) * 0
    largest = float(xp.max(xp.abs(rows)))
    if not float(var) > (ROUNDING * largest) ** 2:
        raise ConstantScore(
            f"the score does not vary over the {count} {name} "
            f"(standard deviation {float(var) ** 0.5:.3g} at size {largest:.3g}): indices are undefined"
        )
    return var


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """Scores less their mean over A and B, and the mean over design rows or over each resample of them.

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


def _sample(scores: Scores, variance_rows: VarianceRows, weights: Array | None) -> _Sample:
    xp = namespace(scores.a, scores.b, scores.c)
    var = variance(scores, variance_rows=variance_rows)
    # Before any product, so that a large mean costs no digits.
    middle = (xp.mean(scores.a) + xp.mean(scores.b)) / 2
    a, b, c = scores.a - middle, scores.b - middle, scores.c - middle
    if weights is None:
        return _Sample(a, b, c, lambda rows: xp.mean(rows, axis=-1), 0.0, var)

    def mean(rows: Array) -> Array:
        return rows @ weights.T

    offset = (mean(a) + mean(b)) / 2
    n = a.shape[0]
    if variance_rows == "a":
        var = (mean(a**2) - mean(a) ** 2) * (n / (n - 1))
    else:
        var = (mean(a**2 + b**2) / 2 - offset**2) * (2 * n / (2 * n - 1))
    return _Sample(a, b, c, mean, offset, var)


def jansen(
    scores: Scores, *, variance_rows: VarianceRows = "ab", weights: Weights | None = None
) -> Float[Array, "k ..."]:
    """Total Sobol indices by Jansen's estimator: S_Tk = mean((a − c_k)²) / (2 V).

    Args:
        scores: of N design rows.
        variance_rows: rows that V is taken over; see :func:`variance`.
        weights: (r, N) of the design rows in each of r resamples, every row summing to 1; each must leave V positive
            (``janon`` and ``glen``: the variance over A).

    Returns:
        (K,) total indices, each at least 0; exactly 0 where c_k = a. With ``weights``, (K, r).

    Raises:
        ConstantScore: see :func:`variance`.

    Example:
        >>> a, b = np.array([1.0, 2, 3, 4]), np.array([2.0, 4, 1, 3])
        >>> jansen(Scores(a, b, np.stack([a, b]))).round(3).tolist()  # the first factor does nothing
        [0.0, 0.875]
    """
    s = _sample(scores, variance_rows, weights)
    return s.mean((s.a - s.c) ** 2) / (2 * s.var)  # doi:10.1016/S0010-4655(98)00154-4; paper eq. (7)


def homma(
    scores: Scores, *, variance_rows: VarianceRows = "ab", weights: Weights | None = None
) -> Float[Array, "k ..."]:
    """Total Sobol indices by Homma and Saltelli's estimator: S_Tk = 1 − (mean(a c_k) − mean(a)²) / V.

    Arguments and errors as :func:`jansen`. Values may leave [0, 1] by sampling error. A factor without effect (c_k = a)
    gets 1 − var(a, ddof 0) / V, which is of the order of 1/√N and not 0: V is taken over more rows than the product.

    Example:
        >>> a, b = np.array([1.0, 2, 3, 4]), np.array([2.0, 4, 1, 3])
        >>> homma(Scores(a, b, np.stack([a, b]))).round(3).tolist()  # the first factor does nothing
        [0.125, 1.0]
    """
    s = _sample(scores, variance_rows, weights)
    # The last term is the offset's: 0 but in resamples, whose mean differs from the sample's.
    product = s.mean(s.a * s.c) - s.mean(s.a) ** 2 - s.offset * (s.mean(s.c) - s.mean(s.a))
    return 1 - product / s.var  # doi:10.1016/0951-8320(96)00002-6


def saltelli(
    scores: Scores, *, variance_rows: VarianceRows = "ab", weights: Weights | None = None
) -> Float[Array, "k ..."]:
    """Total Sobol indices as in Sobol' 2007 and Saltelli's table of estimators: S_Tk = mean(a (a − c_k)) / V.

    Arguments and errors as :func:`jansen`. Values may leave [0, 1] by sampling error; exactly 0 where c_k = a.

    Example:
        >>> a, b = np.array([1.0, 2, 3, 4]), np.array([2.0, 4, 1, 3])
        >>> saltelli(Scores(a, b, np.stack([a, b]))).round(3).tolist()  # the first factor does nothing
        [0.0, 0.875]
    """
    s = _sample(scores, variance_rows, weights)
    change = s.a - s.c
    # Table 2 (e) of doi:10.1016/j.cpc.2009.09.018
    return (s.mean(s.a * change) - s.offset * s.mean(change)) / s.var


def janon(
    scores: Scores, *, variance_rows: VarianceRows = "ab", weights: Weights | None = None
) -> Float[Array, "k ..."]:
    """Total Sobol indices by Janon's estimator, whose variance is that of a and c_k together.

    S_Tk = 1 − (mean(a c_k) − m²) / (mean((a² + c_k²) / 2) − m²), m = mean((a + c_k) / 2).

    Arguments as :func:`jansen`; ``variance_rows`` only decides what counts as constant. Values lie in [0, 2]; exactly 0
    where c_k = a.

    Raises:
        ConstantScore: see :func:`variance`; or the score does not vary over A (as with a single row).

    Example:
        >>> a, b = np.array([1.0, 2, 3, 4]), np.array([2.0, 4, 1, 3])
        >>> janon(Scores(a, b, np.stack([a, b]))).round(3).tolist()  # the first factor does nothing
        [0.0, 1.0]
    """
    _check_spread(scores)
    s = _sample(scores, variance_rows, weights)
    xp = namespace(s.a, s.b, s.c)
    # (k, n), averaged by the same sums as c, so that equal rows give equal bits.
    a_mean = s.mean(xp.zeros_like(s.c) + s.a)
    middle = (a_mean + s.mean(s.c)) / 2
    spread = s.mean((s.a**2 + s.c**2) / 2) - middle**2
    return 1 - (s.mean(s.a * s.c) - middle**2) / spread  # doi:10.1051/ps/2013040


def glen(
    scores: Scores, *, variance_rows: VarianceRows = "ab", weights: Weights | None = None
) -> Float[Array, "k ..."]:
    """Total Sobol indices by Glen and Isaacs' estimator: S_Tk = 1 − corr(a, c_k), Pearson's.

    Arguments and errors as :func:`janon`. Values lie in [0, 2]; exactly 0 where c_k = a. Where c_k does not
    vary there is nothing left of A's variation: the correlation counts as 0 and the index as 1.

    Example:
        >>> a, b = np.array([1.0, 2, 3, 4]), np.array([2.0, 4, 1, 3])
        >>> glen(Scores(a, b, np.stack([a, b]))).round(3).tolist()  # the first factor does nothing
        [0.0, 1.0]
    """
    _check_spread(scores)
    s = _sample(scores, variance_rows, weights)
    xp = namespace(s.a, s.b, s.c)
    scale = xp.max(xp.abs(s.a))  # the product of two variances of tiny scores would vanish
    a, c = (xp.zeros_like(s.c) + s.a) / scale, s.c / scale
    a_mean, c_mean, c_square = s.mean(a), s.mean(c), s.mean(c**2)
    a_var, c_var = s.mean(a**2) - a_mean**2, c_square - c_mean**2
    varies = c_var > 1e-12 * c_square  # what is left of the variance of equal values is rounding
    spread = xp.where(varies, a_var * c_var, 1.0) ** 0.5
    correlation = xp.where(varies, s.mean(a * c) - a_mean * c_mean, 0.0) / spread
    return 1 - xp.clip(correlation, -1.0, 1.0)  # doi:10.1016/j.envsoft.2012.03.014


def _check_spread(scores: Scores) -> None:
    """Correlations with A are undefined where A does not vary, though B may."""
    row_variance(scores.a, "rows of A")


def jansen_first(scores: Scores, *, variance_rows: VarianceRows = "ab") -> Float[Array, " k"]:
    """First-order Sobol indices by Jansen's estimator: S_k = 1 − mean((b − c_k)²) / (2 V).

    Arguments and errors as :func:`jansen`; values may leave [0, 1] by sampling error.

    Example:
        >>> a, b = np.array([1.0, 2, 3, 4]), np.array([2.0, 4, 1, 3])
        >>> jansen_first(Scores(a, b, np.stack([a, b]))).round(3).tolist()  # the second factor does everything
        [0.125, 1.0]
    """
    s = _sample(scores, variance_rows, None)
    return 1 - s.mean((s.b - s.c) ** 2) / (2 * s.var)  # doi:10.1016/S0010-4655(98)00154-4; paper eq. (7)


def saltelli_first(scores: Scores, *, variance_rows: VarianceRows = "ab") -> Float[Array, " k"]:
    """First-order Sobol indices by Saltelli's estimator: S_k = mean(b (c_k − a)) / V.

    Arguments and errors as :func:`jansen`; values may leave [0, 1] by sampling error; exactly 0 where c_k = a.

    Example:
        >>> a, b = np.array([1.0, 2, 3, 4]), np.array([2.0, 4, 1, 3])
        >>> saltelli_first(Scores(a, b, np.stack([a, b]))).round(3).tolist()  # the second factor does everything
        [0.0, 0.875]
    """
    s = _sample(scores, variance_rows, None)
    return s.mean(s.b * (s.c - s.a)) / s.var  # Table 2 (b) of doi:10.1016/j.cpc.2009.09.018


# Every estimator by its name, the default first.
ESTIMATORS: dict[str, Estimator] = {
    estimator.name: estimator
    for estimator in (
        Estimator(
            "jansen",
            jansen,
            jansen_first,
            source="Jansen 1999",
            doi="10.1016/S0010-4655(98)00154-4",
            never_negative=True,
            adaptive=True,
        ),
        Estimator(
            "homma",
            homma,
            jansen_first,
            source="Homma and Saltelli 1996",
            doi="10.1016/0951-8320(96)00002-6",
        ),
        Estimator(
            "janon",
            janon,
            jansen_first,
            source="Janon et al. 2014",
            doi="10.1051/ps/2013040",
            never_negative=True,
            correlation=True,
            min_rows=2,
        ),
        Estimator(
            "glen",
            glen,
            jansen_first,
            source="Glen and Isaacs 2012",
            doi="10.1016/j.envsoft.2012.03.014",
            never_negative=True,
            correlation=True,
            min_rows=2,
        ),
        Estimator(
            "saltelli",
            saltelli,
            saltelli_first,
            source="Saltelli et al. 2010, table 2 (e)",
            doi="10.1016/j.cpc.2009.09.018",
        ),
    )
}


def check_estimator(name: str, nb_design: int) -> None:
    """Refuses an estimator that is unknown or needs more design rows.

    Raises:
        InvalidRequest: an unknown estimator; a single row for ``janon`` or ``glen``, which correlate rows.

    Example:
        >>> check_estimator("jansen", 1)
        >>> check_estimator("glen", 1)
        Traceback (most recent call last):
        wavescope.errors.InvalidRequest: nb_design is 1; the estimator glen correlates design rows and needs at least 2
    """
    if name not in ESTIMATORS:
        raise InvalidRequest(
            f"estimator is {name!r}; it must be one of {', '.join(ESTIMATORS)}",
            field="estimator",
            choices=list(ESTIMATORS),
        )
    estimator = ESTIMATORS[name]
    if nb_design < estimator.min_rows:
        why = "correlates design rows and " if estimator.correlation else ""
        raise InvalidRequest(
            f"nb_design is {nb_design}; the estimator {name} {why}needs at least {estimator.min_rows}",
            field="nb_design",
            minimum=estimator.min_rows,
        )
