"""Estimators against SciPy and loops, and what holds of all of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tests.oracles.indices import (
    SLOW_TOTAL,
    ishigami,
    pick_freeze,
    slow_jansen_first,
    slow_saltelli_first,
    slow_variance,
)

from wavescope.core.sobol.design import make_design
from wavescope.core.sobol.estimators import (
    ESTIMATORS,
    Scores,
    check_estimator,
    jansen,
    jansen_first,
    saltelli_first,
    variance,
)
from wavescope.errors import ConstantScore, InvalidRequest

Triple = tuple[np.ndarray, np.ndarray, np.ndarray]  # f_a, f_b (n,), f_c (k, n)

names = st.sampled_from(sorted(ESTIMATORS))
every_estimator = pytest.mark.parametrize("name", sorted(ESTIMATORS))
every_function = pytest.mark.parametrize(
    "estimate",
    [*(estimator.total for estimator in ESTIMATORS.values()), jansen_first, saltelli_first],
    ids=lambda f: f.__name__,
)


def random_scores(n: int, k: int, seed: int) -> Triple:
    """C shares much of A, as a frozen row does."""
    rng = np.random.default_rng(seed)
    f_a, f_b = rng.normal(size=(2, n))
    return f_a, f_b, f_a + rng.uniform(0, 2, size=(k, 1)) * rng.normal(size=(k, n))


@given(name=names, n=st.integers(2, 12), k=st.integers(1, 6), seed=st.integers(0, 999))
def test_total_indices_equal_their_formulas_as_loops(name: str, n: int, k: int, seed: int) -> None:
    scores = random_scores(n, k, seed)
    np.testing.assert_allclose(
        ESTIMATORS[name].total(Scores(*scores)), SLOW_TOTAL[name](*scores), rtol=1e-9, atol=1e-12
    )


@given(n=st.integers(1, 12), k=st.integers(1, 6), seed=st.integers(0, 999))
def test_variance_and_first_order_indices_equal_their_formulas_as_loops(n: int, k: int, seed: int) -> None:
    scores = random_scores(n, k, seed)
    np.testing.assert_allclose(float(variance(Scores(*scores))), slow_variance(*scores[:2]), rtol=1e-12)
    np.testing.assert_allclose(
        jansen_first(Scores(*scores)), slow_jansen_first(*scores), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(
        saltelli_first(Scores(*scores)), slow_saltelli_first(*scores), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("name", ["jansen", "homma", "saltelli"])
def test_a_single_row_has_indices_where_the_formula_has(name: str) -> None:
    scores = random_scores(1, 4, 0)
    np.testing.assert_allclose(ESTIMATORS[name].total(Scores(*scores)), SLOW_TOTAL[name](*scores), rtol=1e-9)


@every_estimator
def test_first_order_indices_are_saltellis_own_and_jansens_for_all_others(name: str) -> None:
    expected = saltelli_first if name == "saltelli" else jansen_first
    assert ESTIMATORS[name].first is expected


def test_v_is_taken_over_a_and_b_with_ddof_1_and_never_over_c() -> None:
    f_a, f_b = np.array([1.0, 2.0]), np.array([4.0, 9.0])
    # Σ(a − c)² / (2·2·V): C's own spread of a million plays no part in V.
    scores = Scores(f_a, f_b, np.array([[1.0, 1002.0]]))
    assert float(variance(scores)) == pytest.approx(np.var([1, 2, 4, 9], ddof=1))
    assert jansen(scores)[0] == pytest.approx(1000**2 / (4 * np.var([1, 2, 4, 9], ddof=1)))


@pytest.mark.parametrize("name", ["jansen", "homma", "saltelli"])
def test_v_may_be_taken_over_a_alone_as_the_paper_does(name: str) -> None:
    f_a, f_b, f_c = random_scores(8, 5, 0)
    over_ab = ESTIMATORS[name].total(Scores(f_a, f_b, f_c))
    over_a = ESTIMATORS[name].total(Scores(f_a, f_b, f_c), variance_rows="a")
    ratio = slow_variance(f_a, f_b) / np.var(f_a, ddof=1)
    offset = 1.0 if name == "homma" else 0.0
    np.testing.assert_allclose(over_a - offset, (over_ab - offset) * ratio, rtol=1e-10)
    assert float(variance(Scores(f_a, f_b, f_c), variance_rows="a")) == pytest.approx(np.var(f_a, ddof=1))


def test_first_order_indices_may_take_v_over_a_alone_too() -> None:
    f_a, f_b, f_c = random_scores(8, 5, 0)
    ratio = slow_variance(f_a, f_b) / np.var(f_a, ddof=1)
    for name, offset in (("jansen", 1.0), ("saltelli", 0.0)):
        over_a = ESTIMATORS[name].first(Scores(f_a, f_b, f_c), variance_rows="a")
        over_ab = ESTIMATORS[name].first(Scores(f_a, f_b, f_c))
        np.testing.assert_allclose(over_a - offset, (over_ab - offset) * ratio, rtol=1e-10)


def test_totals_agree_with_scipy_on_the_same_scores() -> None:
    """SciPy's total index is Jansen's too, but divides by the variance with ddof 0."""
    design = make_design("sobol", 3, 512, 3)
    f_a, f_b, f_c = pick_freeze(ishigami().f, design.a, design.b)
    theirs = stats.sobol_indices(
        func={"f_A": f_a[None], "f_B": f_b[None], "f_AB": f_c[:, None, :]}, n=512
    ).total_order
    np.testing.assert_allclose(jansen(Scores(f_a, f_b, f_c)), theirs * 1023 / 1024, rtol=1e-10)


def test_glen_agrees_with_numpys_correlation() -> None:
    f_a, f_b, f_c = random_scores(16, 5, 0)
    expected = [1 - np.corrcoef(f_a, row)[0, 1] for row in f_c]
    np.testing.assert_allclose(ESTIMATORS["glen"].total(Scores(f_a, f_b, f_c)), expected, rtol=1e-10)


@given(
    shift=st.floats(-100, 100),
    scale=st.floats(1e-3, 1e3) | st.floats(-1e3, -1e-3),
    seed=st.integers(0, 999),
)
@every_function
def test_indices_do_not_change_under_affine_maps_of_the_score(
    estimate: Callable[..., np.ndarray], shift: float, scale: float, seed: int
) -> None:
    scores = random_scores(16, 5, seed)
    moved = tuple(scale * f + shift for f in scores)
    np.testing.assert_allclose(estimate(Scores(*moved)), estimate(Scores(*scores)), rtol=1e-6, atol=1e-6)


@every_function
def test_scaling_by_a_power_of_two_changes_no_bit(estimate: Callable[..., np.ndarray]) -> None:
    scores = random_scores(16, 5, 0)
    assert (estimate(Scores(*(8 * f for f in scores))) == estimate(Scores(*scores))).all()


@pytest.mark.parametrize("sampler", ["sobol", "halton", "latin_hypercube", "monte_carlo"])
@pytest.mark.parametrize("name", ["jansen", "saltelli", "janon", "glen"])
def test_a_factor_that_is_ignored_has_a_total_index_of_exactly_zero(name: str, sampler: str) -> None:
    def f(rows: np.ndarray) -> np.ndarray:
        return rows[:, 0] * np.exp(rows[:, 2])

    design = make_design(sampler, 3, 32, 0)
    total = ESTIMATORS[name].total(Scores(*pick_freeze(f, design.a, design.b)))
    assert total[1] == 0.0
    assert (total[[0, 2]] > 0.05).all()


@given(name=st.sampled_from(["jansen", "saltelli", "janon", "glen"]), seed=st.integers(0, 999))
def test_scores_that_do_not_change_have_a_total_index_of_exactly_zero(name: str, seed: int) -> None:
    f_a, f_b, f_c = random_scores(7, 5, seed)
    f_c[2] = f_a
    total = ESTIMATORS[name].total(Scores(f_a, f_b, f_c))
    assert total[2] == 0.0
    assert (total[[0, 1, 3, 4]] != 0).all()


def test_homma_gives_an_ignored_factor_what_the_variance_of_a_lacks_to_v() -> None:
    f_a, f_b, f_c = random_scores(8, 3, 0)
    f_c[1] = f_a
    expected = 1 - np.var(f_a) / slow_variance(f_a, f_b)
    assert ESTIMATORS["homma"].total(Scores(f_a, f_b, f_c))[1] == pytest.approx(expected)


def test_saltellis_first_order_index_of_an_ignored_factor_is_exactly_zero() -> None:
    f_a, f_b, f_c = random_scores(8, 3, 0)
    f_c[1] = f_a
    assert saltelli_first(Scores(f_a, f_b, f_c))[1] == 0.0


@given(seed=st.integers(0, 999), data=st.data())
@every_function
def test_relabelling_factors_permutes_the_indices(
    estimate: Callable[..., np.ndarray], seed: int, data: st.DataObject
) -> None:
    f_a, f_b, f_c = random_scores(8, 6, seed)
    order = data.draw(st.permutations(range(6)))
    assert (estimate(Scores(f_a, f_b, f_c[order])) == estimate(Scores(f_a, f_b, f_c))[order]).all()


@given(seed=st.integers(0, 999), scale=st.floats(1e-6, 1e6))
@pytest.mark.parametrize(("name", "highest"), [("jansen", np.inf), ("janon", 2.0), ("glen", 2.0)])
def test_estimators_that_cannot_be_negative_are_not(
    name: str, highest: float, seed: int, scale: float
) -> None:
    total = ESTIMATORS[name].total(Scores(*(scale * f for f in random_scores(8, 6, seed))))
    assert (total >= 0).all()
    assert (total <= highest + 1e-12).all()


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e-20, 1e6])
@every_function
def test_a_constant_score_is_named_never_a_nan(estimate: Callable[..., np.ndarray], value: float) -> None:
    flat = np.full(8, value)
    with pytest.raises(ConstantScore, match=r"does not vary over the (16 independent|8 rows of A)"):
        estimate(Scores(flat, flat, np.full((3, 8), value)))


@pytest.mark.parametrize("name", ["janon", "glen"])
def test_correlations_name_a_score_that_does_not_vary_over_a(name: str) -> None:
    """B varies, so that V is positive: the other estimators have indices."""
    f_a, f_b, f_c = np.ones(8), np.arange(8.0), np.ones((3, 8))
    with pytest.raises(ConstantScore, match="does not vary over the 8 rows of A"):
        ESTIMATORS[name].total(Scores(f_a, f_b, f_c))
    assert (jansen(Scores(f_a, f_b, f_c)) == 0).all()


@pytest.mark.parametrize("name", ["janon", "glen"])
def test_correlations_name_a_single_row(name: str) -> None:
    with pytest.raises(ConstantScore, match=r"over the 1 rows of A \(standard deviation 0 at"):
        ESTIMATORS[name].total(Scores(*random_scores(1, 3, 0)))


def test_v_over_a_alone_names_a_score_that_does_not_vary_over_a() -> None:
    with pytest.raises(ConstantScore, match="does not vary over the 8 independent"):
        jansen(Scores(np.ones(8), np.arange(8.0), np.ones((3, 8))), variance_rows="a")
    with pytest.raises(ConstantScore, match=r"over the 1 independent .*\(standard deviation 0 at"):
        jansen(Scores(np.ones(1), np.zeros(1), np.ones((3, 1))), variance_rows="a")


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
@every_estimator
def test_a_constant_c_gives_a_finite_index(name: str, value: float) -> None:
    f_a, f_b, f_c = random_scores(8, 3, 0)
    f_c[1] = value
    total = ESTIMATORS[name].total(Scores(f_a, f_b, f_c))
    assert np.isfinite(total).all()
    np.testing.assert_allclose(total, SLOW_TOTAL[name](f_a, f_b, f_c), rtol=1e-6)


@pytest.mark.parametrize("value", [0.1, 7e5 / 3])
@pytest.mark.parametrize("n", [7, 8])
def test_glens_index_is_one_where_nothing_of_the_variation_is_left(n: int, value: float) -> None:
    f_a, f_b, f_c = random_scores(n, 3, 0)
    f_c[1] = value
    assert ESTIMATORS["glen"].total(Scores(f_a, f_b, f_c))[1] == 1.0


def test_glens_index_sees_a_faint_c() -> None:
    """A correlation has no units: a millionth of a's variation, around the mean of all, correlates in full."""
    f_a, f_b, _ = random_scores(8, 1, 0)
    middle = np.concatenate([f_a, f_b]).mean()
    faint = np.stack([middle + 1e-6 * f_a, middle - 1e-6 * f_a])
    np.testing.assert_allclose(ESTIMATORS["glen"].total(Scores(f_a, f_b, faint)), [0, 2], atol=1e-6)


def test_glens_index_is_one_where_c_stays_at_the_mean() -> None:
    f_a, f_b = np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])
    assert ESTIMATORS["glen"].total(Scores(f_a, f_b, np.full((1, 3), 2.0))).tolist() == [1.0]


@pytest.mark.parametrize("value", [0.73, 1e-12, 4096.5])
def test_a_score_that_only_carries_float32_rounding_is_constant(value: float) -> None:
    steps = np.random.default_rng(0).integers(-2, 3, size=(5, 8))
    noisy = (np.float32(value) * (1 + steps * np.finfo(np.float32).eps)).astype(np.float32).astype(np.float64)
    assert np.ptp(noisy) > 0
    with pytest.raises(ConstantScore, match="indices are undefined"):
        jansen(Scores(noisy[0], noisy[1], noisy[2:]))


@every_estimator
def test_a_score_that_varies_in_its_fifth_digit_is_not_constant(name: str) -> None:
    scores = random_scores(8, 3, 0)
    shifted = tuple(0.9 + 1e-5 * f for f in scores)
    np.testing.assert_allclose(
        ESTIMATORS[name].total(Scores(*shifted)),
        ESTIMATORS[name].total(Scores(*scores)),
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.parametrize("size", [1e-30, 1e-100])
@every_function
def test_tiny_probabilities_are_no_constant(estimate: Callable[..., np.ndarray], size: float) -> None:
    scores = tuple(np.exp(f) for f in random_scores(8, 3, 0))
    tiny = tuple(size * f for f in scores)
    np.testing.assert_allclose(estimate(Scores(*tiny)), estimate(Scores(*scores)), rtol=1e-10)


@every_estimator
def test_weights_stand_for_repeated_rows(name: str) -> None:
    """What the bootstrap rests on: weights of a resample give the index of the scores of its rows."""
    f_a, f_b, f_c = random_scores(6, 4, 1)
    counts = np.array([[1, 1, 1, 1, 1, 1], [2, 0, 1, 3, 0, 0], [0, 4, 0, 0, 1, 1]])
    found = ESTIMATORS[name].total(Scores(f_a, f_b, f_c), weights=counts / 6)
    for column, times in enumerate(counts):
        rows = np.repeat(np.arange(6), times)
        expected = SLOW_TOTAL[name](f_a[rows], f_b[rows], f_c[:, rows])
        np.testing.assert_allclose(found[:, column], expected, rtol=1e-9, atol=1e-12)
    over_a = ESTIMATORS[name].total(Scores(f_a, f_b, f_c), weights=counts / 6, variance_rows="a")
    rows = np.repeat(np.arange(6), counts[1])
    expected = ESTIMATORS[name].total(Scores(f_a[rows], f_b[rows], f_c[:, rows]), variance_rows="a")
    np.testing.assert_allclose(over_a[:, 1], expected, rtol=1e-9, atol=1e-12)


@every_function
def test_estimators_take_torch_tensors(estimate: Callable[..., np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    scores = random_scores(16, 5, 0)
    scores[2][1] = 0.25
    tensors = [torch.asarray(f) for f in scores]
    np.testing.assert_allclose(estimate(Scores(*tensors)).numpy(), estimate(Scores(*scores)), rtol=1e-10)
    with pytest.raises(ConstantScore, match="does not vary"):
        estimate(Scores(torch.ones(4), torch.ones(4), torch.ones((2, 4))))


def test_an_unknown_estimator_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        InvalidRequest, match="estimator is 'owen'; it must be one of jansen, homma"
    ) as caught:
        check_estimator("owen", 8)
    assert caught.value.field == "estimator"
    assert caught.value.limits == {"choices": list(ESTIMATORS)}


@every_estimator
def test_only_correlations_need_more_than_one_row(name: str) -> None:
    check_estimator(name, 2)
    if name not in ("janon", "glen"):
        check_estimator(name, 1)
        return
    with pytest.raises(InvalidRequest, match=rf"nb_design is 1; the estimator {name} .*at least 2") as caught:
        check_estimator(name, 1)
    assert caught.value.field == "nb_design"
    assert caught.value.limits == {"minimum": 2}
