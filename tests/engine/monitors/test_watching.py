"""Watching images in this process, on a classifier of a few lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.fakes.classifiers import FunctionClassifier, details, picture

from wavescope.engine.local import Preprocessed
from wavescope.engine.monitors.fold import fold
from wavescope.engine.monitors.observation import is_profiled
from wavescope.engine.monitors.state import Facts, LogEntry, initial_state
from wavescope.engine.monitors.status import summarise
from wavescope.engine.monitors.watch_plan import (
    PROFILE_RATE,
    WatchPlan,
    configure,
    least_reference,
    make_plan,
    split_reference,
)
from wavescope.engine.monitors.watching import WatchedImage, Watcher, WatchEvent, watch
from wavescope.engine.types import Picture
from wavescope.errors import InvalidRequest, NotAnImage
from wavescope.store.codec import encode

SHAPE = (1, 16, 16)
WEIGHTS = np.random.default_rng(0).normal(size=(2, *SHAPE)) * 0.2
CLASSIFIER = FunctionClassifier(
    lambda image: np.array([np.sum(WEIGHTS[0] * image), np.sum(WEIGHTS[1] * image**2)]), details(SHAPE)
)
FAST = WatchPlan(profile_rate=0.0)


def images(n: int, seed: int, *, detail: float = 1.0, name: str = "image") -> list[WatchedImage]:
    """Noise about a slope, with less detail where it is asked for."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0.3, 0.7, 16)[None, :, None]
    found: list[WatchedImage] = []
    for place in range(n):
        noise = rng.normal(size=SHAPE) * 0.05 * detail * np.exp(rng.normal() * 0.2)
        source = Preprocessed(picture(np.clip(slope + noise, 0, 1)))
        found.append(WatchedImage(f"{name}-{place}", 1e9 + place, source))
    return found


class Unreadable(Preprocessed):
    """A file that is no image."""

    def __init__(self) -> None:
        super().__init__(picture(np.zeros(SHAPE)))

    def picture(self, zoom: int) -> Picture:
        raise NotAnImage("it is no image", field="image")


def run(
    stream: Sequence[WatchedImage], reference: Any, plan: WatchPlan = FAST, **given: Any
) -> list[WatchEvent]:
    return list(watch(CLASSIFIER, stream, reference, plan, max_forwards=1000, **given))


def test_nothing_is_said_of_images_like_those_of_the_reference() -> None:
    reading, watching, end = run(images(60, 1), images(150, 0))
    assert (reading.name, watching.name, end.name) == ("reading", "watching", "end")
    assert (end.summary.state, end.summary.cause, end.since, end.energies) == ("watching", "none", None, ())
    assert watching.summary.reference.n == reading.found == 150
    assert watching.summary.config.reference == split_reference(watching.summary.config, 150)
    assert (end.label, end.at) == ("image-59", 1e9 + 59)
    assert end.summary.forwards == 210


def test_a_loss_of_detail_is_an_alarm_with_its_moment_its_scale_and_its_importance() -> None:
    stream = [*images(20, 1), *images(40, 2, detail=0.3, name="blurred")]
    events = run(stream, images(150, 0))
    alarm = next(event for event in events if event.name == "alarm")
    assert alarm.label.startswith("blurred")
    changed_at = alarm.summary.signals[0].changed_at
    assert changed_at is not None
    assert changed_at.interval[0] <= 150 + 20 + 1 <= changed_at.interval[1]
    assert alarm.since == (stream[changed_at.seq - 151].label, stream[changed_at.seq - 151].at)
    fine = alarm.energies[-1]
    assert fine.scale == "1-2px"
    assert fine.changed
    assert fine.interval_95[0] < fine.ratio < fine.interval_95[1] < 0.7
    assert abs(alarm.energies[0].shift) < abs(fine.shift)
    assert [one.profiles for one in alarm.reliance] == [min(alarm.energies[0].images, 8)] * 4
    assert alarm.summary.verdict.startswith("The images changed")
    assert events[-1].name == "end"
    assert events[-1].summary.alarm_count == 1
    assert sum(one.label.startswith("blurred") for one in events[-1].shifted) >= 6


def test_files_that_cannot_be_decoded_raise_an_alarm() -> None:
    broken = [WatchedImage(f"broken-{place}", 0.0, Unreadable()) for place in range(30)]
    events = run([*images(10, 1), *broken], images(150, 0))
    alarm = next(event for event in events if event.name == "alarm")
    assert alarm.label.startswith("broken")
    assert events[-1].summary.outcomes["undecodable"] == 30


def test_the_state_is_that_of_the_fold_over_the_same_measurements() -> None:
    reference, stream = images(130, 0), images(10, 1)
    plan = WatchPlan(profile_rate=0.0, seed=3)
    of = configure(CLASSIFIER.details.name, plan, 130, given=True)
    watcher = Watcher(CLASSIFIER, initial_state(of), 1000)
    order = np.random.default_rng(3).permutation(130)
    log = [
        LogEntry(
            seq=seq,
            at=image.at,
            facts=Facts(reference=seq <= 130, label=image.label),
            observed=watcher.measure(image, profile=False),
        )
        for seq, image in enumerate([*(reference[place] for place in order), *stream], start=1)
    ]
    expected = summarise(fold(initial_state(of), log))
    (*_, end) = run(stream, reference, plan)
    assert encode(end.summary.signals, tuple[type(expected.signals[0]), ...]) == encode(
        expected.signals, tuple[type(expected.signals[0]), ...]
    )
    assert end.summary.outcomes == expected.outcomes


def test_a_reference_in_order_of_brightness_is_no_matter_since_it_is_read_in_another_order() -> None:
    by_detail = [images(1, seed, detail=0.5 + seed / 100)[0] for seed in range(150)]
    names = [event.name for event in run(images(5, 1), by_detail)]
    assert names == ["reading", "watching", "end"]
    assert [event.name for event in run([*by_detail, *images(5, 1)], 150)] == ["reading", "rejected"]


def test_the_first_images_are_the_reference_where_none_is_given_and_more_are_not_asked_for() -> None:
    stream = [*images(150, 0), *images(40, 1, detail=0.3, name="blurred")]
    events = run(stream, 130)
    assert [event.name for event in events][:2] == ["reading", "watching"]
    assert events[1].label == "image-129"
    assert any(event.name == "alarm" and event.label.startswith("blurred") for event in events)
    assert [event.name for event in run(images(20, 0), 130)] == ["reading", "end"]
    assert run(images(2, 0), 130, WatchPlan())[-1].summary.reference.n == 2


def test_images_are_asked_for_one_by_one() -> None:
    asked: list[int] = []

    def endless() -> Iterator[WatchedImage]:
        for place, image in enumerate(images(500, 0)):
            asked.append(place)
            yield image

    events = watch(CLASSIFIER, endless(), 130, FAST, max_forwards=1000)
    assert next(events).name == "reading"
    assert next(events).name == "watching"
    assert len(asked) == 130


@pytest.mark.parametrize(("slow_s", "profiled"), [(0.01, True), (1.0, False)])
def test_profiles_are_made_where_those_of_the_reference_take_no_longer_than_they_may(
    slow_s: float, profiled: bool
) -> None:
    class Clock:
        """A time that passes with every batch."""

        def __call__(self) -> float:
            return len(CLASSIFIER.batches) * slow_s

    first = next(watch(CLASSIFIER, [], images(130, 0), WatchPlan(), max_forwards=1000, clock=Clock()))
    assert first.profiles_s is not None
    assert (first.profiles_s <= 30) == profiled
    assert first.summary.config.sample.profile_rate == (PROFILE_RATE if profiled else 0.0)


def test_a_rate_that_is_given_is_kept_however_long_it_takes() -> None:
    plan = WatchPlan(profile_rate=1.0, reference_s=1e-9)
    reading = next(watch(CLASSIFIER, [], images(130, 0), plan, max_forwards=1000))
    assert (reading.profiles_s, reading.summary.config.sample.profile_rate) == (None, 1.0)


def test_all_of_the_reference_is_profiled_and_of_the_stream_those_that_are_drawn() -> None:
    of = configure("m", WatchPlan(profile_rate=0.5), 130, given=True)
    watcher = Watcher(CLASSIFIER, initial_state(of), 1000)
    for place, image in enumerate(images(20, 0)):
        watcher.observe(image, reference=place < 3)
    assert watcher.state.gathered.profiled.tolist() == [1] * 3
    measured = [entry for _, entry in watcher.images]
    assert [entry.observed is not None and entry.observed.profiled for entry in measured] == [
        is_profiled(of, seq, reference=False) for seq in range(4, 21)
    ]


def test_the_reference_is_split_by_what_there_is() -> None:
    of = configure("m", FAST, 300, given=True)
    assert least_reference(of) == 130
    sizes = {size: split_reference(of, size) for size in (130, 150, 300, 1000)}
    assert {size: (plan.fit, plan.calibrate) for size, plan in sizes.items()} == {
        130: (30, 100),
        150: (50, 100),
        300: (100, 200),
        1000: (333, 667),
    }
    assert {plan.source for plan in sizes.values()} == {"given"}


@pytest.mark.parametrize(
    ("given", "field", "match"),
    [
        ({"mean_observations": 0}, "mean_observations", "mean_observations is 0; it must be at least 1"),
        ({"profile_rate": 1.5}, "profile_rate", "profile_rate is 1.5; it must be at least 0 and at most 1"),
        ({"reference_s": 0}, "reference_s", "must be above 0"),
        ({"max_reference": 0}, "max_reference", "must be at least 1"),
        (
            {"max_reference": 129},
            "reference",
            "129 images for the reference; it must have at least 130, 30 that say",
        ),
        ({"seed": -1}, "seed", "seed"),
        ({"seed": "x"}, "seed", "must be an integer"),
        ({"rate": 1}, "rate", "unknown field 'rate'; known: mean_observations, profile_rate"),
    ],
)
def test_parameters_that_cannot_be_are_refused_by_their_names(
    given: dict[str, Any], field: str, match: str
) -> None:
    with pytest.raises(InvalidRequest, match=match) as refused:
        run([], images(130, 0), replace(make_plan({"profile_rate": 0.0} | given)))
    assert refused.value.field == field


@pytest.mark.parametrize("size", [0, 1, 129])
def test_too_few_images_of_a_reference_are_refused_with_the_numbers(size: int) -> None:
    with pytest.raises(InvalidRequest, match=f"there are {size} images for the reference.*give more images"):
        run([], images(size, 0))
