"""Perturbed images from rows of a design or from masks, by one code for every array library and every transform.

Rows are numbered design row by design row: row j·(K + 2) is A_j, the next B_j, then C_j⁽¹⁾ … C_j⁽ᴷ⁾, so that every two
design rows give a whole partial map. Rendering is linear in the mask, and C_j⁽ᵏ⁾ differs from A_j in factor k alone:

    render(C_j⁽ᵏ⁾) = render(A_j) + (b_jk − a_jk) · P_k

with P_k the inverse transform of factor k's coefficients alone. Only A and B need a full inverse; what leaves [0, 1] is
dealt with after this sum, by the value policy, and then normalised for the model. What is masked and how it becomes an
image is the business of a :class:`Synthesis`, one per transform.

On a CPU images are rendered one by one, each touched on the support of P_k alone while it is in the processor's cache.
On an accelerator a :class:`~wavescope.core.rendering.batch_renderer.BatchRenderer` renders the whole batch in a few
operations.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Float32

from wavescope.core.arrays import Array, namespace
from wavescope.core.rendering import batch_renderer
from wavescope.core.rendering.batch_renderer import BatchRenderer
from wavescope.core.rendering.masks import PickFreezeRows
from wavescope.core.rendering.synthesis import Finish, Patch, Synthesis
from wavescope.core.rendering.synthesis import ValuePolicy as ValuePolicy
from wavescope.core.sobol.design import Design

CACHE_BYTES = 64 * 2**20


class Renderer:
    """Renders rows of one image, transform, partition and design.

    Memory is bounded by the batch asked for and ``cache_bytes``, never by N·K: P_k are kept until the cache is full
    and recomputed beyond. The same row has the same bits whatever the batch it is rendered in.

    Args:
        synthesis: the image in its transform.
        n_factors: K of its partition.
        finish: value policy and normalisation; on the library and the device of ``synthesis``.
        cache_bytes: bound on the P_k kept; ``None`` takes 64 MiB on a CPU, 256 MiB on an accelerator.
        batched: render whole batches at once; ``None`` does so on an accelerator.
    """

    def __init__(
        self,
        synthesis: Synthesis,
        n_factors: int,
        finish: Finish,
        *,
        cache_bytes: int | None = None,
        batched: bool | None = None,
    ) -> None:
        self.finish = finish
        self._synthesis = synthesis
        self._n_factors = n_factors
        self._batches: BatchRenderer | None = None
        if _on_accelerator(finish.mean) if batched is None else batched:
            limit = batch_renderer.CACHE_BYTES if cache_bytes is None else cache_bytes
            self._batches = BatchRenderer(synthesis, n_factors, finish, cache_bytes=limit)
        self._cache: dict[int, list[Patch]] = {}
        self._cache_left = CACHE_BYTES if cache_bytes is None else cache_bytes
        self._kept: tuple[Design, int, Array, Array] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of a render."""
        return self._synthesis.shape

    def clean(self) -> Float32[Array, "c h w"]:
        """The unperturbed image, as the transform gives it back."""
        return self._synthesis.clean()

    def plain(self, mask: Float[np.ndarray, " k"]) -> Float32[Array, "c h w"]:
        """The unclipped render of one mask row (the path the shortcut is held against)."""
        return self._synthesis.plain(mask)

    def image(self, mask: Float[np.ndarray, " k"]) -> Float32[Array, "c h w"]:
        """The image that one mask row gives, for people: after the value policy, not normalised."""
        return self.finish.values(self.plain(mask))

    def masks(
        self, masks: Float[np.ndarray, "n k"], out: Float32[Array, "_ c h w"] | None = None
    ) -> Float32[Array, "n c h w"]:
        """Renders any mask rows, each in full, finished for the model.

        Args:
            masks: (n, K), a mask value per factor.
            out: where to write, (n, c, h, w) or more rows; a new array if ``None``.

        Returns:
            (n, c, h, w).
        """
        rendered = self._room(len(masks), out)
        if self._batches is not None:
            self._batches.masks(masks, rendered)
            return rendered
        for place, mask in enumerate(masks):
            rendered[place, ...] = self.finish(self.plain(mask))
        return rendered

    def with_plain(
        self, masks: Float[np.ndarray, "n k"]
    ) -> tuple[Float32[Array, "n c h w"], Float32[Array, "n c h w"]]:
        """The unclipped renders of mask rows, and the same finished for the model."""
        plain = self._synthesis.plain(masks)
        return plain, self.finish(plain)

    def mask_derivatives(
        self, plain: Float32[Array, "n c h w"], gradients: Float32[Array, "n c h w"]
    ) -> Float[np.ndarray, "n k"]:
        """Derivatives by every mask value: ⟨∂f/∂x, P_k⟩, the derivative through the value policy.

        Args:
            plain: unclipped renders of mask rows.
            gradients: derivatives of f by the pixels of what the value policy makes of them.

        Returns:
            (n, K), double precision.
        """
        return self._synthesis.inner_products(self.finish.pull_back(plain, gradients))

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
        rendered = self._room(stop - start, out)
        if self._batches is not None:
            self._batches.rows(design, start, rendered)
            return rendered
        for place, row in enumerate(range(start, stop)):
            j, column = divmod(row, self._n_factors + 2)
            if column == 1:
                rendered[place, ...] = self.finish(self.plain(design.b[j]))
                continue
            self._frozen(design, j, column - 2, rendered[place, ...])
        return rendered

    def pick_freeze(
        self,
        design: Design,
        rows: PickFreezeRows,
        start: int,
        stop: int,
        out: Float32[Array, "_ c h w"] | None = None,
    ) -> Float32[Array, "n c h w"]:
        """Renders pick-freeze rows start..stop of an adaptive plan; arguments as :meth:`rows`."""
        rendered = self._room(stop - start, out)
        if self._batches is not None:
            self._batches.masks(np.stack([rows.mask(design, row) for row in range(start, stop)]), rendered)
            return rendered
        for place, row in enumerate(range(start, stop)):
            j, factor = int(rows.base[row]), int(rows.substituted[row])
            if factor >= self._n_factors:
                rendered[place, ...] = self.finish(self.plain(rows.mask(design, row)))
                continue
            self._frozen(design, j, factor, rendered[place, ...])
        return rendered

    def patches(self, factor: int) -> list[Patch]:
        """P_k as disjoint rectangles, from the cache where it is there."""
        kept = self._cache.get(factor)
        if kept is not None:
            return kept
        patches = self._synthesis.patches(factor)
        cost = sum(4 * math.prod(patch.values.shape) for patch in patches)
        # Rows come in order of k, so evicting the oldest would miss every time; the first that fit stay.
        if cost <= self._cache_left:
            self._cache[factor] = patches
            self._cache_left -= cost
        return patches

    def _room(self, count: int, out: Array | None) -> Array:
        if out is not None:
            return out[:count, ...]
        xp = namespace(self.finish.mean)
        return xp.empty((count, *self.shape), dtype=xp.float32, device=self.finish.mean.device)

    def _base(self, design: Design, j: int) -> tuple[Array, Array]:
        """A_j before and after ``finish``. Kept for the next call: a design row is many batches long."""
        if self._kept is None or self._kept[0] is not design or self._kept[1] != j:
            self._kept = None  # its memory first
            base = self.plain(design.a[j])
            self._kept = (design, j, base, self.finish(base))
        return self._kept[2], self._kept[3]

    def _frozen(self, design: Design, j: int, factor: int, out: Array) -> None:
        """Writes C_j of one factor, or A_j itself for a negative one."""
        base, finished = self._base(design, j)
        if factor < 0:
            out[...] = finished
        else:
            step = float(design.b[j, factor] - design.a[j, factor])
            self._picked(base, finished, factor, step, out)

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


def _on_accelerator(array: Array) -> bool:
    # A torch device is an object with a type, NumPy's is the word.
    return getattr(array.device, "type", array.device) != "cpu"
