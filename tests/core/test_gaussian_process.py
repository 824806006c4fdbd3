"""The field: against scikit-learn's Gaussian process, and against the dense optimum where groups make it nonlinear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import PairwiseKernel

from wavescope.core.adaptive import gaussian_process
from wavescope.core.adaptive.factor_features import FactorFeatures
from wavescope.core.adaptive.gaussian_process import GaussianProcess, Measurements, Posterior

NOTHING = Measurements((), np.zeros(0), np.zeros(0))


def random_traits(k: int, seed: int) -> FactorFeatures:
    rng = np.random.default_rng(seed)
    level = rng.integers(0, 3, k)
    return FactorFeatures(
        np.exp(rng.normal(size=k)), level, 2 * level + rng.integers(0, 2, k), rng.random((k, 2))
    )


def features(traits: FactorFeatures) -> np.ndarray:
    """(K, 5): log size off its mean, level, band, down, across."""
    logs = np.log(traits.size)
    return np.column_stack([logs - logs.mean(), traits.level, traits.band, traits.place])


def shared(one: np.ndarray, other: np.ndarray, **_: Any) -> float:
    """Covariance of two log indices but for their own parts, written out term by term."""
    apart = float((one[3] - other[3]) ** 2 + (one[4] - other[4]) ** 2)
    same_level, same_band = float(one[1] == other[1]), float(one[2] == other[2])
    return (
        gaussian_process.SCALE_SD**2
        + same_level * gaussian_process.LEVEL_SD**2
        + same_band * gaussian_process.BAND_SD**2
        + gaussian_process.PLACE_SD**2 * np.exp(-apart / (2 * gaussian_process.PLACE_LENGTH**2))
        + same_band
        * gaussian_process.BAND_PLACE_SD**2
        * np.exp(-apart / (2 * gaussian_process.BAND_PLACE_LENGTH**2))
        + gaussian_process.SLOPE_SD**2 * float(one[0] * other[0])
    )


def prior(traits: FactorFeatures) -> tuple[np.ndarray, np.ndarray]:
    """Mean (K,) and covariance (K, K)."""
    of = features(traits)
    covariance = np.array([[shared(one, other) for other in of] for one in of])
    fineness = [("fine", "next", "coarse")[min(int(traits.level.max() - level), 2)] for level in traits.level]
    of_level = dict(zip(("fine", "next", "coarse"), gaussian_process.LEVEL_MEANS, strict=True))
    mean = (
        gaussian_process.TYPICAL
        + gaussian_process.SLOPE * of[:, 0]
        + np.array([of_level[name] * bool(traits.level.max()) for name in fineness])
    )
    return mean, covariance + gaussian_process.OWN_SD**2 * np.eye(len(of))


def singles(factors: np.ndarray, log: np.ndarray, noise: np.ndarray) -> Measurements:
    return Measurements(tuple(np.array([factor]) for factor in factors), log, noise)


def moments(posterior: Posterior) -> tuple[np.ndarray, np.ndarray]:
    return posterior.mean, posterior.variance


def test_without_measurements_the_posterior_is_the_prior() -> None:
    traits = random_traits(12, 0)
    mean, variance = moments(GaussianProcess(traits).posterior(NOTHING))
    expected, covariance = prior(traits)
    np.testing.assert_allclose(mean, expected)
    np.testing.assert_allclose(variance, np.diag(covariance))


@given(seed=st.integers(0, 99), count=st.integers(1, 15))
def test_the_posterior_of_single_factors_is_that_of_scikit_learns_gaussian_process(
    seed: int, count: int
) -> None:
    """Its kernel has no own part: that of measured ones is told as noise, that of the others added to the variance."""
    traits, rng = random_traits(15, seed), np.random.default_rng(seed)
    mean, _ = prior(traits)
    chosen = rng.permutation(15)[:count]
    others = np.setdiff1d(np.arange(15), chosen)
    log, noise = rng.normal(-5, 3, count), rng.uniform(0.05, 3, count)
    found, variance = moments(GaussianProcess(traits).posterior(singles(chosen, log, noise)))
    process = GaussianProcessRegressor(
        PairwiseKernel(metric=shared), alpha=noise + gaussian_process.OWN_SD**2, optimizer=None
    )
    process.fit(features(traits)[chosen], log - mean[chosen])
    if len(others):
        expected, deviation = process.predict(features(traits)[others], return_std=True)
        np.testing.assert_allclose(found[others], mean[others] + expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(variance[others], deviation**2 + gaussian_process.OWN_SD**2, rtol=1e-6)


@given(seed=st.integers(0, 99), count=st.integers(1, 15))
def test_the_posterior_of_measured_factors_is_that_of_the_precision_matrix(seed: int, count: int) -> None:
    traits, rng = random_traits(15, seed), np.random.default_rng(seed)
    mean, covariance = prior(traits)
    chosen = rng.permutation(15)[:count]
    log, noise = rng.normal(-5, 3, count), rng.uniform(0.05, 3, count)
    picked = np.eye(15)[chosen]
    posterior = np.linalg.inv(np.linalg.inv(covariance) + picked.T @ np.diag(1 / noise) @ picked)
    expected = mean + posterior @ picked.T @ ((log - mean[chosen]) / noise)
    found, variance = moments(GaussianProcess(traits).posterior(singles(chosen, log, noise)))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(variance, np.diag(posterior), rtol=1e-6)


def test_the_order_of_measurements_leaves_the_posterior_as_it_is() -> None:
    traits, groups = (
        random_traits(8, 3),
        [np.array([0, 1, 2]), np.array([4]), np.array([5, 6]), np.array([2])],
    )
    log, noise = np.array([-2.0, -4.0, -3.0, -2.5]), np.array([0.3, 0.2, 0.5, 0.4])
    found = moments(GaussianProcess(traits).posterior(Measurements(tuple(groups), log, noise)))
    for order in ([3, 2, 1, 0], [1, 3, 0, 2]):
        measured = Measurements(tuple(groups[i] for i in order), log[order], noise[order])
        again = moments(GaussianProcess(traits).posterior(measured))
        np.testing.assert_allclose(again, found, rtol=1e-8)


MEMBERS = (np.array([0, 1, 2, 3]), np.array([4, 5, 6]), np.array([1]), np.array([7]))


OWN = np.full(9, gaussian_process.OWN_SD**2)


def told(logs: np.ndarray, own: np.ndarray = OWN) -> np.ndarray:
    """A group's log is TOGETHER + log Σ exp(x_i + own_i / 2) of its members, a single factor's is its own."""
    sums = [gaussian_process.TOGETHER + logsumexp(logs[of] + own[of] / 2) for of in MEMBERS[:2]]
    return np.array([*sums, *(logs[of[0]] for of in MEMBERS[2:])])


def grouped(seed: int) -> tuple[FactorFeatures, Measurements, Callable[[np.ndarray, np.ndarray], float]]:
    """Nine factors drawn from the prior, their measurements, and the negative log of the joint density."""
    traits, rng = random_traits(9, seed), np.random.default_rng(100 + seed)
    mean, covariance = prior(traits)
    noise = np.array([0.3, 0.5, 0.4, 0.6])
    # A group errs as well in how much its members act together.
    together = noise + np.array([1, 1, 0, 0]) * gaussian_process.TOGETHER_SD**2
    log = told(rng.multivariate_normal(mean, covariance)) + rng.normal(size=4) * np.sqrt(noise)
    precision = np.linalg.inv(covariance)

    def surprise(logs: np.ndarray, own: np.ndarray) -> float:
        off = log - told(logs, own)
        return float(((logs - mean) @ precision @ (logs - mean) + (off**2 / together).sum()) / 2)

    return traits, Measurements(MEMBERS, log, noise), surprise


@pytest.mark.parametrize("seed", range(9))
def test_the_posterior_with_groups_is_the_mode_of_the_joint_density(
    seed: int,
) -> None:
    """A general optimiser finds it from the prior's mean; the few steps of use come close, more of them arrive.

    A member's own part is what is left of it: never more than its variance.
    """
    traits, measured, surprise = grouped(seed)
    arrived, left = moments(GaussianProcess(traits).posterior(measured, steps=50))
    own = np.minimum(left, OWN)
    best = minimize(surprise, GaussianProcess(traits).mean, (own,), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(arrived, best.x, atol=1e-4)
    found, variance = moments(GaussianProcess(traits).posterior(measured))
    np.testing.assert_allclose(found, best.x, atol=0.1)
    assert (variance < np.diag(prior(traits)[1])).all()


def test_scatter_is_raised_where_measured_factors_contradict_the_prior_and_only_there() -> None:
    """A Gaussian process of scikit-learn with each own part has the log likelihoods that it compares."""
    traits, rng = random_traits(60, 11), np.random.default_rng(12)
    mean, covariance = prior(traits)
    chosen, noise = np.arange(40), np.full(40, 0.3)
    drawn = rng.multivariate_normal(mean, covariance)
    of, found = GaussianProcess(traits), []
    for far in (0.0, 1.5, 4.0):
        log = (drawn + far * rng.normal(size=60) + rng.normal(size=60) * np.sqrt(0.3))[chosen]
        measured = singles(chosen, log, noise)
        likely = [
            multivariate_normal(
                mean[chosen],
                (covariance + (scatter**2 - 1) * gaussian_process.OWN_SD**2 * np.eye(60))[:40, :40]
                + np.diag(noise),
            ).logpdf(log)
            for scatter in gaussian_process.SCATTERS
        ]
        best = gaussian_process.SCATTERS[int(np.argmax(likely))]
        more = max(likely) > likely[0] + gaussian_process.SCATTER_EVIDENCE
        found.append(of.scatter(measured))
        assert found[-1] == (best if more else 1)
        if found[-1] > 1:
            assert (
                of.posterior(measured, scatter=found[-1]).variance > of.posterior(measured).variance
            ).all()
    assert found == [1, 2, 4]
    assert of.scatter(NOTHING) == 1


def test_all_factors_together_have_an_index_of_1() -> None:
    traits = random_traits(12, 13)
    low = singles(np.arange(3), np.array([-6.0, -7.0, -6.5]), np.array([1.0, 1.0, 1.0]))
    before = GaussianProcess(traits).posterior(low)
    after = GaussianProcess(traits).posterior(low.with_sum(12))
    assert before.expected.sum() < 0.5
    assert 0.8 < after.expected.sum() < 1.5
    assert (after.mean > before.mean).all()


def test_a_group_measured_high_raises_its_members_most_and_each_by_its_share() -> None:
    traits = random_traits(10, 4)
    of = GaussianProcess(traits)
    group = np.array([0, 1, 2, 3])
    expected = gaussian_process.TOGETHER + logsumexp(of.mean[group] + gaussian_process.OWN_SD**2 / 2)
    as_expected, _ = moments(of.posterior(Measurements((group,), np.array([expected]), np.array([0.1]))))
    np.testing.assert_allclose(as_expected, of.mean, atol=1e-9)
    higher, variance = moments(
        of.posterior(Measurements((group,), np.array([expected + 2]), np.array([0.1])))
    )
    assert (higher > of.mean).all()
    assert (variance < of.posterior(NOTHING).variance).all()


def test_factors_of_one_size_have_the_mean_of_their_level_whatever_the_unit_of_the_size() -> None:
    traits = random_traits(6, 5)
    flat = FactorFeatures(np.full(6, 3.7), np.array([0, 1, 2, 3, 3, 0]), traits.band, traits.place)
    fine, next_to_it, coarse = gaussian_process.LEVEL_MEANS
    expected = np.array([coarse, coarse, next_to_it, fine, fine, coarse])
    np.testing.assert_allclose(GaussianProcess(flat).mean, gaussian_process.TYPICAL + expected)
    one_level = FactorFeatures(np.full(6, 3.7), np.zeros(6, dtype=int), traits.band, traits.place)
    np.testing.assert_allclose(GaussianProcess(one_level).mean, gaussian_process.TYPICAL)
    scaled = FactorFeatures(1000 * traits.size, traits.level, traits.band, traits.place)
    np.testing.assert_allclose(GaussianProcess(scaled).mean, GaussianProcess(traits).mean)


def measured_well(seed: int) -> tuple[FactorFeatures, Posterior, np.ndarray]:
    """Sixty factors that were measured to 0.3 of their logs, and 4,000 draws (n, K) of their indices."""
    rng = np.random.default_rng(seed)
    traits = random_traits(60, seed)
    log = GaussianProcess(traits).mean + rng.normal(size=60)
    posterior = GaussianProcess(traits).posterior(singles(np.arange(60), log, np.full(60, 0.09)))
    covariance = posterior.prior - posterior.gain.T @ posterior.gain
    np.testing.assert_allclose(np.diag(covariance), posterior.variance)
    return traits, posterior, np.exp(rng.multivariate_normal(posterior.mean, covariance, 4000))


@pytest.mark.parametrize("seed", range(4))
def test_the_expected_correlation_is_that_with_indices_drawn_from_the_posterior_or_a_little_less(
    seed: int,
) -> None:
    _, posterior, drawn = measured_well(seed)
    expected = posterior.expected
    np.testing.assert_allclose(expected, drawn.mean(axis=0), rtol=0.05)
    found = np.mean([np.corrcoef(expected, one)[0, 1] for one in drawn])
    assert found - 0.03 < posterior.correlation() < found + 0.005
    assert 0.8 < found < 0.999


@pytest.mark.parametrize("seed", range(4))
def test_the_expected_error_of_level_shares_is_that_of_indices_drawn_from_the_posterior(seed: int) -> None:
    traits, posterior, drawn = measured_well(seed)
    inside = traits.level[:, None] == np.unique(traits.level)
    shares = [one @ inside / one.sum() for one in (posterior.expected, *drawn)]
    found = np.mean([np.abs(one - shares[0]).sum() / 2 for one in shares[1:]])
    assert posterior.share_error(traits.level) == pytest.approx(found, rel=0.1)
    assert found > 0.01
    assert posterior.share_error(np.zeros(60, dtype=int)) == pytest.approx(0, abs=1e-9)


def test_factors_that_are_known_to_be_0_count_in_the_correlation_and_a_single_factor_correlates_at_1() -> (
    None
):
    _, posterior, drawn = measured_well(1)
    padded = np.concatenate([posterior.expected, np.zeros(500)])
    found = np.mean([np.corrcoef(padded, np.concatenate([one, np.zeros(500)]))[0, 1] for one in drawn])
    assert found - 0.03 < posterior.correlation(500) < found + 0.005
    assert posterior.correlation(500) > posterior.correlation()
    alone = FactorFeatures(np.ones(1), np.zeros(1, dtype=int), np.zeros(1, dtype=int), np.zeros((1, 2)))
    assert GaussianProcess(alone).posterior(NOTHING).correlation() == 1


def test_the_finest_level_is_that_of_the_transform_not_of_the_factors_that_act() -> None:
    coarse = FactorFeatures(np.ones(4), np.array([0, 1, 1, 2]), np.array([0, 1, 1, 2]), np.zeros((4, 2)))
    _, next_to_it, of_coarse = gaussian_process.LEVEL_MEANS
    expected = np.array([of_coarse, of_coarse, of_coarse, next_to_it])
    np.testing.assert_allclose(GaussianProcess(coarse, finest=3).mean, gaussian_process.TYPICAL + expected)
