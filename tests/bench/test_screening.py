"""What ``make adaptive`` reports and what it compares with, held against SciPy, definitions and closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bench.screening import losers, metrics
from bench.screening.metrics import Truth
from scipy.stats import pearsonr, spearmanr

from wavescope.core.adaptive.factor_features import FactorFeatures
from wavescope.core.partition import partition

GRID = partition("grid", 64, 64, 2, grid_size=8, approximation="perturb")
RNG = np.random.default_rng(0)
TOTAL, TRUE = RNG.lognormal(size=64), RNG.lognormal(size=64)


def test_quality_is_that_of_scipy_and_of_counting() -> None:
    found = metrics.quality(TOTAL, TRUE, GRID, 2)
    assert np.isclose(found["correlation"], pearsonr(TOTAL, TRUE)[0])
    assert np.isclose(found["spearman"], spearmanr(TOTAL, TRUE)[0])
    best = sorted(range(64), key=lambda k: -TRUE[k])
    chosen = sorted(range(64), key=lambda k: -TOTAL[k])
    assert found["top20"] == sum(k in best[:20] for k in chosen[:20])
    assert np.isclose(found["held50"], sum(TRUE[chosen[:50]]) / sum(TRUE[best[:50]]))


def test_the_truth_is_of_the_best_quality() -> None:
    found = metrics.quality(TRUE, TRUE, GRID, 2)
    expected = {
        "correlation": 1,
        "spearman": 1,
        "top20": 20,
        "top50": 50,
        "held50": 1,
        "levels": 0,
        "scale": 1,
    }
    assert found == pytest.approx(expected)


def test_coverage_counts_intervals_with_the_truth_and_leaves_out_factors_without_effect() -> None:
    truth = np.where(np.arange(100) < 80, np.arange(100, 0, -1.0), 0)
    interval = np.stack([truth - 1, truth + 1], axis=-1)
    interval[:10] += 5  # ten of the largest, missed
    known = Truth(truth, np.zeros(100))
    assert metrics.coverage(interval, known) == {
        "covered": 70 / 80,
        "covered50": 40 / 50,
        "allowed50": 40 / 50,
    }
    # exp(0.1) is more than the 6 of 91 that the nearest is off
    unsure = replace(known, reach=np.full(100, 0.1))
    assert metrics.coverage(interval, unsure)["allowed50"] == 1


def test_hsic_is_the_trace_of_centred_kernels() -> None:
    masks, scores = RNG.random((20, 3)), RNG.random(20)
    centre = np.eye(20) - 1 / 20
    kernel = np.exp(-((scores[:, None] - scores) ** 2) / (2 * scores.var()))
    expected: list[float] = []
    for x in masks.T:
        apart = np.abs(x[:, None] - x)
        of_mask = (x[:, None] - 0.5) * (x - 0.5) + (apart**2 - apart + 1 / 6) / 2
        expected.append(np.trace(of_mask @ centre @ kernel @ centre) / 20**2)
    np.testing.assert_allclose(losers.by_hsic(masks, scores), np.maximum(expected, 0), rtol=1e-4, atol=1e-9)


def test_random_rows_find_the_slopes_of_a_linear_score() -> None:
    slopes = np.float64([3, -2, 1, 0, 0.5])
    masks = RNG.random((400, 5))
    scores = masks @ slopes + 1e-3 * RNG.standard_normal(400)
    regression = losers.by_regression(masks, scores, np.ones(5))
    np.testing.assert_allclose(np.sqrt(regression), np.abs(slopes), atol=0.02)
    shares = losers.by_correlation(masks, scores)
    np.testing.assert_allclose(shares, slopes**2 / (slopes**2).sum(), atol=0.15)


def test_group_screening_with_budget_for_all_is_jansen_and_with_little_shares_out_sub_bands() -> None:
    features = FactorFeatures(
        np.ones(20),
        np.zeros(20, dtype=int),
        np.repeat([0, 1], 10),
        np.linspace(0.01, 0.99, 40).reshape(20, 2),
    )
    members, _ = losers.group_members(features)
    sample, moved = RNG.random((4, 22)), RNG.random((4, len(members)))
    variance = sample[:, :2].var(ddof=1)
    jansen = ((sample[:, :1] - sample[:, 2:]) ** 2).mean(axis=0) / 2 / variance
    everything = losers.group_screening(sample, moved, features, rows=4, budget=10_000)
    np.testing.assert_allclose(everything, jansen)
    of_bands = ((sample[:, 0] - moved[:, 0]) ** 2).mean() / 2 / variance
    little = losers.group_screening(sample, moved, features, rows=4, budget=16)
    np.testing.assert_allclose(little[:10], of_bands / 10)
