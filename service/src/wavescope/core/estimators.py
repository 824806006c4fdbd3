"""Estimators of Sobol indices from pick-freeze scores.

``f_a``, ``f_b`` are the scores of the rows of A and B; ``f_c[k, j]`` that of A_j with factor k taken from B_j.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from wavescope.core.arrays import Array, namespace
from wavescope.errors import ConstantScore

# A score whose spread is a few float32 steps of its size says nothing but how the model rounds.
ROUNDING = 8 * float(np.finfo(np.float32).eps)


def variance(f_a: Float[Array, " n"], f_b: Float[Array, " n"]) -> Float[Array, ""]:
    """V, the variance of the score over the independent rows: A and B together, ddof 1, never C.

    Rows of C are near-copies of A: pooling them adds nothing. From A alone (paper, below equation 7) the relative error
    is larger for the same forwards.

    Raises:
        ConstantScore: V lies within float32 rounding of the score.
    """
    xp = namespace(f_a, f_b)
    rows = xp.concat([f_a, f_b])
    var = xp.var(rows, correction=1)
    largest = float(xp.max(xp.abs(rows)))
    if not float(var) > (ROUNDING * largest) ** 2:
        raise ConstantScore(
            f"the score does not vary over the {rows.shape[0]} independent perturbations "
            f"(standard deviation {float(var) ** 0.5:.3g} at size {largest:.3g}): indices are undefined"
        )
    return var


def jansen(f_a: Float[Array, " n"], f_b: Float[Array, " n"], f_c: Float[Array, "k n"]) -> Float[Array, " k"]:
    """Total Sobol indices by Jansen's estimator: S_Tk = Σ_j (f(A_j) − f(C_j⁽ᵏ⁾))² / (2 N V).

    Args:
        f_a: (N,) scores of A.
        f_b: (N,) scores of B.
        f_c: (K, N) scores of C.

    Returns:
        (K,) total indices, each at least 0.

    Raises:
        ConstantScore: see :func:`variance`.
    """
    xp = namespace(f_a, f_b, f_c)
    var = variance(f_a, f_b)
    return xp.mean((f_a - f_c) ** 2, axis=-1) / (2 * var)  # Jansen 1999; paper eq. (7)


def jansen_first(
    f_a: Float[Array, " n"], f_b: Float[Array, " n"], f_c: Float[Array, "k n"]
) -> Float[Array, " k"]:
    """First-order Sobol indices by Jansen's estimator: S_k = 1 − Σ_j (f(B_j) − f(C_j⁽ᵏ⁾))² / (2 N V).

    Arguments and errors as :func:`jansen`; values may leave [0, 1] by sampling error.
    """
    xp = namespace(f_a, f_b, f_c)
    var = variance(f_a, f_b)
    return 1 - xp.mean((f_b - f_c) ** 2, axis=-1) / (2 * var)  # Jansen 1999; paper eq. (7)
