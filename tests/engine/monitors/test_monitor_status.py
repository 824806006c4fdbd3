"""The summary of a monitor's state: what changed, in a word, a sentence and by scale."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from scipy import stats
from tests.fakes.monitors import REFERENCE, config, entries, rows, unprofiled

from wavescope.core.monitoring.observing import Reading
from wavescope.engine.monitors.config import Sampling, TestPlan
from wavescope.engine.monitors.fold import fold, level_shares
from wavescope.engine.monitors.state import Cause, MonitorState, initial_state
from wavescope.engine.monitors.status import (
    SENTENCES,
    cause_of,
    findings,
    rate_per_hour,
    scale_label,
    scales_between,
    summarise,
    verdict,
)
from wavescope.store.codec import decode, encode

CONFIG = config()


def after(shift: float, n: int = 30) -> MonitorState:
    log = [*entries(rows(REFERENCE, 0)), *entries(rows(n, 1, shift=shift), first=REFERENCE + 1)]
    return fold(initial_state(CONFIG), log)


def reading(name: str, bound: float = 0.001) -> Reading:
    return Reading(name, 100, 0, 5.0, 4.0, bound, "large", None)


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ("", "none"),
        ("input", "input"),
        ("input confidence", "input_and_confidence"),
        ("input reliance", "input_and_reliance"),
        ("input fineness confidence", "input_and_reliance"),
        ("reliance", "reliance"),
        ("fineness", "reliance"),
        ("share.3.up", "reliance"),
        ("confidence", "confidence"),
        ("doubt", "confidence"),
        ("confidence reliance", "confidence_and_reliance"),
    ],
)
def test_the_cause_follows_from_the_signals_that_are_beyond_chance(changed: str, cause: str) -> None:
    names = changed.split()
    others = [reading(name, 0.02) for name in ("input", "confidence", "reliance") if name not in names]
    assert cause_of((*[reading(name) for name in names], *others)) == cause


def test_every_cause_has_a_sentence() -> None:
    assert set(SENTENCES) == set(get_args(Cause))


def test_of_an_unchanged_stream_nothing_is_said_to_have_changed() -> None:
    summary = summarise(after(0.0))
    assert (summary.state, summary.cause, summary.alarm) == ("watching", "none", None)
    assert summary.verdict.startswith("Nothing has changed")


def test_an_alarm_of_a_test_with_many_false_ones_is_not_called_nothing() -> None:
    """Its bound is no small probability, and yet it was raised: the sentence follows the alarm."""
    of = config(test=TestPlan(mean_observations=20, weights={"input": 1.0}))
    log = [*entries(rows(REFERENCE, 0)), *entries(rows(30, 1, shift=1.0), first=REFERENCE + 1)]
    state = initial_state(of)
    for entry in log:
        state = fold(state, [entry])
        if state.open_alarm is not None:
            break
    summary = summarise(state)
    assert summary.signals[0].false_alarm_bound > 0.01
    assert (summary.state, summary.cause) == ("alarm", "input")


def test_scales_are_means_of_the_reference_and_of_the_last_profiles_with_students_interval() -> None:
    state = after(1.5)
    summary = summarise(state)
    assert state.watch is not None
    before, now = (level_shares(CONFIG, table.shares) for table in (state.watch.reference, state.recent))
    for level, scale in enumerate(summary.scales):
        interval = stats.t.interval(0.95, 29, now[:, level].mean(), stats.sem(now[:, level]))
        assert scale.reference == pytest.approx(before[:, level].mean())
        assert scale.reference_sd == pytest.approx(before[:, level].std())
        assert scale.now == pytest.approx(now[:, level].mean())
        assert scale.interval_95 == pytest.approx(interval)
        assert (scale.level, scale.profiles) == (level, 30)
    assert [scale.scale for scale in summary.scales] == ["2px+", "1-2px"]
    fine = summary.scales[1]
    assert fine.interval_95 is not None
    assert fine.interval_95[0] > fine.reference


def test_scales_without_profiles_are_none_and_of_few_have_no_interval() -> None:
    state = after(0.0, n=2)
    assert [(scale.profiles, scale.interval_95) for scale in summarise(state).scales] == [(2, None)] * 2
    assert state.watch is not None
    empty = replace(state.recent, shares=np.full_like(state.recent.shares, np.nan))
    assert [scale.now for scale in scales_between(CONFIG, state.watch.reference, empty)] == [None, None]
    assert scales_between(CONFIG, empty, state.recent) == ()


def test_labels_of_scales_are_ranges_of_pixels() -> None:
    assert [scale_label(level, 3) for level in range(4)] == ["8px+", "4-8px", "2-4px", "1-2px"]


def test_the_promise_is_in_days_at_the_rate_of_the_last_observations() -> None:
    guarantee = summarise(after(0.0)).guarantee
    assert guarantee.mean_observations == 1000
    assert guarantee.mean_days_at_this_rate == pytest.approx(1000 * 10 / 86_400)
    assert guarantee.assumes == "exchangeable"
    assert rate_per_hour(np.array([5.0])) is None
    assert rate_per_hour(np.array([5.0, 5.0])) is None


def test_while_it_collects_it_says_how_many_images_it_has() -> None:
    state = fold(initial_state(CONFIG, 3.0), entries(rows(30, 0)))
    summary = summarise(state)
    assert (summary.state, summary.since, summary.signals) == ("collecting", 3.0, ())
    assert (summary.reference.n, summary.reference.size) == (30, REFERENCE)
    assert summary.reference.self_test_log10 is None
    assert summarise(initial_state(CONFIG)).last_observation_at is None


def test_the_checks_of_the_reference_are_those_of_the_self_test() -> None:
    reference = summarise(after(0.0)).reference
    assert [check.name for check in reference.checks] == ["input", "confidence", "reliance", "fineness"]
    assert reference.lag1_autocorrelation == max(check.lag1_autocorrelation for check in reference.checks)
    assert reference.self_test_log10 == max(check.log10_evidence for check in reference.checks)


def test_a_summary_and_its_details_are_stored_exactly() -> None:
    state = after(1.5)
    summary, details = summarise(state), findings(state)
    assert encode(decode(encode(summary), type(summary))) == encode(summary)
    assert summary.since == summary.alarm.at  # type: ignore[union-attr]
    assert details.names == ("input", "confidence", "reliance", "fineness")
    assert details.thresholds == tuple([math.log10(2000 / 0.25)] * 4)
    assert details.shifted == state.shifted
    assert details.trace.log10.shape == (30, 4)
    assert summary.confidence_counts.sum() == 30
    assert summary.share_sums.sum() == pytest.approx(30)


def test_images_without_profiles_have_no_share_in_the_scales() -> None:
    state = fold(after(0.0), entries(map(unprofiled, rows(10, 4, shift=3.0)), first=500))
    assert [scale.profiles for scale in summarise(state).scales] == [30, 30]


def test_a_verdict_says_nothing_of_what_is_not_watched() -> None:
    """No scales without profiles, and no images of the bounded-mean test, which does not look at them."""
    few = config(sample=Sampling(profile_rate=0.0))
    bounded = config(test=TestPlan(method="bounded-mean"))
    input_alone = config(test=TestPlan(weights={"input": 1.0}))
    assert verdict("input", CONFIG) == SENTENCES["input"]
    for of in (few, input_alone):
        assert verdict("input", of) == "The images changed."
    assert verdict("confidence", few) == SENTENCES["confidence"]
    for cause in ("confidence", "reliance", "confidence_and_reliance"):
        assert "images" not in verdict(cause, bounded)
    assert verdict("none", bounded) == SENTENCES["none"]
