"""Summary of a monitor's state, as callers see it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from wavescope.core.monitoring.observing import Reading
from wavescope.core.monitoring.self_test import SignalCheck
from wavescope.core.wavelets import scale_px
from wavescope.engine.monitors.config import PROFILE_SIGNALS, MonitorConfig
from wavescope.engine.monitors.fold import level_shares, readings
from wavescope.engine.monitors.state import AlarmRecord, Cause, MonitorState, Shifted, Table, Trace

RISK = 0.01  # a signal counts as changed where a stable stream comes as far with at most this probability
LEAST_PROFILES = 3  # that a scale's interval is of
SENTENCES: dict[Cause, str] = {
    "none": "Nothing has changed, as far as the images so far say.",
    "input": "The images changed; the model relies on the same scales so far.",
    "input_and_confidence": "The images changed, and the model's confidence with them; "
    "the scales that it relies on have not so far.",
    "input_and_reliance": "The images changed, and the scales that the model relies on with them: "
    "a corruption that the model feels.",
    "reliance": "The model relies on other scales, in images whose scales are as before: "
    "another model or preprocessing.",
    "confidence": "The model's confidence changed, in images whose scales are as before: "
    "other content, or another mix of classes.",
    "confidence_and_reliance": "The model's confidence and the scales that it relies on changed, in images whose "
    "scales are as before: other content, another model or preprocessing.",
}


# Where there are no profiles, or the energies of the images are not watched, less can be said.
WITHOUT_PROFILES: dict[Cause, str] = {
    "input": "The images changed.",
    "input_and_confidence": "The images changed, and the model's confidence with them.",
}
WITHOUT_INPUT: dict[Cause, str] = {
    "reliance": "The model relies on other scales.",
    "confidence": "The model's confidence changed.",
    "confidence_and_reliance": "The model's confidence and the scales that it relies on changed.",
}


@dataclass(frozen=True, slots=True)
class Guarantee:
    """Promise about false alarms.

    Attributes:
        mean_observations: mean number of observations to a false alarm, at least this.
        mean_days_at_this_rate: the same in days, as observations come now; ``None`` before a rate is known.
        assumes: of an unchanged stream: ``exchangeable`` with the reference; or ``mean_within_tolerance``.
    """

    mean_observations: float
    mean_days_at_this_rate: float | None
    assumes: str


@dataclass(frozen=True, slots=True)
class ScaleStatus:
    """Importance of one scale, in the reference and now.

    Attributes:
        scale: its range of sizes, such as ``1-2px``; ``8px+`` for the approximation.
        level: 0 for the approximation.
        reference: mean share in the reference.
        reference_sd: standard deviation over its images.
        now: mean share in the last profiles; ``None`` before there are any.
        interval_95: 95 % interval of that mean, by Student's t; ``None`` of fewer than 3 profiles.
        profiles: images that ``now`` is the mean of.
    """

    scale: str
    level: int
    reference: float
    reference_sd: float
    now: float | None
    interval_95: tuple[float, float] | None
    profiles: int


@dataclass(frozen=True, slots=True)
class ReferenceStatus:
    """The reference.

    Attributes:
        n: images so far.
        size: images that are needed.
        source: ``stream`` or ``given``.
        revision: of its measurements: model, preprocessing and profile; empty before there are any.
        lag1_autocorrelation: largest of the signals, −1 to 1; ``None`` before it is complete.
        self_test_log10: largest log10 of the evidence when the test was run over the reference itself.
        checks: of every signal.
    """

    n: int
    size: int
    source: str
    revision: str
    lag1_autocorrelation: float | None
    self_test_log10: float | None
    checks: tuple[SignalCheck, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Summary:
    """Summary of a state.

    Attributes:
        state: ``collecting``, ``watching``, ``alarm``, ``stale``, ``rejected`` or ``paused``.
        since: when it came to that, s since 1970.
        reason: sentence why it is ``stale`` or ``rejected``; empty otherwise.
        folded: number of the last entry of the log that it covers.
        config: configuration now.
        rate_per_hour: observations an hour, by the last 200; ``None`` before there are two.
        guarantee: what is promised.
        signals: readings now.
        cause: which of the signals changed, in a word; ``none`` unless one of them is beyond chance (0.01), or raised
            the open alarm.
        verdict: the same in a sentence.
        scales: importance by scale, then and now; empty without profiles.
        reference: the reference.
        outcomes: observations by outcome.
        forwards: images scored.
        last_observation_at: when the last one was accepted; ``None`` before any.
        alarm: the open alarm; ``None`` for none.
        alarm_count: all alarms so far.
        alarms_by_signal: the same by signal, see :class:`.MonitorState`.
        alarms: the latest.
        share_counts: (levels, buckets) shares of the stream's profiles, see :class:`.Distribution`.
        share_sums: (levels,) their sums.
        confidence_counts: (buckets,) of the confidences.
        confidence_sum: their sum.
    """

    state: str
    since: float
    reason: str
    folded: int
    config: MonitorConfig
    rate_per_hour: float | None
    guarantee: Guarantee
    signals: tuple[Reading, ...]
    cause: Cause
    verdict: str
    scales: tuple[ScaleStatus, ...]
    reference: ReferenceStatus
    outcomes: dict[str, int]
    forwards: int
    last_observation_at: float | None
    alarm: AlarmRecord | None
    alarm_count: int
    alarms: tuple[AlarmRecord, ...]
    alarms_by_signal: dict[str, int] = field(default_factory=dict[str, int])
    share_counts: Float64[np.ndarray, "l c"] = field(default_factory=lambda: np.zeros((0, 0)))
    share_sums: Float64[np.ndarray, " l"] = field(default_factory=lambda: np.zeros(0))
    confidence_counts: Float64[np.ndarray, " c"] = field(default_factory=lambda: np.zeros(0))
    confidence_sum: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Findings:
    """Details of a report, beside the summary.

    Attributes:
        trace: evidence over time, of the signals in their order.
        names: of the signals.
        thresholds: log10, of the signals.
        shifted: the most shifted observations, the most shifted first.
        reference: measurements of the reference.
        recent: the last measurements with a profile.
    """

    trace: Trace
    names: tuple[str, ...]
    thresholds: tuple[float, ...]
    shifted: tuple[Shifted, ...]
    reference: Table | None
    recent: Table


def summarise(state: MonitorState) -> Summary:
    """The summary of a state."""
    now = readings(state)
    cause = cause_of(now, () if state.open_alarm is None else state.open_alarm.readings)
    rate = rate_per_hour(state.arrivals)
    test = state.config.test
    return Summary(
        state=state_name(state),
        since=_since(state),
        reason=state.reason,
        folded=state.folded,
        config=state.config,
        rate_per_hour=rate,
        guarantee=Guarantee(
            test.mean_observations,
            test.mean_observations / rate / 24 if rate else None,
            "exchangeable" if test.method == "conformal" else "mean_within_tolerance",
        ),
        signals=now,
        cause=cause,
        verdict=verdict(cause, state.config),
        scales=_scales(state),
        reference=_reference(state),
        outcomes=state.outcomes,
        forwards=state.forwards,
        last_observation_at=float(state.arrivals[-1]) if len(state.arrivals) else None,
        alarm=state.open_alarm,
        alarm_count=state.alarm_count,
        alarms=state.alarms,
        alarms_by_signal=state.alarms_by_signal,
        share_counts=state.share_counts.counts.astype(np.float64),
        share_sums=state.share_counts.sums,
        confidence_counts=state.confidence_counts.counts[0].astype(np.float64),
        confidence_sum=float(state.confidence_counts.sums[0]),
    )


def findings(state: MonitorState) -> Findings:
    """Details of a report, beside the summary."""
    now = readings(state)
    return Findings(
        trace=state.trace,
        names=tuple(one.name for one in now),
        thresholds=tuple(one.log10_threshold for one in now),
        shifted=state.shifted,
        reference=state.watch.reference if state.watch is not None else None,
        recent=state.recent,
    )


def state_name(state: MonitorState) -> str:
    """Name of the state that callers see."""
    if state.paused:
        return "paused"
    if state.phase == "watching" and state.open_alarm is not None:
        return "alarm"
    return state.phase


def rate_per_hour(arrivals: Float64[np.ndarray, " n"]) -> float | None:
    """Observations an hour, of those accepted at these times; ``None`` of fewer than two, or all at once.

    Example:
        >>> rate_per_hour(np.array([0.0, 1800.0, 3600.0]))
        2.0
    """
    if len(arrivals) < 2 or arrivals[-1] <= arrivals[0]:
        return None
    return float((len(arrivals) - 1) / (arrivals[-1] - arrivals[0]) * 3600)


def cause_of(now: tuple[Reading, ...], alarmed: tuple[Reading, ...] = ()) -> Cause:
    """Kind of change, by the signals that changed.

    Args:
        now: of every signal; it changed where a stable stream comes as far with a probability of at most 0.01.
        alarmed: of those that raised the open alarm, which changed whatever that probability is now.
    """
    changed = {one.name for one in now if one.false_alarm_bound <= RISK} | {one.name for one in alarmed}
    seen = "input" in changed
    felt = any(name in ("reliance", "fineness") or name.startswith("share.") for name in changed)
    doubted = bool(changed & {"confidence", "doubt"})
    if seen:
        return "input_and_reliance" if felt else "input_and_confidence" if doubted else "input"
    if felt:
        return "confidence_and_reliance" if doubted else "reliance"
    return "confidence" if doubted else "none"


def verdict(cause: Cause, config: MonitorConfig) -> str:
    """The sentence of a cause, which says nothing of what is not watched."""
    watched = set(config.weights) if config.test.method == "conformal" else set(config.weights) - {"input"}
    less = {} if watched & set(PROFILE_SIGNALS) else WITHOUT_PROFILES
    less = less if "input" in watched else WITHOUT_INPUT
    return less.get(cause, SENTENCES[cause])


def scale_label(level: int, levels: int) -> str:
    """Range of sizes of a level.

    Example:
        >>> scale_label(3, 3), scale_label(0, 3)
        ('1-2px', '8px+')
    """
    low, high = scale_px(level, levels)
    return f"{low}px+" if high is None else f"{low}-{high}px"


def scales_between(config: MonitorConfig, reference: Table, recent: Table) -> tuple[ScaleStatus, ...]:
    """Importance by scale in two tables of measurements, finest last; empty where the reference has no profiles."""
    before, after = (level_shares(config, _profiles(table)) for table in (reference, recent))
    if not len(before):
        return ()
    levels = config.request.levels
    return tuple(
        ScaleStatus(
            scale_label(level, levels),
            level,
            float(before[:, level].mean()),
            float(before[:, level].std()),
            float(after[:, level].mean()) if len(after) else None,
            _interval(after[:, level]),
            len(after),
        )
        for level in range(levels + 1)
    )


def _profiles(table: Table) -> Float64[np.ndarray, "n k"]:
    return table.shares[~np.isnan(table.shares).any(axis=1)]


def _interval(values: Float64[np.ndarray, " n"]) -> tuple[float, float] | None:
    if len(values) < LEAST_PROFILES:
        return None
    from scipy.stats import t as student  # here: it takes a second to import

    half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    mean = float(values.mean())
    return max(0.0, mean - half), min(1.0, mean + half)


def _scales(state: MonitorState) -> tuple[ScaleStatus, ...]:
    reference = state.watch.reference if state.watch is not None else state.gathered
    return scales_between(state.config, reference, state.recent)


def _since(state: MonitorState) -> float:
    return state.open_alarm.at if state_name(state) == "alarm" and state.open_alarm else state.since


def _reference(state: MonitorState) -> ReferenceStatus:
    watch = state.watch
    checks = watch.checks if watch is not None else state.checks
    return ReferenceStatus(
        n=len(watch.reference) if watch is not None else len(state.gathered),
        size=state.config.reference.size,
        source=state.source,
        revision=watch.revision if watch is not None else state.gathered_revision,
        lag1_autocorrelation=max((check.lag1_autocorrelation for check in checks), default=None),
        self_test_log10=max((check.log10_evidence for check in checks), default=None),
        checks=checks,
    )
