"""What a map is worth: against SciPy, against what is known of the scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tests.oracles.indices import linear, pick_freeze

from wavescope.core.sobol.design import make_design
from wavescope.core.sobol.diagnostics import (
    class_contrast,
    interaction,
    saturation,
    spearman,
    split_half,
    unresolved_share,
)
from wavescope.core.sobol.estimators import ESTIMATORS, Scores

Triple = tuple[np.ndarray, np.ndarray, np.ndarray]  # f_a, f_b (n,), f_c (k, n)

every_estimator = pytest.mark.parametrize("name", sorted(ESTIMATORS))


def random_scores(n: int, k: int, seed: int) -> Triple:
    rng = np.random.default_rng(seed)
    f_a, f_b = rng.normal(size=(2, n))
    return f_a, f_b, f_a + rng.uniform(0, 2, size=(k, 1)) * rng.normal(size=(k, n))


def linear_scores(n: int, seed: int) -> Triple:
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
    odd = ESTIMATORS[name].total(Scores(f_a[0::2], f_b[0::2], f_c[:, 0::2]))
    even = ESTIMATORS[name].total(Scores(f_a[1::2], f_b[1::2], f_c[:, 1::2]))
    if name in ("janon", "glen") and n < 6:
        assert split_half(ESTIMATORS[name], Scores(f_a, f_b, f_c)) is None
        return
    r = stats.spearmanr(odd, even).statistic
    expected = 2 * r / (1 + r) if r >= 0 else 2 * r / (1 - r)
    assert split_half(ESTIMATORS[name], Scores(f_a, f_b, f_c)) == pytest.approx(expected)


def test_split_half_stays_within_minus_one_and_one() -> None:
    """Where the halves disagree in full, 2 r / (1 + r) would be without end."""
    f_a, f_b = np.zeros(2), np.array([1.0, 2.0])
    f_c = np.array([[0.1, 0.3], [0.2, 0.2], [0.3, 0.1]])
    assert split_half(ESTIMATORS["jansen"], Scores(f_a, f_b, f_c)) == pytest.approx(-1)
    assert split_half(ESTIMATORS["jansen"], Scores(f_a, f_b, f_c[:, [0, 0]])) == pytest.approx(1)


@every_estimator
def test_split_half_is_none_for_a_single_row(name: str) -> None:
    assert split_half(ESTIMATORS[name], Scores(*random_scores(1, 5, 0))) is None


@every_estimator
def test_split_half_is_none_where_a_half_does_not_vary(name: str) -> None:
    f_a, f_b, f_c = random_scores(8, 5, 0)
    f_a[::2] = f_b[::2] = 1.0
    assert split_half(ESTIMATORS[name], Scores(f_a, f_b, f_c)) is None


def test_split_half_is_none_where_all_indices_of_a_half_are_equal() -> None:
    f_a, f_b, f_c = random_scores(8, 5, 0)
    f_c[:, ::2] = f_a[::2]
    assert split_half(ESTIMATORS["jansen"], Scores(f_a, f_b, f_c)) is None


def test_split_half_takes_v_over_a_alone_on_request() -> None:
    """It only shows where a half of A does not vary: a common factor leaves ranks as they are."""
    f_a, f_b, f_c = random_scores(8, 5, 0)
    assert split_half(ESTIMATORS["jansen"], Scores(f_a, f_b, f_c), variance_rows="a") == split_half(
        ESTIMATORS["jansen"], Scores(f_a, f_b, f_c)
    )
    f_a[::2] = 1.0
    assert split_half(ESTIMATORS["jansen"], Scores(f_a, f_b, f_c), variance_rows="a") is None
    assert split_half(ESTIMATORS["jansen"], Scores(f_a, f_b, f_c)) is not None


def test_more_rows_are_more_reliable() -> None:
    few, many = (
        np.mean([split_half(ESTIMATORS["jansen"], Scores(*linear_scores(n, seed))) for seed in range(10)])
        for n in (4, 64)
    )
    assert few < many
    assert many > 0.95


def test_the_correction_foretells_the_correlation_of_two_whole_designs() -> None:
    """The claim of Spearman and Brown, on average over designs: 40 of them know it to about 0.02."""
    foretold, found = [], []
    for seed in range(40):
        one, other = linear_scores(16, seed), linear_scores(16, 1000 + seed)
        foretold.append(split_half(ESTIMATORS["jansen"], Scores(*one)))
        found.append(
            spearman(ESTIMATORS["jansen"].total(Scores(*one)), ESTIMATORS["jansen"].total(Scores(*other)))
        )
    assert np.mean(foretold) == pytest.approx(np.mean(found), abs=0.05)


def test_class_contrast_is_zero_for_the_same_map_and_two_for_the_reverse() -> None:
    total = np.array([0.1, 0.5, 0.2, 0.0])
    assert class_contrast(total, 3 * total) == pytest.approx(0, abs=1e-12)
    assert class_contrast(total, -total) == pytest.approx(2)


def test_class_contrast_is_one_for_unrelated_maps() -> None:
    x, y = np.random.default_rng(0).random((2, 5000))
    assert class_contrast(x, y) == pytest.approx(1 - stats.spearmanr(x, y).statistic)
    assert class_contrast(x, y) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("n", [1, 2, 8])
def test_single_effects_of_a_sum_add_up_at_any_n(n: int) -> None:
    assert interaction(Scores(*linear_scores(n, 3))) == pytest.approx(0, abs=1e-12)


def test_single_effects_of_a_product_miss_what_follows_by_hand() -> None:
    """f = x y: b − a is x'y' − xy, the single effects add up to x'y + xy' − 2xy: missing is (x' − x)(y' − y)."""
    a, b = np.random.default_rng(4).random((2, 16, 2))
    f_c = np.stack([b[:, 0] * a[:, 1], a[:, 0] * b[:, 1]])
    missing = np.prod(b - a, axis=1)
    expected = np.sqrt(np.mean(missing**2) / np.mean((b.prod(axis=1) - a.prod(axis=1)) ** 2))
    assert interaction(Scores(a.prod(axis=1), b.prod(axis=1), f_c)) == pytest.approx(expected)
    assert expected > 0.1


def test_interaction_is_untold_where_all_factors_together_do_nothing() -> None:
    assert interaction(Scores(np.ones(4), np.ones(4), np.zeros((3, 4)))) is None


def test_the_unresolved_share_counts_factors_whose_error_is_above_half_the_index() -> None:
    total = np.array([0.4, 0.2, 0.1, 0.0, -0.1])
    error = np.array([0.2, 0.11, 0.3, 0.0, 0.06])
    assert unresolved_share(total, error) == 3 / 4
    assert unresolved_share(np.zeros(2), np.zeros(2)) is None


def test_saturation_counts_rows_at_the_fuller_end() -> None:
    assert saturation(np.linspace(0, 1, 16)) == 0
    stuck = np.array([1.0, 0.999, 0.995, 1.0, 0.0, 1.0, 0.5, 1.0])
    assert saturation(stuck) == 5 / 7
    assert saturation(1 - stuck) == 5 / 7
    assert saturation(np.ones(8)) == 1


@given(shift=st.floats(-10, 10), scale=st.floats(0.1, 10) | st.floats(-10, -0.1), seed=st.integers(0, 99))
def test_saturation_does_not_depend_on_the_units_of_the_score(shift: float, scale: float, seed: int) -> None:
    rows = np.random.default_rng(seed).random(16) ** 8
    assert saturation(scale * rows + shift) == saturation(rows)
