"""What a map is worth: against SciPy, against what is known of the scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tests.oracles.indices import g_function, linear, pick_freeze

from wavescope.core.design import make_design
from wavescope.core.estimators import ESTIMATORS
from wavescope.core.worth import (
    additive_share,
    class_contrast,
    interval_ratio,
    rivals,
    saturation,
    spearman,
    split_half,
    unresolved_share,
)

Scores = tuple[np.ndarray, np.ndarray, np.ndarray]

every_estimator = pytest.mark.parametrize("name", sorted(ESTIMATORS))


def random_scores(n: int, k: int, seed: int) -> Scores:
    rng = np.random.default_rng(seed)
    f_a, f_b = rng.normal(size=(2, n))
    return f_a, f_b, f_a + rng.uniform(0, 2, size=(k, 1)) * rng.normal(size=(k, n))


def linear_scores(n: int, seed: int) -> Scores:
    design = make_design("sobol", 50, n, seed)
    return pick_freeze(linear(np.exp(np.linspace(-3, 0, 50))).f, design.a, design.b)


@given(k=st.integers(2, 30), values=st.integers(2, 40), seed=st.integers(0, 999))
def test_spearman_is_scipys_with_ties_too(k: int, values: int, seed: int) -> None:
    x, y = np.random.default_rng(seed).integers(0, values, size=(2, k)).astype(float)
    found = spearman(x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert found is None
    else:
        assert found == pytest.approx(stats.spearmanr(x, y).statistic)


@pytest.mark.parametrize(("x", "y"), [([1.0], [2.0]), ([1.0, 1.0], [1.0, 2.0]), ([1.0, 2.0], [3.0, 3.0])])
def test_ranks_that_are_all_tied_have_no_correlation(x: list[float], y: list[float]) -> None:
    assert spearman(np.array(x), np.array(y)) is None
    assert class_contrast(np.array(x), np.array(y)) is None


@every_estimator
@given(n=st.integers(4, 13), seed=st.integers(0, 99))
def test_split_half_correlates_the_indices_of_odd_and_even_rows(name: str, n: int, seed: int) -> None:
    f_a, f_b, f_c = random_scores(n, 12, seed)
    odd = ESTIMATORS[name](f_a[0::2], f_b[0::2], f_c[:, 0::2])
    even = ESTIMATORS[name](f_a[1::2], f_b[1::2], f_c[:, 1::2])
    if name in ("janon", "glen") and n < 6:
        assert split_half(name, f_a, f_b, f_c) is None
        return
    r = stats.spearmanr(odd, even).statistic
    expected = 2 * r / (1 + r) if r >= 0 else 2 * r / (1 - r)
    assert split_half(name, f_a, f_b, f_c) == pytest.approx(expected)


def test_split_half_stays_within_minus_one_and_one() -> None:
    """Where the halves disagree in full, 2 r / (1 + r) would be without end."""
    f_a, f_b = np.zeros(2), np.array([1.0, 2.0])
    f_c = np.array([[0.1, 0.3], [0.2, 0.2], [0.3, 0.1]])
    assert split_half("jansen", f_a, f_b, f_c) == pytest.approx(-1)
    assert split_half("jansen", f_a, f_b, f_c[:, [0, 0]]) == pytest.approx(1)


@every_estimator
def test_split_half_is_none_for_a_single_row(name: str) -> None:
    assert split_half(name, *random_scores(1, 5, 0)) is None


@every_estimator
def test_split_half_is_none_where_a_half_does_not_vary(name: str) -> None:
    f_a, f_b, f_c = random_scores(8, 5, 0)
    f_a[::2] = f_b[::2] = 1.0
    assert split_half(name, f_a, f_b, f_c) is None


def test_split_half_is_none_where_all_indices_of_a_half_are_equal() -> None:
    f_a, f_b, f_c = random_scores(8, 5, 0)
    f_c[:, ::2] = f_a[::2]
    assert split_half("jansen", f_a, f_b, f_c) is None


def test_split_half_takes_v_over_a_alone_on_request() -> None:
    """It only shows where a half of A does not vary: a common factor leaves ranks as they are."""
    f_a, f_b, f_c = random_scores(8, 5, 0)
    assert split_half("jansen", f_a, f_b, f_c, over="a") == split_half("jansen", f_a, f_b, f_c)
    f_a[::2] = 1.0
    assert split_half("jansen", f_a, f_b, f_c, over="a") is None
    assert split_half("jansen", f_a, f_b, f_c) is not None


def test_more_rows_are_more_reliable() -> None:
    few, many = (
        np.mean([split_half("jansen", *linear_scores(n, seed)) for seed in range(10)]) for n in (4, 64)
    )
    assert few < many
    assert many > 0.95


def test_the_correction_foretells_the_correlation_of_two_whole_designs() -> None:
    """The claim of Spearman and Brown, on average over designs: 40 of them know it to about 0.02."""
    foretold, found = [], []
    for seed in range(40):
        one, other = linear_scores(16, seed), linear_scores(16, 1000 + seed)
        foretold.append(split_half("jansen", *one))
        found.append(spearman(ESTIMATORS["jansen"](*one), ESTIMATORS["jansen"](*other)))
    assert np.mean(foretold) == pytest.approx(np.mean(found), abs=0.05)


def test_class_contrast_is_zero_for_the_same_map_and_two_for_the_reverse() -> None:
    total = np.array([0.1, 0.5, 0.2, 0.0])
    assert class_contrast(total, 3 * total) == pytest.approx(0, abs=1e-12)
    assert class_contrast(total, -total) == pytest.approx(2)


def test_class_contrast_is_one_for_unrelated_maps() -> None:
    x, y = np.random.default_rng(0).random((2, 5000))
    assert class_contrast(x, y) == pytest.approx(1 - stats.spearmanr(x, y).statistic)
    assert class_contrast(x, y) == pytest.approx(1, abs=0.05)


def test_the_additive_share_of_a_sum_is_one_even_from_few_rows() -> None:
    shares = [additive_share(*linear_scores(8, seed)) for seed in range(20)]
    assert np.mean(shares) == pytest.approx(1, abs=0.1)


def test_the_additive_share_of_a_product_is_below_one() -> None:
    known = g_function((0.0,) * 6)
    design = make_design("sobol", 6, 4096, 0)
    found = additive_share(*pick_freeze(known.f, design.a, design.b))
    assert found == pytest.approx(known.first.sum(), abs=0.05)
    assert known.first.sum() < 0.5


def test_the_additive_share_takes_v_over_a_alone_on_request() -> None:
    f_a, f_b, f_c = random_scores(8, 5, 0)
    ratio = np.var([*f_a, *f_b], ddof=1) / np.var(f_a, ddof=1)
    assert additive_share(f_a, f_b, f_c, over="a") == pytest.approx(additive_share(f_a, f_b, f_c) * ratio)


def test_the_unresolved_share_counts_factors_whose_error_is_above_half_the_index() -> None:
    total = np.array([0.4, 0.2, 0.1, 0.0, -0.1])
    error = np.array([0.2, 0.11, 0.3, 0.0, 0.06])
    assert unresolved_share(total, error) == 3 / 4
    assert unresolved_share(np.zeros(2), np.zeros(2)) is None


def test_rivals_are_factors_that_may_be_as_large_as_the_first() -> None:
    total = np.array([0.3, 0.4, 0.1, 0.2])
    interval = np.array([[0.2, 0.4], [0.3, 0.5], [0.05, 0.15], [0.1, 0.3]])
    assert rivals(total, interval) == 2
    assert rivals(total[1:2], interval[1:2]) == 0


def test_the_interval_ratio_is_that_of_the_largest_factor() -> None:
    total = np.array([0.1, 0.4])
    assert interval_ratio(total, np.array([[0.0, 0.2], [0.2, 0.6]])) == pytest.approx(3)
    assert interval_ratio(total, np.array([[0.1, 0.2], [0.0, 0.6]])) is None
    assert interval_ratio(np.zeros(2), np.zeros((2, 2))) is None


def test_saturation_counts_rows_at_the_fuller_end() -> None:
    assert saturation(np.linspace(0, 1, 8), np.linspace(0.05, 0.95, 8)) == 0
    stuck = np.array([1.0, 0.999, 0.995, 1.0])
    assert saturation(stuck, np.array([0.0, 1.0, 0.5, 1.0])) == 5 / 7
    assert saturation(1 - stuck, np.array([1.0, 0.0, 0.5, 0.0])) == 5 / 7
    assert saturation(np.ones(4), np.ones(4)) == 1


@given(shift=st.floats(-10, 10), scale=st.floats(0.1, 10) | st.floats(-10, -0.1), seed=st.integers(0, 99))
def test_saturation_does_not_depend_on_the_units_of_the_score(shift: float, scale: float, seed: int) -> None:
    f_a, f_b = np.random.default_rng(seed).random((2, 8)) ** 8
    assert saturation(scale * f_a + shift, scale * f_b + shift) == saturation(f_a, f_b)
