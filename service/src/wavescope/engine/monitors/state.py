"""State of a monitor: all that its log comes to so far."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from wavescope.core.monitoring.bounded_mean import BoundedMeanState, BoundedMeanTest
from wavescope.core.monitoring.conformal import ConformalState
from wavescope.core.monitoring.observing import Reading
from wavescope.core.monitoring.scores import Scorer
from wavescope.core.monitoring.self_test import SignalCheck
from wavescope.engine.monitors.config import MonitorConfig, Origin
from wavescope.engine.monitors.observation import OUTCOMES, Observed

Phase = Literal["collecting", "watching", "stale", "rejected"]
Cause = Literal[
    "none",
    "input",
    "input_and_confidence",
    "input_and_reliance",
    "reliance",
    "confidence",
    "confidence_and_reliance",
]
Judgement = Literal["false_alarm", "harmless", "harmful", "fixed"]
JUDGEMENTS: tuple[Judgement, ...] = ("false_alarm", "harmless", "harmful", "fixed")
Do = Literal["configure", "acknowledge", "rebaseline", "pause", "resume"]

RECENT = 50  # profiles that "now" is the mean of
ARRIVALS = 200  # observations that the rate is of
TRACE = 600  # points of evidence that are kept; every second one is dropped when there are so many
MAX_ALARMS = 100  # that are kept, the latest
MAX_SHIFTED = 8  # observations that are remembered as the most shifted ones
SHARE_BUCKETS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Command of a person.

    Attributes:
        do: what.
        by: name of the API key; empty without keys.
        config: of ``configure``, the configuration from then on.
        alarm: of ``acknowledge``, the alarm's number.
        judgement: of ``acknowledge``, what it was.
        source: of ``rebaseline``, where the new reference comes from.
    """

    do: Do
    by: str = ""
    config: MonitorConfig | None = None
    alarm: int | None = None
    judgement: Judgement | None = None
    source: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Facts about an observation that are known before it is measured.

    Attributes:
        reference: whether it was sent as one of the reference.
        fitted: whether the image is the model's input already, and is not resized again.
        traceparent: context of the trace that it came with; empty for none.
        label: name that its sender gave it, such as a file's; empty for none.
    """

    reference: bool = False
    fitted: bool = False
    traceparent: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogEntry:
    """Entry of the log, read: a command, or an observation with its measurement."""

    seq: int
    at: float
    command: Command | None = None
    facts: Facts | None = None
    observed: Observed | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Measurements, a row for each observation; NaN where something was not measured.

    Attributes:
        seqs: (n,) numbers of the observations.
        energies: (n, b) of sub-bands.
        confidence: (n,) probabilities of the predicted classes.
        shares: (n, k) of the importance.
        profiled: (n,) whether a profile was asked for, as 0 or 1.
    """

    seqs: Int64[np.ndarray, " n"]
    energies: Float64[np.ndarray, "n b"]
    confidence: Float64[np.ndarray, " n"]
    shares: Float64[np.ndarray, "n k"]
    profiled: Int64[np.ndarray, " n"]

    @staticmethod
    def empty(config: MonitorConfig) -> Table:
        """A table without rows."""
        none = np.empty(0, dtype=np.int64)
        return Table(none, np.empty((0, config.bands)), np.empty(0), np.empty((0, config.shares)), none)

    def __len__(self) -> int:
        return len(self.seqs)

    def add(self, seq: int, row: Observed, *, last: int | None = None) -> Table:
        """The table with one row more, of its last rows alone where ``last`` says how many."""

        def or_nan(values: Float64[np.ndarray, " b"] | None, width: int) -> Float64[np.ndarray, " b"]:
            return np.full(width, np.nan) if values is None else np.asarray(values, dtype=np.float64)

        keep = slice(None) if last is None else slice(-last, None)
        return Table(
            np.append(self.seqs, seq)[keep],
            np.vstack([self.energies, or_nan(row.energies, self.energies.shape[1])])[keep],
            np.append(self.confidence, np.nan if row.confidence is None else row.confidence)[keep],
            np.vstack([self.shares, or_nan(row.shares, self.shares.shape[1])])[keep],
            np.append(self.profiled, int(row.profiled))[keep],
        )

    def row(self, at: int) -> Observed:
        """One row as a measurement again."""

        def known(values: Float64[np.ndarray, " b"]) -> Float64[np.ndarray, " b"] | None:
            return None if np.isnan(values).any() else values

        confidence = float(self.confidence[at])
        return Observed(
            "observed",
            "",
            profiled=bool(self.profiled[at]),
            energies=known(self.energies[at]),
            confidence=None if np.isnan(confidence) else confidence,
            shares=known(self.shares[at]),
        )

    def rows(self) -> list[Observed]:
        """Rows as measurements."""
        return [self.row(at) for at in range(len(self))]


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Evidence over time, thinned: the longer, the coarser.

    Attributes:
        seqs, at: (m,) numbers of observations and when they were accepted, s since 1970.
        log10: (m, s) log10 of the evidence of every signal; −inf for none.
        every: one observation in so many is kept.
        skipped: observations since the last one kept.
    """

    seqs: Int64[np.ndarray, " m"]
    at: Float64[np.ndarray, " m"]
    log10: Float64[np.ndarray, "m s"]
    every: int = 1
    skipped: int = 0

    @staticmethod
    def empty(signals: int) -> Trace:
        """A trace without points."""
        return Trace(np.empty(0, dtype=np.int64), np.empty(0), np.empty((0, signals)))

    def add(self, seq: int, at: float, log10: Float64[np.ndarray, " s"]) -> Trace:
        """The trace after one more observation."""
        if self.skipped + 1 < self.every:
            return replace(self, skipped=self.skipped + 1)
        seqs, times = np.append(self.seqs, seq), np.append(self.at, at)
        values, every = np.vstack([self.log10, log10]), self.every
        if len(seqs) > TRACE:
            seqs, times, values, every = seqs[::2], times[::2], values[::2], 2 * every  # the last is kept
        return Trace(seqs, times, values, every, 0)


@dataclass(frozen=True, slots=True)
class AlarmRecord:
    """An alarm, open or acknowledged.

    Attributes:
        number: from 1.
        seq, at: the observation that raised it, and when it was accepted.
        readings: of the signals that reached their threshold, as they were then.
        acknowledged_at: when it was; ``None`` while it is open.
        judgement: what a person said it was.
        by: name of the person's API key.
    """

    number: int
    seq: int
    at: float
    readings: tuple[Reading, ...]
    acknowledged_at: float | None = None
    judgement: Judgement | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class Shifted:
    """An observation that was far from the reference.

    Attributes:
        seq: its number.
        p: share of the reference that is at least as far, by the signal where this is least; two-sided where it is.
        signal: that signal.
        nearest: number of the image of the reference whose sub-bands are most like its own; ``None`` where it has none.
        label: name that its sender gave it.
    """

    seq: int
    p: float
    signal: str
    nearest: int | None
    label: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """Counts for histograms of one quantity per row.

    Attributes:
        counts: (rows, buckets + 1) values in each bucket, the last of those above all bounds.
        sums: (rows,) sums of the values.
    """

    counts: Int64[np.ndarray, "r c"]
    sums: Float64[np.ndarray, " r"]

    @staticmethod
    def empty(rows: int) -> Distribution:
        """Counts of 0."""
        return Distribution(np.zeros((rows, len(SHARE_BUCKETS) + 1), dtype=np.int64), np.zeros(rows))

    def add(self, values: Float64[np.ndarray, " r"]) -> Distribution:
        """The counts with one value more in each row."""
        counts = self.counts.copy()
        counts[np.arange(len(values)), np.searchsorted(SHARE_BUCKETS, values, side="left")] += 1
        return Distribution(counts, self.sums + values)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Watch:
    """The test that runs, and what it runs on.

    Attributes:
        reference: the whole reference, fit and calibration, in order of arrival.
        revision: of its measurements.
        scorer: fitted to its first part.
        calibration: scores of its second part, by signal.
        checks: of that part, before watching began.
        conformal: state of the conformal test; ``None`` where it is the other.
        bounded: state of the bounded-mean test.
        bounded_test: its parameters, of this reference.
        began_at: when watching began.
    """

    reference: Table
    revision: str
    scorer: Scorer
    calibration: dict[str, Float64[np.ndarray, " n"]]
    checks: tuple[SignalCheck, ...]
    conformal: ConformalState | None = None
    bounded: BoundedMeanState | None = None
    bounded_test: BoundedMeanTest | None = None
    began_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MonitorState:
    """State of a monitor after an entry of its log.

    Attributes:
        folded: number of that entry, 0 for none.
        config: configuration now.
        phase: what it does with observations.
        since: when it came to that phase, or was paused, resumed or its alarm acknowledged, s since 1970.
        paused: whether a person paused it.
        source: where the reference comes from.
        gathered: the reference so far, while it collects.
        gathered_revision: revision of the measurements gathered; empty for none.
        watch: test and reference; ``None`` before there are any.
        reason: sentence why it is ``stale`` or ``rejected``; empty otherwise.
        checks: of the last whole reference.
        alarms: the latest, in order.
        alarm_count: all alarms so far.
        alarms_by_signal: the same by the signals that reached their threshold; of the bounded-mean test, whose signals
            are tested together, under ``all``.
        outcomes: observations by outcome, since the monitor was made.
        forwards: images scored, in all.
        arrivals: (n,) when the last observations were accepted.
        recent: measurements with a profile, the last of the stream.
        trace: evidence over time since watching began.
        shifted: the most shifted observations since the evidence was last 0, the most shifted first.
        share_counts: shares by level of the transform, of every profile of the stream.
        confidence_counts: confidences of the stream, in one row.
    """

    folded: int = 0
    config: MonitorConfig
    phase: Phase = "collecting"
    since: float = 0.0
    paused: bool = False
    source: Origin = "stream"
    gathered: Table
    gathered_revision: str = ""
    watch: Watch | None = None
    reason: str = ""
    checks: tuple[SignalCheck, ...] = ()
    alarms: tuple[AlarmRecord, ...] = ()
    alarm_count: int = 0
    alarms_by_signal: dict[str, int] = field(default_factory=dict[str, int])
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    forwards: int = 0
    arrivals: Float64[np.ndarray, " n"]
    recent: Table
    trace: Trace
    shifted: tuple[Shifted, ...] = ()
    share_counts: Distribution
    confidence_counts: Distribution

    @property
    def open_alarm(self) -> AlarmRecord | None:
        """The alarm that is not acknowledged."""
        last = self.alarms[-1] if self.alarms else None
        return last if last is not None and last.acknowledged_at is None else None


def initial_state(config: MonitorConfig, at: float = 0.0) -> MonitorState:
    """The state of a monitor that was just made.

    Args:
        config: its configuration.
        at: when it was made, s since 1970.
    """
    table = Table.empty(config)
    return MonitorState(
        config=config,
        since=at,
        source=config.reference.source,
        gathered=table,
        arrivals=np.empty(0),
        recent=table,
        trace=Trace.empty(len(config.weights)),
        share_counts=Distribution.empty(config.request.levels + 1),
        confidence_counts=Distribution.empty(1),
    )
