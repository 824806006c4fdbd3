"""The adaptive plan as a state: against functions whose indices are known, and what it may and may not score."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.oracles.indices import g_function, linear, pick_freeze

from wavescope.core.adaptive.estimator import AdaptiveEstimator, RowSelection
from wavescope.core.adaptive.factor_features import FactorFeatures
from wavescope.core.adaptive.importance_sampling import FIRST, draw_rows, sensitivity
from wavescope.core.sobol.design import Design, make_design
from wavescope.core.sobol.effects import effects
from wavescope.core.sobol.estimators import Scores, jansen
from wavescope.errors import ConstantScore

Score = Callable[[np.ndarray], np.ndarray]  # (n, k) rows to (n,) or (n, t) scores


def make_traits(size: np.ndarray, *, bands: int = 7, seed: int = 0) -> FactorFeatures:
    """Factors of the sizes asked for, at random places of seven sub-bands of two levels and the approximation."""
    rng = np.random.default_rng(seed)
    band = rng.integers(0, bands, len(size))
    return FactorFeatures(size.astype(float), (band + 2) // 3, band, rng.random((len(size), 2)))


def scores(f: Score, rows: np.ndarray) -> np.ndarray:
    values = f(rows)
    return values if values.ndim == 2 else values[:, None]


def masks(design: Design, estimator: AdaptiveEstimator, selection: RowSelection) -> np.ndarray:
    rows = design.a[selection.base].copy()
    for row, j, substituted in zip(rows, selection.base, selection.substituted, strict=True):
        columns = (
            [substituted]
            if substituted < estimator.n_factors
            else estimator.groups[substituted - estimator.n_factors]
        )
        row[columns] = design.b[j, columns]
    return rows


class Surveyed:
    """A survey of a function of the factors, taken to the end of its budget."""

    def __init__(
        self, f: Score, traits: FactorFeatures, *, rows: int, budget: int, seed: int = 0, score: str = "logit"
    ) -> None:
        self.design = make_design("sobol", len(traits.size), rows, seed)
        step = self.design.a - self.design.b
        self.estimator = AdaptiveEstimator(
            traits, scores(f, self.design.a), score, budget=budget, seed=seed, step=step
        )
        self.budget = budget
        self.rounds: list[RowSelection] = []
        selection = self.estimator.select_groups()
        while len(selection) or not self.rounds:
            self.estimator.add_scores(selection, scores(f, masks(self.design, self.estimator, selection)))
            self.rounds.append(selection)
            selection = self.estimator.select_round()
        self.estimate = self.estimator.estimate()


def logistic(weights: np.ndarray, gain: float) -> Score:
    """σ of a linear logit of standard deviation ``gain``."""
    deviation = np.sqrt((weights**2).sum() / 12)
    return lambda rows: 1 / (1 + np.exp(-gain * ((rows - 0.5) @ weights) / deviation))


def by_many_rows(f: Score, k: int) -> np.ndarray:
    """Total indices by Jansen of a full design of 4,096 rows."""
    design = make_design("sobol", k, 4096, 99)
    return jansen(Scores(*pick_freeze(f, design.a, design.b)))


def spread_weights(k: int, seed: int) -> np.ndarray:
    """Over a factor of about fifty."""
    return np.exp(np.random.default_rng(seed).permutation(np.linspace(-4, 0, k)))


# ---- known answers -----------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", ["right", "all alike", "the wrong way round"])
def test_indices_of_a_sum_converge_to_the_closed_form_whatever_the_sizes_promised(sizes: str) -> None:
    """S_Tk = w_k² / Σ w². Sizes only say where to look first."""
    w = spread_weights(60, 0)
    size = {"right": w, "all alike": np.ones(60), "the wrong way round": 1 / w}[sizes]
    known = linear(w)
    errors = []
    for rows, budget in ((16, 200), (64, 2400), (256, 10_000)):
        found = [
            Surveyed(known.f, make_traits(size), rows=rows, budget=budget, seed=seed).estimate.total
            for seed in range(4)
        ]
        errors.append(np.mean([np.abs(total - known.total).max() for total in found]) / known.total.max())
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 0.08


def test_an_estimator_that_had_every_row_has_jansens_estimate_but_for_what_the_prior_adds() -> None:
    """Rows alike: each draw counts once, so that the mean over draws is that of the full design."""
    w = spread_weights(20, 1)
    known = linear(w)
    done = Surveyed(known.f, make_traits(w), rows=256, budget=100_000)
    assert done.estimator.exhausted
    assert done.estimate.resolved.all()
    full = jansen(Scores(*pick_freeze(known.f, done.design.a, done.design.b)), variance_rows="a")
    np.testing.assert_allclose(done.estimate.total, full, rtol=0.1)


def test_draws_of_sensitive_rows_are_weighted_back_to_all_rows() -> None:
    """Of a steep σ few rows decide; perturbing from those alone gives what all rows give."""
    w = spread_weights(20, 14)
    f = logistic(w, 8)
    done = Surveyed(f, make_traits(w), rows=256, budget=100_000, score="probability")
    full = jansen(Scores(*pick_freeze(f, done.design.a, done.design.b)), variance_rows="a")
    top = np.argsort(-full)[:8]
    np.testing.assert_allclose(done.estimate.total[top], full[top], rtol=0.4)
    assert done.estimate.total[top].sum() == pytest.approx(full[top].sum(), rel=0.1)


def test_signed_effects_of_a_linear_score_are_its_coefficients_where_they_were_measured() -> None:
    w = spread_weights(40, 3) * np.where(np.arange(40) % 3, 1, -1)
    done = Surveyed(linear(w).f, make_traits(np.abs(w)), rows=32, budget=150).estimate
    assert 3 < done.resolved.sum() < 40
    np.testing.assert_allclose(done.effect[done.resolved], w[done.resolved])
    assert (done.effect_error[done.resolved] < 1e-9).all()
    assert np.isnan(done.effect[~done.resolved]).all()
    assert np.isnan(done.effect_error[~done.resolved]).all()


def test_signed_effects_of_sensitive_rows_are_weighted_back_to_all_rows() -> None:
    w = spread_weights(20, 14)
    f = logistic(w, 8)
    done = Surveyed(f, make_traits(w), rows=256, budget=100_000, score="probability")
    f_a, _, f_c = pick_freeze(f, done.design.a, done.design.b)
    slope, error = effects(f_a - f_c, (done.design.a - done.design.b).T)
    assert (np.abs(done.estimate.effect - slope) < 3 * error).all()
    top = np.argsort(-slope)[:5]
    np.testing.assert_allclose(done.estimate.effect[top], slope[top], rtol=0.2)


def test_a_single_factor_that_decides_has_nearly_the_whole_index_after_a_few_rows() -> None:
    """Σ S_T ≥ 1 for every score: the prior, which expects little of a small factor, gives way."""
    w = np.full(64, 1e-3)
    w[17] = 1
    size = np.linspace(1, 3, 64)[::-1].copy()
    found = [
        Surveyed(linear(w).f, make_traits(size), rows=16, budget=16 + 4 * 7 + 4 * 48, seed=seed).estimate
        for seed in range(4)
    ]
    assert min(one.total[17] for one in found) > 0.7
    assert min(one.total.sum() for one in found) > 0.98
    assert all(one.interval_95[17, 1] == 1 for one in found)


def test_sizes_that_say_nothing_are_found_out_before_the_plan_believes_itself_accurate() -> None:
    """Indices that are log-normal whatever the sizes: the measured ones scatter far about what sizes predict."""
    rng = np.random.default_rng(3)
    w = np.exp(rng.normal(0, 1.6, 64))
    known, size = linear(w), np.exp(rng.normal(0, 1, 64))
    held: list[float] = []
    for seed, budget in ((seed, budget) for seed in range(4) for budget in (150, 250, 400)):
        found = Surveyed(known.f, make_traits(size, seed=seed), rows=32, budget=budget, seed=seed).estimate
        true = np.corrcoef(found.total, known.total)[0, 1]
        assert true > 0.9 or found.correlation < 0.8
        largest = np.argsort(-known.total)[:10]
        low, high = found.interval_95[largest].T
        held.append(float(((low <= known.total[largest]) & (known.total[largest] <= high)).mean()))
    assert np.mean(held) > 0.8


def test_v_is_what_the_indices_add_up_to_1_by() -> None:
    """Rows of A that vary too much make every index too small: V then is what the effects add up to."""
    w = np.full(12, 1.0)
    known = linear(w)
    for seed in range(4):
        done = Surveyed(known.f, make_traits(w), rows=16, budget=800, seed=seed)
        rows = float(done.estimator.rows().var(ddof=1))
        assert done.estimate.total.sum() > 0.98
        assert done.estimator.variance() <= rows * (1 + 1e-9)
        measured = done.estimate.total * done.estimator.variance()
        assert measured.sum() == pytest.approx(w.sum() / 12, rel=0.35)


def test_small_indices_that_were_measured_are_not_raised_to_what_others_are() -> None:
    w = np.full(40, 1e-6)
    w[0] = 1
    known = linear(w)
    done = Surveyed(known.f, make_traits(np.ones(40)), rows=32, budget=3000)
    assert done.estimate.resolved.all()
    ratio = done.estimate.total[1:] / known.total[1:]
    assert 0.3 < np.median(ratio) < 3
    low, high = done.estimate.interval_95[1:].T
    assert np.mean((low <= known.total[1:]) & (known.total[1:] <= high)) > 0.8


def test_a_factor_without_effect_has_0_and_a_bound_that_is_small() -> None:
    w = spread_weights(40, 2)
    w[::4] = 0
    known = linear(w)
    done = Surveyed(known.f, make_traits(np.maximum(w, 0.1)), rows=64, budget=4000)
    dead = w == 0
    assert done.estimate.resolved[dead].all()
    assert not done.estimate.total[dead].any()
    assert not done.estimate.standard_error[dead].any()
    assert not done.estimate.interval_95[dead, 0].any()
    assert (done.estimate.upper_bound[dead] < 0.01).all()
    assert done.estimate.total[~dead].all()


def test_groups_bound_unresolved_factors_without_effect_from_above() -> None:
    """One sub-band does nothing: its group says so of each of its members, at four forwards."""
    rng = np.random.default_rng(3)
    w = np.exp(rng.normal(size=300))
    traits = make_traits(np.ones(300))
    w[traits.band == 6] = 0
    done = Surveyed(linear(w).f, traits, rows=32, budget=150)
    dead = (traits.band == 6) & ~done.estimate.resolved
    assert dead.sum() > 20
    assert (done.estimate.upper_bound[dead] < 0.01).all()
    assert (done.estimate.total[dead] < 1e-3).all()


# ---- bounds and intervals over many seeds -----------------------------------------------------


def additive(k: int) -> tuple[Score, np.ndarray]:
    known = linear(np.exp(np.random.default_rng(1).normal(size=k)))
    return known.f, known.total


def product(k: int) -> tuple[Score, np.ndarray]:
    """Sobol's g of variance 1.5: total indices add up to 1.5."""
    known = g_function(tuple(16 * np.exp(np.random.default_rng(1).normal(size=k))))
    return known.f, known.total


def saturating(k: int) -> tuple[Score, np.ndarray]:
    f = logistic(np.exp(np.random.default_rng(1).normal(size=k)), 3)
    return f, by_many_rows(f, k)


@pytest.mark.parametrize("score", [additive, product, saturating])
def test_the_bound_holds_for_as_many_factors_as_it_promises(
    score: Callable[[int], tuple[Score, np.ndarray]],
) -> None:
    """Nominal 0.975. Seen: 0.99 and more of the factors not resolved, whose bound is their group's.

    Of all factors 0.95 to 0.99, least for the product, whose V few rows of A fall short of.
    """
    f, truth = score(200)
    size = np.sqrt(truth) * np.exp(0.7 * np.random.default_rng(2).normal(size=200))
    unresolved, every = [], []
    for seed in range(16):
        found = Surveyed(
            f,
            make_traits(size),
            rows=64,
            budget=628,
            seed=seed,
            score="probability" if score is saturating else "logit",
        ).estimate
        holds = found.upper_bound >= truth
        unresolved.append(holds[~found.resolved].mean())
        every.append(holds.mean())
    assert np.mean(unresolved) > 0.975
    assert np.mean(every) > 0.93


def test_intervals_hold_the_largest_indices_of_a_saturating_score_as_often_as_was_measured() -> None:
    """Nominal 0.95; seen over 40 seeds, of the 20 largest: 0.90 at 314 forwards, 0.95 at 628, 0.92 at 1,500."""
    f, truth = saturating(200)
    size = np.sqrt(truth) * np.exp(0.7 * np.random.default_rng(2).normal(size=200))
    top = np.argsort(-truth)[:20]
    for rows, budget, least in ((32, 314, 0.86), (64, 628, 0.91), (128, 1500, 0.88)):
        held = []
        for seed in range(16):
            found = Surveyed(
                f, make_traits(size), rows=rows, budget=budget, seed=seed, score="probability"
            ).estimate.interval_95[top]
            held.append(((found[:, 0] <= truth[top]) & (truth[top] <= found[:, 1])).mean())
        assert np.mean(held) > least


def test_a_members_index_is_at_most_its_groups_which_is_at_most_their_sum() -> None:
    """The inequality that bounds rest on, in closed form: for g, V_G = (Π_G (1 + V_i) − 1) Π_others (1 + V_i)."""
    known = g_function((0.0, 1.0, 4.5, 9.0, 99.0, 99.0))
    parts = 1 / (3 * (1 + np.array([0.0, 1.0, 4.5, 9.0, 99.0, 99.0])) ** 2)
    for group in ([0, 1], [1, 2, 3], [0, 4, 5]):
        others = np.delete(parts, group)
        together = (np.prod(1 + parts[group]) - 1) * np.prod(1 + others) / known.variance
        assert known.total[group].max() <= together <= known.total[group].sum()


def test_unresolved_factors_have_the_bound_of_the_smallest_group_around_that_says_least() -> None:
    """Those of a quarter too small to be a group have their sub-band's bound; no other's of the band is above it."""
    rng = np.random.default_rng(4)
    place = np.stack([rng.random(400), rng.random(400)], axis=1)
    few = (place >= 0.5).all(axis=1) & (np.arange(400) > 60)
    place[few, 0] /= 2
    nothing = np.ones(400, dtype=int)
    traits = FactorFeatures(np.ones(400), nothing, nothing, place)
    lone = traits.quarter == 3
    w = np.where(traits.quarter == 1, rng.random(400), 0.01)
    for seed in range(10):
        done = Surveyed(linear(w).f, traits, rows=32, budget=120, seed=seed)
        assert 1 < len(done.estimator.groups) <= 4
        found, unresolved = done.estimate, ~done.estimate.resolved
        (whole,) = set(found.upper_bound[lone & unresolved].tolist())
        assert (found.upper_bound[unresolved] <= whole).all()
        assert found.upper_bound[unresolved & (traits.quarter == 0)].max() < whole / 2


# ---- what is scored ---------------------------------------------------------------------------


@st.composite
def cases(draw: st.DrawFn) -> Callable[[], Surveyed]:
    """Small surveys of random sums, of any budget above the rows, some factors of size 0."""
    k, rows = draw(st.integers(1, 40)), draw(st.sampled_from([4, 8, 16]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    size = rng.random(k) * (rng.random(k) > draw(st.sampled_from([0, 0.3])))
    score, budget = draw(st.sampled_from(["logit", "probability"])), rows + draw(st.integers(0, 400))
    w = rng.normal(size=k) * (size > 0)
    w[0] += 1  # or the score is constant where all sizes are 0

    def f(of: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(of @ w)))

    bands = draw(st.sampled_from([1, 7]))
    traits = make_traits(size, bands=bands)
    return lambda: Surveyed(f, traits, rows=rows, budget=budget, score=score)


@given(case=cases())
def test_the_budget_is_never_exceeded_and_no_row_is_scored_twice(case: Callable[[], Surveyed]) -> None:
    done = case()
    estimator, picked = done.estimator, [len(selection) for selection in done.rounds]
    assert estimator.spent == len(done.design.a) + sum(picked)
    total = [
        (int(j), int(m))
        for selection in done.rounds
        for j, m in zip(selection.base, selection.substituted, strict=True)
    ]
    assert len(total) == len(set(total))
    assert all(j < len(done.design.a) for j, _ in total)
    assert estimator.spent <= done.budget


@given(case=cases())
def test_every_estimate_is_finite_not_negative_and_within_its_interval(case: Callable[[], Surveyed]) -> None:
    done = case()
    found = done.estimate
    for values in (found.total, found.standard_error, found.interval_95, found.upper_bound):
        assert np.isfinite(values).all()
        assert (values >= 0).all()
    assert (found.interval_95[:, 0] <= found.interval_95[:, 1]).all()
    assert (found.total <= found.interval_95[:, 1] * (1 + 1e-9)).all()
    assert (found.interval_95[:, 0] <= found.total * (1 + 1e-9)).all()
    assert (found.total <= found.upper_bound * (1 + 1e-9)).all()
    assert (found.upper_bound[found.resolved] == found.interval_95[found.resolved, 1]).all()
    r = done.estimator.split_half()
    assert r is None or -1 <= r <= 1


@given(case=cases())
def test_a_round_is_in_order_of_base_rows_so_that_a_row_of_a_is_rendered_once(
    case: Callable[[], Surveyed],
) -> None:
    for selection in case().rounds:
        assert (np.diff(selection.base) >= 0).all()


def test_the_budget_is_spent_to_less_than_the_cheapest_block_while_factors_want_rows() -> None:
    for budget in (80, 333, 628):
        done = Surveyed(linear(spread_weights(100, 5)).f, make_traits(np.ones(100)), rows=32, budget=budget)
        assert not done.estimator.exhausted
        assert budget - 4 < done.estimator.spent <= budget


def test_asking_for_the_next_round_changes_nothing() -> None:
    w = spread_weights(30, 6)
    design = make_design("sobol", 30, 16, 0)
    estimator = AdaptiveEstimator(make_traits(w), scores(linear(w).f, design.a), "logit", budget=300, seed=0)
    for selection in (estimator.select_groups(), estimator.select_round()):
        for _ in range(3):
            estimator.estimate()
            again = (
                estimator.select_groups() if (selection.substituted >= 30).any() else estimator.select_round()
            )
            assert (again.base.tolist(), again.substituted.tolist()) == (
                selection.base.tolist(),
                selection.substituted.tolist(),
            )
        assert estimator.spent == 16
    estimator.add_scores(
        estimator.select_groups(), scores(linear(w).f, masks(design, estimator, estimator.select_groups()))
    )
    before, asked = estimator.estimate().total, [estimator.select_round() for _ in range(3)]
    assert len({selection.substituted.tobytes() for selection in asked}) == 1
    np.testing.assert_array_equal(estimator.estimate().total, before)


def test_a_factor_that_acts_much_gets_more_rows_than_one_that_does_not() -> None:
    w = spread_weights(60, 7)
    done = Surveyed(linear(w).f, make_traits(np.ones(60)), rows=64, budget=800)
    substituted = np.concatenate([selection.substituted for selection in done.rounds])
    rows = np.bincount(substituted[substituted < 60], minlength=60)
    order = np.argsort(-w)
    assert rows[order[:10]].mean() > 3 * rows[order[-30:]].mean()


def test_the_same_seed_asks_for_the_same_rows_and_another_for_others() -> None:
    def asked(seed: int) -> bytes:
        w = spread_weights(30, 8)
        rows = scores(linear(w).f, make_design("sobol", 30, 16, 0).a)  # the same rows of A
        return (
            AdaptiveEstimator(make_traits(w), rows, "logit", budget=300, seed=seed)
            .select_groups()
            .base.tobytes()
        )

    assert asked(0) == asked(0)
    assert len({asked(seed) for seed in range(8)}) > 1


# ---- several classes --------------------------------------------------------------------------


def test_another_class_has_the_indices_of_an_estimator_of_it_that_was_given_the_same_rows() -> None:
    w = np.stack([spread_weights(40, seed) for seed in (9, 10)], axis=1)
    both = Surveyed(lambda rows: rows @ w, make_traits(w[:, 0]), rows=32, budget=500)
    step = both.design.a - both.design.b
    alone = AdaptiveEstimator(
        make_traits(w[:, 0]), both.design.a @ w[:, 1:], "logit", budget=500, seed=0, step=step
    )
    for selection in both.rounds:
        alone.add_scores(selection, masks(both.design, alone, selection) @ w[:, 1:])
    found, expected = both.estimator.estimate(1), alone.estimate()
    for name in ("total", "standard_error", "interval_95", "resolved", "upper_bound"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9, err_msg=name)
    assert both.estimator.variance(1) == pytest.approx(alone.variance())
    assert both.estimator.split_half(1) == pytest.approx(alone.split_half())
    assert not np.allclose(found.total, both.estimate.total)


def test_a_further_class_leaves_the_first_as_it_is() -> None:
    w = np.stack([spread_weights(40, seed) for seed in (9, 10)], axis=1)
    both = Surveyed(lambda rows: rows @ w, make_traits(w[:, 0]), rows=32, budget=500)
    alone = Surveyed(lambda rows: rows @ w[:, :1], make_traits(w[:, 0]), rows=32, budget=500)
    both.estimator.estimate(1)
    np.testing.assert_allclose(both.estimator.estimate(0).total, alone.estimate.total, rtol=1e-9)


# ---- degenerate cases -------------------------------------------------------------------------


def test_rows_that_do_not_vary_are_a_constant_score() -> None:
    rows = np.column_stack([np.full(8, 0.3), np.linspace(0, 1, 8)])
    with pytest.raises(ConstantScore, match="does not vary"):
        AdaptiveEstimator(make_traits(np.ones(5)), rows, "logit", budget=100, seed=0)
    estimator = AdaptiveEstimator(make_traits(np.ones(5)), rows[:, ::-1].copy(), "logit", budget=100, seed=0)
    estimator.estimate(0)
    with pytest.raises(ConstantScore, match="does not vary"):
        estimator.estimate(1)


def test_a_single_factor_has_the_whole_index() -> None:
    done = Surveyed(lambda rows: rows[:, 0], make_traits(np.ones(1)), rows=64, budget=1000)
    assert done.estimator.groups == []
    assert done.estimator.exhausted
    assert done.estimate.total[0] == pytest.approx(1, rel=0.15)
    assert done.estimator.split_half() is None


def test_factors_of_size_0_cost_nothing_and_are_resolved_at_0() -> None:
    w = spread_weights(30, 11)
    size = w.copy()
    size[10:20] = w[10:20] = 0
    done = Surveyed(linear(w).f, make_traits(size), rows=16, budget=5000)
    substituted = np.concatenate([selection.substituted for selection in done.rounds])
    assert not np.isin(substituted, np.arange(10, 20)).any()
    assert not any(np.isin(group, np.arange(10, 20)).any() for group in done.estimator.groups)
    found = done.estimate
    assert found.resolved[10:20].all()
    assert not found.total[10:20].any()
    assert not found.upper_bound[10:20].any()


def test_factors_that_are_all_of_size_0_are_done_at_once() -> None:
    done = Surveyed(lambda rows: rows[:, 0], make_traits(np.zeros(6)), rows=8, budget=100)
    assert done.estimator.spent == 8
    assert done.estimator.exhausted
    assert done.estimate.resolved.all()
    assert not done.estimate.total.any()


def test_a_quarter_of_an_image_without_content_makes_no_group() -> None:
    """As of a picture with a black corner: all its factors have size 0."""
    down, across = np.indices((20, 20)).reshape(2, 400) / 20 + 0.025
    dark = (down < 0.5) & (across < 0.5)
    nothing = np.ones(400, dtype=int)
    traits = FactorFeatures((~dark).astype(float), nothing, nothing, np.stack([down, across], axis=1))
    w = np.random.default_rng(0).random(400) * ~dark
    done = Surveyed(linear(w).f, traits, rows=64, budget=2000)
    assert [len(group) for group in done.estimator.groups] == [300, 100, 100, 100]
    assert np.isfinite(done.estimate.total).all()


@pytest.mark.parametrize("more", [0, 1, 3, 4, 9])
def test_a_budget_just_above_the_rows_is_kept_and_answered(more: int) -> None:
    w = spread_weights(50, 12)
    done = Surveyed(linear(w).f, make_traits(w), rows=16, budget=16 + more)
    assert 16 <= done.estimator.spent <= 16 + more
    assert np.isfinite(done.estimate.total).all()
    assert not done.estimate.resolved.any() or more >= 4


def test_a_single_sub_band_is_one_group_and_bounds_all() -> None:
    w = spread_weights(30, 13)
    done = Surveyed(linear(w).f, make_traits(w, bands=1), rows=32, budget=120)
    assert [group.tolist() for group in done.estimator.groups] == [list(range(30))]
    known = linear(w).total
    assert (done.estimate.upper_bound >= known).mean() > 0.9


def test_quarters_of_large_sub_bands_are_perturbed_where_the_budget_pays_for_them() -> None:
    traits = make_traits(np.ones(700))
    for budget, quarters in ((100, False), (4000, True)):
        w = np.ones(700)
        estimator = AdaptiveEstimator(
            traits, make_design("sobol", 700, 32, 0).a @ w[:, None], "logit", budget=budget, seed=0
        )
        assert (len(estimator.groups) > 7) == quarters
        assert sorted(np.concatenate(estimator.groups[:7]).tolist()) == list(range(700))
        for group in estimator.groups[7:]:
            assert len(set(traits.band[group].tolist())) == len(set(traits.quarter[group].tolist())) == 1


def test_split_half_leaves_out_factors_of_a_single_row() -> None:
    """A probability that one row of A alone leaves: four draws of it are one row, which has no halves."""
    p = np.full((16, 1), 1e-12)
    p[3] = 0.9
    chances = sensitivity("probability", p[:, 0])

    def draws_one_row(seed: int, factor: int) -> bool:
        return len(set(draw_rows(chances, seed, factor=factor).order[:FIRST].tolist())) == 1

    seed = next(seed for seed in count() if all(draws_one_row(seed, factor) for factor in range(3)))
    estimator = AdaptiveEstimator(make_traits(np.ones(3)), p, "probability", budget=200, seed=seed)
    selection = estimator.select_round()
    assert len(set(selection.base.tolist())) == 1
    estimator.add_scores(selection, p[selection.base] * np.linspace(0.1, 0.9, len(selection))[:, None])
    assert estimator.split_half() is None
