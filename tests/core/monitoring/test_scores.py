"""Scores of measurements: closed forms, an orthonormal basis, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import pywt
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import helmert
from tests.oracles import monitoring as oracle

from wavescope.core.monitoring.scores import (
    LEAST_ENERGY,
    LEAST_SHARE,
    SIGNALS,
    Measurement,
    band_energies,
    bounded_values,
    fineness,
    fit,
    log_energies,
    log_ratios,
)
from wavescope.core.wavelets import analyse
from wavescope.errors import InvalidRequest

LEVELS = np.array([0, 1, 1, 1])


def measurements(n: int, seed: int = 0) -> list[Measurement]:
    rng = np.random.default_rng(seed)
    return [
        Measurement(np.exp(rng.normal(size=4)), float(rng.uniform()), rng.dirichlet(np.ones(4)))
        for _ in range(n)
    ]


def test_signals_share_the_false_alarms_and_two_are_two_sided() -> None:
    assert sum(signal.weight for signal in SIGNALS.values()) == 1
    assert {name for name, signal in SIGNALS.items() if signal.two_sided} == {"confidence", "fineness"}


# ---- coordinates -----------------------------------------------------------------------------------
@given(shares=st.lists(st.floats(0.001, 1), min_size=2, max_size=12))
def test_log_ratios_are_coordinates_in_an_orthonormal_basis(shares: list[float]) -> None:
    given = np.array(shares) / sum(shares)
    expected = oracle.log_ratios(given + LEAST_SHARE, helmert(len(given)))
    assert log_ratios(given) == pytest.approx(expected, abs=1e-9)
    lengths = oracle.log_ratios(given + LEAST_SHARE, np.eye(len(given)))
    assert np.linalg.norm(log_ratios(given)) == pytest.approx(np.linalg.norm(lengths), abs=1e-9)


def test_log_ratios_of_three_parts_are_the_closed_form() -> None:
    a, b, c = 0.5 + LEAST_SHARE, 0.2 + LEAST_SHARE, 0.3 + LEAST_SHARE
    expected = [math.log(a / b) / math.sqrt(2), math.sqrt(2 / 3) * math.log(math.sqrt(a * b) / c)]
    assert log_ratios(np.array([0.5, 0.2, 0.3])) == pytest.approx(expected)


def test_a_share_of_zero_has_a_logarithm() -> None:
    assert np.isfinite(log_ratios(np.array([0.0, 1.0, 0.0]))).all()


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([1.0], "at least two"),
        ([1.2, -0.2], "not negative"),
        ([math.nan, 1.0], "finite"),
        ([0.5, 0.4], "add up to 0.9"),
    ],
)
def test_shares_that_are_none_are_refused(shares: list[float], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as refused:
        log_ratios(np.array(shares))
    assert refused.value.field == "shares"


# ---- energies --------------------------------------------------------------------------------------
def test_energies_are_the_mean_squares_of_each_band_over_channels() -> None:
    image = np.random.default_rng(0).uniform(size=(3, 32, 32))
    found = band_energies(analyse(image, "haar", 2), 2)
    coefficients = pywt.wavedec2(image, "haar", "periodization", level=2, axes=(-2, -1))
    expected = [coefficients[0], *[band for level in coefficients[1:] for band in level]]
    assert found == pytest.approx([float(np.mean(np.square(band))) for band in expected], rel=1e-5)


def test_rounding_to_8_bits_is_the_least_energy() -> None:
    """What it adds to a smooth image, in every band of details, is about the floor."""
    rng = np.random.default_rng(1)
    smooth = np.linspace(0, 1, 256)[None, :, None] * np.ones((3, 1, 256)) + rng.uniform(size=(3, 1, 1)) / 255
    noise = np.round((smooth + rng.uniform(-0.5, 0.5, smooth.shape) / 255) * 255) / 255 - smooth
    energies = band_energies(analyse(noise, "haar", 3), 3)
    assert energies[1:] / LEAST_ENERGY == pytest.approx(np.full(9, 2.0), rel=0.5)  # dither and rounding


def test_an_energy_of_zero_has_a_logarithm() -> None:
    assert log_energies(np.array([0.0, 1.0])) == pytest.approx([math.log(LEAST_ENERGY), LEAST_ENERGY])


@pytest.mark.parametrize("energy", [-1e-9, math.nan, math.inf])
def test_energies_that_are_none_are_refused(energy: float) -> None:
    with pytest.raises(InvalidRequest, match="finite and not negative") as refused:
        log_energies(np.array([1.0, energy]))
    assert refused.value.field == "energies"


# ---- scores ----------------------------------------------------------------------------------------
def test_scores_are_of_what_was_measured() -> None:
    scorer = fit(measurements(60), LEVELS)
    one = measurements(1, seed=9)[0]
    assert one.energies is not None
    assert one.shares is not None
    found = scorer.scores(one)
    assert set(found) == set(SIGNALS)
    assert scorer.input is not None
    assert scorer.reliance is not None
    assert found["input"] == scorer.input.squared(np.log(one.energies + LEAST_ENERGY))
    assert found["reliance"] == scorer.reliance.squared(log_ratios(one.shares))
    assert found["fineness"] == pytest.approx(1 - one.shares[0])
    assert found["confidence"] == one.confidence
    assert set(scorer.scores(Measurement(one.energies, one.confidence))) == {"input", "confidence"}


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_every_probability_is_a_confidence(confidence: float) -> None:
    assert fit([], LEVELS).scores(Measurement(confidence=confidence)) == {"confidence": confidence}


def test_fineness_is_the_mean_level() -> None:
    assert fineness(np.array([0.1, 0.2, 0.7]), np.array([0, 1, 3])) == pytest.approx(2.3)


def test_reliance_does_not_depend_on_the_order_of_the_bands() -> None:
    """Shrinking is towards a multiple of the identity, and bases of log ratios differ by a rotation."""
    given, order = measurements(60), np.array([2, 0, 3, 1])
    turned = [Measurement(shares=one.shares[order]) for one in given if one.shares is not None]
    for one, other in zip(given[:5], turned, strict=False):
        expected = fit(given, LEVELS).scores(one)["reliance"]
        assert fit(turned, LEVELS[order]).scores(other)["reliance"] == pytest.approx(expected)


def test_what_failed_is_the_most_unusual_there_is() -> None:
    scorer = fit(measurements(60), LEVELS)
    whole = measurements(1)[0]
    found = scorer.scores(Measurement(whole.energies, whole.confidence, failed=("reliance", "fineness")))
    assert found["reliance"] == found["fineness"] == math.inf
    assert found["input"] < math.inf
    assert scorer.scores(Measurement(failed=tuple(SIGNALS))) == dict.fromkeys(SIGNALS, math.inf)


def test_what_failed_is_not_fitted_to() -> None:
    given = measurements(60)
    bad = [Measurement(failed=tuple(SIGNALS)), Measurement(np.full(4, 1e9), failed=("input",))]
    one = measurements(1, seed=9)[0]
    assert fit([*given, *bad], LEVELS).scores(one) == fit(given, LEVELS).scores(one)


def test_a_reference_without_profiles_watches_without_them() -> None:
    scorer = fit([Measurement(one.energies, one.confidence) for one in measurements(60)], LEVELS)
    assert scorer.reliance is None
    with pytest.raises(InvalidRequest, match="but not of the reference: collect a reference that has them"):
        scorer.scores(measurements(1)[0])


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        (
            [Measurement(shares=one.shares) for one in measurements(8)],
            "reference.fit.shares",
            "8 images; 3 dimensions need at least 9",
        ),
        (measurements(8), "reference.fit.energies", "8 images; 4 dimensions need at least 12"),
        ([Measurement(energies=np.ones(4))], "reference.fit.energies", "1 images"),
        ([Measurement(energies=np.ones(4))] * 20, "reference.fit.energies", "does not vary"),
        ([*measurements(20), Measurement(energies=np.array([1, 2, 3, math.nan]))], "energies", "finite"),
        ([*measurements(20), Measurement(energies=np.ones(3))], "energies", "3; there are 4 sub-bands"),
        ([*measurements(20), Measurement(shares=np.ones(3) / 3)], "shares", "3; there are 4 sub-bands"),
    ],
)
def test_a_reference_that_is_none_is_refused(given: list[Measurement], field: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as refused:
        fit(given, LEVELS)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        (Measurement(confidence=1.5), "confidence", r"within 0\.\.1"),
        (Measurement(confidence=math.nan), "confidence", r"within 0\.\.1"),
        (Measurement(energies=np.ones(5)), "energies", "5; there are 4"),
        (Measurement(shares=np.ones(5) / 5), "shares", "5; there are 4"),
        (Measurement(failed=("depth",)), "failed", "'depth'; signals are input"),
    ],
)
def test_a_measurement_out_of_range_is_refused(given: Measurement, field: str, said: str) -> None:
    scorer = fit(measurements(60), LEVELS)
    with pytest.raises(InvalidRequest, match=said) as refused:
        scorer.scores(given)
    assert refused.value.field == field


# ---- signals of the bounded-mean test --------------------------------------------------------------
def test_every_share_is_watched_in_both_directions() -> None:
    found = bounded_values(Measurement(confidence=0.8, shares=np.array([0.1, 0.2, 0.7])), 3)
    assert found["doubt"] == pytest.approx(0.2)
    assert [found[f"share.{band}.up"] for band in range(3)] == [0.1, 0.2, 0.7]
    assert [found[f"share.{band}.down"] for band in range(3)] == pytest.approx([0.9, 0.8, 0.3])
    assert all(0 <= value <= 1 for value in found.values())


def test_a_profile_that_failed_fails_all_shares() -> None:
    found = bounded_values(Measurement(confidence=0.8, failed=("reliance",)), 2)
    assert len(found) == 5
    assert [name for name, value in found.items() if value < math.inf] == ["doubt"]
    assert bounded_values(Measurement(failed=("confidence",)), 2) == {"doubt": math.inf}
    assert bounded_values(Measurement(), 2) == {}


def test_shares_of_another_profile_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="2; there are 3"):
        bounded_values(Measurement(shares=np.array([0.5, 0.5])), 3)
