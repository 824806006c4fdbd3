"""An adaptive plan as a pure state: which rows to score next, and the total indices so far.

The rows of A come first: they give V, and say which of them tell most (:mod:`wavescope.core.draws`). Then whole
sub-bands, and their quarters where that is cheap, are perturbed together: max S_Ti ≤ S_T(G), so that a group's index
bounds every member's, and Σ S_Ti ≥ S_T(G), so that it tells about their sum. Then round by round single factors get
another block of base rows, those first whose index becomes more certain by most per forward. What all of it says of
every factor is the posterior of a :class:`wavescope.core.field.Field`.

Indices are Jansen's: S_Tk = Σ_j w_j (f(A_j) − f(C_j⁽ᵏ⁾))² / (2 n V) over the n draws j of the factor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from wavescope.core.draws import make_draws, sensitivity
from wavescope.core.estimators import variance
from wavescope.core.field import Field, Measured
from wavescope.core.traits import Traits
from wavescope.core.worth import reliability

NORMAL_95 = 1.96
# Ends of intervals and bounds in standard deviations: errors have heavier tails than a normal's. On scores of known
# indices 0.87 to 0.97 of the 20 largest are held by intervals so wide, 0.76 to 0.91 by those of 1.96.
WIDE_95 = 2.5
# Squared coefficient of variation of the weighted squared differences of one factor, or of a group, over base rows;
# before anything is measured, as of this many rows.
FACTOR_SPREAD, GROUP_SPREAD = 10.0, 4.0
SPREAD_ROWS = 20
# Logarithms of what is measured reach this far below the largest: a factor that never acts has none.
REACH = 10.0
# A round takes at least so many forwards, and half of what was spent before: few enough rounds to be quick, enough to
# learn from. Results hardly depend on it.
ROUND, ROUND_SHARE = 48, 0.5
# Quarters of sub-bands are perturbed where they cost at most this share of the budget.
QUARTERS_SHARE = 1 / 8
QUARTER_MEMBERS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Picks:
    """Rows to be scored: A_j with the columns of a factor, or of a group of them, from B_j.

    Attributes:
        base: (m,) j.
        moved: (m,) the factor, or K plus the number of the group.
        blocks: (K + groups,) blocks that every factor and group has with them.
    """

    base: Int[np.ndarray, " m"]
    moved: Int[np.ndarray, " m"]
    blocks: Int[np.ndarray, " all"]

    def __len__(self) -> int:
        return len(self.base)


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Total indices so far.

    Attributes:
        total: (K,) mean of the posterior, at most 1; 0 for a factor without effect on any of its rows.
        standard_error: (K,) of ``total``, at most 1, with what all have in common: the errors of V and of the rows.
        interval_95: (K, 2), ending at 1.
        resolved: (K,) perturbed by themselves, or nothing to perturb.
        upper_bound: (K,) the upper end of the interval where resolved; else that of the smallest group around.
    """

    total: Float[np.ndarray, " k"]
    standard_error: Float[np.ndarray, " k"]
    interval_95: Float[np.ndarray, "k 2"]
    resolved: Bool[np.ndarray, " k"]
    upper_bound: Float[np.ndarray, " k"]


@dataclass(frozen=True, slots=True, eq=False)
class _Effects:
    """What was scored of one class.

    Attributes:
        moved: (m,) the factors and groups.
        values: (m, M) weighted (f(A_j) − f(C_j))² / 2; 0 where nothing is scored.
        times: (m, M) how often each row counts.
    """

    moved: Int[np.ndarray, " m"]
    values: Float[np.ndarray, "m rows"]
    times: Int[np.ndarray, "m rows"]

    @property
    def means(self) -> Float[np.ndarray, " m"]:
        """Over all draws: V times Jansen's estimate."""
        return (self.values * self.times).sum(axis=1) / self.times.sum(axis=1)

    def spread(self, which: Bool[np.ndarray, " m"], typical: float) -> float:
        """Squared coefficient of variation over rows, pooled over some of them and ``SPREAD_ROWS`` typical rows."""
        present = self.times[which] > 0
        rows = present.sum(axis=1)
        counts = (rows >= 3) & self.values[which].any(axis=1)
        present, rows, values = present[counts], rows[counts], self.values[which][counts]
        mean = values.sum(axis=1) / rows
        squares = (((values - mean[:, None]) ** 2) * present).sum(axis=1) / (rows - 1)
        total = SPREAD_ROWS * typical + float((rows * squares / mean**2).sum())
        return total / (SPREAD_ROWS + float(rows.sum()))


class Survey:
    """Scores of an adaptive plan as they come, and what follows from them.

    Args:
        traits: of the K factors.
        rows: (M, T) scores of the rows of A, for every class; the first one decides what is scored next.
        score: which scalar they are.
        budget: forwards in all, those of ``rows`` among them.
        seed: of the draws.

    Raises:
        ConstantScore: the first class's score does not vary over the rows.
    """

    def __init__(
        self, traits: Traits, rows: Float[np.ndarray, "m t"], score: str, *, budget: int, seed: int
    ) -> None:
        variance(rows[:, 0], rows[:, 0], over="a")
        self._rows = rows
        self._budget = budget
        self.spent = len(rows)
        self._draws = make_draws(sensitivity(score, rows[:, 0]), seed)
        self._acts = np.flatnonzero(traits.size > 0)
        kept = Traits(*(getattr(traits, name)[self._acts] for name in ("size", "level", "band", "place")))
        self._field = Field(kept) if len(self._acts) else None
        self._inert = traits.size <= 0
        self._kept: tuple[int, Float[np.ndarray, " acts"], Float[np.ndarray, " acts"]] | None = None
        self.n_factors = len(traits.size)
        self.groups = self._make_groups(traits)
        self._block = np.zeros(self.n_factors + len(self.groups), dtype=int)
        # (T, M, K + groups), NaN where nothing is scored.
        self._scores = np.full((rows.shape[1], len(rows), len(self._block)), np.nan)

    @property
    def exhausted(self) -> bool:
        """Whether every factor has had every row."""
        return bool((self._block[self._acts] + 1 >= len(self._draws.lengths)).all())

    def groups_first(self) -> Picks:
        """The rows that perturb groups, as far as the budget goes."""
        blocks = np.zeros_like(self._block)
        cost = int(self._draws.distinct[1])
        affordable = max(self._budget - self.spent, 0) // cost
        blocks[self.n_factors :][:affordable] = 1
        return self._picks(blocks)

    def next_round(self) -> Picks:
        """The rows that tell most next; none when the budget is spent, or every factor has had every row."""
        room = min(self._budget - self.spent, max(ROUND, int(ROUND_SHARE * self.spent)))
        blocks = self._block.copy()
        for factor in self._by_gain() if self._field is not None and room > 0 else []:
            cost = int(np.diff(self._draws.distinct)[blocks[factor]])
            if cost <= room:
                blocks[factor] += 1
                room -= cost
        return self._picks(blocks)

    def take(self, picks: Picks, scores: Float[np.ndarray, "m t"]) -> None:
        """Scores (m, T) of the picks."""
        self._scores[:, picks.base, picks.moved] = scores.T
        self._block = picks.blocks
        self._kept = None
        self.spent += len(picks)

    def estimate(self, target: int = 0) -> Estimate:
        """Indices of one class.

        Raises:
            ConstantScore: its score does not vary over the rows of A.
        """
        variance(self._rows[:, target], self._rows[:, target], over="a")
        total, error = np.zeros(self.n_factors), np.zeros(self.n_factors)
        interval, bound = np.zeros((self.n_factors, 2)), np.zeros(self.n_factors)
        resolved = (self._block[: self.n_factors] > 0) | self._inert
        if self._field is None:
            return Estimate(total, error, interval, resolved, bound)
        sample = self._sample(target)
        measured = self._measured(target, sample)
        mean, var = self._posterior(target, measured)
        common = self._common(target, sample)
        acts = self._acts
        total[acts] = np.minimum(np.exp(mean + var / 2), 1)
        # An error beyond 1 says no more than "unknown".
        error[acts] = np.minimum(total[acts] * np.sqrt(np.expm1(np.minimum(var + common, 50))), 1)
        ends = np.exp(mean[:, None] + np.sqrt(var + common)[:, None] * np.array([-WIDE_95, WIDE_95]))
        interval[acts] = np.minimum(ends, 1)
        # What changed nothing on any of its rows is not known to be more than that.
        still = sample.moved[~sample.values.any(axis=1) & (sample.moved < self.n_factors)]
        total[still], error[still], interval[still, 0] = 0, 0, 0
        bound = np.where(resolved, interval[:, 1], self._bounds(measured, sample, common))
        return Estimate(total, error, interval, resolved, bound)

    def rows(self, target: int = 0) -> Float[np.ndarray, " m"]:
        """(M,) scores of the rows of A of one class."""
        return self._rows[:, target]

    def variance(self, target: int = 0) -> float:
        """V of one class: over the rows of A; at least what the largest effect surely is, for no index exceeds 1."""
        return self._scale(target, self._sample(target))

    def split_half(self, target: int = 0) -> float | None:
        """Spearman's correlation of indices from every other row with those from the others, corrected to all rows.

        Over the factors perturbed by themselves from at least two rows; ``None`` where there are fewer than three or
        all are tied.
        """
        sample = self._sample(target)
        single = (sample.moved < self.n_factors) & ((sample.times > 0).sum(axis=1) >= 2)
        if single.sum() < 3:
            return None
        values, present = sample.values[single], sample.times[single] > 0
        every_other = np.cumsum(present, axis=1) % 2 == 1
        halves = [
            (values * half).sum(axis=1) / half.sum(axis=1)
            for half in (present & every_other, present & ~every_other)
        ]
        return reliability(*halves)

    # ---- measured --------------------------------------------------------------------------------
    def _sample(self, target: int) -> _Effects:
        """What was scored of one class."""
        moved = np.flatnonzero(self._block)
        times = np.stack([self._draws.times(block) for block in range(len(self._draws.lengths))])
        change = self._rows[:, target] - self._scores[target][:, moved].T
        values = np.where(np.isnan(change), 0, change**2 / 2 * self._draws.weight)
        return _Effects(moved, values, times[self._block[moved]])

    def _scale(self, target: int, sample: _Effects) -> float:
        """V: see :meth:`variance`. Where hardly a row of A is sensitive, their own variance is far too small."""
        rows = self._rows[:, target]
        least = sample.means * np.exp(-NORMAL_95 * np.sqrt(self._noise(sample)[0]))
        return max(float(variance(rows, rows, over="a")), float(least.max(initial=0)))

    def _noise(self, sample: _Effects) -> tuple[Float[np.ndarray, " m"], float]:
        """Variances of the logs of all that was measured; and the spread of factors' effects that they follow from."""
        single = sample.moved < self.n_factors
        spread, together = sample.spread(single, FACTOR_SPREAD), sample.spread(~single, GROUP_SPREAD)
        effective = self._draws.effective[self._block[sample.moved]]
        return np.log1p(np.where(single, spread, together) / effective), spread

    def _measured(self, target: int, sample: _Effects) -> Measured:
        """All that was scored, as logarithms with the variances of their errors."""
        index = sample.means / self._scale(target, sample)
        if not index.any():
            return Measured((), index[:0], index[:0])
        place = np.full(self.n_factors, -1)
        place[self._acts] = np.arange(len(self._acts))
        members = tuple(
            place[[moved]] if moved < self.n_factors else place[self.groups[moved - self.n_factors]]
            for moved in sample.moved
        )
        noise, _ = self._noise(sample)
        # A log-normal estimate of mean S has the mean log S − variance / 2.
        log = np.log(np.maximum(index, index.max() * np.exp(-REACH))) + noise / 2
        return Measured(members, log, noise)

    def _posterior(
        self, target: int, measured: Measured
    ) -> tuple[Float[np.ndarray, " acts"], Float[np.ndarray, " acts"]]:
        """Mean and variance of the log indices of the factors that act; kept, for a round asks twice."""
        assert self._field is not None
        if self._kept is None or self._kept[0] != target:
            self._kept = (target, *self._field.posterior(measured))
        return self._kept[1], self._kept[2]

    def _common(self, target: int, sample: _Effects) -> float:
        """Variance of what the logs of all indices have in common: the error of V, and of the base rows drawn."""
        off = self._rows[:, target] - self._rows[:, target].mean()
        count = len(off)
        # V without each row: the jackknife.
        without = (off**2).sum() - off**2 * count / (count - 1)
        logs = np.log(np.maximum(without, 1e-12 * (off**2).sum()))
        error = (count - 1) / count * float(((logs - logs.mean()) ** 2).sum())
        often = (sample.moved < self.n_factors) & sample.values.any(axis=1)
        block = min(2, int(self._block[sample.moved[often]].max(initial=0)))
        often &= self._block[sample.moved] >= block
        drawn = self._draws.rows(block)
        if not often.any() or len(drawn) < 2:
            return error
        effects = sample.values[np.ix_(often, drawn)]
        effects = effects[effects.any(axis=1)]
        gain = (effects / effects.mean(axis=1, keepdims=True)).mean(axis=0)
        return error + (float(gain.var(ddof=1)) / len(drawn) if len(effects) else 0.0)

    def _bounds(self, measured: Measured, sample: _Effects, common: float) -> Float[np.ndarray, " k"]:
        """(K,) the upper end of the interval of the smallest group around each factor, at most 1."""
        bound = np.ones(self.n_factors)
        if not measured.factors:
            return bound
        ends = np.exp(measured.log + WIDE_95 * np.sqrt(measured.variance + common))
        for moved, end in zip(sample.moved, ends, strict=True):
            if moved >= self.n_factors:
                members = self.groups[int(moved) - self.n_factors]
                bound[members] = np.minimum(bound[members], end)
        return bound

    # ---- what next -------------------------------------------------------------------------------
    def _make_groups(self, traits: Traits) -> list[Int[np.ndarray, " _"]]:
        """Sub-bands of several factors; and their quarters, where an eighth of the budget pays for them."""
        whole = [self._acts[traits.band[self._acts] == band] for band in np.unique(traits.band[self._acts])]
        whole = [members for members in whole if len(members) > 1]
        quarters: list[Int[np.ndarray, " _"]] = []
        for group in whole:
            for quarter in range(4):
                inside = np.flatnonzero((traits.band == traits.band[group[0]]) & (traits.quarter == quarter))
                members = inside[traits.size[inside] > 0]
                if QUARTER_MEMBERS <= len(inside) < len(group) and len(members) > 1:
                    quarters.append(members)
        cost = len(quarters) * int(self._draws.distinct[1])
        return whole + quarters if cost <= QUARTERS_SHARE * self._budget else whole

    def _by_gain(self) -> list[int]:
        """Factors that another block would tell more of, those first whose variance it lowers most per forward."""
        assert self._field is not None
        sample = self._sample(0)
        mean, var = self._posterior(0, self._measured(0, sample))
        _, spread = self._noise(sample)
        blocks = self._block[self._acts]
        more = blocks + 1 < len(self._draws.lengths)
        factors, blocks, mean, var = self._acts[more], blocks[more], mean[more], var[more]
        noise = np.log1p(spread / np.diff(self._draws.effective)[blocks].clip(1e-9))
        lowered = var - 1 / (1 / var + 1 / noise)
        gain = np.exp(2 * mean + var) * lowered / np.diff(self._draws.distinct)[blocks]
        return factors[np.argsort(-gain, kind="stable")].tolist()

    def _picks(self, blocks: Int[np.ndarray, " moved"]) -> Picks:
        """The rows that take every factor and group to its block, by base row."""
        base: list[int] = []
        moved: list[int] = []
        for one in np.flatnonzero(blocks > self._block):
            rows = np.setdiff1d(self._draws.rows(int(blocks[one])), self._draws.rows(int(self._block[one])))
            base += rows.tolist()
            moved += [int(one)] * len(rows)
        order = np.lexsort((moved, base))
        return Picks(np.asarray(base, dtype=int)[order], np.asarray(moved, dtype=int)[order], blocks)
