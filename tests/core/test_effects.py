"""Signed effects: exact of a linear score, and why the mean of f(A) − f(C) is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.oracles.indices import ishigami, linear, pick_freeze

from wavescope.core.sobol.design import make_design
from wavescope.core.sobol.effects import MIN_ROWS, effects
from wavescope.core.sobol.estimators import Scores, jansen


def sample(f: object, k: int, n: int, seed: int, sampler: str = "sobol") -> tuple[np.ndarray, np.ndarray]:
    """f(A) − f(C) and A − B, (K, N) each."""
    design = make_design(sampler, k, n, seed)
    f_a, _, f_c = pick_freeze(f, design.a, design.b)  # type: ignore[arg-type]
    return f_a - f_c, (design.a - design.b).T


@given(k=st.integers(1, 12), rows=st.integers(0, 5), seed=st.integers(0, 99))
def test_a_linear_score_has_its_coefficients_as_effects_whatever_the_design(
    k: int, rows: int, seed: int
) -> None:
    weights = np.random.default_rng(seed).normal(size=k)
    slope, error = effects(*sample(linear(weights).f, k, 2**rows, seed))
    np.testing.assert_allclose(slope, weights, rtol=1e-9, atol=1e-12)
    if 2**rows >= MIN_ROWS:
        assert (error <= 1e-9).all()
    else:
        assert np.isnan(error).all()


def test_effects_are_those_of_a_regression_row_by_row() -> None:
    rng = np.random.default_rng(0)
    change, step, weight = rng.normal(size=(3, 5, 9))
    weight = np.abs(weight) * (rng.random((5, 9)) > 0.3)
    slope, error = effects(change, step, weight)
    for k in range(5):
        rows = [j for j in range(9) if weight[k, j] > 0]
        whole = math.fsum(weight[k, j] * step[k, j] ** 2 for j in rows)
        expected = math.fsum(weight[k, j] * step[k, j] * change[k, j] for j in rows) / whole
        assert slope[k] == pytest.approx(expected)
        squares = 0.0
        for j in rows:
            rest = [i for i in rows if i != j]
            without = math.fsum(weight[k, i] * step[k, i] * change[k, i] for i in rest)
            without /= math.fsum(weight[k, i] * step[k, i] ** 2 for i in rest)
            # The residual of a row from the line through all others, which is the residual over 1 - leverage.
            squares += (weight[k, j] * step[k, j] * (change[k, j] - without * step[k, j])) ** 2
        assert error[k] == pytest.approx(math.sqrt(squares) / whole)


def test_a_weight_counts_as_so_many_equal_rows() -> None:
    change, step = np.random.default_rng(1).normal(size=(2, 3, 8))
    times = np.tile([1.0, 2, 1, 3, 1, 1, 2, 1], (3, 1))
    often = np.repeat(np.arange(8), times[0].astype(int))
    slope, _ = effects(change, step, times)
    np.testing.assert_allclose(slope, effects(change[:, often], step[:, often])[0])


def test_rows_that_were_not_scored_count_for_nothing() -> None:
    change, step = np.random.default_rng(2).normal(size=(2, 2, 8))
    weight = np.ones((2, 8))
    weight[:, 5:] = 0
    change[:, 5:] = np.nan
    for found, expected in zip(
        effects(change, step, weight), effects(change[:, :5], step[:, :5]), strict=True
    ):
        np.testing.assert_allclose(found, expected)


def test_a_factor_that_no_row_moved_has_no_effect_to_speak_of() -> None:
    slope, error = effects(np.zeros((1, 8)), np.zeros((1, 8)))
    assert np.isnan(slope).all()
    assert np.isnan(error).all()


def test_the_mean_difference_of_a_and_c_says_nothing_since_a_and_b_are_exchangeable() -> None:
    """Swapping A with B in a factor's column turns its sign for every score, though not that of the slope."""
    weights = np.array([3.0, -2.0])
    mean = np.array(
        [sample(linear(weights).f, 2, 8, seed, "monte_carlo")[0].mean(axis=1) for seed in range(400)]
    )
    spread = mean.std(axis=0) / math.sqrt(len(mean))
    assert (np.abs(mean.mean(axis=0)) < 3 * spread).all()  # 0, of a score whose effects are 3 and -2
    assert ((mean > 0).mean(axis=0) > 0.4).all()
    assert ((mean > 0).mean(axis=0) < 0.6).all()
    change, step = sample(linear(weights).f, 2, 8, 0)
    np.testing.assert_allclose(effects(-change, -step)[0], effects(change, step)[0])


def test_the_effect_of_ishigamis_first_factor_is_the_slope_of_its_line() -> None:
    """E[(f(A) − f(C))(a − b)] / E[(a − b)²] = 12 Cov(f, x): of sin x₁ (1 + 0.1 x₃⁴), x = π (2 m − 1)."""
    slope, error = effects(*sample(ishigami().f, 3, 2**14, 0))
    # Cov(sin(π (2 m − 1)), m) = ∫ m sin(π (2 m − 1)) dm = 1 / (2 π); E[1 + 0.1 x₃⁴] = 1 + 0.1 π⁴ / 5.
    assert slope[0] == pytest.approx(12 / (2 * math.pi) * (1 + 0.1 * math.pi**4 / 5), abs=3 * error[0])
    assert (np.abs(slope[1:]) < 3 * error[1:]).all()  # even in both
    assert error[0] < 0.1


def test_errors_are_those_of_repeated_designs() -> None:
    """Of few rows they err to the safe side."""

    def f(rows: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-4 * (rows - 0.5) @ np.array([3.0, -2, 1, 0.5])))

    for n, low, high in ((8, 0.9, 1.5), (64, 0.85, 1.2)):
        found = np.array([effects(*sample(f, 4, n, seed, "monte_carlo")) for seed in range(300)])
        spread = found[:, 0].std(axis=0)
        typical = np.sqrt((found[:, 1] ** 2).mean(axis=0))
        assert (typical > low * spread).all(), n
        assert (typical < high * spread).all(), n


def test_a_factor_of_even_effect_has_a_large_index_and_none_of_either_sign() -> None:
    design = make_design("sobol", 2, 1024, 0)
    f_a, f_b, f_c = pick_freeze(lambda rows: np.abs(rows[:, 0] - 0.5) + 0.1 * rows[:, 1], design.a, design.b)
    slope, error = effects(f_a - f_c, (design.a - design.b).T)
    assert jansen(Scores(f_a, f_b, f_c))[0] > 0.9
    assert abs(slope[0]) < 3 * error[0]
    assert slope[1] == pytest.approx(0.1, abs=1e-9)
