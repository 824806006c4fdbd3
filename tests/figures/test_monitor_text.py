"""The report of a monitor as text: what every state says, its numbers, and nothing that moves a cursor."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.figures.monitored import rejected, state

from wavescope.engine.monitors.config import TestPlan
from wavescope.engine.monitors.fold import fold
from wavescope.engine.monitors.state import Command, Facts, LogEntry, MonitorState, Trace
from wavescope.engine.monitors.status import findings, summarise
from wavescope.figures.monitor_text import WIDTH, report_lines
from wavescope.figures.monitor_words import change, drawn_label, moment, short_label


def lines_of(found: MonitorState) -> list[str]:
    return report_lines("birds", summarise(found), findings(found))


def text_of(found: MonitorState) -> str:
    return " ".join(" ".join(lines_of(found)).split())


def after(found: MonitorState, **command: object) -> MonitorState:
    return fold(found, [LogEntry(seq=found.folded + 1, at=1.8e9, command=Command(**command))])


def test_an_alarm_is_reported_with_its_times_and_numbers() -> None:
    found = state(400, changed_at=300)
    summary, said = summarise(found), text_of(found)
    assert lines_of(found)[0] == "Monitor birds: alarm since 2026-09-21 17:37 UTC"
    assert summary.verdict in said
    assert "Alarm 1 was raised by observation 306 at 2026-09-21 17:37 UTC (input)" in said
    assert (
        "The change began at observation 300, 2026-09-21 17:33 UTC, by input; with 95 % between 287 and 300"
        in said
    )
    for one in summary.signals:
        assert (
            f"{one.name} {one.log10_evidence:.1f} {one.log10_threshold:.1f} {one.false_alarm_bound:.2g}"
            in said
        )
    for one in summary.scales:
        assert one.now is not None
        assert f"{100 * one.reference:.1f} % ± {100 * one.reference_sd:.1f} % {100 * one.now:.1f} %" in said
    for one in found.shifted:
        assert f"{one.seq} 2026-09-21" in said


def test_scales_run_from_coarse_to_fine_as_in_other_figures() -> None:
    said = text_of(state(200))
    assert said.index("> 8 px") < said.index("4-8 px") < said.index("2-4 px") < said.index("1-2 px")


@pytest.mark.parametrize(
    ("found", "words", "missing"),
    [
        (state(50), "The reference has 50 of 130 images; nothing is compared yet.", "by chance"),
        (state(131), "Nothing has changed", "began"),
        (state(160, profile_rate=0), "Nothing has changed", "importance of"),
        (rejected(), "The reference was rejected, and nothing is compared. The reference is not", "signal "),
        (after(state(200), do="pause"), "Paused: images that come are counted, not compared.", "Alarm"),
        (after(state(400, changed_at=300), do="acknowledge", alarm=1), "watching since", "is not acknowledged"),
        (state(300, test=TestPlan(method="bounded-mean")), "no mean rises by more than the", "in no particular order"),
        (state(200, every_s=0.0), "at most one in 1,000,000 observations, while", "days"),
    ],
    ids=["collecting", "first", "no profiles", "rejected", "paused", "acknowledged", "bounded mean", "all at once"],
)  # fmt: skip
def test_every_state_says_what_it_is(found: MonitorState, words: str, missing: str) -> None:
    assert words in text_of(found)
    assert missing not in text_of(found)
    assert max(map(len, lines_of(found))) <= WIDTH


def test_a_stale_one_says_why() -> None:
    entry = LogEntry(seq=201, at=1.8e9, facts=Facts(), observed=replace(_row(), revision="another"))
    assert "Nothing is compared any more. The model, its preprocessing" in text_of(fold(state(200), [entry]))


def _row() -> object:
    found = state(131)
    assert found.watch is not None
    return found.watch.reference.row(0)


def test_labels_cannot_move_the_cursor() -> None:
    found = state(200)
    wild = tuple(replace(one, label="a\x1b[2J\r\nb\u202ec" + "x" * 200) for one in found.shifted)
    lines = lines_of(replace(found, shifted=wild))
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) <= WIDTH


def test_the_signal_farthest_above_its_threshold_dates_the_change() -> None:
    reading = change(summarise(state(400, changed_at=300)))
    assert reading is not None
    assert reading.name == "input"
    assert change(summarise(state(200))) is None


def test_times_of_observations_are_those_of_the_trace() -> None:
    found = state(2000)  # so many that the trace has every fourth
    assert found.trace.every > 1
    seq = int(found.trace.seqs[-2]) + 1
    assert moment(found.trace, seq) == pytest.approx(1.79e9 + 40 * seq)
    assert moment(found.trace, seq + 10_000) is None
    assert moment(Trace.empty(1), 1) is None


def test_labels_keep_their_ends() -> None:
    assert short_label("x" * 50 + ".jpg") == "…" + "x" * 25 + ".jpg"
    assert drawn_label("カメラ/1.jpg") == "…/1.jpg"
    assert drawn_label("камера/1.jpg") == "камера/1.jpg"
