"""Masked wavelet coefficients back to an image: in full, and one factor alone on the rectangles that it touches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float, Float32, Int32

from wavescope.core.arrays import Array, like, namespace
from wavescope.core.partition import Partition
from wavescope.core.rendering.synthesis import Patch, members, sums_by_factor
from wavescope.core.wavelets import (
    Band,
    band_basis,
    bands,
    is_haar,
    synthesis,
    synthesise,
    synthesise_haar,
    transpose,
    transpose_haar,
)


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """One factor's coefficients in one sub-band, with what they add to the image."""

    rows: np.ndarray  # (h, r) of the padded image's rows, cropped to the image
    columns: np.ndarray  # (w, s)
    coefficients: np.ndarray  # (c, r, s), zero where another factor holds the place


class WaveletSynthesis:
    """Renders one image from masked wavelet coefficients: x' = W⁻¹(W(x) · m), per channel (paper, section 3.2).

    Args:
        coefficients: (c, H, W) float32 packed wavelet coefficients, in NumPy.
        size: (height, width) of the image.
        wavelet: a discrete wavelet of PyWavelets.
        levels: of the transform.
        partition: factors of the packed array.
        reference: any float32 array; decides the library and the device of every render.
    """

    def __init__(
        self,
        coefficients: Float32[np.ndarray, "c H W"],
        size: tuple[int, int],
        wavelet: str,
        levels: int,
        partition: Partition,
        reference: Float32[Array, "*any"],
    ) -> None:
        self.shape: tuple[int, int, int] = (coefficients.shape[0], *size)
        self._partition = partition
        self._host = coefficients
        self._wavelet, self._levels = wavelet, levels
        self._coefficients = like(coefficients, reference)
        self._factors = namespace(reference).asarray(
            np.where(partition.factors < 0, partition.n_factors, partition.factors), device=reference.device
        )
        _, height, width = coefficients.shape
        self._bands: tuple[Band, ...] = bands(height, width, levels)
        # On an accelerator the products are the quicker way for Haar's wavelet too.
        self._by_sums = is_haar(wavelet) and isinstance(reference, np.ndarray)
        self._matrices = [
            (
                like(synthesis(wavelet, height >> step), reference),
                like(synthesis(wavelet, width >> step), reference),
            )
            for step in range(levels - 1, -1, -1)
            if not self._by_sums
        ]
        self._boxes = [_boxes(partition.factors[band.slices]) for band in self._bands]

    def clean(self) -> Float32[Array, "c h w"]:
        """The unperturbed image: every coefficient at 1, those of no factor too."""
        return self._invert(self._coefficients)

    def plain(self, masks: Float[np.ndarray, "*n k"]) -> Float32[Array, "*n c h w"]:
        """Mask and invert: the unclipped renders of mask rows."""
        held = np.full((*masks.shape[:-1], 1), self._partition.held)
        values = like(np.concatenate([masks, held], axis=-1), self._coefficients)
        return self._invert(self._coefficients * values[..., None, self._factors])

    def patches(self, factor: int) -> list[Patch]:
        """P_k as disjoint rectangles, none where the factor lies in the padding."""
        blocks: list[_Block] = []
        boxes: list[tuple[slice, slice]] = []
        for band, objects in zip(self._bands, self._boxes, strict=True):
            box = objects[factor] if factor < len(objects) else None
            if box is None:
                continue
            block = self._block(band, box, factor)
            blocks.append(block)
            boxes += [(y, x) for y in _runs(block.rows) for x in _runs(block.columns)]
        return [self._patch(rows, columns, blocks) for rows, columns in _disjoint(boxes)]

    def alone(self, first: int, stop: int) -> Float32[Array, "n c h w"]:
        """P_k of factors first..stop: the inverse transform of the coefficients of each alone."""
        return self._invert(self._coefficients * members(self._factors, first, stop))

    def inner_products(self, images: Float32[Array, "n c h w"]) -> Float[np.ndarray, "n k"]:
        """⟨x, P_k⟩: the transposed transform of x times the coefficients, summed by factor.

        An analysis of x would do for orthogonal wavelets alone.
        """
        _, height, width = self.shape
        xp = namespace(images)
        padded = xp.zeros((images.shape[0], *self._host.shape), dtype=images.dtype, device=images.device)
        padded[..., :height, :width] = images
        if self._by_sums:
            packed = transpose_haar(padded, self._levels)
        else:
            packed = transpose(padded, self._matrices)
        products = xp.sum(packed * self._coefficients, axis=1)
        return sums_by_factor(products, self._partition.factors, self._partition.n_factors)

    def _invert(self, packed: Float32[Array, "*n c H W"]) -> Float32[Array, "*n c h w"]:
        _, height, width = self.shape
        if self._by_sums:
            by_sums = synthesise_haar(cast("Float32[np.ndarray, '*n c H W']", packed), self._levels)
            return like(by_sums[..., :height, :width], packed)
        return synthesise(packed, self._matrices)[..., :height, :width]

    def _block(self, band: Band, box: tuple[slice, slice], factor: int) -> _Block:
        _, height, width = self._host.shape
        rows, columns = band_basis(self._wavelet, height, width, self._levels, band)
        inside = self._partition.factors[band.slices][box] == factor
        coefficients = self._host[(slice(None), *band.slices)][(slice(None), *box)] * inside
        return _Block(rows[: self.shape[1], box[0]], columns[: self.shape[2], box[1]], coefficients)

    def _patch(self, rows: slice, columns: slice, blocks: list[_Block]) -> Patch:
        values = sum(block.rows[rows] @ block.coefficients @ block.columns[columns].T for block in blocks)
        return Patch(rows, columns, like(np.asarray(values, dtype=np.float32), self._coefficients))


def _boxes(factors: Int32[np.ndarray, "h w"]) -> list[tuple[slice, slice] | None]:
    """Bounding box of every factor within one sub-band; ``None`` for one that has no coefficient there."""
    from scipy import ndimage

    return cast("list[tuple[slice, slice] | None]", ndimage.find_objects(factors + 1))


def _runs(basis: np.ndarray) -> list[slice]:
    """Contiguous runs where any of the columns differs from 0: the support along one axis."""
    padded = np.concatenate([[False], (basis != 0).any(axis=1), [False]])
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return [slice(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _disjoint(boxes: list[tuple[slice, slice]]) -> list[tuple[slice, slice]]:
    """Boxes that overlap are merged into their bounding box until none do, so that no pixel is added to twice."""
    found: list[tuple[slice, slice]] = []
    for box in boxes:
        merged = box
        while True:
            touching = [other for other in found if _overlap(other, merged)]
            if not touching:
                break
            found = [other for other in found if other not in touching]
            for other in touching:
                merged = (_cover(merged[0], other[0]), _cover(merged[1], other[1]))
        found.append(merged)
    return found


def _overlap(a: tuple[slice, slice], b: tuple[slice, slice]) -> bool:
    return all(p.start < q.stop and q.start < p.stop for p, q in zip(a, b, strict=True))


def _cover(a: slice, b: slice) -> slice:
    return slice(min(a.start, b.start), max(a.stop, b.stop))
