"""Scores by row: a pure update, a union, a fold in row order.

The result never depends on the order in which chunks arrive, nor on a chunk that arrives twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int32

from wavescope.core.rendering.masks import DerivativeRows
from wavescope.core.scores import Column
from wavescope.core.sobol.estimators import Scores
from wavescope.engine.plan import Plan, Stack

NOT_SCORED = -1


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Scores of rows, and the class the model gave each.

    Attributes:
        values: (rows, targets) float64, NaN where a row has no score yet. Of ``DerivativeRows`` (rows, K): derivatives
            by every mask value, which need not be finite.
        predicted: (rows,) int32, the class of the largest output, -1 where a row has no score yet.
        confidence: (rows,) float64, the probability of that class.
    """

    values: Float[np.ndarray, "rows t"]
    predicted: Int32[np.ndarray, " rows"]
    confidence: Float[np.ndarray, " rows"]

    @property
    def done(self) -> int:
        """Rows scored."""
        return int(np.count_nonzero(self.predicted != NOT_SCORED))

    def complete(self, width: int) -> int:
        """Number of groups of ``width`` rows that are complete, from the first on: design rows, at a width of K + 2."""
        whole = self.complete_rows(width)
        return len(whole) if whole.all() else int(np.argmin(whole))

    def complete_rows(self, width: int) -> Bool[np.ndarray, " n"]:
        """(N,) which groups of ``width`` rows are complete: design rows, at a width of K + 2."""
        return (self.predicted.reshape(-1, width) != NOT_SCORED).all(axis=1)

    def head(self, rows: int) -> Scored:
        """The first rows alone."""
        return Scored(self.values[:rows], self.predicted[:rows], self.confidence[:rows])

    def pick_freeze(self, n_factors: int, target: int) -> Scores:
        """Scores of one target from the complete design rows, from the first on.

        Args:
            n_factors: K; rows are A_j, B_j, C_j⁽¹⁾ … C_j⁽ᴷ⁾, design row by design row.
            target: column of ``values``.
        """
        width = n_factors + 2
        complete = self.values[:, target].reshape(-1, width)[self.complete_rows(width)]
        return Scores(complete[:, 0], complete[:, 1], np.ascontiguousarray(complete[:, 2:].T))


def width(work: Plan | Stack, rows: object, targets: Sequence[Column]) -> int:
    """Columns of the board of a scoring call: one for each target, or the derivative by every factor's mask value."""
    if isinstance(rows, DerivativeRows):
        assert isinstance(work, Plan)
        return work.n_factors
    return len(targets)


def empty(rows: int, width: int) -> Scored:
    """A board with no scores."""
    nothing = np.full(rows, np.nan)
    return Scored(np.full((rows, width), np.nan), np.full(rows, NOT_SCORED, dtype=np.int32), nothing)


def update(board: Scored, start: int, chunk: Scored) -> Scored:
    """The board with rows start.. scored; the same chunk again changes nothing."""
    stop = start + len(chunk.predicted)

    def put(whole: np.ndarray, part: np.ndarray) -> np.ndarray:
        whole = whole.copy()
        whole[start:stop] = part
        return whole

    return _fieldwise(put, board, chunk)


def join(chunks: list[Scored]) -> Scored:
    """Chunks of consecutive rows as one."""
    return _fieldwise(lambda *parts: np.concatenate(parts), *chunks)


def missing(board: Scored) -> list[tuple[int, int]]:
    """Row ranges that have no scores yet, each as long as can be, in order."""
    steps = np.diff(np.concatenate([[0], board.predicted == NOT_SCORED, [0]]).astype(np.int8))
    return list(zip(np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist(), strict=True))


def _fieldwise(combine: Callable[..., np.ndarray], *boards: Scored) -> Scored:
    return Scored(
        combine(*(board.values for board in boards)),
        combine(*(board.predicted for board in boards)),
        combine(*(board.confidence for board in boards)),
    )
