"""Sentences of the report of a monitor, which its picture and its text have in common."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from wavescope.core.monitoring.observing import Reading
from wavescope.core.wavelets import scale_px
from wavescope.engine.monitors.state import AlarmRecord, Trace
from wavescope.engine.monitors.status import RISK, ScaleStatus, Summary
from wavescope.figures.labels import scale_label
from wavescope.figures.text import has_glyph

LABEL = 30  # characters of a label that are shown, the last ones
MEANINGS = {
    "input": "the images: energy by scale",
    "confidence": "the model's confidence",
    "reliance": "the scales that the model relies on",
    "fineness": "how fine these scales are on average",
    "all": "confidence and scales together",
}


def heading(name: str, summary: Summary) -> str:
    """Name, state and since when, in one line."""
    return f"Monitor {name}: {summary.state} since {time_of(summary.since)}"


def sentences(summary: Summary, trace: Trace) -> list[str]:
    """Sentences on what was found, since when, and how often that would be wrong.

    Args:
        summary: of the monitor.
        trace: evidence over time, from which the times of observations are read.
    """
    said = [_state(summary), summary.verdict if summary.signals else "", _alarm(summary.alarm)]
    return [one for one in (*said, _began(summary, trace), _promise(summary), _counts(summary)) if one]


def change(summary: Summary) -> Reading | None:
    """Reading of the signal that says best when the change began; ``None`` where nothing is beyond chance.

    It is the one whose evidence is farthest above its threshold, of those that changed or raised the open alarm.
    """
    alarmed = () if summary.alarm is None else tuple(one.name for one in summary.alarm.readings)
    found = [
        one
        for one in summary.signals
        if one.changed_at is not None and (one.false_alarm_bound <= RISK or one.name in alarmed)
    ]
    return max(found, key=lambda one: one.log10_evidence - one.log10_threshold, default=None)


def moment(trace: Trace, seq: int) -> float | None:
    """Time at which an observation was accepted, s since 1970, between those of the trace; ``None`` outside of it.

    Example:
        >>> moment(Trace(np.array([1, 3]), np.array([10.0, 30.0]), np.zeros((2, 1))), 2)
        20.0
    """
    if not len(trace.seqs) or not trace.seqs[0] <= seq <= trace.seqs[-1]:
        return None
    return float(np.interp(seq, trace.seqs, trace.at))


def time_of(at: float, beside: float | None = None) -> str:
    """A time in UTC, to the minute; without its date where it is on the same day as ``beside``.

    Example:
        >>> time_of(0.0), time_of(90.0, beside=0.0)
        ('1970-01-01 00:00 UTC', '00:01')
    """
    when = datetime.fromtimestamp(at, UTC)
    same = beside is not None and datetime.fromtimestamp(beside, UTC).date() == when.date()
    return when.strftime("%H:%M" if same else "%Y-%m-%d %H:%M UTC")


def scale_names(scales: tuple[ScaleStatus, ...]) -> list[str]:
    """Names of the scales as in other figures, such as ``1-2 px``."""
    return [scale_label(scale_px(one.level, len(scales) - 1)) for one in scales]


def short_label(label: str) -> str:
    """The end of a label, of what can be printed; ``…`` stands for the rest.

    Example:
        >>> short_label("camera-1/" + "0" * 30 + ".jpg")
        '…0000000000000000000000000.jpg'
    """
    plain = "".join(one if one.isprintable() else " " for one in label)
    line = " ".join(plain.split())
    return line if len(line) <= LABEL else f"…{line[1 - LABEL :]}"


def drawn_label(label: str) -> str:
    """The end of a label, of what the font has; ``…`` stands for the rest.

    Example:
        >>> drawn_label("猫/кошка/1.jpg")
        '…/кошка/1.jpg'
    """
    known = "".join(one if one.isspace() or has_glyph(one) else "…" for one in label)
    while "……" in known:
        known = known.replace("……", "…")
    return short_label(known)


def _state(summary: Summary) -> str:
    reference = summary.reference
    if summary.state == "collecting":
        return f"The reference has {reference.n:,} of {reference.size:,} images; nothing is compared yet."
    reason = f"{summary.reason[:1].upper()}{summary.reason[1:]}.".replace("..", ".") if summary.reason else ""
    if summary.state == "rejected":
        return f"The reference was rejected, and nothing is compared. {reason}"
    if summary.state == "stale":
        return f"Nothing is compared any more. {reason}"
    if summary.state == "paused":
        return f"Paused: images that come are counted, not compared. {reason}".strip()
    return ""


def _alarm(alarm: AlarmRecord | None) -> str:
    if alarm is None:
        return ""
    names = ", ".join(one.name for one in alarm.readings)
    return (
        f"Alarm {alarm.number} was raised by observation {alarm.seq:,} at {time_of(alarm.at)} ({names}), "
        "and is not acknowledged."
    )


def _began(summary: Summary, trace: Trace) -> str:
    reading = change(summary)
    if reading is None or reading.changed_at is None:
        return ""
    seq, (first, last) = reading.changed_at.seq, reading.changed_at.interval
    at, start, end = (moment(trace, one) for one in (seq, first, last))
    when = "" if at is None else f", {time_of(at)}"
    times = "" if start is None or end is None else f", {time_of(start, at)} to {time_of(end, at)}"
    earlier = ", or earlier" if reading.changed_at.earlier else ""
    return (
        f"The change began at observation {seq:,}{when}, by {reading.name}; with 95 % between {first:,} and "
        f"{last:,}{times}{earlier}."
    )


def _promise(summary: Summary) -> str:
    promise, rate = summary.guarantee, summary.rate_per_hour
    often = f"{promise.mean_observations:,.0f} observations"
    if promise.mean_days_at_this_rate is not None and rate is not None:
        often += f", which are {_round(promise.mean_days_at_this_rate)} days at {_round(rate)} an hour"
    unchanged = (
        "while images come from the same source as the reference, in no particular order"
        if promise.assumes == "exchangeable"
        else "while no mean rises by more than the tolerance"
    )
    return f"False alarms: on average at most one in {often}, {unchanged}."


def _round(value: float) -> str:
    """A number to three digits without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _counts(summary: Summary) -> str:
    total = sum(summary.outcomes.values())
    missing = total - summary.outcomes.get("observed", 0)
    without = f", {missing:,} of them without a whole measurement" if missing else ""
    return f"Observations so far: {total:,}{without}."
