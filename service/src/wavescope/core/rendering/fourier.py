"""Masked frequencies: the magnitude of the spectrum perturbed, its phase kept (paper, appendix A.3).

The mask is real and gives a frequency and its mirror the same value, so the perturbed image is real as it comes: there
is nothing to rectify, and half the spectrum is all that is stored and inverted.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Complex64, Float, Float32

from wavescope.core.arrays import Array, like, namespace
from wavescope.core.partition import Partition, mirrored
from wavescope.core.rendering.synthesis import Patch, members, sums_by_factor


class FourierSynthesis:
    """Renders one image from masked frequencies: x' = F⁻¹(F(x) · m), per channel (paper, equations 11 and 12).

    Multiplying F(x) by m ≥ 0 multiplies its magnitude by m and leaves its phase. Frequencies of no factor are held at
    ``partition.held`` times their value.

    Args:
        image: (c, h, w) float32 in [0, 1], in NumPy.
        partition: the factor of every frequency, (h, w), centred: frequency 0 at (h // 2, w // 2).
        reference: any float32 array; decides the library and the device of every render.

    Raises:
        ValueError: the partition is of another size than the image, or separates a frequency from its mirror.
    """

    def __init__(
        self, image: Float32[np.ndarray, "c h w"], partition: Partition, reference: Float32[Array, "*any"]
    ) -> None:
        channels, height, width = image.shape
        factors = partition.factors
        if factors.shape != (height, width):
            raise ValueError(f"the partition is {factors.shape}, the image {(height, width)}")
        if (factors != mirrored(factors)).any():
            raise ValueError("a frequency and its mirror are in different factors: images would not be real")
        self.shape: tuple[int, int, int] = (channels, height, width)
        self._partition = partition
        self._image = like(image, reference)
        xp, device = namespace(reference), reference.device
        # Once, in double precision: its rounding would be in every render.
        from scipy import fft  # here: who masks no frequencies need not wait for it

        spectrum = fft.rfft2(image.astype(np.float64), axes=(-2, -1))
        self._spectrum: Complex64[Array, "c h half"] = xp.asarray(
            spectrum.astype(np.complex64), device=device
        )
        half = np.fft.ifftshift(factors)[:, : width // 2 + 1]
        self._half = half
        self._factors = xp.asarray(np.where(half < 0, partition.n_factors, half), device=device)

    def clean(self) -> Float32[Array, "c h w"]:
        """The image, bit for bit."""
        return self._image

    def plain(self, masks: Float[np.ndarray, "*n k"]) -> Float32[Array, "*n c h w"]:
        """Mask and invert: the unclipped renders of mask rows."""
        held = np.full((*masks.shape[:-1], 1), self._partition.held)
        values = like(np.concatenate([masks, held], axis=-1), self._image)
        return self._invert(values[..., None, self._factors])

    def patches(self, factor: int) -> list[Patch]:
        """P_k: the inverse of factor k's frequencies alone. A wave has no support but the whole image."""
        _, height, width = self.shape
        inside: Bool[np.ndarray, "h half"] = self._half == factor
        return [Patch(slice(0, height), slice(0, width), self._invert(like(inside, self._image)))]

    def alone(self, first: int, stop: int) -> Float32[Array, "n c h w"]:
        """P_k of factors first..stop: waves over the whole image."""
        return self._invert(members(self._factors, first, stop))

    def inner_products(self, images: Float32[Array, "n c h w"]) -> Float[np.ndarray, "n k"]:
        """⟨x, P_k⟩: by Parseval, Re Σ F(x)* F(image) over the factor's frequencies, over h · w.

        Half the spectrum stands for all of it: a frequency counts twice where its mirror is in the other half.
        """
        xp = namespace(images)
        _, height, width = self.shape
        spectrum = xp.fft.rfftn(images, axes=(-2, -1))
        products = xp.sum(xp.real(xp.conj(spectrum) * self._spectrum), axis=1)
        twice = np.full(self._half.shape[1], 2.0)
        twice[0] = 1.0
        if width % 2 == 0:
            twice[-1] = 1.0
        weights = like(twice / (height * width), self._image)
        return sums_by_factor(products * weights, self._half, self._partition.n_factors)

    def _invert(self, masks: Float32[Array, "*any"]) -> Float32[Array, "*n c h w"]:
        """(…, 1, h, half) or (h, half) masks of half the spectrum."""
        return namespace(masks).fft.irfftn(self._spectrum * masks, s=self.shape[1:], axes=(-2, -1))
