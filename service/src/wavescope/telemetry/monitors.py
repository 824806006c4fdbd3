"""Metrics of monitors, as samples of what the store has of them.

They are cumulative since the monitor was made, and survive every process. One place alone reads them: summed over
processes, as other metrics are, a state would be 2 while a lease changes hands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from prometheus_client.utils import floatToGoString

from wavescope.engine.monitors.config import ALL_SIGNALS, MonitorConfig
from wavescope.engine.monitors.observation import OUTCOMES
from wavescope.engine.monitors.status import Summary, scale_label
from wavescope.telemetry.counters import Snapshot
from wavescope.telemetry.metrics import (
    MONITOR_ALARMS,
    MONITOR_CONFIDENCE,
    MONITOR_EVENTS,
    MONITOR_EVIDENCE,
    MONITOR_EVIDENCE_THRESHOLD,
    MONITOR_FORWARDS,
    MONITOR_LAST_OBSERVATION,
    MONITOR_OBSERVATIONS,
    MONITOR_PENDING,
    MONITOR_REFERENCE_SHARE,
    MONITOR_SHARE,
    MONITOR_STATE,
    Metric,
)

STATES = ("collecting", "checking", "watching", "alarm", "stale", "rejected", "paused")
EVENTS = ("accepted", "sampled_out", "duplicate", "busy", "paused", "invalid", "ignored")


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorFacts:
    """Facts about a monitor that its metrics are made of.

    Attributes:
        name: of the monitor.
        state: as callers see it, one of ``STATES``.
        summary: of its state.
        events: images that arrived, by outcome.
        pending: observations that have not ended.
        last_observation_at: when the last one was accepted, s since 1970; ``None`` before any.
    """

    name: str
    state: str
    summary: Summary
    events: Mapping[str, int]
    pending: int
    last_observation_at: float | None


def monitor_samples(monitors: Iterable[MonitorFacts]) -> Snapshot:
    """Samples of all metrics of monitors that the store has.

    Args:
        monitors: facts about each.
    """
    found = _Samples()
    for monitor in monitors:
        _add(found, monitor)
    return found.snapshot


def _add(found: _Samples, monitor: MonitorFacts) -> None:
    name, summary = monitor.name, monitor.summary
    config = summary.config
    for state in STATES:
        found.add(MONITOR_STATE, state == monitor.state, monitor=name, state=state)
    _add_evidence(found, name, summary)
    for outcome in EVENTS:
        found.add(MONITOR_EVENTS, monitor.events.get(outcome, 0), monitor=name, outcome=outcome)
    for outcome in OUTCOMES:
        found.add(MONITOR_OBSERVATIONS, summary.outcomes.get(outcome, 0), monitor=name, outcome=outcome)
    if config.sample.profile_rate > 0:
        rows = zip(_scales(config), summary.share_counts, summary.share_sums, strict=True)
        for scale, counts, total in rows:
            found.add_histogram(MONITOR_SHARE, counts, float(total), monitor=name, scale=scale)
    for one in summary.scales:
        found.add(MONITOR_REFERENCE_SHARE, one.reference, monitor=name, scale=one.scale)
    found.add_histogram(MONITOR_CONFIDENCE, summary.confidence_counts, summary.confidence_sum, monitor=name)
    if monitor.last_observation_at is not None:
        found.add(MONITOR_LAST_OBSERVATION, monitor.last_observation_at, monitor=name)
    found.add(MONITOR_PENDING, monitor.pending, monitor=name)
    found.add(MONITOR_FORWARDS, summary.forwards, monitor=name)


def _add_evidence(found: _Samples, name: str, summary: Summary) -> None:
    """Evidence and alarms, by the names of the evidences: the bounded-mean test's reading is named after a signal."""
    names = summary.config.evidences
    together = summary.config.test.method != "conformal"
    for reading in summary.signals:
        signal = ALL_SIGNALS if together else reading.name
        if math.isfinite(reading.log10_evidence):
            found.add(MONITOR_EVIDENCE, reading.log10_evidence, monitor=name, signal=signal)
        found.add(MONITOR_EVIDENCE_THRESHOLD, reading.log10_threshold, monitor=name, signal=signal)
    for signal in dict.fromkeys((*names, *summary.alarms_by_signal)):
        found.add(MONITOR_ALARMS, summary.alarms_by_signal.get(signal, 0), monitor=name, signal=signal)


def _scales(config: MonitorConfig) -> tuple[str, ...]:
    levels = config.request.levels
    return tuple(scale_label(level, levels) for level in range(levels + 1))


class _Samples:
    """Samples so far."""

    def __init__(self) -> None:
        self.snapshot: Snapshot = {}

    def add(self, metric: Metric, value: float, *, suffix: str = "", **labels: str) -> None:
        self.snapshot[metric.name + suffix, tuple(sorted(labels.items()))] = float(value)

    def add_histogram(
        self, metric: Metric, counts: Float64[np.ndarray, " c"], total: float, **labels: str
    ) -> None:
        """Add a histogram from the counts of its buckets, the last of those above all bounds."""
        bounds: Sequence[float] = (*metric.buckets, math.inf)
        if len(counts) != len(bounds):
            return  # saved by a version with other buckets
        for bound, below in zip(bounds, np.cumsum(counts), strict=True):
            self.add(metric, below, suffix="_bucket", le=floatToGoString(bound), **labels)
        self.add(metric, float(np.sum(counts)), suffix="_count", **labels)
        self.add(metric, total, suffix="_sum", **labels)
