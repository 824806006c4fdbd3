"""Signed effects of factors: whether more of a factor raises or lowers the score, and by how much.

The mean of f(A) − f(C) over design rows does not say so: A and B are exchangeable, so that its expectation is 0 for
every score. The slope of the score against the mask value does, from the same rows.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

MIN_ROWS = 4  # as of the errors of indices: fewer residuals say nothing of their own spread
# A row that has nearly all of a factor's weight is nearly all of its slope, and leaves no residual to judge by.
MOST_LEVERAGE = 1 - 1e-9


def effects(
    change: Float[np.ndarray, "k n"],
    step: Float[np.ndarray, "k n"],
    weight: Float[np.ndarray, "k n"] | None = None,
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Least-squares slope of the score against each mask value, through the pairs A_j and C_j, and its standard error.

    slope_k = Σ_j w (f(A_j) − f(C_j⁽ᵏ⁾)) (a_jk − b_jk) / Σ_j w (a_jk − b_jk)²: how much the score changes from a factor
    removed to a factor kept, if it changed evenly on the way. The error is White's with the residual of each row as if
    that row had been left out (HC3; MacKinnon and White 1985, doi:10.1016/0304-4076(85)90158-7): rows differ in how
    sensitive the score is.

    Args:
        change: (K, N) f(A_j) − f(C_j⁽ᵏ⁾), in units of the score; anything where the weight is 0.
        step: (K, N) a_jk − b_jk, −1..1.
        weight: (K, N) at least 0, 0 for rows that were not scored; ``None`` for 1.

    Returns:
        (K,) slopes, NaN of a factor that no row moved; (K,) their errors, at least 0, NaN from fewer than 4 rows.

    Example:
        >>> a, b = np.array([[0.1, 0.9, 0.4, 0.6]]), np.array([[0.5, 0.2, 0.8, 0.1]])
        >>> slope, error = effects(3 * a - 3 * b, a - b)  # of the score 3 m
        >>> slope.round(6).tolist(), error.round(6).tolist()
        ([3.0], [0.0])
    """
    step = step.astype(np.float64)
    weight = np.ones_like(step) if weight is None else weight
    change = np.where(weight > 0, change, 0.0)
    squares = weight * step**2
    whole = squares.sum(axis=1)
    moved = whole > 0
    divisor = np.where(moved, whole, 1.0)
    slope = (weight * step * change).sum(axis=1) / divisor
    leverage = np.minimum(squares / divisor[:, None], MOST_LEVERAGE)
    residual = weight * step * (change - slope[:, None] * step) / (1 - leverage)
    error = np.sqrt((residual**2).sum(axis=1)) / divisor
    rows = (squares > 0).sum(axis=1)
    return np.where(moved, slope, np.nan), np.where(rows >= MIN_ROWS, error, np.nan)
