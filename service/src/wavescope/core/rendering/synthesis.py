"""Synthesis of images from mask rows, and their value policy and normalisation for the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int, Int32

from wavescope.core.arrays import Array, namespace, to_numpy
from wavescope.core.partition import factor_sums

ValuePolicy = Literal["clip", "minmax", "none"]


@dataclass(frozen=True, slots=True, eq=False)
class Finish:
    """Finishing of an unclipped render for the model: the value policy, then (x − mean) / std.

    Attributes:
        policy: ``clip`` to [0, 1]; ``minmax`` stretches each whole image to [0, 1]; ``none`` leaves it.
        mean, std: (channels, 1, 1), in units of [0, 1].
    """

    policy: ValuePolicy
    mean: Float32[Array, "c 1 1"]
    std: Float32[Array, "c 1 1"]

    @property
    def pointwise(self) -> bool:
        """Whether a pixel's result depends on that pixel alone."""
        return self.policy != "minmax"

    def values(self, images: Float32[Array, "*n c h w"]) -> Float32[Array, "*n c h w"]:
        """The value policy alone: images in [0, 1], unless the policy is ``none``."""
        xp = namespace(images)
        if self.policy == "clip":
            return xp.clip(images, 0.0, 1.0)
        if self.policy == "minmax":
            low, high = (of(images, axis=(-3, -2, -1), keepdims=True) for of in (xp.min, xp.max))
            # A flat image has no contrast to stretch; dividing by 1 leaves it black instead of NaN.
            return (images - low) / xp.where(high > low, high - low, xp.ones_like(high))
        return images

    def __call__(self, images: Float32[Array, "*n c h w"]) -> Float32[Array, "*n c h w"]:
        return (self.values(images) - self.mean) / self.std

    def pull_back(
        self, images: Float32[Array, "*n c h w"], gradients: Float32[Array, "*n c h w"]
    ) -> Float32[Array, "*n c h w"]:
        """Derivatives by unclipped renders, from those by what :meth:`values` makes of them: the chain rule.

        0 where a value is clipped, 0 and 1 themselves among them, as torch has it. ``minmax`` moves with its extremes,
        which share their part where several pixels are extreme.

        Args:
            images: the unclipped renders.
            gradients: derivatives by ``values(images)``.
        """
        xp = namespace(images)
        if self.policy == "clip":
            return xp.where((images > 0.0) & (images < 1.0), gradients, xp.zeros_like(gradients))
        if self.policy != "minmax":
            return gradients
        axes = (-3, -2, -1)
        low, high = (of(images, axis=axes, keepdims=True) for of in (xp.min, xp.max))
        flat = high <= low
        span = xp.where(flat, xp.ones_like(high), high - low)
        at_low, at_high = (xp.astype(images == end, images.dtype) for end in (low, high))
        whole = xp.sum(gradients, axis=axes, keepdims=True)
        stretched = xp.sum(gradients * (images - low) / span, axis=axes, keepdims=True)
        stretched = xp.where(flat, xp.zeros_like(stretched), stretched)
        by_low = (stretched - whole) / xp.sum(at_low, axis=axes, keepdims=True)
        by_high = -stretched / xp.sum(at_high, axis=axes, keepdims=True)
        return (gradients + at_low * by_low + at_high * by_high) / span


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A rectangle of P_k in the image, and its values."""

    rows: slice
    columns: slice
    values: Float32[Array, "c h w"]


@runtime_checkable  # for the type checks under pytest
class Synthesis(Protocol):
    """One image in one transform and partition: from mask rows to the images they give, before any clipping.

    Linear: ``plain(a + t·e_k)`` is ``plain(a)`` with t times P_k added, to float32 rounding. P_k is had in two ways:
    as ``patches(k)``, for one image at a time, and as ``alone``, for many factors in one go.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        ...

    def clean(self) -> Float32[Array, "c h w"]:
        """The unperturbed image."""
        ...

    def plain(self, masks: Float[np.ndarray, "*n k"]) -> Float32[Array, "*n c h w"]:
        """The unclipped renders of mask rows, in full."""
        ...

    def patches(self, factor: int) -> list[Patch]:
        """P_k as disjoint rectangles."""
        ...

    def alone(self, first: int, stop: int) -> Float32[Array, "n c h w"]:
        """P_k of factors first..stop, in full; exactly 0 outside their support."""
        ...

    def inner_products(self, images: Float32[Array, "n c h w"]) -> Float[np.ndarray, "n k"]:
        """⟨x, P_k⟩ of every image with every P_k: of gradients, the derivatives by the mask values."""
        ...


def sums_by_factor(
    values: Float32[Array, "n h w"], factors: Int[np.ndarray, "h w"], n_factors: int
) -> Float[np.ndarray, "n k"]:
    """Σ of values by factor, in double precision; those of no factor are left out.

    Args:
        values: in any library.
        factors: 0..K−1; −1 and K for none.
        n_factors: K.
    """
    return np.stack([factor_sums(row, factors, n_factors) for row in to_numpy(values)])


def members(factors: Int32[Array, "h w"], first: int, stop: int) -> Float32[Array, "n 1 h w"]:
    """1 where the factor is first, first + 1 …, one plane each; 0 elsewhere."""
    xp = namespace(factors)
    wanted = xp.arange(first, stop, dtype=factors.dtype, device=factors.device)
    return xp.astype(factors == wanted[:, None, None, None], xp.float32)
