"""Importance sampling of base rows: which rows of A a factor is perturbed from, and the weight of each.

The effect of a factor is large where the score is sensitive: for a probability, where it is neither 0 nor 1. And it is
large where its mask value changes by much: a_jk - b_jk is known of all rows before any is scored. Rows are drawn in
proportion to both, and each draw is weighted by 1 / (M q_j), so that the mean over draws estimates the mean over all M
rows without bias (Hansen and Hurwitz 1943, doi:10.1214/aoms/1177731356). Draws follow a van der Corput sequence through
the cumulated probabilities, so that the first 4, 8, 16, … are spread evenly: a factor that is drawn longer keeps its
earlier rows. Every factor begins elsewhere in them: what one row has in common for many factors then averages out of
their sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Int

# Keeps the stream of the draws apart from others that are drawn from the same seed.
DRAWS_STREAM = 0x64726177
FIRST = 4
# Of what the score's sensitivity decides, every row keeps a quarter of an even chance: that part of a weight is at most
# 4. The change of the mask value adds up to some hundreds, where it hardly changes and the effect is near 0.
EVEN = 0.25
# Draws at most, in numbers of rows.
LONGEST = 8
# Squared effects grow with this power of the change of the mask value: 1.4 on photographs, 2 of a linear score. A row
# where it hardly changes is drawn as if it changed by so much.
STEP_POWER, LEAST_STEP = 1.5, 0.02


@dataclass(frozen=True, slots=True, eq=False)
class ImportanceSample:
    """Importance sample of base rows for one factor, in the order of drawing.

    Attributes:
        order: (d,) row of A of every draw.
        weight: (M,) of a draw of each row: 1 / (M q_j).
        lengths: (blocks + 1,) draws after each block, 0 first; every block brings rows that were not drawn before.
        distinct: (blocks + 1,) how many rows are among them.
        effective: (blocks + 1,) how many independent rows the draws are worth: n² / Σ_j (times j was drawn)².
    """

    order: Int[np.ndarray, " d"]
    weight: Float[np.ndarray, " m"]
    lengths: Int[np.ndarray, " blocks"]
    distinct: Int[np.ndarray, " blocks"]
    effective: Float[np.ndarray, " blocks"]

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self.lengths) - 1

    def cost(self, block: int) -> int:
        """Count the rows that the next block after ``block`` blocks brings."""
        return int(self.distinct[block + 1] - self.distinct[block])

    def rows(self, block: int) -> Int[np.ndarray, " _"]:
        """The rows drawn after ``block`` blocks, each once, in ascending order."""
        return np.unique(self.order[: self.lengths[block]])

    def times(self, block: int) -> Int[np.ndarray, " m"]:
        """Count how often every row is drawn in ``block`` blocks."""
        return np.bincount(self.order[: self.lengths[block]], minlength=len(self.weight))


def draw_rows(
    sensitivity: Float[np.ndarray, " m"],
    seed: int,
    *,
    factor: int = 0,
    expected: Float[np.ndarray, " m"] | None = None,
) -> ImportanceSample:
    """Draws rows in proportion to their sensitivity and to the effect expected of the factor there.

    Args:
        sensitivity: (M,) at least 0, not all 0.
        seed: moves where the draws begin.
        factor: does so as well.
        expected: (M,) above 0; ``None`` for all alike. See :func:`expected_effects`.
    """
    count = len(sensitivity)
    chance = (1 - EVEN) * sensitivity / sensitivity.sum() + EVEN / count
    if expected is not None:
        chance = chance * expected
        chance = chance / chance.sum()
    blocks = int(np.log2(LONGEST * count / FIRST)) + 1
    sequence = van_der_corput(FIRST * 2 ** (blocks - 1))
    begin = np.random.default_rng([DRAWS_STREAM, seed, factor]).random()
    order = np.searchsorted(np.cumsum(chance), (sequence + begin) % 1, side="right").clip(0, count - 1)
    lengths, distinct, effective = [0], [0], [0.0]
    for block in range(blocks):
        length = FIRST * 2**block
        times = np.bincount(order[:length], minlength=count)
        if np.count_nonzero(times) == distinct[-1]:
            continue
        lengths.append(length)
        distinct.append(int(np.count_nonzero(times)))
        effective.append(length**2 / float((times**2).sum()))
    return ImportanceSample(
        order, 1 / (count * chance), np.asarray(lengths), np.asarray(distinct), np.asarray(effective)
    )


def expected_effects(step: Float[np.ndarray, "m k"]) -> Float[np.ndarray, "m k"]:
    """Squared effects of factors at rows, up to a constant each, as the changes of their mask values let expect them.

    Args:
        step: a_jk − b_jk.
    """
    return np.maximum(np.abs(step), LEAST_STEP) ** STEP_POWER


@cache
def van_der_corput(count: int) -> Float[np.ndarray, " count"]:
    """The first points of van der Corput's sequence of base 2: 0, 1, 2 … with their binary digits mirrored."""
    index = np.arange(count)
    points = np.zeros(count)
    for digit in range(count.bit_length()):
        points += (index >> digit & 1) * 0.5 ** (digit + 1)  # exact
    points.flags.writeable = False  # shared
    return points


def sensitivity(score: str, rows: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Expected size of the effects of factors at each row: p (1 − p) for a probability, else all alike.

    A logistic score p = σ(z) moves by p (1 − p) dz. At p = 0 and 1 it still moves a little: a millionth.
    """
    if score != "probability":
        return np.ones(len(rows))
    return np.maximum(rows * (1 - rows), 1e-6 * np.max(rows * (1 - rows), initial=1e-12))
