"""Features of factors that are known before anything is scored: size, level, sub-band and place in the image.

A factor acts on the score through its P_k alone, so that the size of its coefficients says much of its index. On
photographs, without any forward of a model, it ranked total indices like 8 to 16 design rows do (``make adaptive``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int

from wavescope.core.partition import Partition, factor_sums
from wavescope.core.wavelets import bands


@dataclass(frozen=True, slots=True, eq=False)
class FactorFeatures:
    """Features of K factors, known before anything is scored.

    Attributes:
        size: (K,) root of the sum of squares of the factor's coefficients, over channels. 0: it has no effect.
        level: (K,) the level that holds most of it, 0 the approximation.
        band: (K,) the sub-band that holds most of it; a straddling cell is the coarser one's where they hold the same.
        place: (K, 2) its centre in the image, down and across, 0..1.
    """

    size: Float[np.ndarray, " k"]
    level: Int[np.ndarray, " k"]
    band: Int[np.ndarray, " k"]
    place: Float[np.ndarray, "k 2"]

    @property
    def quarter(self) -> Int[np.ndarray, " k"]:
        """(K,) the quarter of the image that its centre is in, 0..3, row by row."""
        down, across = (self.place >= 0.5).T.astype(int)
        return 2 * down + across


def wavelet_features(
    coefficients: Float32[np.ndarray, "c H W"], factors: Partition, levels: int
) -> FactorFeatures:
    """Features of factors of packed wavelet coefficients. For an orthogonal wavelet ``size`` is the norm of P_k."""
    height, width = factors.factors.shape
    found = bands(height, width, levels)
    count, downs, acrosses = (np.zeros((len(found), factors.n_factors)) for _ in range(3))
    for index, band in enumerate(found):
        part = factors.factors[band.slices]
        rows, columns = part.shape
        down, across = np.mgrid[0.5:rows, 0.5:columns]
        count[index] = factor_sums(np.ones(part.shape), part, factors.n_factors)
        downs[index] = factor_sums(down / rows, part, factors.n_factors)
        acrosses[index] = factor_sums(across / columns, part, factors.n_factors)
    most = count.argmax(axis=0)  # the first of equals is the coarser
    each = np.arange(factors.n_factors)
    place = np.stack([downs[most, each], acrosses[most, each]], axis=-1) / count[most, each][:, None]
    level = np.asarray([band.level for band in found])[most]
    return FactorFeatures(_size(coefficients, factors), level, most, place)


def pixel_features(difference: Float32[np.ndarray, "c h w"], factors: Partition) -> FactorFeatures:
    """Features of factors of pixels: ``difference`` is image less baseline; one level, bands are quarters."""
    size, place = _size(difference, factors), _centres(factors)
    features = FactorFeatures(size, np.zeros(len(size), dtype=int), np.zeros(len(size), dtype=int), place)
    return FactorFeatures(size, features.level, features.quarter, place)


def fourier_features(image: Float32[np.ndarray, "c h w"], factors: Partition) -> FactorFeatures:
    """Features of factors of frequencies, which are everywhere in the image: one level, one band, one place."""
    from scipy import fft

    spectrum = fft.fftshift(fft.fft2(image.astype(np.float64), norm="ortho"), axes=(-2, -1))
    size = _size(np.abs(spectrum), factors)
    nothing = np.zeros(len(size), dtype=int)
    return FactorFeatures(size, nothing, nothing, np.full((len(size), 2), 0.5))


# Logarithms of roots of mean squared derivatives reach this far below the largest: indices e^10 below count as none.
STEEPNESS_REACH = 5.0


def steepness(derivatives: Float[np.ndarray, "m k"]) -> Float[np.ndarray, " k"]:
    """Root of the mean squared derivative of the score by every mask value.

    Its square bounds the total index from above, up to a constant: S_Tk ≤ E[(∂f/∂m_k)²] / (π² V) for uniform mask
    values (Sobol and Kucherenko 2009, doi:10.1016/j.matcom.2009.01.023).

    Args:
        derivatives: (m, K) at m mask rows, not all 0.

    Returns:
        (K,), at least e⁻⁵ of the largest.

    Example:
        >>> steepness(np.array([[1.0, 3.0], [1.0, 4.0]])).round(3).tolist()
        [1.0, 3.536]
    """
    root = np.sqrt((derivatives**2).mean(axis=0))
    return np.maximum(root, root.max() * np.exp(-STEEPNESS_REACH))


def _size(values: Float[np.ndarray, "c h w"], factors: Partition) -> Float[np.ndarray, " k"]:
    energy = (np.asarray(values, dtype=np.float64) ** 2).sum(axis=0)
    return np.sqrt(factor_sums(energy, factors.factors, factors.n_factors))


def _centres(factors: Partition) -> Float[np.ndarray, "k 2"]:
    height, width = factors.factors.shape
    down, across = np.mgrid[0.5:height, 0.5:width]
    count = factor_sums(np.ones((height, width)), factors.factors, factors.n_factors)
    sums = [
        factor_sums(values, factors.factors, factors.n_factors) for values in (down / height, across / width)
    ]
    return np.stack(sums, axis=-1) / count[:, None]
