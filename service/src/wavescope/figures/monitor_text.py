"""Report of a monitor as lines of text for a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from wavescope.core.monitoring.observing import Reading
from wavescope.engine.monitors.state import Shifted, Trace
from wavescope.engine.monitors.status import RISK, Findings, ScaleStatus, Summary
from wavescope.figures.labels import percent
from wavescope.figures.monitor_words import heading, moment, scale_names, sentences, short_label, time_of

WIDTH = 100  # characters


def report_lines(name: str, summary: Summary, findings: Findings) -> list[str]:
    """Report of a monitor as lines of text, without colours and control characters.

    Args:
        name: of the monitor.
        summary: of its state.
        findings: evidence over time and the most shifted observations.

    Returns:
        Lines of at most 100 characters: what was found, then tables of the signals, of the importance by scale and of
        the most shifted observations, without those that are empty.
    """
    said = [line for one in sentences(summary, findings.trace) for line in textwrap.wrap(one, WIDTH)]
    lines = [heading(short_label(name), summary), *said]
    for table in (
        _signals(summary.signals),
        _scales(summary.scales),
        _shifted(findings.shifted, findings.trace),
    ):
        if table:
            lines += ["", *table]
    return lines


def _signals(signals: Sequence[Reading]) -> list[str]:
    rows = [
        (
            one.name,
            "none" if math.isinf(one.log10_evidence) else f"{one.log10_evidence:.1f}",
            f"{one.log10_threshold:.1f}",
            f"{one.false_alarm_bound:.2g}",
            (one.direction or "") if one.false_alarm_bound <= RISK else "",
        )
        for one in signals
    ]
    head = ("signal", "evidence, log10", "alarm at", "by chance at most", "became")
    return _table(head, rows, right=(1, 2, 3)) if rows else []


def _scales(scales: tuple[ScaleStatus, ...]) -> list[str]:
    rows = [
        (
            name,
            f"{percent(one.reference)} ± {percent(one.reference_sd)}",
            "" if one.now is None else percent(one.now),
            ""
            if one.interval_95 is None
            else f"{percent(one.interval_95[0])} to {percent(one.interval_95[1])}",
        )
        for name, one in zip(scale_names(scales), scales, strict=True)
    ]
    profiles = scales[0].profiles if scales else 0
    head = ("importance of", "reference, ± sd", f"now ({profiles:,} profiles)", "95 % of that mean")
    return _table(head, rows, right=(1, 2, 3)) if rows else []


def _shifted(shifted: Sequence[Shifted], trace: Trace) -> list[str]:
    rows = [
        (
            f"{one.seq:,}",
            "" if (at := moment(trace, one.seq)) is None else time_of(at),
            one.signal,
            f"{one.p:.2g}",
            short_label(one.label),
        )
        for one in shifted
    ]
    head = ("most shifted", "accepted", "signal", "as far in reference", "label")
    return _table(head, rows, right=(0, 3)) if rows else []


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], right: tuple[int, ...]) -> list[str]:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]
