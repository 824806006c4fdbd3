"""Configurations of monitors: defaults that hold together, refusals that say what to do, and routes of events."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import replace
from typing import Any

import pytest

from wavescope.core.monitoring.conformal import MIN_CALIBRATION
from wavescope.engine.monitors.config import (
    EventMatch,
    MonitorConfig,
    ReferencePlan,
    Sampling,
    TestPlan,
    check_config,
    check_name,
    profile_request,
    routes,
    tolerance,
)
from wavescope.engine.monitors.observation import is_profiled
from wavescope.errors import InvalidRequest

DEFAULT = MonitorConfig(model="birds")


def with_any(of: Any, **given: Any) -> Any:
    """A copy with values that its types exclude, as a caller's JSON may have them."""
    other = copy(of)
    for name, value in given.items():
        object.__setattr__(other, name, value)
    return other


def test_the_defaults_pass_and_watch_all_signals_with_equal_weights() -> None:
    check_config(DEFAULT)
    assert DEFAULT.weights == dict.fromkeys(("input", "confidence", "reliance", "fineness"), 0.25)
    assert (DEFAULT.bands, DEFAULT.shares) == (10, 10)
    assert DEFAULT.request.kind == "profile"
    assert DEFAULT.test.mean_observations == 1_000_000
    assert tolerance(DEFAULT.test) == 0.03
    assert tolerance(replace(DEFAULT.test, tolerance=0.0)) == 0.0


def test_without_profiles_only_what_needs_none_is_watched() -> None:
    few = MonitorConfig(model="birds", sample=Sampling(profile_rate=0))
    check_config(few)
    assert few.weights == {"input": 0.5, "confidence": 0.5}


def test_levels_have_a_share_each_and_the_fit_is_of_the_larger_dimension() -> None:
    levels = MonitorConfig(model="birds", request=profile_request(partition="levels", levels=5))
    assert (levels.bands, levels.shares) == (16, 6)
    with pytest.raises(InvalidRequest, match=r"reference.fit is 47; it must be at least 48"):
        check_config(replace(levels, reference=ReferencePlan(fit=47)))
    check_config(replace(levels, reference=ReferencePlan(fit=48)))


LIMITS: list[tuple[str, dict[str, Any], str]] = [
    ("sample.rate", {"sample": Sampling(rate=0)}, "above 0 and at most 1"),
    ("sample.rate", {"sample": Sampling(rate=1.01)}, "above 0 and at most 1"),
    ("sample.rate", {"sample": Sampling(rate=math.nan)}, "above 0 and at most 1"),
    ("sample.thin_s", {"sample": Sampling(thin_s=-1)}, "at least 0 and at most 86400"),
    ("sample.thin_s", {"sample": Sampling(thin_s=math.inf)}, "at least 0 and at most 86400"),
    ("sample.profile_rate", {"sample": Sampling(profile_rate=-0.1)}, "at least 0 and at most 1"),
    ("sample.max_share_of_model", {"sample": Sampling(max_share_of_model=0)}, "above 0 and at most 1"),
    ("keep_images", {"keep_images": 101}, "at least 0 and at most 100"),
    ("values", {"values": "tensor"}, "one of pixels, unit, normalized"),
    (
        "request.partition",
        {"request": replace(profile_request(), partition="grid")},
        "one of subbands, levels",
    ),
    ("reference.source", {"reference": with_any(ReferencePlan(), source="file")}, "one of stream, given"),
    ("reference.fit", {"reference": ReferencePlan(fit=29)}, "at least 30 and at most 10000"),
    ("reference.calibrate", {"reference": ReferencePlan(calibrate=99)}, "at least 100 and at most 10000"),
    ("test.method", {"test": with_any(TestPlan(), method="ks")}, "one of conformal, bounded-mean"),
    ("test.false_alarm.mean_observations", {"test": TestPlan(mean_observations=0.5)}, "at least 1"),
    ("test.false_alarm.mean_observations", {"test": TestPlan(mean_observations=1e13)}, "at most 1e"),
    (
        "test.tolerance",
        {"test": TestPlan(tolerance=0.1)},
        "bounded-mean alone: give that, or leave tolerance out",
    ),
    ("test.tolerance", {"test": TestPlan(method="bounded-mean", tolerance=1.0)}, "at least 0 and below 1"),
    ("test.weights.input", {"test": TestPlan(weights={"input": 1.5})}, "at least 0 and at most 1"),
    ("test.weights.input", {"test": TestPlan(weights={"input": math.nan})}, "at least 0 and at most 1"),
    (
        "test.weights",
        {"test": TestPlan(weights={"input": 0.5})},
        "their sum must be 1: divide each by their sum",
    ),
    (
        "test.weights.blur",
        {"test": TestPlan(weights={"blur": 1.0})},
        "is no signal; signals are input, confidence",
    ),
    (
        "test.weights.reliance",
        {"test": TestPlan(weights={"reliance": 1.0}), "sample": Sampling(profile_rate=0)},
        "needs sample.profile_rate above 0",
    ),
    (
        "test.weights.confidence",
        {"test": TestPlan(method="bounded-mean", weights={"reliance": 1.0})},
        "watches confidence and reliance, each with a weight above 0.*leave test.weights out",
    ),
    (
        "test.weights.reliance",
        {"test": TestPlan(method="bounded-mean", weights={"confidence": 1.0})},
        "watches confidence and reliance",
    ),
    (
        "test.weights.input",
        {"test": TestPlan(method="bounded-mean", weights=dict(DEFAULT.weights))},
        "and not input",
    ),
]


@pytest.mark.parametrize(("field", "given", "remedy"), LIMITS)
def test_what_cannot_be_is_refused_with_its_field_and_its_limit(
    field: str, given: dict[str, Any], remedy: str
) -> None:
    with pytest.raises(InvalidRequest, match=remedy) as refused:
        check_config(with_any(DEFAULT, **given))
    assert refused.value.field == field
    assert field in refused.value.message


def test_numbers_at_the_limits_pass() -> None:
    check_config(
        replace(
            DEFAULT,
            sample=Sampling(rate=1, thin_s=86_400, profile_rate=1, max_share_of_model=1),
            reference=ReferencePlan(fit=30, calibrate=MIN_CALIBRATION),
            test=TestPlan(mean_observations=1),
            keep_images=100,
        )
    )
    check_config(
        replace(DEFAULT, test=TestPlan(method="bounded-mean", weights={"confidence": 0.4, "fineness": 0.6}))
    )
    without = Sampling(profile_rate=0)
    bounded = TestPlan(method="bounded-mean", weights={"confidence": 1.0}, tolerance=0)
    check_config(replace(DEFAULT, sample=without, test=bounded))


@pytest.mark.parametrize(
    ("given", "field", "match"),
    [
        ({"kind": "wcam"}, "request.kind", "monitors make profiles: profile"),
        (
            {"grid_size": 4},
            "request.grid_size",
            "fields are partition, nb_design, seed, wavelet, levels, score",
        ),
        ({"levels": 0}, "request.levels", "levels"),
        ({"nb_design": 0}, "request.nb_design", "nb_design"),
        ({"seed": -1}, "request.seed", "seed"),
    ],
)
def test_a_request_that_is_no_profile_is_refused_by_its_field(
    given: dict[str, Any], field: str, match: str
) -> None:
    with pytest.raises(InvalidRequest, match=match) as refused:
        profile_request(**given)
    assert refused.value.field == field


@pytest.mark.parametrize("name", ["a", "0", "birds", "birds-2", "a" * 40, "a-b"])
def test_names_are_lower_case_with_hyphens_within(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a_b", "a" * 41, "a b", "ä", "a\n", "a/b"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="1 to 40 of a-z, 0-9 and hyphens within"):
        check_name(name)


# ---- the part that gets a profile ------------------------------------------------------------------------------------
def test_a_share_of_the_stream_gets_a_profile_drawn_by_number_alone_and_more_of_a_larger_share() -> None:
    def drawn(rate: float, seed: int = 0) -> set[int]:
        of = MonitorConfig(model="m", sample=Sampling(profile_rate=rate), request=profile_request(seed=seed))
        return {seq for seq in range(4000) if is_profiled(of, seq, reference=False)}

    assert drawn(0.2) == drawn(0.2)
    assert 0.18 < len(drawn(0.2)) / 4000 < 0.22
    assert drawn(0.2) < drawn(0.5)
    assert drawn(0.2) != drawn(0.2, seed=1)
    assert (len(drawn(0.0)), len(drawn(1.0))) == (0, 4000)


@pytest.mark.parametrize(("rate", "profiled"), [(0.0, False), (0.01, True), (1.0, True)])
def test_all_of_the_reference_gets_a_profile_where_any_does(rate: float, profiled: bool) -> None:
    of = MonitorConfig(model="m", sample=Sampling(profile_rate=rate))
    assert {is_profiled(of, seq, reference=True) for seq in range(50)} == {profiled}


# ---- routes ----------------------------------------------------------------------------------------------------------
MATCHES = {
    "all-of-prod": EventMatch(namespace="prod"),
    "birds": EventMatch(namespace="prod", inferenceservice="birds"),
    "birds-too": EventMatch(inferenceservice="birds", component="predictor"),
    "exactly": EventMatch(namespace="prod", inferenceservice="birds", component="transformer"),
    "none": None,
    "empty": EventMatch(),
}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (("prod", "birds", "transformer"), ["exactly"]),
        (("prod", "birds", "predictor"), ["birds", "birds-too"]),
        (("prod", "cats", "predictor"), ["all-of-prod"]),
        (("dev", "birds", "predictor"), ["birds-too"]),
        (("dev", "cats", "predictor"), []),
        (("", "", ""), []),
    ],
)
def test_an_event_goes_to_the_most_specific_of_the_monitors_that_it_matches(
    event: tuple[str, str, str], expected: list[str]
) -> None:
    assert routes(MATCHES, *event) == expected
