"""Designs: the rows A and B of pick-freeze sampling (paper, section 2.2; Saltelli 2010).

C⁽ᵏ⁾, which is A with column k taken from B, is never stored: row (j, k) follows from A_j and b_jk. A and B are the
halves of one sample of 2K columns, scrambled or random: no row is the origin, and none of A is that of B.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import qmc

from wavescope.errors import InvalidRequest

MAX_SOBOL_DIMENSION = qmc.Sobol.MAXDIM
# Column d of a Halton sequence shuffles several tables of its prime, about d ln d: at 4,096 columns it takes 3 s.
MAX_HALTON_DIMENSION = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """Rows A and B, each (N, K), every value in [0, 1)."""

    a: Float[np.ndarray, "n k"]
    b: Float[np.ndarray, "n k"]

    @property
    def n_factors(self) -> int:
        return int(self.a.shape[1])


Sampler = Callable[[int, int, int], Design]


def check_design(sampler: str, n_factors: int, nb_design: int) -> None:
    """Refuses what a sampler cannot do.

    Args:
        sampler: a key of ``SAMPLERS``.
        n_factors: K.
        nb_design: N.

    Raises:
        InvalidRequest: an unknown sampler; N below 1; for Sobol, N is not a power of two or 2K exceeds 21,201
            dimensions; for Halton, 2K exceeds 4,096 dimensions.
    """
    if sampler not in SAMPLERS:
        raise InvalidRequest(
            f"sampler is {sampler!r}; it must be one of {', '.join(SAMPLERS)}",
            field="sampler",
            choices=list(SAMPLERS),
        )
    if sampler == "sobol" and (nb_design < 1 or nb_design & (nb_design - 1)):
        below = 2 ** (max(nb_design, 1).bit_length() - 1)
        raise InvalidRequest(
            f"nb_design is {nb_design}; a Sobol design needs a power of two, such as {below} or {2 * below}",
            field="nb_design",
            nearest=[below, 2 * below],
        )
    if nb_design < 1:
        raise InvalidRequest(f"nb_design is {nb_design}; it must be at least 1", field="nb_design", minimum=1)
    largest = {"sobol": MAX_SOBOL_DIMENSION // 2, "halton": MAX_HALTON_DIMENSION // 2}.get(sampler)
    if largest is not None and n_factors > largest:
        raise InvalidRequest(
            f"this partition has {n_factors} factors; a {sampler.capitalize()} design of 2K columns supports at most "
            f"{largest}: lower grid_size, or take another sampler",
            field="grid_size",
            maximum_factors=largest,
        )


def sobol(n_factors: int, nb_design: int, seed: int) -> Design:
    """Scrambled Sobol design; its first N rows are the N-row design of the same seed.

    SciPy scrambles by a linear matrix scramble and a digital shift.

    Args:
        n_factors: K; 2K at most 21,201.
        nb_design: N, a power of two.
        seed: 0 is a seed like any other; the same seed gives the same bits.

    Raises:
        InvalidRequest: see :func:`check_design`.
    """
    check_design("sobol", n_factors, nb_design)
    # By ``seed``, as the authors call it: SciPy draws other points when the same number is given as ``rng``.
    return _halves(qmc.Sobol(2 * n_factors, scramble=True, seed=seed).random(nb_design))


def halton(n_factors: int, nb_design: int, seed: int) -> Design:
    """Scrambled Halton design (Owen 2017), SciPy's bits; its first N rows are the N-row design of the same seed.

    Column d counts rows in the d-th prime p and permutes the digits: x_j = Σ_i π_i(digit i of j) / p^(i+1). One column
    is drawn at a time: SciPy keeps the permutations of all of them, 340 MB at K = 784.

    Args:
        n_factors: K; 2K at most 4,096.
        nb_design: N, at least 1.
        seed: as for :func:`sobol`.

    Raises:
        InvalidRequest: see :func:`check_design`.
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

    Args:
        n_factors: K.
        nb_design: N, at least 1.
        seed: as for :func:`sobol`.

    Raises:
        InvalidRequest: N below 1.
    """
    check_design("latin_hypercube", n_factors, nb_design)
    return _halves(qmc.LatinHypercube(2 * n_factors, seed=seed).random(nb_design))


def monte_carlo(n_factors: int, nb_design: int, seed: int) -> Design:
    """Independent uniform values; the first N rows are the N-row design of the same seed. Arguments as above."""
    check_design("monte_carlo", n_factors, nb_design)
    return _halves(np.random.default_rng(seed).random((nb_design, 2 * n_factors)))


SAMPLERS: dict[str, Sampler] = {
    "sobol": sobol,
    "halton": halton,
    "latin_hypercube": latin_hypercube,
    "monte_carlo": monte_carlo,
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
    """
    check_design(sampler, n_factors, nb_design)
    return SAMPLERS[sampler](n_factors, nb_design, seed)


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
