"""Scale shift and place shift: closed forms, and the properties of a distance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import wasserstein_distance

from wavescope.core.comparison import normalised, place_shift, scale_shift, total_variation

shares = hnp.arrays(np.float64, 5, elements=st.floats(-1, 10, width=32))


def test_shares_of_disjoint_scales_are_at_distance_1_and_equal_ones_at_0() -> None:
    assert scale_shift(np.array([1.0, 0, 0]), np.array([0, 0.25, 0.75])) == 1.0
    assert scale_shift(np.array([0.2, 0.3, 0.5]), np.array([0.2, 0.3, 0.5])) == 0.0


def test_moving_a_tenth_of_the_importance_to_another_scale_is_a_shift_of_a_tenth() -> None:
    assert scale_shift(np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.3, 0.3])) == pytest.approx(0.1, abs=1e-15)


def test_the_shift_is_blind_to_how_large_the_indices_are() -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])
    assert scale_shift(7 * p, q / 3) == pytest.approx(scale_shift(p, q), abs=1e-15)


def test_negative_indices_count_as_nothing() -> None:
    assert (normalised(np.array([3.0, -5.0, 1.0])) == [0.75, 0.0, 0.25]).all()
    assert scale_shift(np.array([1.0, -4.0]), np.array([1.0, 0.0])) == 0.0


def test_no_importance_at_all_is_at_distance_1_from_any_and_0_from_none() -> None:
    nothing, something = np.zeros(4), np.array([0, 0.5, 0.5, 0])
    assert scale_shift(nothing, nothing) == 0.0
    assert scale_shift(nothing, something) == scale_shift(something, nothing) == 1.0
    assert scale_shift(-something, something) == 1.0


def test_total_variation_is_the_earth_movers_distance_where_all_places_are_one_apart() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.dirichlet([1, 1])
        c, d = rng.dirichlet([1, 1])
        expected = wasserstein_distance([0, 1], [0, 1], [a, b], [c, d])
        assert total_variation(np.array([a, b]), np.array([c, d])) == pytest.approx(expected, abs=1e-14)


def test_total_variation_is_the_largest_difference_that_any_set_of_places_shows() -> None:
    rng = np.random.default_rng(1)
    p, q = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6))
    sets = [np.array([s >> i & 1 for i in range(6)], bool) for s in range(64)]
    assert total_variation(p, q) == pytest.approx(max(abs(p[s].sum() - q[s].sum()) for s in sets), abs=1e-15)


@given(p=shares, q=shares, r=shares)
def test_the_shift_is_a_distance_between_0_and_1(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> None:
    assert 0.0 <= scale_shift(p, q) <= 1.0
    assert scale_shift(p, p) == 0.0
    assert scale_shift(p, q) == scale_shift(q, p)
    assert scale_shift(p, r) <= scale_shift(p, q) + scale_shift(q, r) + 1e-12


def test_rounding_does_not_lift_the_distance_above_1() -> None:
    rng = np.random.default_rng(0)
    parts = [normalised(rng.random(50)) for _ in range(50)]
    assert max(float(p.sum()) for p in parts) > 1
    assert max(total_variation(p, np.zeros(50)) for p in parts) == 1.0


@given(p=shares, q=shares)
def test_the_shift_is_half_the_summed_difference_where_both_have_importance(
    p: np.ndarray, q: np.ndarray
) -> None:
    p, q = np.abs(p) + 0.1, np.abs(q) + 0.1
    expected = sum(abs(a / p.sum() - b / q.sum()) for a, b in zip(p, q, strict=True)) / 2
    assert scale_shift(p, q) == pytest.approx(expected, abs=1e-12)


def test_a_map_that_moves_to_another_place_shifts_by_1_and_the_change_says_from_where_to_where() -> None:
    before, after = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32)
    before[0, 1], after[1, 2] = 4.0, 0.5
    shift, change = place_shift(before, after)
    assert shift == 1.0
    assert change.dtype == np.float32
    assert change.tolist() == [[0, -1, 0], [0, 0, 1]]


@given(
    before=hnp.arrays(np.float32, (3, 4), elements=st.floats(0, 10, width=32)),
    after=hnp.arrays(np.float32, (3, 4), elements=st.floats(0, 10, width=32)),
)
def test_the_change_of_place_adds_up_to_0_and_gains_to_the_shift(
    before: np.ndarray, after: np.ndarray
) -> None:
    before, after = before + np.float32(0.1), after + np.float32(0.1)
    shift, change = place_shift(before, after)
    assert float(change.astype(np.float64).sum()) == pytest.approx(0.0, abs=1e-5)
    assert float(change[change > 0].astype(np.float64).sum()) == pytest.approx(shift, abs=1e-5)
