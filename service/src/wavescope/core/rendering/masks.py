"""Mask rows other than a full pick-freeze sample, as specifications of a few kilobytes.

A mask value says how much is kept: 1 keeps a factor, 0 removes it. Rows are made where they are rendered, any range of
them at a time; the same row is the same bits whatever range it is asked in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int32

from wavescope.core.sobol.design import Design

# Keeps the stream of the subsets apart from others that are drawn from the same seed.
SUBSETS_STREAM = 0x73756273


@dataclass(frozen=True, slots=True, eq=False)
class NestedMasks:
    """Nested sets of the top factors: insertion, deletion and reconstruction (paper, section 4.2, appendix A.1.2).

    Attributes:
        order: (K,) every factor once, most important first.
        counts: (m,) how many of ``order`` row i takes, each 0..K, in any sequence.
        keep: ``True`` keeps the taken factors alone, ``False`` removes them and keeps the others.
    """

    order: Int32[np.ndarray, " k"]
    counts: Int32[np.ndarray, " m"]
    keep: bool = True

    @property
    def n_factors(self) -> int:
        return len(self.order)

    @property
    def count(self) -> int:
        return len(self.counts)

    def masks(self, start: int, stop: int) -> Float32[np.ndarray, "n k"]:
        """Rows ``start`` to ``stop`` (excluded)."""
        rank = np.empty(self.n_factors, dtype=np.int32)
        rank[self.order] = np.arange(self.n_factors, dtype=np.int32)
        taken = rank < self.counts[start:stop, None]
        return (taken if self.keep else ~taken).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class RandomSubsets:
    """Random subsets of factors removed, the rest kept: µ-fidelity (paper, appendix A.2.2).

    Attributes:
        n_factors: K.
        size: factors that a row removes, 0..K; drawn without replacement.
        count: rows.
        seed: each row has a generator of its own, made from this and the row's index; at least 0.
    """

    n_factors: int
    size: int
    count: int
    seed: int

    def masks(self, start: int, stop: int) -> Float32[np.ndarray, "n k"]:
        """Rows ``start`` to ``stop`` (excluded)."""
        rows = np.ones((stop - start, self.n_factors), dtype=np.float32)
        for mask, row in zip(rows, range(start, stop), strict=True):
            generator = np.random.default_rng([SUBSETS_STREAM, row, self.seed])
            mask[generator.permutation(self.n_factors)[: self.size]] = 0
        return rows


@dataclass(frozen=True, slots=True, eq=False)
class PickFreezeRows:
    """Pick-freeze rows: A_j with the columns of one factor, or of a group of them, from B_j; of an adaptive plan.

    The design is the plan's own; 8 bytes a row travel.

    Attributes:
        base: (m,) j of every row.
        substituted: (m,) whose columns are taken from B: a factor 0..K−1; K + g for group g; −1 for A_j itself.
        groups: the factors of each group.
    """

    base: Int32[np.ndarray, " m"]
    substituted: Int32[np.ndarray, " m"]
    groups: tuple[Int32[np.ndarray, " _"], ...] = ()

    @property
    def count(self) -> int:
        return len(self.base)

    def mask(self, design: Design, row: int) -> Float[np.ndarray, " k"]:
        """Mask values of one row."""
        j, substituted = int(self.base[row]), int(self.substituted[row])
        values = design.a[j].copy()
        if substituted >= 0:
            columns = (
                self.groups[substituted - design.n_factors]
                if substituted >= design.n_factors
                else [substituted]
            )
            values[columns] = design.b[j, columns]
        return values


@dataclass(frozen=True, slots=True, eq=False)
class DerivativeRows:
    """Rows A_j whose derivatives by every mask value are wanted, of an adaptive plan.

    In the place of scores of classes a row has K columns: of the one class that is asked for.

    Attributes:
        base: (m,) j of every row.
    """

    base: Int32[np.ndarray, " m"]

    @property
    def count(self) -> int:
        return len(self.base)
