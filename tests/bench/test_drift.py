"""``make drift``: detectors against definitions and SciPy, streams and scores against what they are said to be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from bench.drift import bank, baselines, delay, detectors, features, streams, study, tables, worth
from bench.drift.crops import CONDITIONS, CORRUPTED, PHOTOGRAPHS
from bench.drift.side_by_side import THRESHOLDS
from scipy.stats import ks_2samp, mannwhitneyu

from wavescope.core.monitoring.scores import Measurement, fit
from wavescope.core.sobol.estimators import ESTIMATORS, Scores

RNG = np.random.default_rng(0)


# ---- the bank --------------------------------------------------------------------------------------
def test_the_bank_holds_every_condition_of_every_crop() -> None:
    found = bank.load()
    assert len(found["photograph"]) >= 190
    assert set(found["photograph"]) == set(range(len(PHOTOGRAPHS)))
    assert found["scores"].shape[1:] == (len(CONDITIONS), bank.PASSES[-1][1], 11)
    assert np.isfinite(found["scores"]).all()
    assert bank.BANK.stat().st_size < 4_000_000


def test_a_changed_model_sees_the_same_input() -> None:
    found = bank.load()
    clean, swapped = CONDITIONS.index("clean"), CONDITIONS.index("red and blue swapped")
    for key in ("energies", "laplacian"):
        np.testing.assert_array_equal(found[key][:, clean], found[key][:, swapped])
    assert (found["predicted"][:, clean] != found["predicted"][:, swapped]).any()


# ---- features --------------------------------------------------------------------------------------
def test_shares_are_those_of_total_indices_and_need_no_rows_of_b() -> None:
    a, b, c = RNG.normal(size=8), RNG.normal(size=8), RNG.normal(size=(10, 8))
    total = ESTIMATORS["jansen"].total(Scores(a, b, c))
    found = features.shares_of(np.concatenate([a[:, None], c.T], axis=1))
    np.testing.assert_allclose(found, total / total.sum(), rtol=1e-12)


def test_scores_are_those_of_the_service() -> None:
    energies, shares = RNG.lognormal(size=(60, 1, 10)), RNG.dirichlet(np.ones(10), size=(60, 1))
    measured = [
        Measurement(energies=energies[at, 0], confidence=0.5, shares=shares[at, 0]) for at in range(60)
    ]
    scorer = fit(measured[:40], features.LEVELS["subbands"])
    effects = np.concatenate([np.zeros((60, 1, 1)), np.sqrt(shares)], axis=-1)[:, :, None]
    values = features.prepared(
        {
            "scores": effects,
            "energies": energies,
            "confidence": np.full((60, 1), 0.5),
            "laplacian": np.ones((60, 1)),
            "bbsd": np.zeros((60, 1, 2)),
            "embedding": np.zeros((60, 1, 2)),
        },
        "subbands",
    )
    for name in ("input", "reliance", "fineness", "confidence"):
        found = features.scores(features.FEATURES[name], values, np.arange(40))[:, 0]
        np.testing.assert_allclose(found, [scorer.scores(one)[name] for one in measured], rtol=1e-9)


# ---- detectors -------------------------------------------------------------------------------------
def test_ks_is_that_of_scipy_with_ties() -> None:
    reference, stream = RNG.integers(30, size=(3, 200)), RNG.integers(5, 30, size=(3, 300))
    found = detectors.kolmogorov_smirnov(reference, stream, levels=30, every=50)
    for one, end in itertools.product(range(3), (100, 150, 300)):
        expected = ks_2samp(stream[one, end - 100 : end], reference[one]).statistic
        assert found[end - 1, one] == pytest.approx(expected, abs=1e-6)
    assert (found[:99] == 0).all()


def test_the_critical_difference_has_its_p_value() -> None:
    critical = baselines.ks_critical(0.05, 200)
    shifted = np.arange(200) / 200 + round(critical * 100) / 100
    assert ks_2samp(np.arange(100) / 100, shifted, method="asymp").pvalue == pytest.approx(0.05, abs=0.02)


def test_mmd_is_its_definition_and_forgets_what_left_the_window() -> None:
    kernel = detectors.gaussian_kernel(RNG.normal(size=(50, 3)), RNG.normal(size=(30, 3))).astype(float)
    reference, stream = RNG.integers(50, size=(2, 40)), RNG.integers(50, size=(2, 60))
    found = detectors.mmd(kernel, reference, stream, window=10)
    for one, t in itertools.product(range(2), (9, 30, 59)):
        seen, known = stream[one, t - 9 : t + 1], reference[one]
        expected = unbiased(kernel, seen, known)
        assert found[t, one] == pytest.approx(expected, abs=1e-6)
    assert (found[:9] == 0).all()


def unbiased(kernel: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    def among(items: np.ndarray) -> float:
        pairs = [kernel[a, b] for a, b in itertools.permutations(items, 2)]
        return float(np.mean(pairs))

    return among(x) + among(y) - 2 * float(kernel[np.ix_(x, y)].mean())


def test_permuted_windows_are_compared_with_the_other_images() -> None:
    kernel = detectors.gaussian_kernel(RNG.normal(size=(40, 2)), RNG.normal(size=(40, 2))).astype(float)
    windows = np.array([RNG.permutation(40)[:7] for _ in range(4)])
    found = baselines.against_rest(kernel, windows)
    rest = [np.setdiff1d(np.arange(40), window) for window in windows]
    expected = [unbiased(kernel, *pair) for pair in zip(windows, rest, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_cusum_is_its_recursion() -> None:
    steps, last, expected = RNG.normal(size=200), 0.0, []
    for step in steps:
        last = max(0.0, last + step)
        expected.append(last)
    np.testing.assert_allclose(detectors.sums(steps), expected, atol=1e-12)


def test_cusum_is_calibrated_to_the_mean_run_length_on_its_own_reference() -> None:
    reference = RNG.normal(size=200)
    (threshold, *_) = baselines.cusum_thresholds(reference, np.random.default_rng(1))
    z = (reference - reference.mean()) / reference.std(ddof=1) - detectors.DRIFT
    walks = detectors.sums(z[np.random.default_rng(2).integers(200, size=(12_000, 200))])
    first = detectors.first_at_least(walks, threshold)
    assert np.where(first > 0, first, 12_000).mean() == pytest.approx(THRESHOLDS[0], rel=0.25)


# ---- streams ---------------------------------------------------------------------------------------
PHOTOGRAPH = np.repeat(np.arange(8), 5)


def drawn(condition: str | None, mode: str, number: int = 40) -> streams.Streams:
    return streams.draw(np.random.default_rng(3), PHOTOGRAPH, number, condition, mode)


def test_a_mixture_changes_its_part_of_the_images_after_the_change_alone() -> None:
    found = drawn("blur 3", "mixture 30 %")
    assert (found.conditions[:, : streams.BEFORE] == 0).all()
    assert found.conditions[:, streams.BEFORE :].mean() == pytest.approx(0.3, abs=0.02)
    assert [CONDITIONS[one] for one in found.used] == ["clean", "blur 3"]


def test_a_ramp_grows_to_the_highest_severity() -> None:
    found = drawn("noise", "ramp").conditions[:, streams.BEFORE :]
    assert found[:, :20].mean() < 0.1
    assert found[:, -20:].mean() > 2.9
    assert [CONDITIONS[one] for one in drawn("noise", "ramp").used] == [
        "clean",
        "noise 1",
        "noise 3",
        "noise 5",
    ]


def test_other_photographs_are_none_of_the_reference() -> None:
    found = drawn(streams.OTHERS, "step")
    for known, fitted, images in zip(found.reference, found.fitted, found.images, strict=True):
        before = {*PHOTOGRAPH[known], *PHOTOGRAPH[fitted], *PHOTOGRAPH[images[: streams.BEFORE]]}
        assert before.isdisjoint(PHOTOGRAPH[images[streams.BEFORE :]])


def test_as_many_unchanged_streams_alarm_as_the_thresholds_say() -> None:
    values = random_values()
    thresholds = delay.null_thresholds(
        [delay.null_maxima(values, PHOTOGRAPH, number, streams=50) for number in range(2)]
    )
    rng = np.random.default_rng([1, 47])
    of = streams.draw(rng, PHOTOGRAPH, 100, None, "step")
    found = delay.statistics(values, of, rng, bounded=50)
    for pair, statistic in found.items():
        first = detectors.first_at_least(statistic[: delay.WITHIN], thresholds[pair])
        assert (first > 0).mean() <= 2 * delay.RISK  # of this half of them


def random_values() -> dict[str, np.ndarray]:
    rng, shape = np.random.default_rng(4), (len(PHOTOGRAPH), 1)
    shares = rng.dirichlet(np.ones(10), size=shape)
    return {
        "energies": rng.normal(size=(*shape, 4)),
        "confidence": rng.uniform(size=shape),
        "shares": shares,
        "ratios": rng.normal(size=(*shape, 4)),
        "fineness": rng.normal(size=shape),
        "laplacian": rng.normal(size=shape),
        "bbsd": rng.normal(size=(*shape, 4)),
        "embedding": rng.normal(size=(*shape, 4)),
    }


def test_profiles_that_nobody_asked_for_give_no_evidence() -> None:
    """With none, the combined monitor is that of the other two signals; with all, it is that of all four."""
    of = drawn(None, "step", 6)
    rng = np.random.default_rng(5)
    rising = np.tile(np.arange(len(PHOTOGRAPH)), (6, 1))
    falling = {name: np.zeros_like(rising) for name in delay.SIGNALS}
    ranked = falling | {"reliance": rising}
    none = delay.combined(ranked, of, rng, profiled=0.0)
    half = delay.combined(ranked, of, np.random.default_rng(5), profiled=0.5)
    assert none.shape == half.shape == of.images.T.shape
    assert not np.array_equal(none, half)


# ---- what it is worth ------------------------------------------------------------------------------
def test_auc_is_that_of_mann_and_whitney() -> None:
    clean, changed = RNG.integers(9, size=40).astype(float), RNG.integers(3, 12, size=30).astype(float)
    expected = mannwhitneyu(changed, clean).statistic / (30 * 40)
    assert study.auc(clean, changed) == pytest.approx(expected)


def test_evidence_is_what_the_test_gains_an_image() -> None:
    clean = RNG.normal(size=400)
    assert study.evidence_rate(clean, RNG.normal(size=400)) < 0.02
    assert study.evidence_rate(clean, RNG.normal(3, 1, size=400)) > 1
    assert study.evidence_rate(clean, RNG.normal(-3, 1, size=400)) == 0
    assert study.evidence_rate(clean, RNG.normal(-3, 1, size=400), two_sided=True) > 1


def test_label_changes_are_counted_over_corruptions() -> None:
    signal = RNG.uniform(size=50)
    changed = RNG.uniform(size=(50, len(CORRUPTED))) > signal[:, None]
    expected = [
        mannwhitneyu(signal[~column], signal[column]).statistic / ((~column).sum() * column.sum())
        for column in changed.T
    ]
    assert worth.pooled_auc(signal, changed) == pytest.approx(np.mean(expected))


def test_the_gate_compares_with_the_best_of_all_others() -> None:
    def cells(first: float | None, second: float | None) -> dict[str, object]:
        return {"step": {"blur 3": {"delay": first}, "flip": {"delay": second}}}

    found = tables.gate(
        {
            "worth": {"harm": {"blur 3": 0.5, "flip": 0.2, "JPEG q95": 0.05}},
            "delays": {
                "combined | conformal": cells(14.0, None),
                "input | CUSUM": cells(10.0, None),
                "embedding | MMD": cells(40.0, 90.0),
            },
        }
    )
    assert [(row["condition"], row["by"], row["holds"]) for row in found["rows"]] == [
        ("blur 3", "input | CUSUM", True),
        ("flip", "embedding | MMD", False),
    ]
    assert found["holding"] == 0.5
    assert not found["passed"]
