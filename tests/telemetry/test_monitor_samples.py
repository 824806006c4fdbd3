"""Metrics of monitors say what the summary says, within a bounded number of series."""

from __future__ import annotations

import math
import subprocess
from dataclasses import replace
from functools import cache
from typing import get_args

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.fakes.monitors import (
    CALIBRATE,
    FIT,
    REFERENCE,
    black,
    commands,
    config,
    entries,
    rows,
    undecodable,
)
from tests.programs import find_program

from wavescope.core.monitoring.bounded_mean import reading
from wavescope.engine.monitors.config import Method, MonitorConfig, ReferencePlan, TestPlan, profile_request
from wavescope.engine.monitors.fold import fold, level_shares
from wavescope.engine.monitors.state import SHARE_BUCKETS, Command, MonitorState, initial_state
from wavescope.engine.monitors.status import Summary, state_name, summarise
from wavescope.store.codec import decode, encode
from wavescope.store.monitors import EventOutcome
from wavescope.telemetry.counters import Counters, Snapshot, exposition
from wavescope.telemetry.metrics import METRICS, MONITOR_DELAY, MONITOR_EVENTS
from wavescope.telemetry.monitors import EVENTS, STATES, MonitorFacts, monitor_samples

MOST_SERIES = 200
DEEPEST = 8  # levels of images of 512 pixels
CONFIG = config()
BOUNDED = config(
    reference=ReferencePlan(fit=FIT, calibrate=CALIBRATE),
    test=TestPlan(method="bounded-mean", tolerance=0.0, mean_observations=1000),
)


@cache
def watching(method: Method) -> MonitorState:
    """After a reference."""
    return fold(initial_state(CONFIG if method == "conformal" else BOUNDED), entries(rows(REFERENCE, 0)))


def watched(shift: float = 0.0, n: int = 30, *, of: MonitorConfig = CONFIG) -> MonitorState:
    """After a reference and n observations of the stream."""
    return fold(watching(of.test.method), entries(rows(n, 1, shift=shift), first=REFERENCE + 1))


def facts(state: MonitorState, *, name: str = "birds", shown: str = "") -> MonitorFacts:
    summary = decode(encode(summarise(state)), Summary)  # as the store has it
    return MonitorFacts(
        name=name,
        state=shown or summary.state,
        summary=summary,
        events={"accepted": 150, "busy": 3},
        pending=4,
        last_observation_at=1500.0,
    )


def value(samples: Snapshot, metric: str, **labels: str) -> float | None:
    return samples.get((f"wavescope_{metric}", tuple(sorted({"monitor": "birds", **labels}.items()))))


def test_of_the_states_one_is_1_and_all_others_are_0() -> None:
    for state in STATES:
        samples = monitor_samples([facts(watched(), shown=state)])
        assert {one: value(samples, "monitor_state", state=one) for one in STATES} == {
            one: float(one == state) for one in STATES
        }


def test_evidence_and_threshold_are_those_of_the_report() -> None:
    state = watched(shift=1.0, n=6)
    readings = summarise(state).signals
    samples = monitor_samples([facts(state)])
    assert len(readings) == 4
    for one in readings:
        assert value(samples, "monitor_evidence", signal=one.name) == one.log10_evidence
        assert value(samples, "monitor_evidence_threshold", signal=one.name) == one.log10_threshold


def test_a_signal_without_evidence_has_a_threshold_and_no_sample_of_evidence() -> None:
    samples = monitor_samples([facts(watched(n=0))])
    assert value(samples, "monitor_evidence", signal="input") is None
    assert value(samples, "monitor_evidence_threshold", signal="input") == pytest.approx(math.log10(8000))
    assert all(math.isfinite(sample) for sample in samples.values())


def test_before_there_is_a_reference_alarms_and_counts_are_0_and_there_is_no_evidence() -> None:
    samples = monitor_samples([facts(initial_state(CONFIG))])
    assert not [name for name, _ in samples if "evidence" in name or "reference" in name]
    for signal in CONFIG.weights:
        assert value(samples, "monitor_alarms_total", signal=signal) == 0
    assert value(samples, "monitor_share_ratio_count", scale="1-2px") == 0
    assert value(samples, "monitor_forwards_total") == 0


def test_alarms_are_counted_by_the_signals_that_reached_their_threshold() -> None:
    state = watched(shift=1.5)
    first = {one.name for one in state.alarms[0].readings}
    assert state_name(state) == "alarm"
    again = fold(
        state,
        [
            *commands([Command(do="acknowledge", alarm=1)], first=state.folded + 1),
            *entries(rows(60, 2, shift=3.0), first=state.folded + 2),
        ],
    )
    second = {one.name for one in again.alarms[1].readings}
    samples = monitor_samples([facts(again)])
    for signal in CONFIG.weights:
        expected = (signal in first) + (signal in second)
        assert value(samples, "monitor_alarms_total", signal=signal) == expected
    assert again.alarm_count == 2


def test_counts_of_alarms_go_on_when_their_records_are_dropped_and_a_new_reference_is_taken() -> None:
    state = watched(shift=1.5)
    later = replace(state, alarms=state.alarms[-1:], alarm_count=500, alarms_by_signal={"input": 500})
    rebased = fold(later, commands([Command(do="rebaseline")], first=later.folded + 1))
    assert value(monitor_samples([facts(rebased)]), "monitor_alarms_total", signal="input") == 500


def test_the_bounded_mean_test_has_one_evidence_under_one_name() -> None:
    state = watched(shift=2.5, n=120, of=BOUNDED)
    assert state_name(state) == "alarm"
    assert state.watch is not None
    assert state.watch.bounded is not None
    assert state.watch.bounded_test is not None
    found = reading(state.watch.bounded_test, state.watch.bounded)
    samples = monitor_samples([facts(state)])
    assert value(samples, "monitor_evidence", signal="all") == found.log10_evidence
    assert value(samples, "monitor_alarms_total", signal="all") == 1
    signals = {dict(labels)["signal"] for _, labels in samples if "signal" in dict(labels)}
    assert signals == {"all"}, "found.name changes as the stream goes on"


def test_shares_and_confidences_are_histograms_of_the_profiles_of_the_stream() -> None:
    state = watched(n=30)
    observed = rows(30, 1)
    samples = monitor_samples([facts(state)])
    shares = level_shares(CONFIG, np.array([row.shares for row in observed]))
    for scale, values in zip(("2px+", "1-2px"), shares.T, strict=True):
        for bound in SHARE_BUCKETS:
            below = value(samples, "monitor_share_ratio_bucket", scale=scale, le=str(bound))
            assert below == np.count_nonzero(values <= bound), (scale, bound)
        assert value(samples, "monitor_share_ratio_bucket", scale=scale, le="+Inf") == 30
        assert value(samples, "monitor_share_ratio_count", scale=scale) == 30
        assert value(samples, "monitor_share_ratio_sum", scale=scale) == pytest.approx(values.sum())
    confidences = [row.confidence for row in observed if row.confidence is not None]
    assert value(samples, "monitor_confidence_ratio_sum") == pytest.approx(sum(confidences))
    assert value(samples, "monitor_confidence_ratio_bucket", le="0.5") == sum(c <= 0.5 for c in confidences)
    reference = level_shares(CONFIG, np.array([row.shares for row in rows(REFERENCE, 0)])).mean(axis=0)
    assert value(samples, "monitor_reference_share_ratio", scale="1-2px") == pytest.approx(reference[1])


def test_every_observation_and_event_is_in_one_outcome() -> None:
    state = fold(watched(), entries([black(), undecodable()], first=REFERENCE + 31))
    samples = monitor_samples([facts(state)])
    assert value(samples, "monitor_observations_total", outcome="observed") == REFERENCE + 30
    assert value(samples, "monitor_observations_total", outcome="constant_score") == 1
    assert value(samples, "monitor_observations_total", outcome="undecodable") == 1
    assert value(samples, "monitor_observations_total", outcome="failed") == 0
    assert value(samples, "monitor_events_total", outcome="busy") == 3
    assert value(samples, "monitor_events_total", outcome="duplicate") == 0
    assert value(samples, "monitor_pending_observations") == 4
    assert value(samples, "monitor_last_observation_timestamp_seconds") == 1500
    assert value(samples, "monitor_forwards_total") == state.forwards


def test_outcomes_of_events_are_those_of_the_store() -> None:
    assert get_args(EventOutcome) == EVENTS


def series(samples: Snapshot) -> int:
    return len(samples)


def test_a_monitor_has_at_most_200_series() -> None:
    request = profile_request(levels=DEEPEST)
    deep = config(request=request, reference=ReferencePlan(fit=100, calibrate=CALIBRATE))
    shallow = summarise(watched(shift=1.5))
    one = replace(
        facts(watched()),
        summary=replace(
            shallow,
            config=deep,
            scales=shallow.scales[:1] * (DEEPEST + 1),
            share_counts=np.zeros((DEEPEST + 1, len(SHARE_BUCKETS) + 1)),
            share_sums=np.zeros(DEEPEST + 1),
        ),
    )
    one = replace(
        one,
        summary=replace(
            one.summary,
            scales=tuple(replace(scale, scale=str(at)) for at, scale in enumerate(one.summary.scales)),
        ),
    )
    counters = Counters()
    counters.observe(MONITOR_DELAY, 3.0, monitor="birds")
    counted = {key: value for key, value in counters.snapshot().items() if ("monitor", "birds") in key[1]}
    assert 150 < series(monitor_samples([one]) | counted) <= MOST_SERIES


def test_promtool_finds_nothing_to_complain_of_in_the_exposition() -> None:
    counters = Counters()
    counters.observe(MONITOR_DELAY, 3.0, monitor="birds")
    counters.add(MONITOR_EVENTS, monitor="", outcome="unmatched")
    text = exposition(counters.snapshot() | monitor_samples([facts(watched(1.5))]))
    done = subprocess.run(
        [find_program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_exposition_has_every_sample_under_its_family_with_buckets_in_order() -> None:
    samples = monitor_samples([facts(watched(1.5)), facts(watched(), name="cats")])
    families = {family.name: family for family in text_string_to_metric_families(exposition(samples))}
    assert len(families) == len(METRICS)
    read = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert read == samples
    bounds = [
        float(sample.labels["le"])
        for sample in families["wavescope_monitor_confidence_ratio"].samples
        if sample.labels.get("le") and sample.labels["monitor"] == "cats"
    ]
    assert bounds == [*SHARE_BUCKETS, math.inf]


def test_processes_declare_nothing_that_the_store_has() -> None:
    counters = Counters()
    stored = [metric for metric in METRICS if metric.origin == "store"]
    assert len(stored) == 12
    for metric in stored:
        with pytest.raises(KeyError):
            counters.add(metric, 1, **dict.fromkeys(metric.labels, "x"))
