"""Events of watching, as lines for a person and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from wavescope.core.monitoring.observing import Reading
from wavescope.engine.monitors.watching import WatchEvent

_NAMED = 3  # most shifted images that are named
_FAILURES = {
    "undecodable": "could not be decoded",
    "failed": "could not be scored",
    "constant_score": "have a constant score",
}


class Report:
    """Report of events for a person.

    Args:
        folder: that is watched; names of images are relative to it.
        reference: folder of the reference; ``None`` for the first images.
        note: sentence on what was passed over; empty for none.
        console: to be printed on.
    """

    def __init__(self, folder: Path, reference: Path | None, note: str, console: Console) -> None:
        self._folder = folder
        self._reference = reference
        self._note = note
        self._console = console

    def print(self, event: WatchEvent) -> None:
        """Print an event: a line, and what is known of a change below it."""
        style = {"alarm": "bold red", "changed": "bold"}.get(event.name, "")
        for place, line in enumerate(self._lines(event)):
            self._console.print(Text(line, style="" if place else style), soft_wrap=True)
        self._console.file.flush()

    def _lines(self, event: WatchEvent) -> Iterator[str]:
        if event.name == "reading":
            yield from self._reading(event)
        elif event.name == "watching":
            yield from _watching(event)
        elif event.name == "changed":
            yield f"{self._place(event)}: {event.summary.verdict} {_certainty(event)}"
            yield from self._change(event)
        elif event.name == "alarm":
            yield f"ALARM at {self._place(event)}: {event.summary.verdict}"
            yield from self._change(event)
        elif event.name == "end":
            yield from self._end(event)

    def _reading(self, event: WatchEvent) -> Iterator[str]:
        size = event.summary.reference.size
        if self._reference is None:
            yield f"The first {size:,} images of {self._folder} are the reference, in the order of their times."
        else:
            of = "the" if size == event.found else f"{size:,} of the"
            yield (
                f"Reading {of} {event.found:,} images of {self._reference}, in an order drawn from the seed "
                f"{event.summary.config.request.seed}: that of the folder means nothing."
            )
        if self._note:
            yield f"{self._note[0].upper()}{self._note[1:]}."
        rate, seconds = event.summary.config.sample.profile_rate, event.profiles_s
        if seconds is not None and rate == 0:
            yield (
                f"Without profiles, hence not which scales the model relies on: of {size:,} images they would take "
                f"{_duration(seconds)}. To have them: --reference-s {math.ceil(1.2 * seconds)}, or --profile-rate 0.2."
            )

    def _end(self, event: WatchEvent) -> Iterator[str]:
        summary = event.summary
        if summary.state == "collecting":
            yield (
                f"The reference has {summary.reference.n:,} of {summary.reference.size:,} images: nothing was watched."
            )
            return
        seen = max((one.observed for one in summary.signals), default=0)
        spent = f"{event.elapsed_s:.0f} s, {summary.forwards:,} forwards"
        yield f"{seen:,} images watched in {spent}. {summary.verdict}"
        if summary.cause == "none":
            yield f"  {_signals(summary.signals)}"
            return
        yield from self._change(event)
        if event.shifted:
            named = ", ".join(f"{self._name(one.label)} ({one.signal})" for one in event.shifted[:_NAMED])
            yield f"  most unlike the reference: {named}"

    def _change(self, event: WatchEvent) -> Iterator[str]:
        if event.since is not None:
            label, at = event.since
            yield f"  since about {self._name(label)}, {_time(at)}"
        yield f"  {_signals(event.summary.signals)}"
        if event.energies:
            parts = [f"{one.scale} ×{one.ratio:.2g} {_interval(one.interval_95)}" for one in event.energies]
            most = max(event.energies, key=lambda one: abs(one.shift))
            changed = f"; {most.scale} changed most" if most.changed else ""
            yield f"  energy of the images by scale, now over then (95 %): {', '.join(parts)}{changed}"
        if any(one.now is not None for one in event.reliance):
            parts = [
                f"{one.scale} {one.reference:.2f} → {one.now:.2f}"
                + (f" {_interval(one.interval_95)}" if one.interval_95 else "")
                for one in event.reliance
                if one.now is not None
            ]
            yield f"  importance by scale, then → now (95 %): {', '.join(parts)}"
        for outcome, words in _FAILURES.items():
            if count := event.summary.outcomes[outcome]:
                yield f"  {count:,} of all images {words}"

    def _place(self, event: WatchEvent) -> str:
        return f"{self._name(event.label)}, {_time(event.at)}"

    def _name(self, label: str) -> str:
        path = Path(label)
        return str(path.relative_to(self._folder)) if path.is_relative_to(self._folder) else label


def _watching(event: WatchEvent) -> Iterator[str]:
    summary = event.summary
    mean = summary.guarantee.mean_observations
    plan = summary.config.reference
    yield (
        f"Watching {', '.join(one.name for one in summary.signals)} after {event.elapsed_s:.0f} s, against "
        f"{plan.fit:,} images that say what is usual and {plan.calibrate:,} that others are ranked among."
    )
    yield (
        f"A false alarm comes once in {mean:,.0f} images on average, or less often, and within the first "
        f"{max(1, mean / 100):,.0f} with a probability of at most {max(1, 100 / mean):.2g} %; "
        "that is, of unchanged images in no particular order, which frames of a video are not."
    )
    for outcome, words in _FAILURES.items():
        if count := summary.outcomes[outcome]:
            yield f"  {count:,} images of the reference {words}"


def _certainty(event: WatchEvent) -> str:
    if event.summary.cause == "none" or event.summary.state == "alarm":
        return ""
    least = min(one.false_alarm_bound for one in event.summary.signals)
    return f"No alarm yet: unchanged images come so far with a probability of at most {least:.1g}."


def _signals(signals: tuple[Reading, ...]) -> str:
    return "evidence: " + ", ".join(
        f"{one.name} {max(one.log10_evidence, 0):.1f} of {one.log10_threshold:.1f}" for one in signals
    )


def _interval(interval: tuple[float, float]) -> str:
    return f"({interval[0]:.2g} to {interval[1]:.2g})"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def object_of(event: WatchEvent) -> str:
    """JSON object of an event, on one line."""
    summary = event.summary
    found = {
        "event": event.name,
        "image": event.label or None,
        "at": event.at or None,
        "state": summary.state,
        "cause": summary.cause,
        "verdict": summary.verdict,
        "reason": summary.reason or None,
        "since": None if event.since is None else {"image": event.since[0], "at": event.since[1]},
        "signals": [asdict(one) for one in summary.signals],
        "energies": [asdict(one) for one in event.energies],
        "reliance": [asdict(one) for one in event.reliance],
        "shifted": [asdict(one) for one in event.shifted],
        "reference": {
            "images": summary.reference.n,
            "fit": summary.config.reference.fit,
            "calibrate": summary.config.reference.calibrate,
            "found": event.found,
            "profiles_s": event.profiles_s,
        },
        "profile_rate": summary.config.sample.profile_rate,
        "guarantee": asdict(summary.guarantee),
        "alarm": None if summary.alarm is None else asdict(summary.alarm),
        "outcomes": summary.outcomes,
        "forwards": summary.forwards,
        "elapsed_s": event.elapsed_s,
    }
    return json.dumps(_finite(found))


def _finite(value: Any) -> Any:
    """The value with ``null`` for numbers that JSON has not."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
