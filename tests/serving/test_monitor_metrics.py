"""Metrics of monitors come from the store through one place, and say nothing while the store is silent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from tests.fakes.monitors import REFERENCE, commands, config, entries, rows
from tests.polling import DEADLINE_S
from tests.serving.monitored import CALL, MonitoredPlane

from wavescope.engine.monitors.fold import fold
from wavescope.engine.monitors.state import Command, MonitorState, initial_state
from wavescope.engine.monitors.status import Summary, summarise
from wavescope.errors import InvalidRequest, StoreUnavailable
from wavescope.serving.monitors.log import read_status
from wavescope.serving.monitors.metrics import FRESH_S, StoreSamples, store_reader
from wavescope.serving.reporting import MetricsHub
from wavescope.settings import Settings
from wavescope.store import open_store
from wavescope.store.codec import encode
from wavescope.store.monitors import MonitorRecord, NewEntry
from wavescope.telemetry.counters import Counters, Snapshot
from wavescope.telemetry.metrics import FORWARDS, MONITOR_EVENTS

UP = ("wavescope_store_up", ())


class Shelf:
    """A store of records; answers as it is asked to."""

    def __init__(self, *records: MonitorRecord) -> None:
        self.records = list(records)
        self.answer: Callable[[], object] = lambda: None
        self.asked = 0

    def list_monitors(self) -> list[MonitorRecord]:
        self.asked += 1
        self.answer()
        return self.records


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@cache
def watched(shift: float = 0.0) -> MonitorState:
    log = [*entries(rows(REFERENCE, 0)), *entries(rows(20, 1, shift=shift), first=REFERENCE + 1)]
    return fold(initial_state(config()), log)


def record(state: MonitorState, name: str = "birds") -> MonitorRecord:
    return MonitorRecord(
        name=name,
        owner="",
        created_at=0.0,
        token_digest="",
        config=encode(state.config),
        last_seq=state.folded,
        folded=state.folded,
        status=encode(summarise(state)),
        events={"accepted": state.folded},
        last_observation_at=10.0 * state.folded,
    )


def states(samples: Snapshot) -> dict[str, float]:
    return {
        dict(labels)["state"]: value
        for (name, labels), value in samples.items()
        if name == "wavescope_monitor_state"
    }


def failing() -> None:
    raise StoreUnavailable("the disk is full")


def test_the_state_is_the_one_that_callers_see() -> None:
    alarmed = record(watched(shift=1.5))
    for shown in (alarmed, replace(alarmed, paused=True)):
        samples = asyncio.run(StoreSamples(Shelf(shown)).read())
        assert [name for name, value in states(samples).items() if value == 1] == [read_status(shown).state]
        assert samples[UP] == 1


def test_many_scrapes_read_the_store_once_a_second() -> None:
    async def story() -> None:
        clock, shelf = Clock(), Shelf(record(watched()))
        reader = StoreSamples(shelf, clock=clock)
        first = await asyncio.gather(*(reader.read() for _ in range(20)))
        assert shelf.asked == 1
        assert all(samples == first[0] for samples in first)
        clock.now += FRESH_S / 2
        await reader.read()
        assert shelf.asked == 1
        clock.now += FRESH_S
        await reader.read()
        assert shelf.asked == 2

    asyncio.run(story())


@pytest.mark.parametrize("fault", [failing, lambda: 1 / 0], ids=["unavailable", "broken"])
def test_a_store_that_fails_leaves_no_sample_but_that_it_is_down(fault: Callable[[], object]) -> None:
    async def story() -> None:
        clock, shelf = Clock(), Shelf(record(watched()))
        reader = StoreSamples(shelf, clock=clock)
        assert states(await reader.read())["watching"] == 1
        shelf.answer = fault
        clock.now += FRESH_S
        assert await reader.read() == {UP: 0.0}
        shelf.answer = lambda: None
        clock.now += FRESH_S
        assert states(await reader.read())["watching"] == 1

    asyncio.run(story())


def test_a_silent_store_is_asked_once_and_not_waited_for() -> None:
    async def story() -> None:
        clock, shelf, let_go = Clock(), Shelf(record(watched())), threading.Event()
        shelf.answer = lambda: let_go.wait(DEADLINE_S)
        reader = StoreSamples(shelf, answer_s=0.01, clock=clock)
        try:
            for _ in range(5):
                clock.now += FRESH_S
                assert await reader.read() == {UP: 0.0}
            assert shelf.asked == 1
        finally:
            let_go.set()
        patient = StoreSamples(shelf, answer_s=DEADLINE_S, clock=clock)
        assert (await patient.read())[UP] == 1

    asyncio.run(story())


def test_a_status_that_cannot_be_read_hides_that_monitor_alone() -> None:
    damaged = replace(record(watched(), "cats"), status=b"nonsense")
    samples = asyncio.run(StoreSamples(Shelf(record(watched()), damaged)).read())
    named = {dict(labels).get("monitor") for _, labels in samples}
    assert named == {"birds", None}


def test_the_hub_adds_the_samples_of_the_store_once_whatever_the_number_of_processes() -> None:
    def counted() -> Snapshot:
        counters = Counters()
        counters.add(FORWARDS, 2, model="m")
        counters.add(MONITOR_EVENTS, monitor="", outcome="unmatched")
        return counters.snapshot()

    async def story() -> None:
        hub = MetricsHub(read_store=StoreSamples(Shelf(record(watched(shift=1.5)))).read)
        for process in "abc":
            await hub.push(process, counted())
        lines = (await hub.exposition("d", counted())).splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        assert values['wavescope_forwards_total{model="m"}'] == "8.0"
        assert values['wavescope_monitor_state{monitor="birds",state="alarm"}'] == "1.0"
        assert values['wavescope_monitor_events_total{monitor="",outcome="unmatched"}'] == "4.0"
        assert values['wavescope_monitor_events_total{monitor="birds",outcome="accepted"}'] == "140.0"
        assert values["wavescope_store_up"] == "1.0"

    asyncio.run(story())


def test_an_event_of_no_monitor_is_counted_without_a_name(tmp_path: Path) -> None:
    plane = MonitoredPlane(open_store("", state_dir=tmp_path, result_bytes=0))
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "here",
        "ce-type": "org.kubeflow.serving.inference.request",
        "ce-inferenceservicename": "birds",
    }
    for body in (b'{"instances": []}', b'{"instances": [1]}'):
        assert asyncio.run(plane.receive_event(None, None, headers, body, CALL)) == {"unmatched": 1}
    with pytest.raises(InvalidRequest):
        asyncio.run(plane.receive_event(None, None, {"ce-id": "1"}, b"", CALL))
    counted = {
        dict(labels)["outcome"]: value
        for (name, labels), value in plane._reporter.counters.snapshot().items()
        if name == MONITOR_EVENTS.name and ("monitor", "") in labels
    }
    assert counted == {"unmatched": 2, "invalid": 1}


def test_what_a_worker_saves_in_a_real_store_is_scraped(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    store = open_store("", state_dir=tmp_path, result_bytes=0)
    state = watched(shift=1.5)
    given = record(state)
    store.create_monitor(given, max_monitors=1)
    store.append_entries("birds", [NewEntry(kind="observation", key=str(n)) for n in range(state.folded)])
    store.append_entries("birds", [NewEntry(kind="command", key="acknowledged")])
    claimed = store.claim_monitor("worker", 60.0, wake_after_s=0.0)
    assert claimed is not None
    for seq in range(1, state.folded + 1):
        store.end_observation("birds", seq, "worker", b"measured")

    def save(of: MonitorState) -> None:
        assert store.save_checkpoint(
            "birds", "worker", folded=of.folded, state=encode(of), status=encode(summarise(of), Summary)
        )

    read = store_reader(settings)
    save(state)
    assert states(asyncio.run(read()))["alarm"] == 1
    calm = fold(state, commands([Command(do="acknowledge", alarm=1)], first=state.folded + 1))
    save(calm)
    assert states(asyncio.run(store_reader(settings)()))["watching"] == 1
