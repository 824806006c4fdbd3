"""Watching images in this process: measurement and fold in turn, and events where the state or the verdict changes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Literal

import numpy as np

from wavescope.engine.local import LocalRunner, drive
from wavescope.engine.monitors.energies import EnergyChange, energy_changes
from wavescope.engine.monitors.fold import is_of_reference, readings, step
from wavescope.engine.monitors.measure import measure, plan_measurement
from wavescope.engine.monitors.observation import Observed, is_profiled
from wavescope.engine.monitors.state import Facts, LogEntry, MonitorState, Shifted, Table, initial_state
from wavescope.engine.monitors.status import (
    ScaleStatus,
    Summary,
    cause_of,
    scales_between,
    state_name,
    summarise,
)
from wavescope.engine.monitors.watch_plan import PROFILE_RATE, WatchPlan, configure
from wavescope.engine.protocols import Classifier, Source
from wavescope.engine.threads import one_thread

DIAGNOSED = 8  # images of the reference, and of those since the change, whose profiles are set side by side
TRIED = 3  # first images of a stream, of which one is profiled to see how long it takes
REMEMBERED = 1000  # last observations that what has changed is described by

EventName = Literal["reading", "watching", "rejected", "changed", "alarm", "stale", "end"]


@dataclass(frozen=True, slots=True, eq=False)
class WatchedImage:
    """An image to be watched.

    Attributes:
        label: its name, such as a file's.
        at: when it was made, s since 1970.
        source: what it is decoded from.
    """

    label: str
    at: float
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WatchEvent:
    """An event of watching.

    Attributes:
        name: ``reading`` a reference begins; ``watching`` begins; or the reference was ``rejected``; the verdict has
            ``changed``; an ``alarm`` was raised; the model is another one: ``stale``; the ``end`` of the images.
        label, at: of the image after which it happened; empty and 0 before the first.
        summary: of the monitor then.
        elapsed_s: since watching was asked for.
        found: images of the reference that there were, of which ``summary.reference.size`` are taken.
        profiles_s: seconds that profiles of the whole reference take, as measured; ``None`` where it was not asked.
        since: name and time of the image that the change began with, at its most likely moment; ``None`` for none.
        energies: of the images' scales since that one, against the reference; empty without a change.
        reliance: importance of the scales since that one, against the reference; empty without profiles.
        shifted: most shifted images, the most shifted first.
    """

    name: EventName
    label: str = ""
    at: float = 0.0
    summary: Summary
    elapsed_s: float
    found: int = 0
    profiles_s: float | None = None
    since: tuple[str, float] | None = None
    energies: tuple[EnergyChange, ...] = ()
    reliance: tuple[ScaleStatus, ...] = ()
    shifted: tuple[Shifted, ...] = ()


@dataclass(slots=True, eq=False)
class Watcher:
    """Watches images one by one.

    Attributes:
        classifier: the model.
        state: of the monitor, after the images so far.
        max_forwards: the most forwards admitted for one image.
        clock: seconds, monotonic.
        images: last ones of the stream, with their entries of the log.
    """

    classifier: Classifier
    state: MonitorState
    max_forwards: int
    clock: Callable[[], float] = time.perf_counter
    images: deque[tuple[WatchedImage, LogEntry]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def measure(self, image: WatchedImage, *, profile: bool) -> Observed:
        """Measures an image; errors as :func:`wavescope.engine.monitors.measure.measure`."""
        runner = LocalRunner(
            [image.source], self.classifier, max_forwards=self.max_forwards, recorder=None, clock=self.clock
        )
        request = self.state.config.request

        async def steps() -> Observed:
            planned = await plan_measurement(runner, request)
            return (
                planned if isinstance(planned, Observed) else await measure(planned, request, profile=profile)
            )

        with one_thread():
            return drive(steps())

    def observe(self, image: WatchedImage, *, reference: bool = False) -> None:
        """Measures an image and folds it; errors as :meth:`measure`."""
        facts, seq = Facts(reference=reference, label=image.label), self.state.folded + 1
        of_reference = is_of_reference(self.state, facts)
        observed = self.measure(image, profile=is_profiled(self.state.config, seq, reference=of_reference))
        entry = LogEntry(seq=seq, at=image.at, facts=facts, observed=observed)
        self.state = step(self.state, entry)
        if not of_reference:
            self.images.append((image, entry))

    def profile_s(self, images: Sequence[WatchedImage]) -> float:
        """Seconds that the profile of an image takes, measured on the first of these that has one."""
        for image in images:
            self.measure(image, profile=False)  # what happens once happens here
            began = self.clock()
            if self.measure(image, profile=True).forwards > 1:
                return self.clock() - began
        return 0.0


def watch(
    classifier: Classifier,
    images: Iterable[WatchedImage],
    reference: Sequence[WatchedImage] | int,
    plan: WatchPlan,
    *,
    max_forwards: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[WatchEvent]:
    """Watches images; yields an event wherever something changes, and one at their end.

    Args:
        classifier: the model.
        images: in order; they may come for ever.
        reference: images on which all was well, which are read in an order that is drawn from the seed, so that it
            means nothing; or how many of the first of ``images`` are the reference.
        plan: parameters.
        max_forwards: the most forwards admitted for one image.
        clock: seconds, monotonic.

    Raises:
        InvalidRequest: the reference is too small, or a parameter is out of range; names the field.
        WavescopeError: the model cannot be asked.
    """
    began = clock()
    size = reference if isinstance(reference, int) else min(len(reference), plan.max_reference)
    config = configure(classifier.details.name, plan, size, given=not isinstance(reference, int))
    given = None if isinstance(reference, int) else _drawn(reference, plan)
    watcher = Watcher(classifier, initial_state(config), max_forwards, clock)
    stream = iter(images)
    ahead: list[WatchedImage] = []  # of the stream, that the speed is measured on
    profiles_s: float | None = None
    if plan.profile_rate is None:
        ahead = [] if given is not None else list(islice(stream, TRIED))
        profiles_s = watcher.profile_s(given or ahead) * size
        rate = PROFILE_RATE if profiles_s <= plan.reference_s else 0.0
        config = replace(config, sample=replace(config.sample, profile_rate=rate))
        watcher.state = initial_state(config)
    found = size if isinstance(reference, int) else len(reference)

    def event(name: EventName, image: WatchedImage | None = None) -> WatchEvent:
        return WatchEvent(
            name=name,
            label="" if image is None else image.label,
            at=0.0 if image is None else image.at,
            summary=summarise(watcher.state),
            elapsed_s=clock() - began,
            found=found,
            profiles_s=profiles_s,
            shifted=watcher.state.shifted,
        )

    yield event("reading")
    kept: list[WatchedImage] = []  # of the reference, for a diagnosis
    for image in given or ():
        watcher.observe(image, reference=True)
    if given is not None:
        kept = list(given[:DIAGNOSED])
        yield event("watching" if watcher.state.phase == "watching" else "rejected")
    last = None
    before = ("", "") if given is None else _standing(watcher.state)
    for image in chain(ahead, stream):
        if watcher.state.phase in ("rejected", "stale"):
            break
        if watcher.state.phase == "collecting" and len(kept) < DIAGNOSED:
            kept.append(image)
        watcher.observe(image)
        last, now = image, _standing(watcher.state)
        if now != before and watcher.state.phase != "collecting":
            yield _described(watcher, event(_name(before, now), image), kept)
        before = now
    if watcher.state.phase not in ("rejected", "stale"):
        yield _described(watcher, event("end", last), ())


def _drawn(reference: Sequence[WatchedImage], plan: WatchPlan) -> list[WatchedImage]:
    order = np.random.default_rng(plan.seed).permutation(len(reference))
    return [reference[place] for place in order[: plan.max_reference]]


def _standing(state: MonitorState) -> tuple[str, str]:
    """Name of the state, and the cause."""
    alarm = state.open_alarm
    return state_name(state), cause_of(readings(state), () if alarm is None else alarm.readings)


def _name(before: tuple[str, str], now: tuple[str, str]) -> EventName:
    if now[0] in ("rejected", "stale", "alarm") and now[0] != before[0]:
        return now[0]  # type: ignore[return-value]
    return "watching" if before[0] != "watching" and now[0] == "watching" else "changed"


def _described(watcher: Watcher, event: WatchEvent, kept: Sequence[WatchedImage]) -> WatchEvent:
    """The event with what has changed: since which image, in which scales of the images and of the model's reliance."""
    seq, watch = _began_with(event.summary), watcher.state.watch
    if seq is None or watch is None:
        return event
    since = [(image, entry) for image, entry in watcher.images if entry.seq >= seq]
    if not since:
        return event
    config, table = watcher.state.config, Table.empty(watcher.state.config)
    for _, entry in since:
        if entry.observed is not None:
            table = table.add(entry.seq, entry.observed)
    reliance = scales_between(config, watch.reference, table)
    if event.name == "alarm" and not reliance:
        reliance = _diagnosed(watcher, kept, [image for image, _ in since[-DIAGNOSED:]])
    first = since[0][0]
    return replace(
        event,
        since=(first.label, first.at),
        energies=energy_changes(config, watch.reference.energies, table.energies),
        reliance=reliance,
    )


def _began_with(summary: Summary) -> int | None:
    """Number of the observation that the change began with, by the signal with the most evidence."""
    if summary.cause == "none":
        return None
    signals = [one for one in summary.signals if one.changed_at is not None]
    leading = max(signals, key=lambda one: one.log10_evidence - one.log10_threshold, default=None)
    return None if leading is None or leading.changed_at is None else leading.changed_at.seq


def _diagnosed(
    watcher: Watcher, reference: Sequence[WatchedImage], changed: Sequence[WatchedImage]
) -> tuple[ScaleStatus, ...]:
    """Importance of the scales in a few images of either, where profiles are not watched."""
    tables: list[Table] = []
    for images in (reference, changed):
        table = Table.empty(watcher.state.config)
        for seq, image in enumerate(images):
            table = table.add(seq, watcher.measure(image, profile=True))
        tables.append(table)
    return scales_between(watcher.state.config, *tables)
