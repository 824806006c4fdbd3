"""The fold over a monitor's log: what every entry does, by a slow re-implementation and case by case."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.monitors import (
    CALIBRATE,
    FIT,
    REFERENCE,
    REVISION,
    black,
    commands,
    config,
    entries,
    rows,
    undecodable,
    unprofiled,
)

from wavescope.core.monitoring import bounded_mean, conformal
from wavescope.core.monitoring.scores import bounded_values, fit
from wavescope.engine.monitors.config import MonitorConfig, ReferencePlan, Sampling, TestPlan, profile_request
from wavescope.engine.monitors.fold import (
    conformal_test,
    evidence,
    fold,
    is_of_reference,
    level_shares,
    levels_of,
    readings,
    reference_left,
    step,
)
from wavescope.engine.monitors.observation import Observed, is_profiled
from wavescope.engine.monitors.state import (
    MAX_SHIFTED,
    RECENT,
    TRACE,
    Command,
    Facts,
    LogEntry,
    MonitorState,
    Trace,
    initial_state,
)
from wavescope.engine.monitors.status import state_name
from wavescope.store.codec import decode, encode

CONFIG = config()
BOUNDED = config(
    reference=ReferencePlan(fit=FIT, calibrate=CALIBRATE),
    test=TestPlan(method="bounded-mean", tolerance=0.0, mean_observations=1000),
)


def started(of: MonitorConfig = CONFIG) -> MonitorState:
    """Watching, after a reference of the stream."""
    return decode(_started(encode(of)), MonitorState)


@cache
def _started(of: bytes) -> bytes:
    state = fold(initial_state(decode(of, MonitorConfig)), entries(rows(REFERENCE, 0)))
    assert state.phase == "watching", state.reason
    return encode(state)


def alarmed(of: MonitorConfig = CONFIG) -> MonitorState:
    state = fold(started(of), entries(rows(40, 1, shift=1.5), first=REFERENCE + 1))
    assert state_name(state) == "alarm"
    return state


def many_kinds() -> list[LogEntry]:
    """A log with a bit of everything, commands among it."""
    log = entries(rows(REFERENCE, 0))
    log += entries([*rows(20, 1), black(), undecodable(), *rows(30, 2, shift=1.5)], first=len(log) + 1)
    log += commands([Command(do="acknowledge", alarm=1, judgement="harmful", by="ann")], first=len(log) + 1)
    log += entries(rows(10, 3), first=len(log) + 1)
    log += commands(
        [Command(do="configure", config=replace(CONFIG, test=TestPlan(mean_observations=500)))],
        first=len(log) + 1,
    )
    log += entries([*rows(5, 4), Observed("expired", "", profiled=False)], first=len(log) + 1)
    log += commands([Command(do="pause"), Command(do="resume"), Command(do="rebaseline")], first=len(log) + 1)
    return log + entries(rows(REFERENCE + 10, 5), first=len(log) + 1)


# ---- in pieces -------------------------------------------------------------------------------------------------------
@cache
def whole() -> bytes:
    """The state after many kinds of entries, folded at once."""
    return encode(fold(initial_state(CONFIG), many_kinds()))


@pytest.mark.parametrize("size", [1, 50])
def test_in_pieces_with_the_state_encoded_between_it_comes_to_the_same_bits(size: int) -> None:
    log = many_kinds()
    state = initial_state(CONFIG)
    for first in range(0, len(log), size):
        state = decode(encode(fold(state, log[first : first + size])), MonitorState)
    assert encode(state) == whole()
    assert state.folded == len(log)
    assert (state.phase, len(state.alarms), state.outcomes["undecodable"]) == ("watching", 1, 1)


@pytest.mark.parametrize("seq", [1, 120, 119])
def test_an_entry_that_is_not_after_the_last_is_refused(seq: int) -> None:
    (late,) = entries(rows(1, 0), first=seq)
    with pytest.raises(ValueError, match=f"entry {seq} is not after 120"):
        step(started(), late)


def test_an_observation_that_has_not_ended_is_refused() -> None:
    with pytest.raises(ValueError, match="entry 7 has not ended"):
        step(initial_state(CONFIG), LogEntry(seq=7, at=0.0, facts=Facts()))


# ---- against core and a slow re-implementation -----------------------------------------------------------------------
def stream() -> list[Observed]:
    mixed = [*rows(15, 1), black(), *rows(5, 2), undecodable(), *rows(20, 3, shift=1.0)]
    return [unprofiled(row) if at % 3 else row for at, row in enumerate(mixed)]


def test_the_evidence_is_that_of_the_conformal_test_on_the_same_scores() -> None:
    of = config(sample=Sampling(profile_rate=0.5))
    reference, watched = rows(REFERENCE, 0), stream()
    state = fold(fold(initial_state(of), entries(reference)), entries(watched, first=REFERENCE + 1))
    scorer = fit([row.measurement for row in reference[:FIT]], levels_of(of))
    second = [scorer.scores(row.measurement) for row in reference[FIT:]]
    test = conformal_test(of)
    expected = conformal.start(
        test, {s.name: np.array([one[s.name] for one in second]) for s in test.signals}
    )
    for seq, row in enumerate(watched, start=REFERENCE + 1):
        drawn = row if is_profiled(of, seq, reference=False) else unprofiled(row)
        expected = conformal.observe(test, expected, seq, scorer.scores(drawn.measurement))
    assert state.watch is not None
    assert state.watch.conformal is not None
    assert encode(state.watch.conformal) == encode(expected)
    assert evidence(state).tobytes() == conformal.log10_evidence(expected).tobytes()
    assert [one.name for one in readings(state)] == ["input", "confidence", "reliance", "fineness"]


def test_the_evidence_is_that_of_the_bounded_mean_test_on_the_same_values() -> None:
    reference, watched = rows(REFERENCE, 0), rows(30, 1, shift=1.0)
    state = fold(fold(initial_state(BOUNDED), entries(reference)), entries(watched, first=REFERENCE + 1))
    values = [bounded_values(row.measurement, 4) for row in reference]
    test = bounded_mean.calibrate(
        {name: np.array([one[name] for one in values]) for name in values[0]},
        tolerance=0.0,
        mean_observations=1000,
    )
    expected = bounded_mean.fold(
        test,
        bounded_mean.start(test),
        [(REFERENCE + 1 + at, bounded_values(row.measurement, 4)) for at, row in enumerate(watched)],
    )
    assert state.watch is not None
    assert encode(state.watch.bounded) == encode(expected)
    assert readings(state) == (bounded_mean.reading(test, expected),)


@given(
    kinds=st.lists(
        st.sampled_from(["good", "other", "expired", "black", "given", "unprofiled"]), max_size=60
    ),
    source=st.sampled_from(["stream", "given"]),
)
def test_collecting_takes_the_rows_that_a_slow_reading_of_the_rules_takes(
    kinds: list[str], source: str
) -> None:
    of = config(reference=ReferencePlan(fit=FIT, calibrate=CALIBRATE, source=source))  # type: ignore[arg-type]
    pool = rows(len(kinds), 3)
    log: list[LogEntry] = []
    kept: list[int] = []
    revision = ""
    for seq, (kind, row) in enumerate(zip(kinds, pool, strict=True), start=1):
        measured = {
            "other": replace(row, revision="sha256:two"),
            "expired": Observed("expired", "", profiled=False),
            "black": black(),
            "unprofiled": unprofiled(row),
        }.get(kind, row)
        log += [LogEntry(seq=seq, at=1.0, facts=Facts(reference=kind == "given"), observed=measured)]
        if kind in ("expired", "unprofiled") or (source == "given" and kind != "given"):
            continue
        kept = [*(kept if revision in ("", measured.revision) else []), seq]
        revision = measured.revision
    state = fold(initial_state(of), log)
    assert state.gathered.seqs.tolist() == kept
    assert reference_left(state) == REFERENCE - len(kept)
    counted = Counter(
        {"expired": "expired", "black": "constant_score"}.get(kind, "observed") for kind in kinds
    )
    assert {name: count for name, count in state.outcomes.items() if count} == counted
    assert state.forwards == sum(entry.observed.forwards for entry in log if entry.observed)


# ---- collecting ------------------------------------------------------------------------------------------------------
def test_of_a_given_reference_the_stream_is_no_part_and_afterwards_it_is_no_part_of_the_stream() -> None:
    of = config(reference=ReferencePlan(fit=FIT, calibrate=CALIBRATE, source="given"))
    state = fold(initial_state(of), entries(rows(30, 9, shift=3.0)))
    assert len(state.gathered) == 0
    assert not is_of_reference(state, Facts())
    assert is_of_reference(state, Facts(reference=True))
    state = fold(state, entries(rows(REFERENCE, 0), first=31, reference=True))
    assert state.phase == "watching"
    late = fold(state, entries(rows(30, 9, shift=3.0), first=200, reference=True))
    assert evidence(late).tolist() == [-math.inf] * 4
    assert late.outcomes["observed"] == 30 + REFERENCE + 30


def test_a_black_reference_is_rejected_with_a_reason_and_nothing_more_is_taken_of_the_stream() -> None:
    state = fold(initial_state(CONFIG), entries([undecodable()] * REFERENCE))
    assert (state.phase, state.watch) == ("rejected", None)
    assert "none of the first 20 images of the reference could be decoded" in state.reason
    assert len(state.gathered) == 0
    assert fold(state, entries(rows(5, 0), first=500)).phase == "rejected"


def test_a_reference_without_any_profile_is_rejected_rather_than_unable_to_take_the_first_one() -> None:
    constant = [replace(row, outcome="constant_score", shares=None) for row in rows(REFERENCE, 0)]
    state = fold(initial_state(CONFIG), entries(constant))
    assert state.phase == "rejected"
    assert "has a profile" in state.reason
    assert "sample.profile_rate 0" in state.reason


def test_a_reference_with_a_few_failed_images_is_watched() -> None:
    reference = rows(REFERENCE, 0)
    reference[3], reference[50] = black(), undecodable()
    assert fold(initial_state(CONFIG), entries(reference)).phase == "watching"


def test_a_reference_that_drifts_is_rejected_by_the_names_of_its_signals() -> None:
    drifting = [rows(1, seed, shift=seed / 40)[0] for seed in range(REFERENCE)]
    state = fold(initial_state(CONFIG), entries(drifting))
    assert state.phase == "rejected"
    assert state.reason.startswith("the reference is not exchangeable, by input")
    assert next(check.name for check in state.checks if not check.exchangeable) == "input"
    assert all(check.n == CALIBRATE for check in state.checks)


def test_without_profiles_an_undecodable_image_of_the_reference_has_no_profile_that_failed() -> None:
    for method in ("conformal", "bounded-mean"):
        of = config(sample=Sampling(profile_rate=0.0), test=TestPlan(method=method, mean_observations=1000))
        reference = [undecodable(), *map(unprofiled, rows(REFERENCE - 1, 0))]
        state = fold(initial_state(of), entries(reference))
        assert state.phase == "watching", state.reason
        assert [one.name for one in readings(state)] == {
            "conformal": ["input", "confidence"],
            "bounded-mean": ["doubt"],
        }[method]
        after = fold(state, entries([undecodable()], first=500))
        assert readings(after)[0].failed == 1


# ---- watching --------------------------------------------------------------------------------------------------------
def test_an_expired_observation_is_counted_and_says_nothing() -> None:
    before = started()
    (entry,) = entries([Observed("expired", "", profiled=False, reason="late")], first=200)
    after = step(before, entry)
    assert after.outcomes["expired"] == 1
    assert encode(after.watch) == encode(before.watch)
    assert after.phase == "watching"


def test_another_revision_makes_it_stale_and_nothing_is_compared_any_more() -> None:
    before = started()
    log = entries([*rows(1, 1, revision="sha256:two"), *rows(40, 2, shift=3.0)], first=200)
    after = fold(before, log)
    assert (after.phase, after.since) == ("stale", 2000.0)
    assert ":rebaseline" in after.reason
    assert encode(after.watch) == encode(before.watch)
    fresh = fold(
        after, [*commands([Command(do="rebaseline")], first=300), *entries(rows(REFERENCE, 4), first=301)]
    )
    assert (fresh.phase, fresh.reason) == ("watching", "")


@pytest.mark.parametrize("of", [CONFIG, BOUNDED])
def test_an_alarm_is_latched_at_the_observation_that_raised_it(of: MonitorConfig) -> None:
    state = alarmed(of)
    (alarm,) = state.alarms
    assert alarm.number == state.alarm_count == 1
    assert REFERENCE < alarm.seq < REFERENCE + 40
    assert alarm.at == 10.0 * alarm.seq
    assert all(one.log10_evidence >= one.log10_threshold for one in alarm.readings)
    before = fold(
        started(of), entries(rows(40, 1, shift=1.5)[: alarm.seq - REFERENCE - 1], first=REFERENCE + 1)
    )
    assert before.open_alarm is None
    later = fold(state, entries(rows(60, 6), first=300))
    assert later.open_alarm == alarm


@pytest.mark.parametrize("of", [CONFIG, BOUNDED])
def test_an_acknowledgement_closes_the_alarm_and_begins_the_evidence_anew_with_the_same_pool(
    of: MonitorConfig,
) -> None:
    state = alarmed(of)
    command = Command(do="acknowledge", alarm=1, judgement="false_alarm", by="ann")
    after = fold(state, commands([command], first=200))
    assert (state_name(after), after.since) == ("watching", 2000.0)
    assert after.open_alarm is None
    (closed,) = after.alarms
    assert (closed.acknowledged_at, closed.judgement, closed.by) == (2000.0, "false_alarm", "ann")
    assert evidence(after).max() == -math.inf
    assert after.shifted == ()
    if state.watch is not None and state.watch.conformal is not None:
        assert after.watch is not None
        assert after.watch.conformal is not None
        pairs = zip(after.watch.conformal.signals, state.watch.conformal.signals, strict=True)
        assert all(np.array_equal(one.pool, other.pool) for one, other in pairs)
    again = fold(after, entries(rows(120, 7, shift=4.0), first=300))
    assert [alarm.number for alarm in again.alarms] == [1, 2]


@pytest.mark.parametrize("number", [0, 2, None])
def test_an_acknowledgement_of_another_number_changes_nothing(number: int | None) -> None:
    state = alarmed()
    after = fold(state, commands([Command(do="acknowledge", alarm=number)], first=200))
    assert encode(after) == encode(replace(state, folded=200))


def test_an_acknowledgement_is_of_one_alarm_only_once() -> None:
    twice = [Command(do="acknowledge", alarm=1, judgement=one) for one in ("harmless", "harmful")]
    after = fold(alarmed(), commands(twice, first=200))
    assert [one.judgement for one in after.alarms] == ["harmless"]


def test_rebaseline_closes_the_alarm_and_collects_from_where_it_is_said() -> None:
    after = fold(alarmed(), commands([Command(do="rebaseline", source="given", by="ann")], first=200))
    assert (after.phase, after.source, after.watch) == ("collecting", "given", None)
    assert (after.alarms[0].acknowledged_at, after.alarms[0].by) == (2000.0, "ann")
    assert (len(after.recent), len(after.trace.seqs), after.shifted) == (0, 0, ())
    assert after.alarm_count == 1
    assert after.outcomes["observed"] == REFERENCE + 40
    done = fold(after, entries(rows(REFERENCE, 8, shift=1.5), first=300, reference=True))
    assert done.phase == "watching"
    same = fold(done, entries(rows(40, 9, shift=1.5), first=600))
    assert same.open_alarm is None  # what was a change is the reference now


def test_pause_and_resume_are_states_and_entries_that_were_accepted_are_folded() -> None:
    state = started()
    paused = fold(state, commands([Command(do="pause")], first=200))
    assert (state_name(paused), paused.since) == ("paused", 2000.0)
    assert encode(fold(paused, commands([Command(do="pause")], first=201))) == encode(
        replace(paused, folded=201)
    )
    during = fold(paused, entries(rows(5, 1), first=202))
    resumed = fold(during, commands([Command(do="resume")], first=300))
    assert (state_name(resumed), resumed.since) == ("watching", 3000.0)
    plain = fold(state, entries(rows(5, 1), first=202))
    assert encode(resumed.watch) == encode(plain.watch)


# ---- configure -------------------------------------------------------------------------------------------------------
def test_another_test_begins_the_evidence_anew_with_the_same_reference_and_closes_the_alarm() -> None:
    state = alarmed()
    other = replace(CONFIG, test=TestPlan(mean_observations=5000))
    after = fold(state, commands([Command(do="configure", config=other)], first=200))
    assert (after.phase, after.config) == ("watching", other)
    assert evidence(after).tolist() == [-math.inf] * 4
    assert after.alarms[0].acknowledged_at == 2000.0
    assert len(after.trace.seqs) == 0
    assert after.watch is not None
    assert state.watch is not None
    assert encode(after.watch.reference) == encode(state.watch.reference)
    assert after.watch.conformal is not None
    assert len(after.watch.conformal.signals[0].pool) == CALIBRATE


def test_what_is_no_part_of_the_test_leaves_the_evidence_as_it_is() -> None:
    state = alarmed()
    other = replace(CONFIG, keep_images=3, sample=Sampling(profile_rate=0.5, rate=0.1))
    after = fold(state, commands([Command(do="configure", config=other)], first=200))
    assert encode(after) == encode(replace(state, config=other, folded=200))


def test_a_signal_that_had_no_weight_can_be_given_one() -> None:
    """Its scores of the reference are known, though nothing watched them."""
    first = config(test=TestPlan(mean_observations=1000, weights={"input": 1.0}))
    other = config(test=TestPlan(mean_observations=1000, weights={"fineness": 1.0}))
    state = fold(started(first), commands([Command(do="configure", config=other)], first=200))
    assert [one.name for one in readings(state)] == ["fineness"]
    assert encode(state.watch) == encode(
        replace(fold(initial_state(other), entries(rows(REFERENCE, 0))).watch, began_at=2000.0)  # type: ignore[type-var]
    )
    after = fold(state, entries(rows(40, 1, shift=1.5), first=300))
    assert {one.signal for one in after.shifted} == {"fineness"}
    assert after.open_alarm is not None


def test_the_other_method_takes_the_same_reference() -> None:
    state = fold(alarmed(), commands([Command(do="configure", config=BOUNDED)], first=200))
    expected = started(BOUNDED)
    assert state.watch is not None
    assert expected.watch is not None
    assert encode(state.watch.bounded_test) == encode(expected.watch.bounded_test)
    back = fold(state, commands([Command(do="configure", config=CONFIG)], first=201))
    assert encode(back.watch) == encode(replace(started().watch, began_at=2010.0))  # type: ignore[type-var]


def test_another_profile_is_a_new_monitor() -> None:
    other = config(request=profile_request(levels=1, seed=5))
    after = fold(alarmed(), commands([Command(do="configure", config=other)], first=200))
    assert encode(after) == encode(replace(initial_state(other, 2000.0), folded=200))


def test_weights_of_the_bounded_mean_test_are_those_given_spread_over_the_shares() -> None:
    test = TestPlan(method="bounded-mean", weights={"confidence": 0.2, "reliance": 0.5, "fineness": 0.3})
    state = started(config(test=test))
    assert state.watch is not None
    assert state.watch.bounded_test is not None
    given = dict(zip(state.watch.bounded_test.signals, state.watch.bounded_test.weights, strict=True))
    assert given["doubt"] == 0.2
    assert [given[f"share.{k}.{side}"] for k in range(4) for side in ("up", "down")] == [0.1] * 8


# ---- failed images ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("of", [CONFIG, BOUNDED])
@pytest.mark.parametrize("row", [black(), undecodable()])
def test_a_camera_that_goes_black_raises_an_alarm_which_it_would_not_if_such_images_were_left_out(
    of: MonitorConfig, row: Observed
) -> None:
    before = started(of)
    after = fold(before, entries([*rows(5, 1), *[row] * 40], first=REFERENCE + 1))
    assert after.open_alarm is not None
    assert after.open_alarm.readings[0].failed > 0 or row.outcome == "constant_score"
    assert after.outcomes[row.outcome] == 40
    dropped = fold(before, entries(rows(5, 1), first=REFERENCE + 1))
    assert dropped.open_alarm is None


def test_failed_signals_are_as_unusual_as_can_be_and_no_more_than_that() -> None:
    """Ranked above all before; the second one ties with the first."""
    state = fold(started(), entries([undecodable(), undecodable()], first=REFERENCE + 1))
    assert state.watch is not None
    assert state.watch.conformal is not None
    for signal in state.watch.conformal.signals:
        first, second = np.exp(signal.history.values[:, 0])
        assert first < 1 / (CALIBRATE + 1)
        assert second < 2 / (CALIBRATE + 2)
        assert signal.failed == 2


def test_a_profile_that_was_not_drawn_is_cut_so_that_it_bets_nothing() -> None:
    of = config(sample=Sampling(profile_rate=0.3))
    state = started(of)
    seqs = range(REFERENCE + 1, REFERENCE + 61)
    drawn = [seq for seq in seqs if is_profiled(of, seq, reference=False)]
    assert 5 < len(drawn) < 40
    after = fold(state, entries(rows(60, 1), first=REFERENCE + 1))
    observed = {one.name: one.observed for one in readings(after)}
    assert observed == {"input": 60, "confidence": 60, "reliance": len(drawn), "fineness": len(drawn)}
    assert after.recent.seqs.tolist() == drawn
    none = fold(state, entries([undecodable()] * 60, first=REFERENCE + 1))
    assert {one.name: one.failed for one in readings(none)} == observed


# ---- what describes the stream ---------------------------------------------------------------------------------------
def test_the_most_shifted_are_those_whose_rank_among_the_reference_is_least_with_the_nearest_by_distance() -> (
    None
):
    reference, watched = rows(REFERENCE, 0), [*rows(25, 1), *rows(3, 2, shift=0.5)]
    state = fold(started(), entries(watched, first=REFERENCE + 1))
    scorer = fit([row.measurement for row in reference[:FIT]], levels_of(CONFIG))
    second = [scorer.scores(row.measurement) for row in reference[FIT:]]
    ranked: list[tuple[float, int, str]] = []
    for seq, row in enumerate(watched, start=REFERENCE + 1):
        own = scorer.scores(row.measurement)
        p = {}
        for name, score in own.items():
            above = (sum(other[name] >= score for other in second) + 1) / (CALIBRATE + 1)
            below = (sum(other[name] <= score for other in second) + 1) / (CALIBRATE + 1)
            p[name] = above if name in ("input", "reliance") else min(1.0, 2 * min(above, below))
        least = min(p, key=p.__getitem__)
        ranked.append((p[least], seq, least))
    expected = sorted(ranked)[:MAX_SHIFTED]
    assert [(one.p, one.seq, one.signal) for one in state.shifted] == expected
    assert [one.label for one in state.shifted] == [f"{seq}.png" for _, seq, _ in expected]
    assert scorer.input is not None
    inverse = np.linalg.inv(scorer.input.root @ scorer.input.root.T)
    floor = 1 / (12 * 255**2)
    for one in state.shifted:
        own = np.log(watched[one.seq - REFERENCE - 1].energies + floor)  # type: ignore[operator]
        gaps = [np.log(row.energies + floor) - own for row in reference]  # type: ignore[operator]
        assert one.nearest == 1 + int(np.argmin([gap @ inverse @ gap for gap in gaps]))


def test_an_image_without_energies_has_no_nearest_one() -> None:
    state = fold(started(), entries([undecodable()], first=200))
    assert [(one.seq, one.nearest) for one in state.shifted] == [(200, None)]
    assert state.shifted[0].p == 1 / (CALIBRATE + 1)


def test_recent_profiles_are_the_last_fifty_and_their_shares_are_counted_by_level() -> None:
    watched = rows(RECENT + 20, 1)
    state = fold(started(), entries(watched, first=REFERENCE + 1))
    assert state.recent.seqs.tolist() == list(range(REFERENCE + 21, REFERENCE + RECENT + 21))
    shares = np.array([row.shares for row in watched])
    assert np.array_equal(state.recent.shares, shares[20:])
    whole = level_shares(CONFIG, shares)
    np.testing.assert_array_equal(whole, np.stack([shares[:, 0], shares[:, 1:].sum(axis=1)], axis=1))
    np.testing.assert_allclose(state.share_counts.sums, whole.sum(axis=0))
    assert state.share_counts.counts.sum(axis=1).tolist() == [RECENT + 20] * 2
    below = [int((whole[:, 0] <= 0.1).sum()), int((whole[:, 0] <= 0.3).sum())]
    counts = np.cumsum(state.share_counts.counts[0])
    assert [counts[2], counts[5]] == below
    assert state.confidence_counts.counts.sum() == RECENT + 20


def test_a_trace_is_thinned_when_it_is_long_and_ends_near_now() -> None:
    trace = Trace.empty(1)
    for seq in range(5000):
        trace = trace.add(seq, float(seq), np.array([float(seq)]))
    assert TRACE / 2 <= len(trace.seqs) <= TRACE
    assert set(np.diff(trace.seqs).tolist()) == {trace.every}
    assert trace.seqs[-1] + trace.every >= 5000
    assert np.array_equal(trace.log10[:, 0], trace.seqs)


def test_arrivals_are_those_of_the_last_observations_commands_not_among_them() -> None:
    state = fold(started(), commands([Command(do="pause")], first=200))
    assert state.arrivals[-1] == 10.0 * REFERENCE
    assert len(state.arrivals) == REFERENCE
    assert state.watch is not None
    assert state.watch.revision == REVISION
