"""Estimators against closed forms, SciPy and loops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tests.oracles.indices import (
    Known,
    g_function,
    ishigami,
    jansen_standard_error,
    linear,
    pick_freeze,
    slow_jansen,
    slow_jansen_first,
    slow_variance,
)

from wavescope.core.design import sobol
from wavescope.core.estimators import jansen, jansen_first, variance
from wavescope.errors import ConstantScore

KNOWN = [
    pytest.param(ishigami(), id="ishigami"),
    pytest.param(g_function(), id="g-function"),
    pytest.param(linear(np.array([3.0, -2.0, 1.0, 0.5])), id="linear"),
]


def sampled(known: Known, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    design = sobol(len(known.total), n, seed)
    return pick_freeze(known.f, design.a, design.b)


def random_scores(n: int, k: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=n), rng.normal(size=n), rng.normal(size=(k, n))


@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("n", [256, 1024, 4096])
def test_jansen_finds_the_analytic_total_indices(known: Known, n: int) -> None:
    """Within 4 standard errors of plain Monte Carlo at the same N, which a scrambled net does not exceed.

    The standard error is that of the delta method (``jansen_standard_error``), and falls as 1/√N: about 0.02–0.1 here
    at N = 256 for the largest index. 4 of them are missed by a normal estimate once in 16,000 cases.
    """
    for seed in range(5):
        scores = sampled(known, n, seed)
        tolerance = 4 * jansen_standard_error(*scores, known.variance)
        assert (np.abs(jansen(*scores) - known.total) <= tolerance).all()


@pytest.mark.parametrize("known", KNOWN)
def test_jansen_first_finds_the_analytic_first_order_indices(known: Known) -> None:
    """1 − S has Jansen's form with f(B) for f(A), and so its standard error; the tolerance is as above."""
    for seed in range(5):
        f_a, f_b, f_c = sampled(known, 4096, seed)
        tolerance = 4 * jansen_standard_error(f_b, f_a, f_c, known.variance)
        assert (np.abs(jansen_first(f_a, f_b, f_c) - known.first) <= tolerance).all()


@pytest.mark.parametrize("estimate", [jansen, jansen_first])
@pytest.mark.parametrize("known", KNOWN)
def test_errors_fall_at_least_as_fast_as_monte_carlo(
    known: Known, estimate: Callable[..., np.ndarray]
) -> None:
    """From N = 64 to N = 4096 plain Monte Carlo gains √64 = 8; over 16 seeds the ratio is known to about 25 %."""
    truth = known.total if estimate is jansen else known.first

    def rms(n: int) -> float:
        errors = [estimate(*sampled(known, n, seed)) - truth for seed in range(16)]
        return float(np.sqrt(np.mean(np.square(errors))))

    assert rms(4096) < rms(64) / 6


@given(n=st.integers(1, 12), k=st.integers(1, 6), seed=st.integers(0, 999))
def test_estimators_equal_their_formulas_as_loops(n: int, k: int, seed: int) -> None:
    scores = random_scores(n, k, seed)
    np.testing.assert_allclose(float(variance(*scores[:2])), slow_variance(*scores[:2]), rtol=1e-12)
    np.testing.assert_allclose(jansen(*scores), slow_jansen(*scores), rtol=1e-10)
    np.testing.assert_allclose(jansen_first(*scores), slow_jansen_first(*scores), rtol=1e-10, atol=1e-12)


def test_v_is_taken_over_a_and_b_with_ddof_1_and_never_over_c() -> None:
    f_a, f_b = np.array([1.0, 2.0]), np.array([4.0, 9.0])
    assert float(variance(f_a, f_b)) == pytest.approx(np.var([1, 2, 4, 9], ddof=1))
    # Σ(a − c)² / (2·2·V): C's own spread of a million plays no part in V.
    f_c = np.array([[1.0, 1002.0]])
    assert jansen(f_a, f_b, f_c)[0] == pytest.approx(1000**2 / (4 * np.var([1, 2, 4, 9], ddof=1)))


def test_totals_agree_with_scipy_on_the_same_scores() -> None:
    """SciPy's total index is Jansen's too, but divides by the variance with ddof 0."""
    f_a, f_b, f_c = sampled(ishigami(), 512, 3)
    theirs = stats.sobol_indices(
        func={"f_A": f_a[None], "f_B": f_b[None], "f_AB": f_c[:, None, :]}, n=512
    ).total_order
    n = len(f_a)
    np.testing.assert_allclose(jansen(f_a, f_b, f_c), theirs * (2 * n - 1) / (2 * n), rtol=1e-10)


@given(
    shift=st.floats(-100, 100),
    scale=st.floats(1e-3, 1e3) | st.floats(-1e3, -1e-3),
    seed=st.integers(0, 999),
)
def test_indices_do_not_change_under_affine_maps_of_the_score(shift: float, scale: float, seed: int) -> None:
    scores = random_scores(16, 5, seed)
    moved = tuple(scale * f + shift for f in scores)
    np.testing.assert_allclose(jansen(*moved), jansen(*scores), rtol=1e-6)
    np.testing.assert_allclose(jansen_first(*moved), jansen_first(*scores), rtol=1e-6, atol=1e-6)


def test_scaling_by_a_power_of_two_changes_no_bit() -> None:
    scores = random_scores(16, 5, 0)
    assert (jansen(*(8 * f for f in scores)) == jansen(*scores)).all()


def test_a_factor_that_is_ignored_has_a_total_index_of_exactly_zero() -> None:
    def f(rows: np.ndarray) -> np.ndarray:
        return rows[:, 0] * np.exp(rows[:, 2])

    design = sobol(3, 32, 0)
    total = jansen(*pick_freeze(f, design.a, design.b))
    assert total[1] == 0.0
    assert (total[[0, 2]] > 0.05).all()


@given(seed=st.integers(0, 999), data=st.data())
def test_relabelling_factors_permutes_the_indices(seed: int, data: st.DataObject) -> None:
    f_a, f_b, f_c = random_scores(8, 6, seed)
    order = data.draw(st.permutations(range(6)))
    assert (jansen(f_a, f_b, f_c[order]) == jansen(f_a, f_b, f_c)[order]).all()
    assert (jansen_first(f_a, f_b, f_c[order]) == jansen_first(f_a, f_b, f_c)[order]).all()


@given(seed=st.integers(0, 999), scale=st.floats(1e-6, 1e6))
def test_total_indices_are_never_negative(seed: int, scale: float) -> None:
    assert (jansen(*(scale * f for f in random_scores(8, 6, seed))) >= 0).all()


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e-20, 1e6])
def test_a_constant_score_is_named_never_a_nan(value: float) -> None:
    flat = np.full(8, value)
    for estimate in (jansen, jansen_first):
        with pytest.raises(ConstantScore, match="does not vary over the 16 independent perturbations"):
            estimate(flat, flat, np.full((3, 8), value))


@pytest.mark.parametrize("value", [0.73, 1e-12, 4096.5])
def test_a_score_that_only_carries_float32_rounding_is_constant(value: float) -> None:
    steps = np.random.default_rng(0).integers(-2, 3, size=(5, 8))
    noisy = (np.float32(value) * (1 + steps * np.finfo(np.float32).eps)).astype(np.float32).astype(np.float64)
    assert np.ptp(noisy) > 0
    with pytest.raises(ConstantScore, match="indices are undefined"):
        jansen(noisy[0], noisy[1], noisy[2:])


def test_a_score_that_varies_in_its_fifth_digit_is_not_constant() -> None:
    scores = tuple(0.9 + 1e-5 * f for f in random_scores(8, 3, 0))
    np.testing.assert_allclose(jansen(*scores), jansen(*random_scores(8, 3, 0)), rtol=1e-6)


def test_tiny_probabilities_are_no_constant() -> None:
    scores = tuple(1e-30 * np.exp(f) for f in random_scores(8, 3, 0))
    assert np.isfinite(jansen(*scores)).all()


def test_estimators_take_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    scores = random_scores(16, 5, 0)
    tensors = [torch.asarray(f) for f in scores]
    for estimate in (jansen, jansen_first):
        np.testing.assert_allclose(estimate(*tensors).numpy(), estimate(*scores), rtol=1e-12)
    with pytest.raises(ConstantScore, match="does not vary"):
        jansen(torch.ones(4), torch.ones(4), torch.ones((2, 4)))
