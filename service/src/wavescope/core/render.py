"""Perturbed images from rows of a design, by one code for every array library.

Rows are numbered design row by design row: row j·(K + 2) is A_j, the next B_j, then C_j⁽¹⁾ … C_j⁽ᴷ⁾, so that every two
design rows give a whole partial map. Rendering is linear in the mask, and C_j⁽ᵏ⁾ differs from A_j in factor k alone:

    render(C_j⁽ᵏ⁾) = render(A_j) + (b_jk − a_jk) · P_k

with P_k the inverse transform of factor k's coefficients alone, an image of small support. Only A and B need a full
inverse; what leaves [0, 1] is dealt with after this sum, by the value policy, and then normalised for the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from jaxtyping import Float, Float32, Int32
from scipy import ndimage

from wavescope.core.arrays import Array, like, namespace
from wavescope.core.design import Design
from wavescope.core.partition import Partition
from wavescope.core.wavelets import Band, band_basis, bands, synthesis, synthesise

ValuePolicy = Literal["clip", "minmax", "none"]
CACHE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Finish:
    """What turns an unclipped render into the model's input: the value policy, then (x − mean) / std.

    Attributes:
        policy: ``clip`` to [0, 1]; ``minmax`` stretches the whole image to [0, 1]; ``none`` leaves it.
        mean, std: (channels, 1, 1), in units of [0, 1].
    """

    policy: ValuePolicy
    mean: Float32[Array, "c 1 1"]
    std: Float32[Array, "c 1 1"]

    @property
    def pointwise(self) -> bool:
        """Whether a pixel's result depends on that pixel alone."""
        return self.policy != "minmax"

    def __call__(self, image: Float32[Array, "c h w"]) -> Float32[Array, "c h w"]:
        xp = namespace(image)
        if self.policy == "clip":
            image = xp.clip(image, 0.0, 1.0)
        elif self.policy == "minmax":
            low, high = xp.min(image), xp.max(image)
            # A flat image has no contrast to stretch; dividing by 1 leaves it black instead of NaN.
            image = (image - low) / xp.where(high > low, high - low, xp.ones_like(high))
        return (image - self.mean) / self.std


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A rectangle of P_k in the image, and its values."""

    rows: slice
    columns: slice
    values: Float32[Array, "c h w"]


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """One factor's coefficients in one sub-band, with what they add to the image."""

    rows: np.ndarray  # (h, r) of the padded image's rows, cropped to the image
    columns: np.ndarray  # (w, s)
    coefficients: np.ndarray  # (c, r, s), zero where another factor holds the place


class Renderer:
    """Renders rows of one image, transform, partition and design.

    Memory is bounded by the batch asked for and ``cache_bytes``, never by N·K: P_k are kept until the cache is full
    and recomputed beyond. The same row has the same bits whatever the batch it is rendered in.

    Args:
        coefficients: (c, H, W) float32 packed wavelet coefficients, in NumPy.
        size: (height, width) of the image.
        wavelet: a discrete wavelet of PyWavelets.
        levels: of the transform.
        partition: factors of the packed array.
        finish: value policy and normalisation; its arrays decide the library and the device of every render.
        cache_bytes: bound on the patches kept.
    """

    def __init__(
        self,
        coefficients: Float32[np.ndarray, "c H W"],
        size: tuple[int, int],
        wavelet: str,
        levels: int,
        partition: Partition,
        finish: Finish,
        *,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.size = size
        self.finish = finish
        self.partition = partition
        self._host = coefficients
        self._wavelet, self._levels = wavelet, levels
        self._coefficients = like(coefficients, finish.mean)
        self._factors = namespace(finish.mean).asarray(
            np.where(partition.factors < 0, partition.n_factors, partition.factors),
            device=getattr(finish.mean, "device", None),
        )
        _, height, width = coefficients.shape
        self._bands: tuple[Band, ...] = bands(height, width, levels)
        self._matrices = [
            (
                like(synthesis(wavelet, height >> step), finish.mean),
                like(synthesis(wavelet, width >> step), finish.mean),
            )
            for step in range(levels - 1, -1, -1)
        ]
        self._boxes = [_boxes(partition.factors[band.slices]) for band in self._bands]
        self._cache: dict[int, list[Patch]] = {}
        self._cache_left = cache_bytes
        self._kept: tuple[Design, int, Array, Array] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of a render."""
        return (self._host.shape[0], *self.size)

    def clean(self) -> Float32[Array, "c h w"]:
        """The unperturbed image: every coefficient at 1, those of no factor too."""
        return self._invert(self._coefficients)

    def plain(self, mask: Float[np.ndarray, " k"]) -> Float32[Array, "c h w"]:
        """Mask and invert: the unclipped render of one mask row (the path the shortcut is held against)."""
        values = like(np.append(mask, self.partition.held), self._coefficients)
        return self._invert(self._coefficients * values[self._factors])

    def rows(
        self, design: Design, start: int, stop: int, out: Float32[Array, "_ c h w"] | None = None
    ) -> Float32[Array, "n c h w"]:
        """Renders rows start..stop of the pick-freeze sample, finished for the model.

        Args:
            design: rows A and B of K columns.
            start, stop: half-open range within 0..N(K + 2).
            out: where to write, (stop − start, c, h, w) or more rows; a new array if ``None``.

        Returns:
            (stop − start, c, h, w).
        """
        xp = namespace(self._coefficients)
        rendered: Array = out
        if out is None:
            rendered = xp.empty(
                (stop - start, *self.shape), dtype=xp.float32, device=self._coefficients.device
            )
        period = self.partition.n_factors + 2
        for place, row in enumerate(range(start, stop)):
            j, column = divmod(row, period)
            if column == 1:
                rendered[place, ...] = self.finish(self.plain(design.b[j]))
                continue
            base, finished = self._base(design, j)
            if column == 0:
                rendered[place, ...] = finished
            else:
                factor = column - 2
                step = float(design.b[j, factor] - design.a[j, factor])
                self._picked(base, finished, factor, step, rendered[place, ...])
        return rendered[: stop - start, ...]

    def patches(self, factor: int) -> list[Patch]:
        """P_k as disjoint rectangles."""
        kept = self._cache.get(factor)
        if kept is not None:
            return kept
        patches = self._make_patches(factor)
        cost = sum(4 * math.prod(patch.values.shape) for patch in patches)
        # Rows come in order of k, so evicting the oldest would miss every time; the first that fit stay.
        if cost <= self._cache_left:
            self._cache[factor] = patches
            self._cache_left -= cost
        return patches

    def _invert(self, packed: Float32[Array, "c H W"]) -> Float32[Array, "c h w"]:
        return synthesise(packed, self._matrices)[:, : self.size[0], : self.size[1]]

    def _base(self, design: Design, j: int) -> tuple[Array, Array]:
        """A_j before and after ``finish``. Kept for the next call: a design row is many batches long."""
        if self._kept is None or self._kept[0] is not design or self._kept[1] != j:
            self._kept = None  # its memory first
            base = self.plain(design.a[j])
            self._kept = (design, j, base, self.finish(base))
        return self._kept[2], self._kept[3]

    def _picked(self, base: Array, finished: Array, factor: int, step: float, out: Array) -> None:
        """Writes finish(base + step · P_k), touching only the support of P_k where the policy allows."""
        if self.finish.pointwise:
            out[...] = finished
            for patch in self.patches(factor):
                window = base[:, patch.rows, patch.columns] + step * patch.values
                out[:, patch.rows, patch.columns] = self.finish(window)
            return
        out[...] = base
        for patch in self.patches(factor):
            out[:, patch.rows, patch.columns] += step * patch.values
        out[...] = self.finish(out)

    def _make_patches(self, factor: int) -> list[Patch]:
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

    def _block(self, band: Band, box: tuple[slice, slice], factor: int) -> _Block:
        _, height, width = self._host.shape
        rows, columns = band_basis(self._wavelet, height, width, self._levels, band)
        inside = self.partition.factors[band.slices][box] == factor
        coefficients = self._host[(slice(None), *band.slices)][(slice(None), *box)] * inside
        return _Block(rows[: self.size[0], box[0]], columns[: self.size[1], box[1]], coefficients)

    def _patch(self, rows: slice, columns: slice, blocks: list[_Block]) -> Patch:
        values = sum(block.rows[rows] @ block.coefficients @ block.columns[columns].T for block in blocks)
        return Patch(rows, columns, like(np.asarray(values, dtype=np.float32), self._coefficients))


def _boxes(factors: Int32[np.ndarray, "h w"]) -> list[tuple[slice, slice] | None]:
    """Bounding box of every factor within one sub-band; ``None`` for one that has no coefficient there."""
    return cast("list[tuple[slice, slice] | None]", ndimage.find_objects(factors + 1))


def _runs(basis: np.ndarray) -> list[slice]:
    """Where any of the columns differs from 0: the support along one axis, as contiguous runs."""
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
