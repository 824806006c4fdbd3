"""Mahalanobis distance from a few images: the covariance is shrunk towards a multiple of the identity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from wavescope.errors import InvalidRequest

IMAGES_A_DIMENSION = 3  # that a distance is fitted to, at least


def ledoit_wolf(rows: Float[np.ndarray, "n d"]) -> tuple[Float64[np.ndarray, "d d"], float]:
    """Covariance of rows, shrunk by as much as is expected to bring it closest to the true one.

    With S the covariance (divided by n) and m its mean variance, it is (1 − ρ) S + ρ m I, where ρ estimates the part
    of ‖S − m I‖² that is the error of S: ρ = min(1, n⁻² Σ_k ‖x_k x_kᵀ − S‖² / ‖S − m I‖²) (Ledoit and Wolf 2004,
    doi:10.1016/S0047-259X(03)00096-4).

    Returns:
        The covariance, and ρ.

    Example:
        >>> covariance, shrinkage = ledoit_wolf(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]]))
        >>> np.diag(covariance).round(3).tolist(), round(shrinkage, 3)
        ([1.208, 1.292], 0.944)
    """
    centred = rows - rows.mean(axis=0)
    n, dimension = centred.shape
    covariance = centred.T @ centred / n
    target = np.trace(covariance) / dimension * np.eye(dimension)
    spread = float(((covariance - target) ** 2).sum())
    # Σ_k ‖x_k x_kᵀ − S‖² = Σ_k ‖x_k‖⁴ − n ‖S‖²
    squares = (centred**2).sum(axis=1)
    error = (float((squares**2).sum()) / n - float((covariance**2).sum())) / n
    shrinkage = min(1.0, max(0.0, error) / spread) if spread > 0 else 0.0
    return (1 - shrinkage) * covariance + shrinkage * target, shrinkage


@dataclass(frozen=True, slots=True, eq=False)
class Distance:
    """Squared Mahalanobis distance from the mean of rows.

    Attributes:
        mean: (d,) of the rows.
        root: (d, d) lower triangular, root · rootᵀ the covariance.
    """

    mean: Float64[np.ndarray, " d"]
    root: Float64[np.ndarray, "d d"]

    def squared(self, row: Float[np.ndarray, " d"]) -> float:
        """(x − mean)ᵀ covariance⁻¹ (x − mean), 0 or more."""
        from scipy.linalg import solve_triangular  # here: most processes never fold

        return float((solve_triangular(self.root, row - self.mean, lower=True) ** 2).sum())


def fit_distance(rows: Float[np.ndarray, "n d"], *, field: str) -> Distance:
    """The distance from the mean of rows, with their shrunk covariance.

    Args:
        rows: of n images, n ≥ 3 d.
        field: that errors name.

    Raises:
        InvalidRequest: there are too few rows, one is not finite, or the rows do not vary.
    """
    n, dimension = rows.shape
    least = IMAGES_A_DIMENSION * dimension
    if n < least:
        raise InvalidRequest(
            f"{field} has {n} images; {dimension} dimensions need at least {least}: collect more images",
            field=field,
            minimum=least,
        )
    if not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows).all(axis=1)).sum())
        raise InvalidRequest(
            f"{field} has {bad} images with numbers that are not finite: leave out those that failed",
            field=field,
        )
    from scipy.linalg import cholesky  # as above

    covariance, _ = ledoit_wolf(rows)
    variances = np.linalg.eigvalsh(covariance)
    # What is left of the variance of equal values is rounding.
    if variances[0] <= 1e-12 * float((rows**2).mean()):
        raise InvalidRequest(
            f"{field} does not vary, so that no distance is defined: collect images that differ",
            field=field,
        )
    # In the order that a store gives back: solving with rows and with columns in sequence differ in their last bits.
    return Distance(rows.mean(axis=0), np.ascontiguousarray(cholesky(covariance, lower=True)))
