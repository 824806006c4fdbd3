"""Rows of a design rendered a whole device batch at once: few large tensor operations, for an accelerator.

An accelerator is idle while Python walks over images. Here a batch is a handful of expressions, however many rows it
has: A_j is written to all rows of its design row, then (b_jk − a_jk) · P_k is added on the pixels of every P_k at once.
P_k are computed for a block of factors by one batched inverse transform and kept as square tiles of the image that
hold anything but zeros: for a short filter a few tiles of hundreds, so that a row costs one write of the image and
little else. What crosses to the device per row is a step and the numbers of its tiles.

Everything is an expression of the array library on whole batches, not a kernel of our own: the operations are bound by
memory, and what a fused kernel could save is a fraction of the one write per image that is left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import array_api_compat
import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from wavescope.core.arrays import Array, like, namespace
from wavescope.core.rendering.synthesis import Finish, Synthesis
from wavescope.core.sobol.design import Design

CACHE_BYTES = 256 * 2**20
WORK_BYTES = 64 * 2**20
# Cells of the default grid (28 on 224 px, Haar) touch squares of 16, 32 or 64 px, at multiples of 16.
TILE_PX = 16
# Design rows whose A and B are rendered together serve about this many rows of the sample.
SAMPLE_ROWS = 128
# Above this share of nonzero tiles, gathering them costs more than working on whole images.
DENSE = 0.5


class BatchRenderer:
    """Renders rows of one image, transform, partition and design, a batch at a time.

    A row's bits do not depend on the batch that it is in, as far as the library's operations on arrays of one shape
    give one result: A and B are always rendered in the same groups, P_k in the same blocks, and adding is pixel by
    pixel. ``masks`` renders as many at once as it is given, so that its last float32 digits may depend on the batch.

    Memory beside the batch and the kept P_k: some six arrays of ``work_bytes``.

    Args:
        synthesis: the image in its transform.
        n_factors: K of its partition.
        finish: value policy and normalisation; on the library and the device of ``synthesis``.
        cache_bytes: bound on the P_k kept; those beyond are computed anew, a block at a time.
        work_bytes: bound on one array of images that are rendered in full together, one image at least.
    """

    def __init__(
        self,
        synthesis: Synthesis,
        n_factors: int,
        finish: Finish,
        *,
        cache_bytes: int = CACHE_BYTES,
        work_bytes: int = WORK_BYTES,
    ) -> None:
        self._synthesis = synthesis
        self._n_factors = n_factors
        self._finish = finish
        self._images = max(1, work_bytes // (4 * math.prod(synthesis.shape)))
        self._design_rows = max(1, min(self._images // 2, SAMPLE_ROWS // (n_factors + 2)))
        self._cache: dict[int, _Changes] = {}
        self._cache_left = cache_bytes
        self._last: tuple[int, _Changes] | None = None
        self._bases: tuple[Design, int, Array, Array] | None = None

    def masks(self, masks: Float[np.ndarray, "n k"], out: Float32[Array, "n c h w"]) -> None:
        """Renders mask rows, each in full, finished for the model, to ``out``."""
        for start in range(0, len(masks), self._images):
            stop = start + self._images
            out[start:stop, ...] = self._finish(self._synthesis.plain(masks[start:stop]))

    def rows(self, design: Design, start: int, out: Float32[Array, "n c h w"]) -> None:
        """Renders rows start, start + 1 … of the pick-freeze sample, finished for the model, to ``out``."""
        stop, span = start + out.shape[0], self._design_rows * (self._n_factors + 2)
        cuts = range(start - start % span + span, stop, span)
        for low, high in pairwise([start, *cuts, stop]):
            self._group(design, low, high, out[low - start : high - start, ...])
        if not self._finish.pointwise:
            out[...] = self._finish(out)

    def _group(self, design: Design, start: int, stop: int, out: Array) -> None:
        """Rows start..stop, whose bases are rendered together; unfinished where the policy needs whole images."""
        if start == stop:
            return
        j, column = np.divmod(np.arange(start, stop), self._n_factors + 2)
        first = int(j[0]) - int(j[0]) % self._design_rows
        plain, finished = self._rendered(design, first)
        bases = 2 * (j - first) + (column == 1)  # A_j, B_j, A_j + 1, B_j + 1 …
        edges = [0, *(np.flatnonzero(np.diff(bases)) + 1), stop - start]
        for at, end in pairwise(edges):
            out[at:end, ...] = finished[int(bases[at]), ...]
        places = np.flatnonzero(column >= 2)
        factors = column[places] - 2
        steps = (design.b - design.a)[j[places], factors]
        blocks = factors // self._images
        for block in np.unique(blocks):
            inside = blocks == block
            chosen = places[inside]
            rows = _Rows(chosen, bases[chosen], factors[inside] % self._images, steps[inside])
            self._changes(int(block)).write(self._finish, plain, out, rows)

    def _rendered(self, design: Design, first: int) -> tuple[Array, Array]:
        """(A_j, B_j of design rows first, first + 1 …, the same finished where the policy is pointwise)."""
        if self._bases is None or self._bases[0] is not design or self._bases[1] != first:
            self._bases = None  # its memory first
            stop = first + self._design_rows
            masks = np.stack([design.a[first:stop], design.b[first:stop]], axis=1)
            plain = self._synthesis.plain(masks.reshape(-1, self._n_factors))
            finished = self._finish(plain) if self._finish.pointwise else plain
            self._bases = (design, first, plain, finished)
        return self._bases[2], self._bases[3]

    def _changes(self, block: int) -> _Changes:
        """P_k of one block of factors, kept where there is room; beyond, the last block is."""
        kept = self._cache.get(block)
        if kept is not None:
            return kept
        if self._last is None or self._last[0] != block:
            self._last = None
            first = block * self._images
            found = _changes(self._synthesis.alone(first, min(first + self._images, self._n_factors)))
            if found.nbytes > self._cache_left:
                self._last = (block, found)
                return found
            self._cache[block] = found
            self._cache_left -= found.nbytes
            return found
        return self._last[1]


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Rows C⁽ᵏ⁾ of one batch: four numbers of each, in NumPy.

    Attributes:
        places: in the batch.
        bases: of A_j among the bases.
        factors: k, counted from the first of its block.
        steps: b_jk − a_jk.
    """

    places: Int64[np.ndarray, " n"]
    bases: Int64[np.ndarray, " n"]
    factors: Int64[np.ndarray, " n"]
    steps: Float[np.ndarray, " n"]


@dataclass(frozen=True, slots=True, eq=False)
class _Whole:
    """P_k as whole images."""

    values: Float32[Array, "f c h w"]

    @property
    def nbytes(self) -> int:
        return 4 * math.prod(self.values.shape)

    def write(self, finish: Finish, bases: Array, out: Array, rows: _Rows) -> None:
        """Writes base + step · P_k to ``out``; finished where the policy is pointwise."""
        places, sources, factors = _moved(self.values, rows.places, rows.bases, rows.factors)
        steps = like(rows.steps, self.values)[:, None, None, None]
        _put(finish, out, (places,), bases[sources] + steps * self.values[factors])


@dataclass(frozen=True, slots=True, eq=False)
class _Tiles:
    """P_k on the tiles where it is not 0, factor by factor.

    Attributes:
        values: of every tile.
        rows, columns: of its pixels. A tile at the border repeats the last row or column; both carry the same value.
        ends: of every factor's tiles, after a leading 0; in NumPy.
    """

    values: Float32[Array, "m c t t"]
    rows: Int64[Array, "m t"]
    columns: Int64[Array, "m t"]
    ends: Int64[np.ndarray, " f1"]

    @property
    def nbytes(self) -> int:
        return 4 * math.prod(self.values.shape) + 16 * math.prod(self.rows.shape)

    def write(self, finish: Finish, bases: Array, out: Array, rows: _Rows) -> None:
        """Writes base + step · P_k to the tiles of ``out``; finished where the policy is pointwise."""
        starts = self.ends[rows.factors]
        counts = self.ends[rows.factors + 1] - starts
        row = np.repeat(np.arange(len(counts)), counts)
        tile = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts - starts, counts)
        places, sources, tiles = _moved(self.values, rows.places[row], rows.bases[row], tile)
        xp = namespace(self.values)
        channels = xp.arange(out.shape[1], device=self.values.device)[:, None, None]
        pixels = (channels, self.rows[tiles][:, None, :, None], self.columns[tiles][:, None, None, :])
        steps = like(rows.steps[row], self.values)[:, None, None, None]
        base = bases[(sources[:, None, None, None], *pixels)]
        _put(finish, out, (places[:, None, None, None], *pixels), base + steps * self.values[tiles])


_Changes = _Whole | _Tiles


def _changes(alone: Float32[Array, "f c h w"]) -> _Changes:
    """The form that suits P_k of a block: tiles where they are small, else whole images."""
    xp, device = namespace(alone), alone.device
    height, width = alone.shape[-2:]
    rows, columns = (xp.asarray(_tiled(side), device=device) for side in (height, width))
    tiles = alone[:, :, rows[:, None, :, None], columns[None, :, None, :]]  # (f, c, tall, wide, t, t)
    touched: Bool[np.ndarray, "f tall wide"] = _host(xp.any(tiles != 0, axis=(1, 4, 5)))
    if touched.mean() > DENSE:
        return _Whole(alone)
    factor, y, x = np.nonzero(touched)
    ends = np.concatenate([[0], np.cumsum(touched.sum(axis=(1, 2)))])
    at_factor, at_y, at_x = _moved(alone, factor, y, x)
    return _Tiles(tiles[at_factor, :, at_y, at_x], rows[at_y], columns[at_x], ends)


def _tiled(side: int) -> Int64[np.ndarray, "tiles t"]:
    """The pixels of every tile along an axis; beyond the border the last one again."""
    count = -(-side // TILE_PX)
    return np.minimum(np.arange(count * TILE_PX).reshape(count, TILE_PX), side - 1)


def _put(finish: Finish, out: Array, at: tuple[Array, ...], values: Array) -> None:
    out[at] = finish(values) if finish.pointwise else values


def _moved(reference: Array, *indices: np.ndarray) -> Array:
    """NumPy indices of one length on the device of ``reference``, in one copy."""
    return namespace(reference).asarray(np.stack(indices), device=reference.device)


def _host(array: Array) -> np.ndarray:
    return np.asarray(array_api_compat.to_device(array, "cpu"))
