"""Standard errors and intervals: against a loop, against the true sampling spread, against known totals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.oracles.indices import Known, g_function, linear, pick_freeze
from tests.oracles.resampling import slow_errors, slow_share_errors

from wavescope.core.sobol.bootstrap import MIN_ROWS, index_errors, share_errors
from wavescope.core.sobol.design import make_design
from wavescope.core.sobol.estimators import ESTIMATORS, Scores, jansen
from wavescope.errors import ConstantScore

Triple = tuple[np.ndarray, np.ndarray, np.ndarray]  # f_a, f_b (n,), f_c (k, n)

names = st.sampled_from(sorted(ESTIMATORS))
every_estimator = pytest.mark.parametrize("name", sorted(ESTIMATORS))


def random_scores(n: int, k: int, seed: int) -> Triple:
    """C shares much of A, as a frozen row does."""
    rng = np.random.default_rng(seed)
    f_a, f_b = rng.normal(size=(2, n))
    return f_a, f_b, f_a + rng.uniform(0.2, 2, size=(k, 1)) * rng.normal(size=(k, n))


def errors(
    scores: Triple, name: str = "jansen", *, seed: int = 0, replicates: int = 1000
) -> tuple[np.ndarray, np.ndarray]:
    found = index_errors(ESTIMATORS[name], Scores(*scores), seed=seed, replicates=replicates)
    assert found is not None
    return found


def drawn(n: int, seed: int, replicates: int) -> np.ndarray:
    return np.random.default_rng([seed, 1]).multinomial(n, np.full(n, 1 / n), size=replicates)


@given(name=names, n=st.integers(MIN_ROWS, 10), k=st.integers(1, 4), seed=st.integers(0, 999))
def test_errors_equal_a_loop_over_the_same_resamples_of_whole_rows(
    name: str, n: int, k: int, seed: int
) -> None:
    """The loop takes the same rows of A, B and C together and computes V anew, so agreement shows both."""
    scores = random_scores(n, k, seed)
    standard_error, interval = errors(scores, name, seed=seed, replicates=40)
    expected, ends = slow_errors(name, *scores, drawn(n, seed, 40))
    np.testing.assert_allclose(standard_error, expected, rtol=1e-6)
    np.testing.assert_allclose(interval, ends, rtol=1e-5, atol=1e-9)


@given(name=st.sampled_from(["jansen", "janon", "glen"]), n=st.integers(4, 10), seed=st.integers(0, 999))
def test_errors_of_shares_equal_a_loop_too(name: str, n: int, seed: int) -> None:
    scores = random_scores(n, 4, seed)
    found = share_errors(ESTIMATORS[name], Scores(*scores), seed=seed, replicates=40)
    np.testing.assert_allclose(found, slow_share_errors(name, *scores, drawn(n, seed, 40)), rtol=1e-6)


@every_estimator
def test_factors_are_resampled_in_blocks_without_a_trace(name: str) -> None:
    """In exact arithmetic: products of matrices of other shapes may round otherwise."""
    estimator, scores = ESTIMATORS[name], Scores(*random_scores(8, 11, 0))
    whole, blocks = (
        index_errors(estimator, scores, seed=0, replicates=100, **options) for options in ({}, {"block": 300})
    )
    assert whole is not None
    assert blocks is not None
    np.testing.assert_allclose(blocks[0], whole[0], rtol=1e-9)
    np.testing.assert_allclose(blocks[1], whole[1], rtol=1e-9, atol=1e-12)
    shares, by_blocks = (
        share_errors(estimator, scores, seed=0, replicates=100, **options) for options in ({}, {"block": 300})
    )
    if shares is not None:
        np.testing.assert_allclose(by_blocks, shares, rtol=1e-9, atol=1e-12)


@every_estimator
@pytest.mark.parametrize("n", [1, 2, 3])
def test_there_are_no_errors_below_four_rows(name: str, n: int) -> None:
    assert index_errors(ESTIMATORS[name], Scores(*random_scores(n, 3, 0)), seed=0) is None
    assert share_errors(ESTIMATORS[name], Scores(*random_scores(n, 3, 0)), seed=0) is None


@every_estimator
def test_four_rows_have_errors(name: str) -> None:
    assert np.isfinite(errors(random_scores(4, 3, 0), name)[1]).all()


def test_the_same_seed_gives_the_same_bits_and_zero_is_a_seed() -> None:
    scores = random_scores(8, 5, 1)
    first, again, other = (errors(scores, seed=seed)[0] for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).all()


@given(name=names, n=st.sampled_from([4, 8, 16]), seed=st.integers(0, 999))
def test_intervals_are_finite_and_contain_the_index(name: str, n: int, seed: int) -> None:
    scores = random_scores(n, 6, seed)
    total = ESTIMATORS[name].total(Scores(*scores))
    standard_error, interval = errors(scores, name, seed=seed, replicates=100)
    assert np.isfinite(interval).all()
    assert (standard_error > 0).all()
    assert (interval[:, 0] >= np.minimum(total, 0)).all()
    assert (interval[:, 0] <= total).all()
    assert (total <= interval[:, 1]).all()
    assert (interval[:, 1] <= np.maximum(total, 1)).all()
    if ESTIMATORS[name].never_negative:
        assert (interval[:, 0] > 0).all()


@every_estimator
def test_a_constant_score_is_named_here_too(name: str) -> None:
    for function in (index_errors, share_errors):
        with pytest.raises(ConstantScore, match="does not vary"):
            function(ESTIMATORS[name], Scores(np.ones(8), np.ones(8), np.ones((3, 8))), seed=0)


@pytest.mark.parametrize("name", ["jansen", "janon", "glen", "saltelli"])
def test_a_factor_without_any_effect_has_no_error(name: str) -> None:
    f_a, f_b, f_c = random_scores(8, 3, 0)
    f_c[1] = f_a
    standard_error, interval = errors((f_a, f_b, f_c), name)
    assert standard_error[1] == 0
    assert interval[1].tolist() == [0, 0]
    assert (standard_error[[0, 2]] > 0).all()


@every_estimator
def test_no_factor_with_any_effect_is_an_outcome_too(name: str) -> None:
    f_a, f_b, _ = random_scores(8, 3, 0)
    standard_error, interval = errors((f_a, f_b, np.stack([f_a, f_a])), name)
    assert np.isfinite(standard_error).all()
    assert np.isfinite(interval).all()
    if ESTIMATORS[name].never_negative:
        assert share_errors(ESTIMATORS[name], Scores(f_a, f_b, np.stack([f_a, f_a])), seed=0) is None


@every_estimator
def test_a_large_mean_of_the_score_costs_no_digits(name: str) -> None:
    scores = random_scores(8, 4, 0)
    shifted = tuple(1e4 + f for f in scores)
    np.testing.assert_allclose(errors(shifted, name)[0], errors(scores, name)[0], rtol=1e-6)  # type: ignore[arg-type]


@every_estimator
def test_resamples_without_any_spread_are_left_out(name: str) -> None:
    """Where b_j = a_j, a resample of row j alone has V = 0; of 4 rows, 4 in 256 resamples are such."""
    f = np.array([0.1, 0.2, 0.3, 0.4]) + 1e3
    c = np.stack([f + np.array([0.05, -0.05, 0.05, -0.05]), f])
    standard_error, interval = errors((f, f, c), name)
    assert 0 < standard_error[0] < 3
    assert np.isfinite(interval).all()


def test_a_resample_whose_variance_almost_vanishes_does_not_blow_up_the_error() -> None:
    """A saturated score: 7 of 8 rows at 1. A third of the resamples have a V that is a millionth of the design's."""
    f_a = np.array([1.0, 1.0, 1.0, 0.2, 1.0, 1.0, 1.0, 1.0]) - 1e-4 * np.arange(8)
    f_b = np.ones(8) - 1e-4 * np.arange(8)[::-1]
    f_c = np.stack([f_a - 0.01, f_a * [1, 1, 1, 2, 1, 1, 1, 1]])
    total = jansen(Scores(f_a, f_b, f_c))
    standard_error, interval = errors((f_a, f_b, f_c))
    assert (standard_error < 10 * total).all()
    assert (interval[:, 1] <= 1).all()


def test_intervals_reach_at_least_as_far_as_the_median_factors() -> None:
    """A factor whose 8 squared differences happen to be equal shows no spread of its own but that of V."""
    f_a, f_b, f_c = random_scores(8, 5, 3)
    f_c[2] = f_a + 0.3
    standard_error, interval = errors((f_a, f_b, f_c))
    total = jansen(Scores(f_a, f_b, f_c))
    reach = interval[:, 1] / total
    relative = standard_error / total
    assert relative[2] < np.median(relative)
    below = relative <= np.median(relative)
    np.testing.assert_allclose(
        total / interval[:, 0], np.exp(2.3646 * np.maximum(relative, np.median(relative))), rtol=1e-4
    )
    assert below.sum() == 3
    assert (reach <= total / interval[:, 0] + 1e-12).all()


def test_v_over_a_alone_is_resampled_over_a_alone() -> None:
    f_a, f_b, f_c = random_scores(8, 4, 0)
    found = index_errors(
        ESTIMATORS["jansen"], Scores(f_a, f_b, f_c), seed=0, variance_rows="a", replicates=100
    )
    other_b = index_errors(
        ESTIMATORS["jansen"], Scores(f_a, f_b[::-1] * 3, f_c), seed=0, variance_rows="a", replicates=100
    )
    pooled = index_errors(ESTIMATORS["jansen"], Scores(f_a, f_b, f_c), seed=0, replicates=100)
    assert found is not None
    assert other_b is not None
    assert pooled is not None
    np.testing.assert_allclose(found[0], other_b[0], rtol=1e-9)
    assert (np.abs(found[0] / pooled[0] - 1) > 1e-3).all()


def replications(
    name: str, n: int, count: int, measure: Callable[[Triple, int], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """(total indices, what is measured of each) over designs of independent rows, as a bootstrap assumes."""
    known = linear(np.array([3.0, 2.0, 2.0, 1.0, 1.0, 1.0, 0.5, 0.5]))
    totals, measured = [], []
    for seed in range(count):
        design = make_design("monte_carlo", 8, n, seed)
        scores = pick_freeze(known.f, design.a, design.b)
        totals.append(ESTIMATORS[name].total(Scores(*scores)))
        measured.append(measure(scores, seed))
    return np.array(totals), np.array(measured)


@every_estimator
def test_the_standard_error_converges_to_the_true_sampling_spread(name: str) -> None:
    """At N = 256, 300 designs know the true spread to 1/√600 = 4 %: within 4 of these, that is 16 %."""
    totals, reported = replications(
        name, 256, 300, lambda scores, seed: errors(scores, name, seed=seed, replicates=200)[0]
    )
    np.testing.assert_allclose(reported.mean(axis=0) / totals.std(axis=0, ddof=1), 1.0, atol=0.16)


def test_the_standard_error_of_a_share_converges_to_its_spread() -> None:
    totals, reported = replications(
        "jansen",
        256,
        300,
        lambda scores, seed: share_errors(ESTIMATORS["jansen"], Scores(*scores), seed=seed, replicates=200),
    )
    shares = totals / totals.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(reported.mean(axis=0) / shares.std(axis=0, ddof=1), 1.0, atol=0.16)


@pytest.mark.parametrize("name", ["jansen", "saltelli"])
def test_the_standard_error_is_no_underestimate_with_few_rows(name: str) -> None:
    totals, reported = replications(
        name, 16, 300, lambda scores, seed: errors(scores, name, seed=seed, replicates=200)[0]
    )
    ratio = reported.mean(axis=0) / totals.std(axis=0, ddof=1)
    assert (ratio > 0.85).all()
    assert (ratio < 1.5).all()


def coverage(known: Known, n: int, seeds: int) -> float:
    covered = []
    for seed in range(seeds):
        design = make_design("sobol", len(known.total), n, seed)
        scores = pick_freeze(known.f, design.a, design.b)
        interval = errors(scores, seed=seed, replicates=200)[1]
        covered.append((interval[:, 0] <= known.total) & (known.total <= interval[:, 1]))
    return float(np.mean(covered))


@pytest.mark.parametrize("n", [4, 8, 16, 32])
def test_intervals_cover_known_totals_of_many_unequal_factors(n: int) -> None:
    """Bench ``coverage`` has 92 to 98 % on such a model; 30 designs of 150 dependent factors know it to about 4 %."""
    rng = np.random.default_rng(0)
    assert coverage(linear(np.exp(rng.normal(0, 1.5, 150))), n, 30) > 0.88


@pytest.mark.parametrize("n", [8, 16])
def test_intervals_cover_known_totals_of_a_product(n: int) -> None:
    """The Sobol' g function of 100 factors, all of which interact."""
    assert coverage(g_function(tuple(np.arange(100) / 4)), n, 12) > 0.88
