"""Scores of a plan by row: a pure update, a union, a fold in row order.

The result never depends on the order in which chunks arrive, nor on a chunk that arrives twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, slots=True, eq=False)
class Scoreboard:
    """Scores so far, NaN where a row has none.

    Attributes:
        scores: (N(K + 2),) float64, design row by design row: A_j, B_j, C_j⁽¹⁾ … C_j⁽ᴷ⁾.
        n_factors: K.
    """

    scores: Float[np.ndarray, " rows"]
    n_factors: int

    @property
    def done(self) -> int:
        """Rows scored."""
        return int(np.count_nonzero(~np.isnan(self.scores)))

    def pick_freeze(
        self,
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, "k n"]]:
        """(f_a, f_b, f_c) of the complete design rows, from the first on."""
        table = self.scores.reshape(-1, self.n_factors + 2)
        complete = table[~np.isnan(table).any(axis=1)]
        return complete[:, 0], complete[:, 1], np.ascontiguousarray(complete[:, 2:].T)


def empty(rows: int, n_factors: int) -> Scoreboard:
    """A board with no scores."""
    return Scoreboard(np.full(rows, np.nan), n_factors)


def update(board: Scoreboard, start: int, values: Float[np.ndarray, " n"]) -> Scoreboard:
    """The board with rows start.. scored; the same chunk again changes nothing."""
    scores = board.scores.copy()
    scores[start : start + len(values)] = values
    return Scoreboard(scores, board.n_factors)


def merge(one: Scoreboard, other: Scoreboard) -> Scoreboard:
    """Union of the rows scored in either."""
    return Scoreboard(np.where(np.isnan(one.scores), other.scores, one.scores), one.n_factors)
