"""Sequential estimator of total indices: which rows to score next, and the indices so far, as a pure state.

The rows of A come first: they give V, and the sensitivity of each, by which base rows are drawn
(:mod:`wavescope.core.adaptive.importance_sampling`). Then whole sub-bands, and their quarters where that is cheap, are
perturbed together: max S_Ti ≤ S_T(G), so that a group's index bounds every member's, and Σ S_Ti ≥ S_T(G), so that it
bounds their sum from below. Then round by round single factors get another block of base rows, those first whose index
becomes more certain by most per forward. The indices of all factors are the posterior, given all of these scores, of a
:class:`wavescope.core.adaptive.gaussian_process.GaussianProcess`.

Indices are Jansen's: S_Tk = Σ_j w_j (f(A_j) − f(C_j⁽ᵏ⁾))² / (2 n V) over the n draws j of the factor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from wavescope.core.adaptive.factor_features import FactorFeatures, steepness
from wavescope.core.adaptive.gaussian_process import GaussianProcess, Measurements, Posterior
from wavescope.core.adaptive.importance_sampling import (
    FIRST,
    ImportanceSample,
    draw_rows,
    expected_effects,
    sensitivity,
)
from wavescope.core.sobol.diagnostics import reliability
from wavescope.core.sobol.effects import effects
from wavescope.core.sobol.estimators import row_variance

NORMAL_95 = 1.96
# Ends of intervals and bounds in standard deviations: errors have heavier tails than a normal's. On scores of known
# indices 0.90 to 0.95 of the 20 largest are held by intervals so wide.
WIDE_95 = 2.5
# Squared coefficient of variation of the weighted squared differences of one factor, or of a group, over base rows;
# before anything is measured, as of this many rows.
FACTOR_SPREAD, GROUP_SPREAD = 10.0, 4.0
SPREAD_ROWS = 20
# Logarithms of what is measured reach this far below the largest, for what is predicted of others: a factor that never
# acts has none.
REACH = 10.0
FLOAT64_ROUNDING = 16 * float(np.finfo(np.float64).eps)
# A round takes at least so many forwards, and half of what was spent before: few enough rounds to be quick, enough to
# learn from. Results hardly depend on it.
ROUND, ROUND_SHARE = 48, 0.5
# Quarters of sub-bands are perturbed where they cost at most this share of the budget.
QUARTERS_SHARE = 1 / 4
QUARTER_MEMBERS = 20


@dataclass(frozen=True, slots=True, eq=False)
class RowSelection:
    """Rows selected for scoring: A_j with the columns of a factor, or of a group of them, from B_j.

    Attributes:
        base: (m,) j.
        substituted: (m,) the factor whose column is taken from B, or K plus the number of the group.
        blocks: (K + groups,) blocks that every factor and group has with them.
    """

    base: Int[np.ndarray, " m"]
    substituted: Int[np.ndarray, " m"]
    blocks: Int[np.ndarray, " all"]

    def __len__(self) -> int:
        return len(self.base)


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Estimated total indices, with errors and bounds.

    Attributes:
        total: (K,) mean of the posterior, at most 1; 0 for a factor without effect on any of its rows.
        standard_error: (K,) of ``total``, at most 1, with the error of V, which all have in common.
        interval_95: (K, 2), ending at 1.
        resolved: (K,) perturbed by themselves, or nothing to perturb.
        upper_bound: (K,) the upper end of the interval where resolved; else that of the smallest group around.
        effect: (K,) slopes of the score; NaN for a factor that was not perturbed by itself.
        effect_error: (K,) standard errors of ``effect``; NaN where that is, and from fewer than 4 rows.
        correlation: expected of ``total`` with the true indices; 1 where no factor acts.
        level_error: expected half sum of the differences of level shares.
    """

    total: Float[np.ndarray, " k"]
    standard_error: Float[np.ndarray, " k"]
    interval_95: Float[np.ndarray, "k 2"]
    resolved: Bool[np.ndarray, " k"]
    upper_bound: Float[np.ndarray, " k"]
    effect: Float[np.ndarray, " k"]
    effect_error: Float[np.ndarray, " k"]
    correlation: float
    level_error: float


@dataclass(frozen=True, slots=True, eq=False)
class _Effects:
    """Measured effects of factors and groups on one class's score.

    Attributes:
        substituted: (m,) the factors and groups.
        values: (m, M) weighted (f(A_j) − f(C_j))² / 2; 0 where nothing is scored.
        times: (m, M) how often each row counts.
    """

    substituted: Int[np.ndarray, " m"]
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


class AdaptiveEstimator:
    """Sequential estimator of total indices, whose scores come round by round.

    Args:
        features: of the K factors.
        rows: (M, T) scores of the rows of A, for every class; the first one decides what is scored next.
        score: which scalar they are.
        budget: forwards in all, those of ``rows`` among them.
        seed: of the draws.
        step: (M, K) the design's A − B, by which rows are drawn and of which the effects are made; ``None`` for no
            effects, and rows drawn without it.
        derivatives: (d, K) of the first class's score by every mask value, at some rows of A; the prior of every class
            grows with their mean squares too, where they are not all 0. ``None`` for one that grows with sizes alone.

    Raises:
        ConstantScore: the first class's score does not vary over the rows.
    """

    def __init__(
        self,
        features: FactorFeatures,
        rows: Float[np.ndarray, "m t"],
        score: str,
        *,
        budget: int,
        seed: int,
        step: Float[np.ndarray, "m k"] | None = None,
        derivatives: Float[np.ndarray, "d k"] | None = None,
    ) -> None:
        row_variance(rows[:, 0])
        self._rows = rows
        self._step = step
        self._budget = budget
        self.spent = len(rows)
        self._acts = np.flatnonzero(features.size > 0)
        kept = FactorFeatures(
            *(getattr(features, name)[self._acts] for name in ("size", "level", "band", "place"))
        )
        steep = None
        if derivatives is not None and derivatives[:, self._acts].any():
            steep = steepness(derivatives[:, self._acts])
        levels = int(features.level.max(initial=0))
        self._process = GaussianProcess(kept, steep, finest=levels) if len(self._acts) else None
        self._inert = features.size <= 0
        self._levels = kept.level
        self._kept: tuple[int, Posterior, float] | None = None
        self.n_factors = len(features.size)
        self.groups = self._make_groups(features)
        self._block = np.zeros(self.n_factors + len(self.groups), dtype=int)
        self._features, self._score, self._seed = features, score, seed
        # (T, M, K + groups), NaN where nothing is scored.
        self._scores = np.full((rows.shape[1], len(rows), len(self._block)), np.nan)

    @property
    def perturbed(self) -> int:
        """Number of factors with coefficients that were perturbed by themselves."""
        return int((self._block[self._acts] > 0).sum())

    @property
    def exhausted(self) -> bool:
        """Whether every factor has had all its draws."""
        return all(self._block[factor] >= self._draws[int(factor)].blocks for factor in self._acts)

    def select_groups(self) -> RowSelection:
        """Selects the rows that perturb groups, as far as the budget goes."""
        blocks = np.zeros_like(self._block)
        costs = [draws.distinct[1] for draws in self._draws[self.n_factors :]]
        blocks[self.n_factors :] = np.cumsum(costs) <= self._budget - self.spent
        return self._select(blocks)

    def select_round(self) -> RowSelection:
        """Selects the most informative rows; none when the budget is spent, or every factor has had all its draws."""
        room = min(self._budget - self.spent, max(ROUND, int(ROUND_SHARE * self.spent)))
        blocks = self._block.copy()
        for factor in self._rank_by_gain() if self._process is not None and room > 0 else []:
            cost = self._draws[factor].cost(int(blocks[factor]))
            if cost <= room:
                blocks[factor] += 1
                room -= cost
        return self._select(blocks)

    def add_scores(self, selection: RowSelection, scores: Float[np.ndarray, "m t"]) -> None:
        """Adds the scores (m, T) of the selected rows."""
        self._scores[:, selection.base, selection.substituted] = scores.T
        self._block = selection.blocks
        self._kept = None
        self.spent += len(selection)

    def estimate(self, target: int = 0) -> Estimate:
        """Indices of one class.

        Raises:
            ConstantScore: its score does not vary over the rows of A.
        """
        row_variance(self._rows[:, target])
        total, error = np.zeros(self.n_factors), np.zeros(self.n_factors)
        interval, bound = np.zeros((self.n_factors, 2)), np.zeros(self.n_factors)
        resolved = (self._block[: self.n_factors] > 0) | self._inert
        sample = self._sample(target)
        slopes = self._effects(target, sample)
        if self._process is None:
            return Estimate(total, error, interval, resolved, bound, *slopes, 1.0, 0.0)
        measured = self._measurements(target, sample)
        posterior = self._posterior(target, measured)
        mean, var = posterior.mean.copy(), posterior.variance.copy()
        common = self._common(target)
        acts = self._acts
        total[acts] = np.minimum(np.exp(mean + var / 2), 1)
        small, log, noise = self._small(target, sample, measured)
        place = np.searchsorted(acts, small)
        mean[place], var[place], total[small] = log, noise, np.exp(log)
        # An error beyond 1 says no more than "unknown".
        error[acts] = np.minimum(total[acts] * np.sqrt(np.expm1(np.minimum(var + common, 50))), 1)
        ends = np.exp(mean[:, None] + np.sqrt(var + common)[:, None] * np.array([-WIDE_95, WIDE_95]))
        interval[acts] = np.minimum(ends, 1)
        # What changed nothing on any of its rows is not known to be more than that.
        still = sample.substituted[self._still(target, sample) & (sample.substituted < self.n_factors)]
        total[still], error[still], interval[still, 0] = 0, 0, 0
        bound = np.where(resolved, interval[:, 1], self._bounds(measured, sample, common))
        total = np.minimum(total, bound)
        interval[:, 0] = np.minimum(interval[:, 0], total)
        expected = posterior.correlation(int(self._inert.sum())), posterior.share_error(self._levels)
        return Estimate(total, error, interval, resolved, bound, *slopes, *expected)

    def rows(self, target: int = 0) -> Float[np.ndarray, " m"]:
        """(M,) scores of the rows of A of one class."""
        return self._rows[:, target]

    def variance(self, target: int = 0) -> float:
        """V of one class: over the rows of A, so that no index exceeds 1 and all add up to 1 at least.

        Not below what the largest effect surely is; less where the indices would add up to less than 1.
        """
        sample = self._sample(target)
        return self._variance(target, sample, self._measurements(target, sample))

    def split_half(self, target: int = 0) -> float | None:
        """Spearman's correlation of indices from every other row with those from the others, corrected to all rows.

        Every row counts once, however often it was drawn, with the weight of one draw.
        Over the factors perturbed by themselves from at least two rows; ``None`` where there are fewer than three or
        all are tied.
        """
        sample = self._sample(target)
        single = (sample.substituted < self.n_factors) & ((sample.times > 0).sum(axis=1) >= 2)
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
        """Measured effects on the score of one class."""
        substituted = np.flatnonzero(self._block)
        change = self._changes(target, substituted)
        values = np.where(np.isnan(change), 0, change**2 / 2 * self._weights(substituted))
        times = [self._draws[int(one)].times(int(self._block[one])) for one in substituted]
        return _Effects(substituted, values, np.asarray(times, dtype=int).reshape(values.shape))

    def _weights(self, substituted: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m rows"]:
        """Weights of a draw of every row, of factors and groups."""
        return np.asarray([self._draws[int(one)].weight for one in substituted]).reshape(-1, len(self._rows))

    def _changes(self, target: int, substituted: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m rows"]:
        """f(A_j) − f(C_j) of factors and groups; NaN where nothing is scored."""
        return self._rows[:, target] - self._scores[target][:, substituted].T

    def _effects(
        self, target: int, sample: _Effects
    ) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
        """Slopes of the factors that were perturbed by themselves, and their errors; 0 of those of no size."""
        slope, error = np.full((2, self.n_factors), np.nan)
        if self._step is None:
            return slope, error
        single = sample.substituted < self.n_factors
        factors = sample.substituted[single]
        change = self._changes(target, factors)
        weight = sample.times[single] * self._weights(factors)
        slope[factors], error[factors] = effects(change, self._step[:, factors].T, weight)
        slope[self._inert], error[self._inert] = 0, 0
        return slope, error

    def _scale(self, target: int, sample: _Effects) -> float:
        """V but for what the indices add up to. Where hardly a row of A is sensitive, their own is far too small."""
        rows = self._rows[:, target]
        least = sample.means * np.exp(-NORMAL_95 * np.sqrt(self._noise(sample)[0]))
        return max(float(row_variance(rows)), float(least.max(initial=0)))

    def _noise(self, sample: _Effects) -> tuple[Float[np.ndarray, " m"], float]:
        """Variances of the logs of all that was measured; and the spread of factors' effects that they follow from."""
        single = sample.substituted < self.n_factors
        spread, together = sample.spread(single, FACTOR_SPREAD), sample.spread(~single, GROUP_SPREAD)
        effective = np.asarray(
            [self._draws[int(one)].effective[self._block[one]] for one in sample.substituted]
        )
        return np.log1p(np.where(single, spread, together) / effective), spread

    def _measurements(self, target: int, sample: _Effects) -> Measurements:
        """Scores so far as logarithms with the variances of their errors."""
        index = sample.means / self._scale(target, sample)
        if not index.any():
            return Measurements((), index[:0], index[:0])
        place = np.full(self.n_factors, -1)
        place[self._acts] = np.arange(len(self._acts))
        members = tuple(
            place[[substituted]]
            if substituted < self.n_factors
            else place[self.groups[substituted - self.n_factors]]
            for substituted in sample.substituted
        )
        noise, _ = self._noise(sample)
        # A log-normal estimate of mean S has the mean log S − variance / 2.
        log = np.log(np.maximum(index, index.max() * np.exp(-REACH))) + noise / 2
        return Measurements(members, log, noise)

    def _still(self, target: int, sample: _Effects) -> Bool[np.ndarray, " m"]:
        """Find what changed the score by no more than rounding of float64 does, of all that was perturbed."""
        return sample.means <= (FLOAT64_ROUNDING * np.abs(self._rows[:, target]).max()) ** 2

    def _small(
        self, target: int, sample: _Effects, measured: Measurements
    ) -> tuple[Int[np.ndarray, " s"], Float[np.ndarray, " s"], Float[np.ndarray, " s"]]:
        """Find factors measured below ``REACH``, their log indices as measured, and the variances of their errors.

        The process knows them as larger.
        """
        index = sample.means / self._variance(target, sample, measured)
        small = (sample.substituted < self.n_factors) & (index < index.max(initial=0) * np.exp(-REACH))
        small &= ~self._still(target, sample)
        noise = self._noise(sample)[0][small]
        return sample.substituted[small], np.log(index[small]) + noise / 2, noise

    def _variance(self, target: int, sample: _Effects, measured: Measurements) -> float:
        """V: see :meth:`variance`."""
        scale = self._scale(target, sample)
        return scale if self._process is None else scale * self._solve(target, measured)[1]

    def _posterior(self, target: int, measured: Measurements) -> Posterior:
        """Log indices of the factors that act."""
        return self._solve(target, measured)[0]

    def _solve(self, target: int, measured: Measurements) -> tuple[Posterior, float]:
        """Log indices of the factors that act, and V over that of the rows of A; kept, for a round asks twice."""
        assert self._process is not None
        if self._kept is None or self._kept[0] != target:
            scatter = self._process.scatter(measured)
            found, short = self._process.posterior(measured, scatter=scatter), 1.0
            if measured.factors and found.expected.sum() < 1:
                found = self._process.posterior(measured.with_sum(len(self._acts)), scatter=scatter)
                # What is left is of V, by which all are divided.
                short = min(float(found.expected.sum()), 1.0)
                found = replace(found, mean=found.mean - np.log(short))
            self._kept = (target, found, short)
        return self._kept[1:]

    def _common(self, target: int) -> float:
        """Variance of what the logs of all indices have in common: the error of V."""
        off = self._rows[:, target] - self._rows[:, target].mean()
        count = len(off)
        # V without each row: the jackknife.
        without = (off**2).sum() - off**2 * count / (count - 1)
        logs = np.log(np.maximum(without, 1e-12 * (off**2).sum()))
        return (count - 1) / count * float(((logs - logs.mean()) ** 2).sum())

    def _bounds(self, measured: Measurements, sample: _Effects, common: float) -> Float[np.ndarray, " k"]:
        """(K,) the upper end of the interval of the smallest group around each factor, at most 1."""
        bound = np.ones(self.n_factors)
        if not measured.factors:
            return bound
        ends = np.exp(measured.log + WIDE_95 * np.sqrt(measured.variance + common))
        for substituted, end in zip(sample.substituted, ends, strict=True):
            if substituted >= self.n_factors:
                members = self.groups[int(substituted) - self.n_factors]
                bound[members] = np.minimum(bound[members], end)
        return bound

    # ---- next rows -------------------------------------------------------------------------------
    def _make_groups(self, features: FactorFeatures) -> list[Int[np.ndarray, " _"]]:
        """Sub-bands of several factors; and their quarters, where a quarter of the budget pays for them."""
        whole = [
            self._acts[features.band[self._acts] == band] for band in np.unique(features.band[self._acts])
        ]
        whole = [members for members in whole if len(members) > 1]
        quarters: list[Int[np.ndarray, " _"]] = []
        for group in whole:
            for quarter in range(4):
                inside = np.flatnonzero(
                    (features.band == features.band[group[0]]) & (features.quarter == quarter)
                )
                members = inside[features.size[inside] > 0]
                if QUARTER_MEMBERS <= len(inside) < len(group) and len(members) > 1:
                    quarters.append(members)
        return whole + quarters if len(quarters) * FIRST <= QUARTERS_SHARE * self._budget else whole

    @cached_property
    def _draws(self) -> list[ImportanceSample]:
        """Base rows of every factor, then of every group; drawn when the first are selected."""
        sensitive, seed = sensitivity(self._score, self._rows[:, 0]), self._seed
        if self._step is None:
            return [draw_rows(sensitive, seed, factor=one) for one in range(len(self._block))]
        effects, power = expected_effects(self._step), self._features.size**2
        of_groups = [(effects[:, members] * power[members]).sum(axis=1) for members in self.groups]
        return [
            draw_rows(sensitive, seed, factor=one, expected=expected)
            for one, expected in enumerate([*effects.T, *of_groups])
        ]

    def _rank_by_gain(self) -> list[int]:
        """Factors that have another block, those first whose variance it lowers most per forward."""
        assert self._process is not None
        sample = self._sample(0)
        posterior = self._posterior(0, self._measurements(0, sample))
        mean, var = posterior.mean, posterior.variance
        _, spread = self._noise(sample)
        more = np.asarray([self._block[one] < self._draws[int(one)].blocks for one in self._acts])
        factors, mean, var = self._acts[more], mean[more], var[more].clip(1e-12)
        draws = [(self._draws[int(factor)], int(self._block[factor])) for factor in factors]
        gained = np.asarray([of.effective[block + 1] - of.effective[block] for of, block in draws])
        cost = np.asarray([of.cost(block) for of, block in draws])
        noise = np.log1p(spread / gained.clip(1e-9))
        gain = np.exp(2 * mean + var) * (var - 1 / (1 / var + 1 / noise)) / cost
        return factors[np.argsort(-gain, kind="stable")].tolist()

    def _select(self, blocks: Int[np.ndarray, " all"]) -> RowSelection:
        """Selects the rows that take every factor and group to its block, by base row."""
        base: list[int] = []
        substituted: list[int] = []
        for one in np.flatnonzero(blocks > self._block):
            draws = self._draws[one]
            rows = np.setdiff1d(draws.rows(int(blocks[one])), draws.rows(int(self._block[one])))
            base += rows.tolist()
            substituted += [int(one)] * len(rows)
        order = np.lexsort((substituted, base))
        return RowSelection(
            np.asarray(base, dtype=int)[order], np.asarray(substituted, dtype=int)[order], blocks
        )
