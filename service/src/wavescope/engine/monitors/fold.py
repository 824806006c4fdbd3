"""Fold over the log of a monitor: pure, entry by entry, in order; in pieces it comes to the same bits as at once."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float64, Int64

from wavescope.core.monitoring import bounded_mean, conformal
from wavescope.core.monitoring.conformal import ConformalTest, Signal
from wavescope.core.monitoring.observing import Alarm, Reading
from wavescope.core.monitoring.scores import SIGNALS, Scorer, bounded_values, fit, log_energies
from wavescope.core.monitoring.self_test import self_test
from wavescope.engine.monitors.config import PROFILE_SIGNALS, MonitorConfig, tolerance
from wavescope.engine.monitors.observation import Observed, is_profiled
from wavescope.engine.monitors.state import (
    ARRIVALS,
    MAX_ALARMS,
    MAX_SHIFTED,
    RECENT,
    AlarmRecord,
    Command,
    Facts,
    LogEntry,
    MonitorState,
    Shifted,
    Table,
    Trace,
    Watch,
    initial_state,
)
from wavescope.errors import InvalidRequest


def fold(state: MonitorState, entries: Iterable[LogEntry]) -> MonitorState:
    """The state after further entries.

    Args:
        state: before.
        entries: in order, each after ``state.folded``; every observation with its measurement.

    Raises:
        ValueError: an entry is not after the last one, or an observation has not ended.
    """
    return functools.reduce(step, entries, state)


def step(state: MonitorState, entry: LogEntry) -> MonitorState:
    """The state after one more entry; raises as :func:`fold`."""
    if entry.seq <= state.folded:
        raise ValueError(f"entry {entry.seq} is not after {state.folded}, the last one folded")
    if entry.command is not None:
        after = _obey(state, entry.command, entry.at)
    elif entry.observed is not None:
        after = _take(state, entry.seq, entry.at, entry.facts or Facts(), entry.observed)
    else:
        raise ValueError(f"entry {entry.seq} has not ended")
    return replace(after, folded=entry.seq)


def reference_left(state: MonitorState) -> int:
    """Images that the reference still lacks; 0 unless it collects."""
    if state.phase != "collecting":
        return 0
    return max(0, state.config.reference.size - len(state.gathered))


def is_of_reference(state: MonitorState, facts: Facts) -> bool:
    """Whether an observation is of the reference, as the state is."""
    return state.phase == "collecting" and (facts.reference or state.source == "stream")


def levels_of(config: MonitorConfig) -> Int64[np.ndarray, " k"]:
    """(k,) level of every factor of a profile, 0 for the approximation."""
    if config.request.partition == "levels":
        return np.arange(config.request.levels + 1)
    return np.concatenate([[0], np.repeat(np.arange(1, config.request.levels + 1), 3)])


def level_shares(config: MonitorConfig, shares: Float64[np.ndarray, "*n k"]) -> Float64[np.ndarray, "*n l"]:
    """Shares of whole levels, from those of a profile's factors."""
    levels = levels_of(config)
    return np.stack(
        [shares[..., levels == level].sum(axis=-1) for level in range(config.request.levels + 1)], axis=-1
    )


def conformal_test(config: MonitorConfig) -> ConformalTest:
    """Parameters of the conformal test."""
    signals = tuple(Signal(name, weight, SIGNALS[name].two_sided) for name, weight in config.weights.items())
    return ConformalTest(
        signals,
        config.request.seed,
        mean_observations=config.test.mean_observations,
        pool_cap=max(conformal.POOL_CAP, 2 * config.reference.calibrate),
    )


def readings(state: MonitorState) -> tuple[Reading, ...]:
    """Readings of every signal now; of the bounded-mean test one, of all together."""
    watch = state.watch
    if watch is None:
        return ()
    if watch.conformal is not None:
        return conformal.readings(conformal_test(state.config), watch.conformal)
    assert watch.bounded is not None
    assert watch.bounded_test is not None
    return (bounded_mean.reading(watch.bounded_test, watch.bounded),)


def evidence(state: MonitorState) -> Float64[np.ndarray, " s"]:
    """(s,) log10 of the evidence of every signal now, in the order of :func:`readings`; −inf for none."""
    watch = state.watch
    if watch is None:
        return np.empty(0)
    if watch.conformal is not None:
        return conformal.log10_evidence(watch.conformal)
    assert watch.bounded is not None
    assert watch.bounded_test is not None
    return np.array([bounded_mean.log10_evidence(watch.bounded_test, watch.bounded)])


# ---- commands --------------------------------------------------------------------------------------------------------
def _obey(state: MonitorState, command: Command, at: float) -> MonitorState:
    if command.do == "configure" and command.config is not None:
        return _configured(state, command.config, at)
    if command.do == "acknowledge":
        return _acknowledged(state, command, at)
    if command.do == "rebaseline":
        source = command.source or state.config.reference.source
        fresh = initial_state(state.config, at)
        return replace(
            state,
            phase="collecting",
            since=at,
            source=source,
            gathered=fresh.gathered,
            gathered_revision="",
            watch=None,
            reason="",
            checks=(),
            alarms=_closed(state, at, command),
            recent=fresh.recent,
            trace=fresh.trace,
            shifted=(),
        )
    if command.do in ("pause", "resume") and state.paused != (command.do == "pause"):
        return replace(state, paused=not state.paused, since=at)
    return state


def _configured(state: MonitorState, config: MonitorConfig, at: float) -> MonitorState:
    """Another test begins anew with the same reference; what another reference is needed for is refused before."""
    if state.config.of_reference != config.of_reference:
        # The monitor's first entry, or one that no caller can have made.
        return replace(initial_state(config, at), folded=state.folded)
    after = replace(state, config=config)
    if config.test == state.config.test or state.watch is None:
        return after
    return _begun(replace(after, alarms=_closed(state, at, Command(do="configure"))), state.watch, at)


def _acknowledged(state: MonitorState, command: Command, at: float) -> MonitorState:
    open_ = state.open_alarm
    if open_ is None or open_.number != command.alarm or state.watch is None:
        return state
    watch = state.watch
    return replace(
        state,
        since=at if state.phase == "watching" else state.since,
        alarms=_closed(state, at, command),
        shifted=(),
        watch=replace(
            watch,
            conformal=None if watch.conformal is None else conformal.restart(watch.conformal),
            bounded=None if watch.bounded is None else bounded_mean.restart(watch.bounded),
        ),
    )


def _closed(state: MonitorState, at: float, command: Command) -> tuple[AlarmRecord, ...]:
    """The alarms, the open one acknowledged."""
    if state.open_alarm is None:
        return state.alarms
    closed = replace(state.alarms[-1], acknowledged_at=at, judgement=command.judgement, by=command.by)
    return (*state.alarms[:-1], closed)


# ---- observations ----------------------------------------------------------------------------------------------------
def _take(state: MonitorState, seq: int, at: float, facts: Facts, row: Observed) -> MonitorState:
    state = replace(
        state,
        outcomes=state.outcomes | {row.outcome: state.outcomes.get(row.outcome, 0) + 1},
        forwards=state.forwards + row.forwards,
        arrivals=np.append(state.arrivals, at)[-ARRIVALS:],
    )
    if row.outcome == "expired":
        return state
    if state.phase == "collecting":
        return _gathered(state, seq, at, row) if is_of_reference(state, facts) else state
    if state.phase != "watching" or facts.reference or state.watch is None:
        return state
    if row.revision != state.watch.revision:
        return replace(
            state,
            phase="stale",
            since=at,
            reason="the model, its preprocessing or the numbers of this version are not those of the reference: "
            "take a new one (:rebaseline)",
        )
    return _watched(state, state.watch, seq, at, facts, row)


def _gathered(state: MonitorState, seq: int, at: float, row: Observed) -> MonitorState:
    """One image more of the reference; images of another revision than the ones before begin it anew."""
    profiled = state.config.sample.profile_rate > 0
    if profiled and not row.profiled:
        return state  # it was not asked for in time
    row = replace(row, profiled=profiled)
    gathered = state.gathered
    if state.gathered_revision not in ("", row.revision):
        gathered = Table.empty(state.config)
    state = replace(state, gathered=gathered.add(seq, row), gathered_revision=row.revision)
    return _checked(state, at) if len(state.gathered) >= state.config.reference.size else state


def _checked(state: MonitorState, at: float) -> MonitorState:
    """The whole reference: watching begins, or it is rejected."""
    config, reference = state.config, state.gathered
    rows = reference.rows()
    first, second = rows[: config.reference.fit], rows[config.reference.fit :]
    try:
        scorer = fit([row.measurement for row in first], levels_of(config))
        _check_fitted(config, scorer)
        scored = [scorer.scores(row.measurement) for row in second]
    except InvalidRequest as unfit:
        return _rejected(replace(state, gathered=Table.empty(config)), unfit.message, at)
    watch = Watch(
        reference=reference,
        revision=state.gathered_revision,
        scorer=scorer,
        calibration={name: np.array([scores[name] for scores in scored]) for name in config.signals},
        checks=(),
    )
    return _begun(replace(state, phase="watching", since=at, gathered=Table.empty(config)), watch, at)


def _check_fitted(config: MonitorConfig, scorer: Scorer) -> None:
    """Refuses a reference whose first part has no image at all with a measurement that the stream may have."""
    if scorer.input is None:
        raise InvalidRequest(
            f"none of the first {config.reference.fit} images of the reference could be decoded: take a new one"
        )
    if scorer.reliance is None and config.sample.profile_rate > 0:
        raise InvalidRequest(
            f"none of the first {config.reference.fit} images of the reference has a profile, since their scores are "
            "constant: watch without profiles (sample.profile_rate 0), or take another request.score"
        )


def _rejected(state: MonitorState, reason: str, at: float) -> MonitorState:
    return replace(state, phase="rejected", since=at, reason=reason, watch=None)


def _begun(state: MonitorState, watch: Watch, at: float) -> MonitorState:
    """Watching begins with a reference: no evidence, no alarm; or it is rejected."""
    config = state.config
    checks = self_test(conformal_test(config), watch.calibration)
    trace = Trace.empty(len(config.weights) if config.test.method == "conformal" else 1)
    state = replace(state, trace=trace, shifted=(), checks=checks)
    refused = [check.name for check in checks if not check.exchangeable]
    if refused:
        reason = (
            f"the reference is not exchangeable, by {', '.join(refused)}: neighbouring images resemble each other, or "
            "it changed while it was collected; sample it more sparsely, over a longer time, and take a new one"
        )
        return _rejected(state, reason, at)
    watch = replace(watch, checks=checks, conformal=None, bounded=None, bounded_test=None, began_at=at)
    if config.test.method == "conformal":
        begun = conformal.start(conformal_test(config), watch.calibration)
        return replace(state, watch=replace(watch, conformal=begun))
    try:
        values = [bounded_values(row.measurement, config.shares) for row in watch.reference.rows()]
        test = bounded_mean.calibrate(
            {name: np.array([one[name] for one in values]) for name in values[0]},
            tolerance=tolerance(config.test),
            mean_observations=config.test.mean_observations,
            weights=_bounded_weights(config, list(values[0])),
        )
    except InvalidRequest as unfit:
        return _rejected(state, unfit.message, at)
    return replace(state, watch=replace(watch, bounded=bounded_mean.start(test), bounded_test=test))


def _bounded_weights(config: MonitorConfig, names: list[str]) -> dict[str, float] | None:
    """Weights of the values: those given for confidence and for the shares, which have equal ones; ``None`` for equal.

    That both are above 0 is checked where they are given (:func:`.check_config`).
    """
    given = config.test.weights
    if not given:
        return None
    shares = [name for name in names if name != "doubt"]
    rest = sum(given.get(name, 0.0) for name in PROFILE_SIGNALS)
    return {name: given["confidence"] if name == "doubt" else rest / len(shares) for name in names}


def _watched(
    state: MonitorState, watch: Watch, seq: int, at: float, facts: Facts, row: Observed
) -> MonitorState:
    if row.profiled and not is_profiled(state.config, seq, reference=False):
        row = replace(row, profiled=False, shares=None)  # was measured for a reference that was full before
    scores = watch.scorer.scores(row.measurement)
    if watch.conformal is not None:
        test = conformal_test(state.config)
        watched = {name: score for name, score in scores.items() if name in state.config.weights}
        found = conformal.observe(test, watch.conformal, seq, watched)
        watch, alarm = replace(watch, conformal=found), found.alarm
    else:
        assert watch.bounded is not None
        assert watch.bounded_test is not None
        values = bounded_values(row.measurement, state.config.shares)
        values = {name: value for name, value in values.items() if name in watch.bounded_test.signals}
        bounded = bounded_mean.observe(watch.bounded_test, watch.bounded, seq, values)
        watch, alarm = replace(watch, bounded=bounded), bounded.alarm
    state = replace(state, watch=watch, **_described(state, seq, row))
    state = replace(state, trace=state.trace.add(seq, at, evidence(state)))
    state = replace(state, shifted=_shifted(state, watch, seq, scores, row, facts))
    return _alarmed(state, alarm, at)


def _alarmed(state: MonitorState, alarm: Alarm | None, at: float) -> MonitorState:
    if alarm is None or state.open_alarm is not None:
        return state
    record = AlarmRecord(state.alarm_count + 1, alarm.seq, at, alarm.readings)
    counts = dict(state.alarms_by_signal)
    reached = [one.name for one in alarm.readings]
    for name in reached if state.config.test.method == "conformal" else state.config.evidences:
        counts[name] = counts.get(name, 0) + 1
    return replace(
        state,
        alarms=(*state.alarms, record)[-MAX_ALARMS:],
        alarm_count=record.number,
        alarms_by_signal=counts,
    )


def _described(state: MonitorState, seq: int, row: Observed) -> dict[str, object]:
    """Fields that describe the stream, beside the test."""
    changed: dict[str, object] = {}
    if row.confidence is not None:
        changed["confidence_counts"] = state.confidence_counts.add(np.array([row.confidence]))
    if row.shares is not None:
        changed["recent"] = state.recent.add(seq, row, last=RECENT)
        changed["share_counts"] = state.share_counts.add(level_shares(state.config, row.shares))
    return changed


def _shifted(
    state: MonitorState, watch: Watch, seq: int, scores: Mapping[str, float], row: Observed, facts: Facts
) -> tuple[Shifted, ...]:
    ranked = {
        name: _rank(watch.calibration[name], score, two_sided=SIGNALS[name].two_sided)
        for name, score in scores.items()
        if name in state.config.weights
    }
    if not ranked:
        return state.shifted
    signal = min(ranked, key=ranked.__getitem__)
    one = Shifted(seq, ranked[signal], signal, _nearest(watch.scorer, watch.reference, row), facts.label)
    return tuple(sorted((*state.shifted, one), key=lambda other: (other.p, other.seq)))[:MAX_SHIFTED]


def _rank(calibration: Float64[np.ndarray, " n"], score: float, *, two_sided: bool) -> float:
    above = (np.count_nonzero(calibration >= score) + 1) / (len(calibration) + 1)
    if not two_sided:
        return float(above)
    below = (np.count_nonzero(calibration <= score) + 1) / (len(calibration) + 1)
    return float(min(1.0, 2 * min(above, below)))


def _nearest(scorer: Scorer, reference: Table, row: Observed) -> int | None:
    """Number of the image of the reference whose log energies are nearest, by the covariance of the reference."""
    known = np.flatnonzero(~np.isnan(reference.energies).any(axis=1))
    if row.energies is None or scorer.input is None or not len(known):
        return None
    logs = log_energies(reference.energies[known]) - log_energies(row.energies)
    distances = np.linalg.norm(np.linalg.solve(scorer.input.root, logs.T), axis=0)
    return int(reference.seqs[known[int(np.argmin(distances))]])
