"""Monitors: from images to alarms, on a real store, whatever ends, comes twice or is not there."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest
from tests.serving.monitored import (
    CALL,
    CONFIG,
    FakeMeasurer,
    MonitoredPlane,
    drain,
    images,
    make_workers,
    measured,
    run,
    send,
    state_of,
)
from tests.store.examples import assert_same

from wavescope.engine.monitors.config import ReferencePlan, TestPlan
from wavescope.engine.monitors.fold import fold
from wavescope.engine.monitors.observation import is_profiled
from wavescope.engine.monitors.state import Command, Facts, LogEntry, MonitorState, initial_state
from wavescope.errors import (
    AlarmNotOpen,
    Forbidden,
    InvalidRequest,
    ModelUnavailable,
    MonitorConflict,
    MonitorStale,
    QueueFull,
    TooManyMonitors,
    UnknownModel,
    UnknownMonitor,
)
from wavescope.ingress.plane import CallContext, Observation
from wavescope.serving.monitors.measuring import Throttle
from wavescope.store import open_store
from wavescope.store.codec import encode
from wavescope.store.protocols import Store

REFERENCE = CONFIG.reference.size


@pytest.fixture
def store(tmp_path: Path):
    opened = open_store("", state_dir=tmp_path, result_bytes=0)
    yield opened
    opened.close()


@pytest.fixture
def plane(store: Store) -> MonitoredPlane:
    return MonitoredPlane(store)


def expected(files: list[bytes]) -> MonitorState:
    """The state after these images, folded at once by hand."""
    entries = [
        LogEntry(
            seq=seq,
            at=0.0,
            facts=Facts(),
            observed=measured(image, profile=is_profiled(CONFIG, seq, reference=seq <= REFERENCE)),
        )
        for seq, image in enumerate(files, 1)
    ]
    return timeless(fold(initial_state(CONFIG), entries))


def timeless(state: MonitorState) -> MonitorState:
    """The state without times, which are the store's."""
    watch = None if state.watch is None else replace(state.watch, began_at=0.0)
    return replace(
        state,
        since=0.0,
        arrivals=0 * state.arrivals,
        watch=watch,
        trace=replace(state.trace, at=0 * state.trace.at),
        alarms=tuple(replace(alarm, at=0.0) for alarm in state.alarms),
    )


async def watching(plane: MonitoredPlane, store: Store, config=CONFIG) -> None:
    """A monitor with its whole reference."""
    await plane.put_monitor("m", config, CALL)
    await send(plane, images(config.reference.size))
    await drain(plane, store)


def test_a_blurred_stream_raises_an_alarm_and_a_clean_one_none(plane, store) -> None:
    async def work():
        await watching(plane, store)
        await send(plane, images(60, start=500))
        await drain(plane, store)
        before = await plane.monitor("m", CALL)
        await send(plane, images(30, "blurred"))
        await drain(plane, store)
        return before, await plane.monitor("m", CALL)

    before, after = run(work())
    assert (before.state, before.summary.alarm) == ("watching", None)
    assert after.state == "alarm"
    assert after.summary.cause == "input"
    assert after.events == {"accepted": REFERENCE + 90}
    changed = next(one.changed_at for one in after.summary.signals if one.name == "input")
    assert changed is not None
    assert abs(changed.seq - (REFERENCE + 61)) <= 2


@pytest.mark.parametrize("kind", ["black", "broken"])
def test_a_camera_that_goes_black_or_sends_no_images_raises_an_alarm(plane, store, kind: str) -> None:
    async def work():
        await watching(plane, store)
        await send(plane, images(40, kind))
        await drain(plane, store)
        return await plane.monitor("m", CALL)

    status = run(work())
    assert status.state == "alarm"
    assert sum(status.summary.outcomes.values()) == REFERENCE + 40


def test_what_comes_again_changes_nothing(plane, store) -> None:
    async def work():
        await watching(plane, store)
        files = images(20, start=500)
        await send(plane, files)
        await drain(plane, store)
        before = encode(state_of(store))
        again = [await send(plane, files) for _ in range(10)]
        await drain(plane, store)
        return before, again

    before, again = run(work())
    assert {outcome for outcomes in again for outcome in outcomes} == {"duplicate"}
    assert encode(state_of(store)) == before
    assert store.get_monitor("m").events == {"accepted": REFERENCE + 20, "duplicate": 200}


@pytest.mark.parametrize("seed", [0])
def test_workers_that_end_anywhere_leave_the_bits_of_an_undisturbed_run(plane, store, seed: int) -> None:
    """Fifty times a worker is cancelled at a random point; two work at once; a tenth comes twice."""
    rng = random.Random(seed)
    files = images(REFERENCE) + images(60, start=500) + images(30, "blurred")

    async def pause() -> None:
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)

    async def work() -> None:
        await plane.put_monitor("m", CONFIG, CALL)
        await send(
            plane, [file for image in files for file in ([image, image] if rng.random() < 0.1 else [image])]
        )
        for _ in range(50):
            workers = [make_workers(store, FakeMeasurer(pause=pause), plane.settings) for _ in range(2)]
            tasks = [asyncio.create_task(one.work_once(f"{id(one)}")) for one in workers]
            await asyncio.sleep(rng.random() * 0.02)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await drain(plane, store)

    run(work())
    assert_same(timeless(state_of(store)), expected(files))


def test_a_lease_that_ended_writes_nothing(plane, store) -> None:
    async def work():
        await plane.put_monitor("m", CONFIG, CALL)
        await send(plane, images(1))

    run(work())
    assert store.claim_monitor("old", -1.0, wake_after_s=5) is not None
    assert store.claim_monitor("new", 60.0, wake_after_s=5) is not None
    assert not store.end_observation("m", 1, "old", b"old")
    assert not store.save_checkpoint("m", "old", folded=1, state=b"old", status=b"old")
    assert store.end_observation("m", 1, "new", b"new")
    assert store.read_entries("m", after=0, limit=1)[0].result == b"new"


def test_the_whole_reference_has_profiles_and_the_stream_a_share(plane, store) -> None:
    measurer = FakeMeasurer()

    async def work():
        await plane.put_monitor("m", CONFIG, CALL)
        await send(plane, images(REFERENCE) + images(200, start=500))
        await drain(plane, store, measurer)

    run(work())
    profiled = dict(measurer.profiles)
    assert all(profiled[image] for image in images(REFERENCE))
    assert 70 < sum(profiled[image] for image in images(200, start=500)) < 130


def test_a_model_that_is_away_loses_nothing(plane, store) -> None:
    measurer = FakeMeasurer(error=ModelUnavailable("no replica answers"))

    async def work():
        await plane.put_monitor("m", CONFIG, CALL)
        await send(plane, images(3))
        workers = make_workers(store, measurer, plane.settings)
        await workers.work_once("one")
        kept = await plane.monitor("m", CALL)
        measurer.error = None
        await drain(plane, store, measurer)
        return kept, await plane.monitor("m", CALL)

    kept, after = run(work())
    assert (kept.pending, sum(kept.summary.outcomes.values())) == (3, 0)
    assert (after.pending, after.summary.outcomes["observed"]) == (0, 3)


def test_an_observation_that_waited_too_long_expires_and_bets_nothing(plane, store) -> None:
    late = FakeMeasurer(error=ModelUnavailable("no replica answers"))

    async def work():
        await watching(plane, store)
        before = state_of(store)
        await send(plane, images(5, start=900))
        clock_s = store.get_monitor("m").last_observation_at + plane.settings.monitor_expiry_s + 1
        workers = make_workers(store, late, plane.settings, clock=lambda: clock_s)
        await workers.work_once("one")
        return before

    before = run(work())
    after = state_of(store)
    assert after.outcomes["expired"] == 5
    assert encode(after.watch) == encode(before.watch)


def test_another_model_makes_it_stale_and_says_so(plane, store) -> None:
    async def work():
        await watching(plane, store)
        await send(plane, images(1, start=700))
        await drain(plane, store, FakeMeasurer(revision="another"))
        status = await plane.monitor("m", CALL)
        with pytest.raises(MonitorStale, match="rebaseline"):
            await send(plane, images(1, start=701))
        return status

    assert run(work()).state == "stale"


def test_a_new_reference_ends_what_was_stale(plane, store) -> None:
    other = FakeMeasurer(revision="another")

    async def work():
        await watching(plane, store)
        await send(plane, images(1, start=700))
        await drain(plane, store, other)
        await plane._append("m", Command(do="rebaseline", source="stream"))
        await drain(plane, store, other)
        collecting = await plane.monitor("m", CALL)
        await send(plane, images(REFERENCE, start=1000))
        await drain(plane, store, other)
        return collecting, await plane.monitor("m", CALL)

    collecting, watching_ = run(work())
    assert (collecting.state, collecting.summary.reference.n) == ("collecting", 0)
    assert watching_.state == "watching"


def test_an_acknowledged_alarm_begins_the_evidence_anew(plane, store) -> None:
    async def work():
        await watching(plane, store)
        await send(plane, images(30, "blurred"))
        await drain(plane, store)
        with pytest.raises(AlarmNotOpen, match="alarm 1 is"):
            await plane.command_monitor("m", Command(do="acknowledge", alarm=2, judgement="harmful"), CALL)
        workers = make_workers(store, FakeMeasurer(), plane.settings)
        workers.start_once()
        status = await plane.command_monitor(
            "m", Command(do="acknowledge", alarm=1, judgement="harmful"), CALL
        )
        await workers.stop()
        return status

    status = run(work())
    assert status.state == "watching"
    assert [alarm.judgement for alarm in status.summary.alarms] == ["harmful"]
    assert all(one.log10_evidence == float("-inf") for one in status.summary.signals)


def test_a_full_queue_is_busy_and_nothing_is_lost_of_what_was_accepted(store) -> None:
    plane = MonitoredPlane(store, monitor_max_pending=5)

    async def work():
        await plane.put_monitor("m", CONFIG, CALL)
        files = [Observation(image=image) for image in images(8)]
        first = await plane.observe("m", files, CALL)
        with pytest.raises(QueueFull, match="5 observations") as full:
            await plane.observe("m", files[:1], CALL)
        await drain(plane, store)
        return first, full.value

    first, full = run(work())
    assert first == ("accepted",) * 5 + ("busy",) * 3
    assert full.limits["monitor_max_pending"] == 5
    record = store.get_monitor("m")
    assert sum(record.events.values()) == 9
    assert state_of(store).outcomes["observed"] == record.events["accepted"]


def test_images_are_deleted_once_measured_unless_they_are_kept(plane, store) -> None:
    async def work():
        await watching(plane, store, replace(CONFIG, keep_images=2))
        await send(plane, images(20, "blurred"))
        await drain(plane, store)

    run(work())
    state = state_of(store)
    kept = {seq for seq in range(1, REFERENCE + 21) if store.get_payload("m", seq) is not None}
    assert kept == {one.seq for one in state.shifted[:2]} | set(range(1, 21))


def test_an_alarm_with_kept_images_is_looked_into_once(plane, store) -> None:
    async def work():
        await watching(plane, store, replace(CONFIG, keep_images=2))
        await send(plane, images(20, "blurred"))
        await drain(plane, store)
        workers = make_workers(store, FakeMeasurer(), plane.settings)
        for _ in range(3):
            await workers.work_once("again")
        return await plane.diagnosis("m", 1, CALL)

    found = run(work())
    assert [job["kind"] for job in found.jobs] == ["compare", "sufficient-image"] * 2
    assert store.count_unfinished() == 4
    assert all(store.get(job["id"]).labels["monitor"] == "m" for job in found.jobs)


def test_without_kept_images_the_diagnosis_says_why_there_is_none(plane, store) -> None:
    async def work():
        await watching(plane, store)
        await send(plane, images(20, "blurred"))
        await drain(plane, store)
        with pytest.raises(AlarmNotOpen, match="1 alarms"):
            await plane.diagnosis("m", 2, CALL)
        return await plane.diagnosis("m", 1, CALL)

    assert "keep_images" in run(work()).reason


def test_the_test_can_be_changed_and_the_reference_cannot(plane, store) -> None:
    async def work():
        await watching(plane, store)
        _, new = await plane.put_monitor("m", replace(CONFIG, test=TestPlan(mean_observations=1e4)), CALL)
        await drain(plane, store)
        with pytest.raises(MonitorConflict) as conflict:
            await plane.put_monitor(
                "m", replace(CONFIG, reference=ReferencePlan(fit=40, calibrate=100)), CALL
            )
        return new, conflict.value, await plane.monitor("m", CALL)

    new, conflict, status = run(work())
    assert (new, conflict.field) == (False, "reference")
    assert status.summary.guarantee.mean_observations == 1e4
    assert status.state == "watching"


def test_a_paused_monitor_takes_nothing_and_says_so(plane, store) -> None:
    async def work():
        await watching(plane, store)
        workers = make_workers(store, FakeMeasurer(), plane.settings)
        workers.start_once()
        paused = await plane.command_monitor("m", Command(do="pause"), CALL)
        refused = await send(plane, images(2, start=900))
        resumed = await plane.command_monitor("m", Command(do="resume"), CALL)
        taken = await send(plane, images(2, start=900))
        await workers.stop()
        return paused.state, refused, resumed.state, taken

    assert run(work()) == ("paused", ("paused",) * 2, "watching", ("accepted",) * 2)


def test_monitors_of_others_are_unknown_and_their_names_taken(plane, store) -> None:
    other = CallContext("request", caller="other")

    async def work():
        await plane.put_monitor("m", CONFIG, CALL)
        with pytest.raises(UnknownMonitor):
            await plane.monitor("m", other)
        with pytest.raises(MonitorConflict, match="taken"):
            await plane.put_monitor("m", CONFIG, other)
        with pytest.raises(UnknownMonitor):
            await plane.delete_monitor("m", other)
        return await plane.monitors(other), await plane.monitors(CALL)

    theirs, mine = run(work())
    assert (theirs, [status.name for status in mine]) == ((), ["m"])


def test_what_cannot_be_is_refused_when_it_is_made(store) -> None:
    plane = MonitoredPlane(store, max_monitors=1)

    async def work():
        with pytest.raises(InvalidRequest, match="a-z"):
            await plane.put_monitor("Birds!", CONFIG, CALL)
        with pytest.raises(UnknownModel):
            await plane.put_monitor("m", replace(CONFIG, model="none"), CALL)
        with pytest.raises(InvalidRequest) as small:
            await plane.put_monitor("m", replace(CONFIG, reference=ReferencePlan(fit=10)), CALL)
        assert small.value.field == "reference.fit"
        await plane.put_monitor("m", CONFIG, CALL)
        with pytest.raises(TooManyMonitors, match="max_monitors"):
            await plane.put_monitor("n", CONFIG, CALL)

    run(work())


def test_a_token_lets_events_in_and_a_former_one_does_not(plane, store) -> None:
    headers = {
        "Ce-Specversion": "1.0",
        "Ce-Id": "1",
        "Ce-Source": "s",
        "Ce-Type": "org.kubeflow.serving.inference.request",
    }
    stranger = CallContext("request", caller="")
    body = b'{"instances": [{"b64": "aW1hZ2U="}]}'

    async def work():
        owner = CallContext("request", caller="owner")
        made, _ = await plane.put_monitor("m", CONFIG, owner)
        first = await plane.receive_event("m", made.token, headers, body, stranger)
        again = await plane.receive_event("m", made.token, headers, body, stranger)
        renewed = await plane.renew_token("m", owner)
        with pytest.raises(Forbidden, match="renew-token"):
            await plane.receive_event("m", made.token, headers, body, stranger)
        with pytest.raises(UnknownMonitor):
            await plane.receive_event("m", None, headers, body, stranger)
        assert renewed.token != made.token
        return first, again

    assert run(work()) == ({"accepted": 1}, {"duplicate": 1})
    assert store.get_payload("m", 1) == b"image"


def test_a_share_of_the_model_is_kept_over_time() -> None:
    now = [100.0]
    throttle = Throttle(clock=lambda: now[0])
    busy_s = 0.0
    for _ in range(200):
        now[0] += throttle.left_s("m")
        assert throttle.left_s("m") == 0
        now[0] += 0.5  # fifty forwards of 10 ms
        busy_s += 0.5
        throttle.spend("m", 50, 0.01, 0.2)
    assert busy_s / (now[0] - 100.0) == pytest.approx(0.2, rel=0.02)
