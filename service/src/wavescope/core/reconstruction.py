"""Sufficient image: ranking of factors, reconstruction depth, and the kept part of the transform.

Source: paper, section 4.2 and appendix B.3. A coefficient there is a factor here (a cell of the grid).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Int32

from wavescope.core.partition import Partition

Outcome = Literal["sufficient", "empty_suffices", "none_suffices"]

# An index below this part of the largest is 0 on the 8-bit map that the authors draw and rank.
POSITIVE = 1 / 255
# Coefficients are stored as multiples of this, the step of an 8-bit image: orthogonal wavelets keep an error's size.
QUANTUM = 1 / 255


@dataclass(frozen=True, slots=True)
class Kept:
    """Kept part of the transform of an image of some factors.

    Attributes:
        coefficients: number of coefficients (all channels) that are kept.
        coefficients_total: number of all.
        energy_share: sum of squares of the kept ones over that of all, 0..1; 1 for an image without any energy.
        compressed_bytes: size of the kept ones, rounded to integers of 1/255 and deflated, with the list of factors.
        compressed_bytes_total: the same for all coefficients.
    """

    coefficients: int
    coefficients_total: int
    energy_share: float
    compressed_bytes: int
    compressed_bytes_total: int


def rank(total: Float[np.ndarray, " k"]) -> Int32[np.ndarray, " k"]:
    """Factors by exact index, largest first; ties in factor order."""
    return np.argsort(-total, kind="stable").astype(np.int32)


def positive(total: Float[np.ndarray, " k"]) -> int:
    """Number of factors with a positive index: above 1/255 of the largest. They come first in :func:`rank`.

    Jansen's estimator makes every index positive, so that the bare sign would keep all. 0 where no index exceeds 0.
    """
    return int((total > total.max() * POSITIVE).sum())


def depth(predicted: Int[np.ndarray, " n"], target: int) -> tuple[Outcome, int | None]:
    """Reconstruction depth: the smallest n whose image, of the n top factors alone, has the target's label.

    The probability need not grow with n, so that no n is inferred from another.

    Args:
        predicted: (K + 1,) the class predicted for n = 0..K.
        target: the class asked for.

    Returns:
        ``empty_suffices`` with 0 where the image of no factor has the label already; else ``sufficient`` with n >= 1;
        ``none_suffices`` with ``None`` where no n does.
    """
    found = np.flatnonzero(predicted == target)
    if found.size == 0:
        return "none_suffices", None
    n = int(found[0])
    return ("empty_suffices" if n == 0 else "sufficient"), n


def kept(
    coefficients: Float[np.ndarray, "c H W"], partition: Partition, factors: Int[np.ndarray, " n"]
) -> Kept:
    """Measures the kept part of the image of ``factors`` alone.

    Coefficients of no factor are kept where the partition holds them (``approximation: keep``), lost where it does not.

    Args:
        coefficients: packed, of an image in [0, 1].
        partition: of the packed array.
        factors: the kept ones, in any order.
    """
    chosen = np.zeros(partition.n_factors, dtype=np.bool_)
    chosen[factors] = True
    every = np.ones(partition.n_factors, dtype=np.bool_)
    inside = _coefficients_of(partition, chosen, partition.held == 1.0)
    squares = coefficients.astype(np.float64) ** 2
    energy, energy_total = float(squares[:, inside].sum()), float(squares.sum())
    return Kept(
        coefficients=int(inside.sum()) * len(coefficients),
        coefficients_total=coefficients.size,
        # Sums in different orders may differ by rounding.
        energy_share=min(1.0, energy / energy_total) if energy_total else 1.0,
        compressed_bytes=len(deflated(coefficients, inside, chosen)),
        compressed_bytes_total=len(deflated(coefficients, np.ones_like(inside), every)),
    )


def deflated(
    coefficients: Float[np.ndarray, "c H W"], inside: Bool[np.ndarray, "H W"], chosen: Bool[np.ndarray, " k"]
) -> bytes:
    """The coefficients at ``inside``, channel by channel and row-major, after the bit list of factors; zlib, level 9.

    Integers are 16 bits wide, or 32 where any coefficient of the array needs it, so that parts of it compare.

    Args:
        coefficients: packed, in units of an image in [0, 1].
        inside: which coefficients.
        chosen: which factors, for the list.
    """
    steps = np.rint(coefficients.astype(np.float64) / QUANTUM)
    width = "<i2" if float(np.abs(steps).max()) <= np.iinfo(np.int16).max else "<i4"
    values = steps[:, inside].astype(width)
    return zlib.compress(np.packbits(chosen).tobytes() + values.tobytes(), level=9)


def _coefficients_of(
    partition: Partition, chosen: Bool[np.ndarray, " k"], unassigned: bool
) -> Bool[np.ndarray, "H W"]:
    """Mask of the coefficients of the chosen factors; coefficients of no factor count as ``unassigned`` says."""
    return np.append(chosen, unassigned)[partition.factors]  # -1 picks the appended value
