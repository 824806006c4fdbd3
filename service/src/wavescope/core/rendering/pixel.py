"""Masked pixels: Sobol attribution in the pixel domain (Fel et al., 2021), and masks over any set of pixels."""

from __future__ import annotations

from typing import Literal, cast, get_args

import numpy as np
from jaxtyping import Float, Float32

from wavescope.core.arrays import Array, like, namespace
from wavescope.core.partition import Partition
from wavescope.core.rendering.synthesis import Patch, members, sums_by_factor

Baseline = Literal["zero", "mean", "blur"]
BASELINES: tuple[str, ...] = get_args(Baseline)

# Half a cell of the default 8 per side: what is left of a cell is its surroundings, not what is in it.
BLUR_SIGMA = 1 / 16


def baseline_image(name: Baseline, image: Float32[np.ndarray, "c h w"]) -> Float32[np.ndarray, "c h w"]:
    """Baseline image, from which masked pixels are taken.

    Args:
        name: ``zero``: 0 in units of [0, 1], black; ``mean``: its channel's mean; ``blur``: the image under a Gaussian
            whose standard deviation is 1/16 of the shorter side (14 px at 224), mirrored at the border.
        image: (c, h, w) in [0, 1].
    """
    if name == "zero":
        return np.zeros_like(image)
    exact = image.astype(np.float64)
    if name == "mean":
        found = np.broadcast_to(exact.mean(axis=(1, 2), keepdims=True), image.shape)
    else:
        from scipy import ndimage

        sigma = BLUR_SIGMA * min(image.shape[1:])
        found = ndimage.gaussian_filter(exact, sigma=(0.0, sigma, sigma), mode="reflect")
    return found.astype(np.float32)


class PixelSynthesis:
    """Renders one image from masked pixels: x' = baseline + m · (x − baseline) (Fel et al., 2021).

    Pixels of no factor are held at ``partition.held``: 1 leaves them, 0 puts the baseline there.

    Args:
        image: (c, h, w) float32 in [0, 1], in NumPy.
        partition: the factor of every pixel, (h, w): cells, or any other.
        baseline: from which masked pixels are taken.
        reference: any float32 array; decides the library and the device of every render.

    Raises:
        ValueError: the partition is of another size than the image.
    """

    def __init__(
        self,
        image: Float32[np.ndarray, "c h w"],
        partition: Partition,
        baseline: Baseline,
        reference: Float32[Array, "*any"],
    ) -> None:
        channels, height, width = image.shape
        if partition.factors.shape != (height, width):
            raise ValueError(f"the partition is {partition.factors.shape}, the image {(height, width)}")
        self.shape: tuple[int, int, int] = (channels, height, width)
        self._partition = partition
        masked = baseline_image(baseline, image)
        self._image, self._masked = like(image, reference), like(masked, reference)
        self._difference = self._image - self._masked
        self._factors = namespace(reference).asarray(
            np.where(partition.factors < 0, partition.n_factors, partition.factors), device=reference.device
        )
        from scipy import ndimage

        boxes = ndimage.find_objects(partition.factors + 1, partition.n_factors)
        self._boxes = cast("list[tuple[slice, slice] | None]", boxes)

    def clean(self) -> Float32[Array, "c h w"]:
        """The image, bit for bit."""
        return self._image

    def plain(self, masks: Float[np.ndarray, "*n k"]) -> Float32[Array, "*n c h w"]:
        """The renders of mask rows: baseline + m · (x − baseline)."""
        held = np.full((*masks.shape[:-1], 1), self._partition.held)
        values = like(np.concatenate([masks, held], axis=-1), self._image)
        return self._masked + values[..., None, self._factors] * self._difference

    def patches(self, factor: int) -> list[Patch]:
        """P_k: x − baseline on the factor's pixels, 0 elsewhere in their bounding box; none without pixels."""
        box = self._boxes[factor]
        if box is None:
            return []
        rows, columns = box
        inside = like(self._partition.factors[rows, columns] == factor, self._image)
        return [Patch(rows, columns, self._difference[:, rows, columns] * inside)]

    def alone(self, first: int, stop: int) -> Float32[Array, "n c h w"]:
        """P_k of factors first..stop: x − baseline on the pixels of each."""
        return self._difference * members(self._factors, first, stop)

    def inner_products(self, images: Float32[Array, "n c h w"]) -> Float[np.ndarray, "n k"]:
        """⟨x, P_k⟩: the sum of x · (image − baseline) over the factor's pixels."""
        products = namespace(images).sum(images * self._difference, axis=1)
        return sums_by_factor(products, self._partition.factors, self._partition.n_factors)
