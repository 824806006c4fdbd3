"""Pick-freeze designs, the rows A and B, and their samplers, one record each in :data:`SAMPLERS`.

Paper, section 2.2; Saltelli et al. 2010, doi:10.1016/j.cpc.2009.09.018.

C⁽ᵏ⁾, which is A with column k taken from B, is never stored: row (j, k) follows from A_j and b_jk. A and B are the
halves of one sample of 2K columns, scrambled or random: no row is the origin, and none of A is that of B.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from wavescope.errors import InvalidRequest

MAX_SOBOL_DIMENSION = 21_201  # of SciPy's direction numbers
# Column d of a Halton sequence shuffles several tables of its prime, about d ln d: at 4,096 columns it takes 3 s.
MAX_HALTON_DIMENSION = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """Rows A and B, each (N, K), every value in [0, 1).

    Example:
        >>> make_design("sobol", n_factors=3, nb_design=8, seed=0).n_factors
        3
    """

    a: Float[np.ndarray, "n k"]
    b: Float[np.ndarray, "n k"]

    @property
    def n_factors(self) -> int:
        return int(self.a.shape[1])


@dataclass(frozen=True, slots=True)
class Sampler:
    """A published sampling scheme of designs, with all that depends on which one it is.

    Attributes:
        name: of the choice ``sampler`` in a request.
        draw: the design of K factors, N rows and a seed.
        source: publication of the scheme; empty for plain random numbers.
        doi: of that publication.
        nested: whether the first N rows are the N-row design of the same seed, which an adaptive plan needs.
        power_of_two: whether N must be a power of two.
        max_dimension: most columns, 2K; ``None`` without a limit.

    Example:
        >>> [name for name, sampler in SAMPLERS.items() if sampler.nested]
        ['sobol', 'halton', 'monte_carlo']
    """

    name: str
    draw: Callable[[int, int, int], Design]
    source: str
    doi: str
    nested: bool = True
    power_of_two: bool = False
    max_dimension: int | None = None


def check_design(sampler: str, n_factors: int, nb_design: int) -> None:
    """Refuses a sampler that is unknown or cannot draw such a design.

    Args:
        sampler: a key of ``SAMPLERS``.
        n_factors: K.
        nb_design: N.

    Raises:
        InvalidRequest: an unknown sampler; N below 1; for Sobol, N is not a power of two or 2K exceeds 21,201
            dimensions; for Halton, 2K exceeds 4,096 dimensions.

    Example:
        >>> check_design("sobol", 784, 8)
        >>> check_design("sobol", 784, 6)
        Traceback (most recent call last):
        wavescope.errors.InvalidRequest: nb_design is 6; a Sobol design needs a power of two, such as 4 or 8
    """
    if sampler not in SAMPLERS:
        raise InvalidRequest(
            f"sampler is {sampler!r}; it must be one of {', '.join(SAMPLERS)}",
            field="sampler",
            choices=list(SAMPLERS),
        )
    scheme = SAMPLERS[sampler]
    if scheme.power_of_two and (nb_design < 1 or nb_design & (nb_design - 1)):
        below = 2 ** (max(nb_design, 1).bit_length() - 1)
        raise InvalidRequest(
            f"nb_design is {nb_design}; a {sampler.capitalize()} design needs a power of two, such as {below} or "
            f"{2 * below}",
            field="nb_design",
            nearest=[below, 2 * below],
        )
    if nb_design < 1:
        raise InvalidRequest(f"nb_design is {nb_design}; it must be at least 1", field="nb_design", minimum=1)
    if scheme.max_dimension is not None and 2 * n_factors > scheme.max_dimension:
        largest = scheme.max_dimension // 2
        raise InvalidRequest(
            f"this partition has {n_factors} factors; a {sampler.capitalize()} design of 2K columns supports at most "
            f"{largest}: lower grid_size, or take another sampler",
            field="grid_size",
            maximum_factors=largest,
        )


def sobol(n_factors: int, nb_design: int, seed: int) -> Design:
    """Scrambled Sobol design; its first N rows are the N-row design of the same seed.

    SciPy scrambles by a linear matrix scramble and a digital shift (Matousek 1998, doi:10.1006/jcom.1998.0489).

    Args:
        n_factors: K; 2K at most 21,201.
        nb_design: N, a power of two.
        seed: 0 is a seed like any other; the same seed gives the same bits.

    Raises:
        InvalidRequest: see :func:`check_design`.

    Example:
        >>> design = sobol(n_factors=2, nb_design=4, seed=0)
        >>> sorted((design.a[:, 0] * 4).astype(int).tolist())  # one value in each quarter
        [0, 1, 2, 3]
    """
    from scipy.stats import (
        qmc,  # here: it takes a second and 40 MB, which a process that draws nothing is spared
    )

    check_design("sobol", n_factors, nb_design)
    # By ``seed``, as the authors call it: SciPy draws other points when the same number is given as ``rng``.
    return _halves(qmc.Sobol(2 * n_factors, scramble=True, seed=seed).random(nb_design))


def halton(n_factors: int, nb_design: int, seed: int) -> Design:
    """Scrambled Halton design, SciPy's bits; its first N rows are the N-row design of the same seed.

    Column d counts rows in the d-th prime p and permutes the digits: x_j = Σ_i π_i(digit i of j) / p^(i+1). One column
    is drawn at a time: SciPy keeps the permutations of all of them, 340 MB at K = 784. (Owen 2017,
    doi:10.48550/arXiv.1706.02808)

    Args:
        n_factors: K; 2K at most 4,096.
        nb_design: N, at least 1.
        seed: as for :func:`sobol`.

    Raises:
        InvalidRequest: see :func:`check_design`.

    Example:
        >>> (halton(2, 4, seed=0).a == halton(2, 8, seed=0).a[:4]).all()
        np.True_
    """
    check_design("halton", n_factors, nb_design)
    rng = np.random.default_rng(seed)
    points = np.zeros((nb_design, 2 * n_factors))
    for column, base in enumerate(_primes(2 * n_factors)):
        rest, weight = np.arange(nb_design), 1 / base
        # As many digits as a double resolves: 1 − p^−count is below 1.
        for _ in range(math.ceil(54 / math.log2(base)) - 1):
            digits = np.arange(base)
            rng.shuffle(digits)
            points[:, column] += digits[rest % base] * weight
            rest //= base
            weight /= base
    return _halves(points)


def latin_hypercube(n_factors: int, nb_design: int, seed: int) -> Design:
    """Latin hypercube: every column has one value in each of N equal intervals. Designs of other N share no rows.

    McKay, Beckman and Conover 1979, doi:10.2307/1268522.

    Args:
        n_factors: K.
        nb_design: N, at least 1.
        seed: as for :func:`sobol`.

    Raises:
        InvalidRequest: N below 1.

    Example:
        >>> sorted((latin_hypercube(n_factors=2, nb_design=5, seed=0).b[:, 1] * 5).astype(int).tolist())
        [0, 1, 2, 3, 4]
    """
    from scipy.stats import qmc

    check_design("latin_hypercube", n_factors, nb_design)
    return _halves(qmc.LatinHypercube(2 * n_factors, seed=seed).random(nb_design))


def monte_carlo(n_factors: int, nb_design: int, seed: int) -> Design:
    """Independent uniform values; the first N rows are the N-row design of the same seed.

    Arguments and errors as :func:`latin_hypercube`.

    Example:
        >>> monte_carlo(n_factors=2, nb_design=5, seed=0).a.shape
        (5, 2)
    """
    check_design("monte_carlo", n_factors, nb_design)
    return _halves(np.random.default_rng(seed).random((nb_design, 2 * n_factors)))


# Every sampler by its name, the default first.
SAMPLERS: dict[str, Sampler] = {
    sampler.name: sampler
    for sampler in (
        Sampler(
            "sobol",
            sobol,
            source="Matousek 1998",
            doi="10.1006/jcom.1998.0489",
            power_of_two=True,
            max_dimension=MAX_SOBOL_DIMENSION,
        ),
        Sampler(
            "halton",
            halton,
            source="Owen 2017",
            doi="10.48550/arXiv.1706.02808",
            max_dimension=MAX_HALTON_DIMENSION,
        ),
        Sampler(
            "latin_hypercube",
            latin_hypercube,
            source="McKay, Beckman and Conover 1979",
            doi="10.2307/1268522",
            nested=False,
        ),
        Sampler("monte_carlo", monte_carlo, source="", doi=""),
    )
}


def make_design(sampler: str, n_factors: int, nb_design: int, seed: int) -> Design:
    """The named design.

    Args:
        sampler: a key of ``SAMPLERS``.
        n_factors: K.
        nb_design: N.
        seed: 0 is a seed like any other; the same seed gives the same bits.

    Raises:
        InvalidRequest: see :func:`check_design`.

    Example:
        >>> design = make_design("halton", n_factors=784, nb_design=8, seed=42)
        >>> design.a.shape, design.b.shape
        ((8, 784), (8, 784))
    """
    check_design(sampler, n_factors, nb_design)
    return SAMPLERS[sampler].draw(n_factors, nb_design, seed)


def _halves(points: Float[np.ndarray, "n d"]) -> Design:
    k = points.shape[1] // 2
    return Design(points[:, :k], points[:, k:])


def _primes(count: int) -> list[int]:
    """The first primes, by the sieve of Eratosthenes."""
    # Rosser: the n-th prime is below n (ln n + ln ln n) from n = 6.
    limit = 15 if count < 6 else math.ceil(count * (math.log(count) + math.log(math.log(count))))
    sieve = np.ones(limit + 1, dtype=bool)
    sieve[:2] = False
    for number in range(2, math.isqrt(limit) + 1):
        if sieve[number]:
            sieve[number * number :: number] = False
    return np.flatnonzero(sieve)[:count].tolist()
