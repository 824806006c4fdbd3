"""Base rows of an adaptive plan: unbiased, bounded, nested, and told as they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavescope.core.adaptive.importance_sampling import (
    EVEN,
    FIRST,
    LEAST_STEP,
    LONGEST,
    STEP_POWER,
    draw_rows,
    expected_effects,
    sensitivity,
)


@st.composite
def sensitivities(draw: st.DrawFn) -> np.ndarray:
    """Of 2 to 64 rows, over up to nine orders of magnitude, some of them 0."""
    count = draw(st.integers(2, 64))
    logs = draw(st.lists(st.floats(-9, 0), min_size=count, max_size=count))
    dead = draw(st.sets(st.integers(1, count - 1), max_size=count - 1))
    values = 10.0 ** np.array(logs)
    values[list(dead)] = 0
    return values


def chances(values: np.ndarray) -> np.ndarray:
    """The probability of each row, as the module describes it."""
    return 0.75 * values / values.sum() + 0.25 / len(values)


@given(values=sensitivities(), seed=st.integers(0, 999))
def test_a_weight_is_one_over_m_times_the_chance_and_at_most_4(values: np.ndarray, seed: int) -> None:
    weight = draw_rows(values, seed).weight
    np.testing.assert_allclose(weight, 1 / (len(values) * chances(values)))
    assert weight.max() <= 4 * (1 + 1e-12)


@given(values=sensitivities(), seed=st.integers(0, 999))
def test_every_row_is_drawn_as_often_as_its_chance_says_to_less_than_one_draw(
    values: np.ndarray, seed: int
) -> None:
    """Draws of a block are evenly spaced: an interval of length q holds n q of n of them, rounded up or down."""
    draws = draw_rows(values, seed)
    for block, length in enumerate(draws.lengths):
        assert np.abs(draws.times(block) - length * chances(values)).max() < 1 + 1e-6


@given(values=sensitivities(), seed=st.integers(0, 999), effects=st.integers(0, 999))
def test_the_weighted_mean_over_many_draws_is_the_plain_mean_over_all_rows(
    values: np.ndarray, seed: int, effects: int
) -> None:
    """To Σ_j w_j f_j / n, as every row is drawn n q_j times to less than one."""
    draws, f = draw_rows(values, seed), np.random.default_rng(effects).random(len(values))
    n = draws.lengths[-1]
    found = (draws.times(len(draws.lengths) - 1) * draws.weight * f).sum() / n
    assert abs(found - f.mean()) <= (draws.weight * f).sum() / n + 1e-9


@pytest.mark.parametrize("block", [1, 2, 3])
def test_the_mean_over_starting_shifts_of_the_weighted_mean_is_the_plain_mean(block: int) -> None:
    """Hansen and Hurwitz 1943: without bias from the first four draws on. 4,000 shifts know it to their own error."""
    rng = np.random.default_rng(5)
    values, f = rng.random(16) ** 6, rng.random(16)
    estimates = []
    for seed in range(4000):
        draws = draw_rows(values, seed)
        estimates.append((draws.times(block) * draws.weight * f).sum() / draws.lengths[block])
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert np.mean(estimates) == pytest.approx(f.mean(), abs=4 * error)
    assert error < 0.02 * f.mean()


@given(values=sensitivities(), seed=st.integers(0, 999))
def test_a_factor_that_is_drawn_longer_keeps_its_rows_and_gets_others(values: np.ndarray, seed: int) -> None:
    draws = draw_rows(values, seed)
    assert draws.rows(0).size == 0
    for block in range(1, len(draws.lengths)):
        fewer, more = set(draws.rows(block - 1).tolist()), set(draws.rows(block).tolist())
        assert fewer < more


@given(values=sensitivities(), seed=st.integers(0, 999))
def test_distinct_and_effective_rows_are_those_of_the_counts(values: np.ndarray, seed: int) -> None:
    draws = draw_rows(values, seed)
    assert draws.lengths[0] == draws.distinct[0] == draws.effective[0] == 0
    assert draws.lengths[-1] <= LONGEST * len(values)
    for block in range(1, len(draws.lengths)):
        counts = [draws.order[: draws.lengths[block]].tolist().count(row) for row in range(len(values))]
        assert draws.times(block).tolist() == counts
        assert draws.distinct[block] == sum(count > 0 for count in counts)
        n = draws.lengths[block]
        assert draws.effective[block] == pytest.approx(n**2 / sum(count**2 for count in counts))
        assert 1 <= draws.effective[block] <= draws.distinct[block] + 1e-9


def test_rows_alike_are_each_drawn_as_often_and_all_of_them() -> None:
    draws = draw_rows(np.ones(32), 3)
    assert draws.distinct.tolist() == draws.effective.tolist() == [0, 4, 8, 16, 32]
    np.testing.assert_allclose(draws.weight, 1)


def test_a_row_that_alone_is_sensitive_is_three_quarters_of_all_draws() -> None:
    values = np.zeros(32)
    values[7] = 1
    draws = draw_rows(values, 0)
    assert 7 in draws.rows(1)
    assert draws.times(len(draws.lengths) - 1)[7] / draws.lengths[-1] == pytest.approx(
        1 - EVEN + EVEN / 32, abs=1 / draws.lengths[-1]
    )


def test_the_same_seed_draws_the_same_rows_another_others_and_0_is_a_seed() -> None:
    values = np.random.default_rng(1).random(64)
    orders = [draw_rows(values, seed).order.tobytes() for seed in (0, 1, 2, 2**53 - 1)]
    assert len(set(orders)) == 4
    assert orders[0] == draw_rows(values, 0).order.tobytes()


def test_a_single_row_is_drawn_every_time() -> None:
    draws = draw_rows(np.array([0.3]), 0)
    assert draws.distinct.tolist() == [0, 1]
    assert draws.lengths[1] == FIRST
    assert draws.effective[1] == 1


def test_a_probability_is_sensitive_between_0_and_1_and_other_scores_everywhere() -> None:
    p = np.array([0.0, 0.1, 0.5, 1.0])
    np.testing.assert_allclose(sensitivity("probability", p), [0.25e-6, 0.09, 0.25, 0.25e-6])
    for score in ("logit", "log_probability", "margin"):
        np.testing.assert_array_equal(sensitivity(score, p), np.ones(4))


def test_probabilities_all_0_or_1_are_alike_sensitive_and_can_be_drawn_from() -> None:
    found = sensitivity("probability", np.array([0.0, 1.0, 1.0, 0.0]))
    assert found.min() == found.max() > 0
    assert draw_rows(found, 0).distinct[-1] == 4


def test_rows_where_the_mask_value_changes_more_are_drawn_more_often_and_weighted_back() -> None:
    """Of a linear score f(A) − f(C) is the step times a coefficient."""
    rng = np.random.default_rng(2)
    step = rng.random(64) - rng.random(64)
    effect = step**2
    alone, along = [], []
    for seed in range(400):
        for found, expected in ((alone, None), (along, expected_effects(step[:, None])[:, 0])):
            draws = draw_rows(np.ones(64), seed, expected=expected)
            weighted = draws.weight * effect
            found.append((draws.times(1) * weighted).sum() / draws.lengths[1])
    for found in (alone, along):
        assert np.mean(found) == pytest.approx(effect.mean(), abs=4 * np.std(found) / 20)
    assert np.std(along) < 0.5 * np.std(alone)


def test_a_row_where_the_mask_value_does_not_change_can_still_be_drawn() -> None:
    assert expected_effects(np.array([[0.0, -1.0], [0.25, 0.01]])).tolist() == [
        [LEAST_STEP**STEP_POWER, 1.0],
        [0.25**STEP_POWER, LEAST_STEP**STEP_POWER],
    ]
    assert np.isfinite(
        draw_rows(np.ones(2), 0, expected=expected_effects(np.zeros((2, 1)))[:, 0]).weight
    ).all()


def test_factors_begin_elsewhere_and_together_draw_every_row_about_as_often() -> None:
    count = np.zeros(32)
    for factor in range(512):
        count += draw_rows(np.ones(32), 3, factor=factor).times(1)
    assert count.sum() == 512 * FIRST
    assert count.min() > 0.6 * count.mean()
    assert count.max() < 1.5 * count.mean()
