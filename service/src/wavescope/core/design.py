"""Quasi-random designs: the rows A and B of pick-freeze sampling (paper, section 2.2; Saltelli 2010).

C⁽ᵏ⁾, which is A with column k taken from B, is never stored: row (j, k) follows from A_j and b_jk.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import qmc

from wavescope.errors import InvalidRequest

MAX_SOBOL_DIMENSION = qmc.Sobol.MAXDIM


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """Rows A and B, each (N, K), every value in [0, 1)."""

    a: Float[np.ndarray, "n k"]
    b: Float[np.ndarray, "n k"]

    @property
    def n_factors(self) -> int:
        return int(self.a.shape[1])


def check_sobol(n_factors: int, nb_design: int) -> None:
    """Refuses what a Sobol sequence cannot do.

    Raises:
        InvalidRequest: N is not a power of two, or 2K exceeds the sequence's 21,201 dimensions.
    """
    if nb_design < 1 or nb_design & (nb_design - 1):
        below = 2 ** (max(nb_design, 1).bit_length() - 1)
        raise InvalidRequest(
            f"nb_design is {nb_design}; a Sobol design needs a power of two, such as {below} or {2 * below}",
            field="nb_design",
            nearest=[below, 2 * below],
        )
    if 2 * n_factors > MAX_SOBOL_DIMENSION:
        raise InvalidRequest(
            f"this partition has {n_factors} factors; a Sobol design of 2K columns supports at most "
            f"{MAX_SOBOL_DIMENSION // 2}: lower grid_size",
            field="grid_size",
            maximum_factors=MAX_SOBOL_DIMENSION // 2,
        )


def sobol(n_factors: int, nb_design: int, seed: int) -> Design:
    """Scrambled Sobol design; its first N rows are the N-row design of the same seed.

    Args:
        n_factors: K; 2K at most 21,201.
        nb_design: N, a power of two.
        seed: 0 is a seed like any other; the same seed gives the same bits.

    Raises:
        InvalidRequest: see :func:`check_sobol`.
    """
    check_sobol(n_factors, nb_design)
    # By ``seed``, as the authors call it: SciPy draws other points when the same number is given as ``rng``.
    points = qmc.Sobol(2 * n_factors, scramble=True, seed=seed).random(nb_design)
    return Design(points[:, :n_factors], points[:, n_factors:])
