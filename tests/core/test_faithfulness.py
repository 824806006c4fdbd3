"""Insertion, deletion and µ-fidelity: closed forms, loops and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.integrate import trapezoid
from scipy.stats import spearmanr
from tests.oracles.faithfulness import (
    even_area,
    slow_deletion,
    slow_insertion,
    slow_mu_fidelity,
    slow_ranking,
)

from wavescope.core.faithfulness import (
    SAMPLES,
    area,
    counts,
    mu_fidelity,
    rank_groups,
    subset_size,
    superpixels,
)
from wavescope.core.partition import factor_sums
from wavescope.core.reconstruction import rank
from wavescope.core.rendering.masks import NestedMasks, RandomSubsets

maps = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.floats(-1, 1, width=32) | st.sampled_from([0.0, 0.5]),  # so that ties happen
)


# ---- which features ----------------------------------------------------------------------------------


@given(n=st.integers(1, 300), steps=st.integers(1, 60))
def test_steps_go_from_no_feature_to_all_and_differ_by_at_most_one(n: int, steps: int) -> None:
    taken = counts(n, steps)
    assert taken.dtype == np.int32
    assert (taken[0], taken[-1], len(taken)) == (0, n, min(steps, n) + 1)
    sizes = np.diff(taken)
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1


@given(values=maps, steps=st.integers(1, 30))
def test_pixels_are_grouped_by_decreasing_importance_and_ties_go_row_by_row(
    values: np.ndarray, steps: int
) -> None:
    groups = rank_groups(values, steps)
    taken = counts(values.size, steps)
    assert groups.dtype == np.int32
    ranking = slow_ranking(values.ravel().tolist())
    for group in range(len(taken) - 1):
        members = set(np.flatnonzero(groups.ravel() == group).tolist())
        assert members == set(ranking[taken[group] : taken[group + 1]])


def test_superpixels_are_nine_by_nine_and_fewer_on_a_side_that_has_fewer_pixels() -> None:
    cells = superpixels(224, 224)
    assert cells.n_factors == 81
    assert np.bincount(cells.factors.ravel(), minlength=81).min() >= 24 * 24
    assert cells.factors[0, -1] == 8
    for height, width in ((8, 30), (30, 8)):
        small = superpixels(height, width)
        assert small.factors.shape == (height, width)
        assert small.n_factors == 64
        assert (np.bincount(small.factors.ravel(), minlength=64) > 0).all()


@given(values=maps, seed=st.integers(0, 99))
def test_a_cells_importance_is_the_sum_of_the_map_over_it(values: np.ndarray, seed: int) -> None:
    factors = np.random.default_rng(seed).integers(-1, 5, values.shape).astype(np.int32)
    sums = factor_sums(values, factors, 5)
    expected = [
        sum(float(v) for v, f in zip(values.flat, factors.flat, strict=True) if f == k) for k in range(5)
    ]
    assert sums == pytest.approx(np.array(expected), abs=1e-12)


def test_a_subset_is_a_fifth_of_the_features_and_never_empty() -> None:
    assert [subset_size(k) for k in (1, 2, 8, 81, 784)] == [1, 1, 2, 16, 157]


# ---- areas -------------------------------------------------------------------------------------------


def test_the_area_is_that_of_scipy_and_for_even_steps_that_of_petsiuk() -> None:
    rng = np.random.default_rng(0)
    curve = rng.random(31)
    uneven = np.concatenate([[0], np.sort(rng.random(29)), [1]])
    assert area(curve, uneven) == pytest.approx(trapezoid(curve, uneven), abs=1e-14)
    assert area(curve, np.linspace(0, 1, 31)) == pytest.approx(even_area(curve.tolist()), abs=1e-14)


def test_a_constant_curve_has_its_value_and_a_straight_one_its_middle() -> None:
    fraction = counts(784) / 784
    assert area(np.full(51, 0.3), fraction) == pytest.approx(0.3, abs=1e-15)
    assert area(0.2 + 0.6 * fraction, fraction) == pytest.approx(0.5, abs=1e-15)


def curves(model, x: np.ndarray, importance: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """(insertion, deletion) scores of a model of a vector of features."""
    taken = counts(len(x), steps)
    order = rank(importance)
    images = [NestedMasks(order, taken, keep).masks(0, len(taken)) * x for keep in (True, False)]
    return np.array([model(row) for row in images[0]]), np.array([model(row) for row in images[1]])


def interacting(x) -> float:
    """Not additive, not monotone."""
    return float(np.tanh(x[0] * x[1] + np.sin(3 * x[2]) - x[3] * x[4] ** 2) + 0.3 * sum(x[5:]))


@given(
    x=hnp.arrays(np.float64, 8, elements=st.floats(-1, 1)),
    importance=hnp.arrays(np.float64, 8, elements=st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9])),
    steps=st.integers(1, 10),
)
def test_both_curves_are_equations_8_and_9_step_by_step(
    x: np.ndarray, importance: np.ndarray, steps: int
) -> None:
    insertion, deletion = curves(interacting, x, importance, steps)
    ranking, taken = slow_ranking(importance.tolist()), counts(8, steps).tolist()
    assert insertion.tolist() == pytest.approx(
        slow_insertion(interacting, x.tolist(), ranking, taken), abs=1e-12
    )
    assert deletion.tolist() == pytest.approx(
        slow_deletion(interacting, x.tolist(), ranking, taken), abs=1e-12
    )


def test_the_curves_of_one_feature_that_decides_are_steps_of_known_area() -> None:
    x, importance = np.ones(10), np.zeros(10)
    importance[4] = 1.0
    insertion, deletion = curves(lambda row: float(row[4]), x, importance, 10)
    fraction = counts(10, 10) / 10
    assert area(insertion, fraction) == pytest.approx(0.95)  # 1, less half of the first step
    assert area(deletion, fraction) == pytest.approx(0.05)
    worst, _ = curves(lambda row: float(row[4]), x, -importance, 10)
    assert area(worst, fraction) == pytest.approx(0.05)


@given(
    parts=hnp.arrays(np.float64, 9, elements=st.floats(0, 1)),
    importance=hnp.arrays(np.float64, 9, elements=st.floats(-1, 1)),
    steps=st.integers(1, 9),
)
def test_no_ranking_beats_the_exact_contributions_of_an_additive_score(
    parts: np.ndarray, importance: np.ndarray, steps: int
) -> None:
    fraction = counts(9, steps) / 9
    best = [area(curve, fraction) for curve in curves(np.sum, parts, parts, steps)]
    other = [area(curve, fraction) for curve in curves(np.sum, parts, importance, steps)]
    assert best[0] >= other[0] - 1e-12
    assert best[1] <= other[1] + 1e-12
    # What is not yet deleted is what is not yet inserted.
    assert other[0] + other[1] == pytest.approx(parts.sum(), abs=1e-12)


# ---- µ-fidelity --------------------------------------------------------------------------------------


def linear_case(seed: int) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """(contributions, masks, clean score, scores) of a linear model."""
    contributions = np.random.default_rng(seed).normal(size=81)
    masks = RandomSubsets(81, 16, SAMPLES, seed).masks(0, SAMPLES)
    return contributions, masks, float(contributions.sum() + 4), masks @ contributions + 4


@pytest.mark.parametrize("seed", range(3))
def test_mu_fidelity_of_a_linear_models_contributions_is_1_and_of_their_opposite_minus_1(seed: int) -> None:
    contributions, masks, clean, scores = linear_case(seed)
    assert mu_fidelity(contributions, masks, clean, scores) == pytest.approx((1.0, 1.0), abs=1e-12)
    assert mu_fidelity(-contributions, masks, clean, scores) == pytest.approx((-1.0, -1.0), abs=1e-12)


def test_mu_fidelity_is_blind_to_the_size_of_the_map_and_of_the_score() -> None:
    contributions, masks, clean, scores = linear_case(0)
    importance = np.abs(contributions)
    found = mu_fidelity(importance, masks, clean, scores)
    assert 0 < found[0] < 1
    # Subsets have equally many features, so that an offset of the map is an offset of every sum.
    assert mu_fidelity(1e-9 * importance + 1e-9, masks, clean, scores) == pytest.approx(found, abs=1e-9)
    assert mu_fidelity(importance, masks, 2e-200 * clean, 2e-200 * scores) == pytest.approx(found, abs=1e-9)


@given(
    x=hnp.arrays(np.float64, 8, elements=st.floats(0.1, 1)),
    importance=hnp.arrays(np.float64, 8, elements=st.sampled_from([0.0, 0.25, 0.5, 1.0]), unique=False),
    seed=st.integers(0, 99),
)
def test_mu_fidelity_is_equation_10_subset_by_subset(
    x: np.ndarray, importance: np.ndarray, seed: int
) -> None:
    importance[0] += 2.0  # it varies
    masks = RandomSubsets(8, 3, 40, seed).masks(0, 40)
    scores = np.array([interacting(mask.astype(np.float64) * x) for mask in masks])
    subsets = [np.flatnonzero(mask == 0).tolist() for mask in masks]
    found = mu_fidelity(importance, masks, interacting(x), scores)
    assert found == pytest.approx(slow_mu_fidelity(interacting, x.tolist(), importance, subsets), abs=1e-5)


def test_the_rank_correlation_is_that_of_scipy_with_ties_too() -> None:
    rng = np.random.default_rng(2)
    masks = RandomSubsets(20, 4, 100, 0).masks(0, 100)
    importance, scores = rng.integers(0, 3, 20).astype(float), rng.integers(0, 5, 100).astype(np.float32)
    _, found = mu_fidelity(importance, masks, 5.0, scores)
    assert found == pytest.approx(spearmanr((1 - masks) @ importance, 5 - scores).statistic, abs=1e-12)


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_mu_fidelity_is_none_where_nothing_varies_but_rounding(noise: float) -> None:
    contributions, masks, clean, scores = linear_case(0)
    rounding = noise * np.random.default_rng(0).normal(size=len(scores))
    assert mu_fidelity(contributions, masks, 0.7, 0.7 + rounding) == (None, None)
    assert mu_fidelity(np.full(81, 0.1), masks, clean, scores) == (None, None)
    with np.errstate(all="raise"):
        assert mu_fidelity(np.zeros(81), masks, clean, scores) == (None, None)


def test_mu_fidelity_of_a_map_with_a_single_feature_is_none() -> None:
    masks = RandomSubsets(1, subset_size(1), 10, 0).masks(0, 10)
    assert mu_fidelity(np.ones(1), masks, 1.0, np.zeros(10)) == (None, None)
