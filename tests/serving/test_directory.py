"""The models as they are now, from a registry file that changes and a controller that answers, or does not."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError
from ray.serve.exceptions import DeploymentUnavailableError
from tests.fakes.handles import NEVER, Answers, FakeHandle
from tests.polling import DEADLINE_S, until

from wavescope.engine.types import ModelDetails, Preprocessing
from wavescope.errors import ModelUnavailable, UnknownModel
from wavescope.serving.models.capacity import Node, Room
from wavescope.serving.models.directory import LOOKS, PROBE_S, STATUS_S, ModelDirectory
from wavescope.serving.models.placement import NOTICE_S
from wavescope.serving.models.registry_file import RegistryFile
from wavescope.serving.models.status import Deployed, reason
from wavescope.serving.plane import RayDataPlane
from wavescope.settings import Settings, load_registry

POLL_S = 0.01
SHORT_S = 0.5  # for a replica that does not answer; a busy machine asks it within this
READY = Deployed("steady", running=1, starting=0, deployed_at=1.0)
LOADING = Deployed("changing", running=0, starting=1, deployed_at=1.0)
ASLEEP = Deployed("steady", running=0, starting=0, deployed_at=1.0)
CORES = {"CPU": 2.0}
EMPTY = Room((Node(CORES, CORES),))
FULL = Room((Node(CORES, {}),))
QUEUED = Room((Node(CORES, {}),), demands=(CORES,), waiting=frozenset({"model-one"}))


def registry(*names: str, **fields: Any) -> str:
    more = "".join(f", {name}: {value}" for name, value in fields.items())
    entries = [f"  - {{name: {name}, source: 'embedded:efficientnet-lite0'{more}}}" for name in names]
    return "\n".join(["models:", *entries])


def told(revision: str = "a") -> ModelDetails:
    return ModelDetails(
        "one", Preprocessing(), "logits", ("cat", "dog"), "cpu", "float32", "none", 4, revision
    )


class World:
    """A directory, and everything around it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "models.yaml"
        self.file.write_text(registry("one", "two"))
        self.now = 0.0
        self.replica = Answers(told())
        self.handle = FakeHandle(self.replica)
        self.status: dict[str, Deployed] | Exception = {"model-one": READY}
        self.asked = 0
        self.room = EMPTY
        self.rooms_asked = 0
        self.directory = self.make()

    def make(self, *, looks: int = LOOKS, probe_s: float = PROBE_S, **settings: Any) -> ModelDirectory:
        """Another process' view of the same."""
        return ModelDirectory(
            Settings(models_poll_s=POLL_S, **settings),
            RegistryFile(self.file, load_registry(self.file)),
            clock=lambda: self.now,
            status=self._status,
            room=self._room,
            connect=lambda application: self.handle,  # type: ignore[arg-type,return-value]
            looks=looks,
            probe_s=probe_s,
        )

    def _room(self) -> Room:
        self.rooms_asked += 1
        return self.room

    def _status(self) -> dict[str, Deployed]:
        self.asked += 1
        if isinstance(self.status, Exception):
            raise self.status
        return self.status

    def write(self, text: str) -> None:
        """Changes the file, and lets time pass for it to be looked at."""
        self.file.write_text(text)
        self.now += POLL_S

    def tell(self, status: dict[str, Deployed] | Exception) -> None:
        """Changes what the controller says, and lets time pass for it to be asked."""
        self.status = status
        self.now += STATUS_S


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def state(world: World, name: str = "one") -> dict[str, Any]:
    return asyncio.run(world.directory.describe(name))[0]


def test_models_are_those_of_the_file_as_it_is_now(world: World) -> None:
    assert world.directory.names() == ("one", "two")
    world.write(registry("two", "three"))
    assert world.directory.names() == ("two", "three")
    with pytest.raises(UnknownModel, match="'one' is not registered; registered: three, two"):
        world.directory.spec("one")


def test_a_broken_file_changes_nothing_and_is_told_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for text in ("models: [", "models:\n  - {name: one}", ""):
        caplog.clear()
        world.write(text)
        for _ in range(3):
            assert world.directory.names() == ("one", "two")
            world.now += POLL_S
        assert len(caplog.records) == 1
        assert "models.yaml" in caplog.records[0].reason or "source" in caplog.records[0].reason
    world.file.unlink()
    world.now += POLL_S
    assert world.directory.names() == ("one", "two")


def test_a_file_that_was_only_touched_is_not_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.directory.names()
    monkeypatch.setattr("wavescope.serving.models.registry_file.load_registry", None)
    world.write(world.file.read_text())
    assert world.directory.names() == ("one", "two")


@pytest.mark.parametrize("reason", [None, "the operator Sin has no rule"])
def test_a_model_is_described_with_why_it_has_no_gradients(world: World, reason: str | None) -> None:
    world.replica = Answers(replace(told(), no_gradients=reason))
    world.handle = FakeHandle(world.replica)
    plane: Any = SimpleNamespace(_directory=world.directory)
    found = asyncio.run(RayDataPlane.model(plane, "one"))
    assert (found["gradients"], found["no_gradients"]) == (reason is None, reason)


def test_details_are_asked_for_once(world: World) -> None:
    async def twice() -> None:
        assert await world.directory.details("one") == await world.directory.details("one") == told()

    asyncio.run(twice())
    assert world.handle.methods == ["details"]


@pytest.mark.parametrize("change", ["spec", "deployed", "another replica", "forgotten"])
def test_details_are_asked_for_again_when_the_model_changed(world: World, change: str) -> None:
    async def before_and_after() -> ModelDetails:
        await world.directory.details("one")
        world.replica.set(told("b"))
        if change == "spec":
            world.write(registry("one", "two", batch_size=3))
        elif change == "deployed":
            world.tell({"model-one": replace(READY, deployed_at=2.0)})
            await world.directory.describe("one")
        elif change == "another replica":  # which has read the file anew
            world.tell({"model-one": replace(READY, replicas=frozenset("b"))})
            await world.directory.describe("one")
        else:
            world.directory.forget("one")
        return await world.directory.details("one")

    assert asyncio.run(before_and_after()).revision == "b"


def test_details_of_a_replica_that_is_to_be_replaced_are_not_kept(world: World) -> None:
    async def during_and_after() -> ModelDetails:
        world.status = {"model-one": replace(READY, phase="changing")}
        assert (await world.directory.details("one")).revision == "a"
        world.replica.set(told("b"))
        return await world.directory.details("one")

    assert asyncio.run(during_and_after()).revision == "b"


def test_details_outlast_replicas_that_leave(world: World) -> None:
    """Those that are scaled down, and the last one of a model that falls asleep."""
    world.status = {"model-one": replace(READY, running=2, replicas=frozenset("ab"))}

    async def fewer_and_fewer() -> list[ModelDetails]:
        found = [await world.directory.details("one")]
        for replicas in ("a", ""):
            world.tell({"model-one": replace(READY, running=len(replicas), replicas=frozenset(replicas))})
            await world.directory._wait_refreshed()
            found.append(await world.directory.details("one"))
        return found

    assert asyncio.run(fewer_and_fewer()) == [told()] * 3
    assert world.handle.methods == ["details"]


def test_known_details_need_no_controller(world: World) -> None:
    async def away() -> ModelDetails:
        await world.directory.details("one")
        world.tell(RayActorError())
        return await world.directory.details("one")

    assert asyncio.run(away()) == told()


def test_while_the_controller_is_away_its_last_word_stays(world: World) -> None:
    assert state(world)["state"] == "ready"
    world.tell(RayActorError())
    assert state(world)["state"] == "ready"


def test_the_controller_is_asked_once_a_second(world: World) -> None:
    async def often() -> None:
        await asyncio.gather(*(world.directory.describe("one") for _ in range(20)))
        await world.directory.describe("one")

    asyncio.run(often())
    assert world.asked == 1


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (READY, "ready"),
        (None, "loading"),
        (Deployed("changing", 0, 1, 1.0), "loading"),
        (Deployed("changing", 1, 1, 1.0), "updating"),
        (Deployed("steady", 0, 1, 1.0), "loading"),
        (Deployed("steady", 0, 0, 1.0), "scaled_to_zero"),
        (Deployed("failed", 0, 0, 1.0, "no weights"), "failed"),
        (Deployed("failed", 1, 0, 1.0, "no weights"), "ready"),  # the update failed; what was there answers
        (Deployed("leaving", 1, 0, 1.0), "removed"),
        (Deployed("steady", 0, 1, 1.0, "no weights", failures=2, retry_in_s=5.0), "failed"),
    ],
)
def test_state(world: World, found: Deployed | None, expected: str) -> None:
    world.write(registry("one", "two", min_replicas=0, max_replicas=3))
    world.status = {"model-one": found} if found else {}
    told = state(world)
    assert told["state"] == expected
    assert told["replicas"] == {"running": found.running if found else 0, "min": 0, "max": 3}
    assert ("no weights" in told.get("message", "")) == (found is not None and bool(found.message))


@pytest.mark.parametrize(
    ("found", "expected"), [(READY, "ready"), (ASLEEP, "scaled_to_zero")], ids=["awake", "asleep"]
)
def test_a_model_that_goes_on_though_its_files_changed_says_why(
    world: World, found: Deployed, expected: str
) -> None:
    world.write(registry("one", "two", min_replicas=0))
    world.status = {"model-one": replace(found, notice="'small.onnx' is not there")}
    told = state(world)
    assert (told["state"], told["message"]) == (expected, "'small.onnx' is not there")


def test_a_model_that_does_not_answer_elsewhere_is_loading_and_says_why(world: World) -> None:
    world.replica.set(ModelUnavailable("model 'one' cannot score yet: connection refused"))
    assert state(world) == {
        "state": "loading",
        "replicas": {"running": 1, "min": 1, "max": 1},
        "message": "model 'one' cannot score yet: connection refused",
    }
    world.replica.set(told())
    assert state(world)["state"] == "ready"


def test_state_and_details_take_one_question_to_a_replica(world: World) -> None:
    assert asyncio.run(world.directory.describe("one")) == (
        {"state": "ready", "replicas": {"running": 1, "min": 1, "max": 1}},
        told(),
    )
    assert world.handle.methods == ["details"]


def test_a_replica_that_says_nothing_is_waited_for_once(world: World) -> None:
    world.replica.set(NEVER)
    state, details = asyncio.run(world.make(probe_s=SHORT_S).describe("one"))
    assert (state["state"], details) == ("loading", None)
    assert (len(world.handle.calls), world.handle.cancelled) == (1, 1)


def test_details_of_a_model_as_it_was_are_not_told_of_it_as_it_is(world: World) -> None:
    async def updated() -> tuple[dict[str, Any], ModelDetails | None]:
        await world.directory.details("one")
        world.replica.set(RayActorError())
        world.tell({"model-one": replace(READY, phase="changing", deployed_at=2.0)})
        return await world.directory.describe("one")

    state, details = asyncio.run(updated())
    assert (state["state"], details) == ("updating", None)


def test_telling_of_a_model_that_is_scaled_to_zero_does_not_wake_it(world: World) -> None:
    async def ask() -> tuple[ModelDetails | None, ModelDetails | None]:
        world.status = {"model-one": Deployed("steady", 0, 0, 1.0)}
        await world.directory.describe("one")
        _, unknown = await world.directory.describe("one")
        assert not world.handle.calls
        world.tell({"model-one": READY})
        await world.directory.details("one")
        world.tell({"model-one": Deployed("steady", 0, 0, 1.0)})
        return unknown, (await world.directory.describe("one"))[1]

    assert asyncio.run(ask()) == (None, told())
    assert world.handle.methods == ["details"]


def test_what_failed_is_told_without_paths_of_the_server(world: World) -> None:
    why = "model 'one': weights: there is no file '/srv/secret/one.safetensors'"
    world.status = {"model-one": Deployed("failed", 0, 0, 1.0, why)}
    assert state(world)["message"] == "model 'one': weights: there is no file '…'"
    with pytest.raises(ModelUnavailable, match="cannot score: model 'one': weights"):
        asyncio.run(world.directory.details("one"))
    assert not world.handle.calls


def test_a_model_that_fails_again_and_again_is_refused_at_once_and_says_when_it_is_tried(
    world: World,
) -> None:
    world.status = {"model-one": Deployed("steady", 0, 1, 1.0, "it died", failures=3, retry_in_s=10.0)}
    with pytest.raises(
        ModelUnavailable, match="cannot score: it died; 3 times in a row; tried again in 10 s"
    ):
        asyncio.run(world.directory.details("one"))
    assert not world.handle.calls
    world.tell({"model-one": READY})
    assert asyncio.run(world.directory.details("one")) == told()
    world.tell({"model-one": Deployed("steady", 0, 1, 1.0, "it died", failures=2, retry_in_s=0.0)})
    state(world)
    with pytest.raises(ModelUnavailable, match="tried again now"):
        asyncio.run(world.directory.details("one"))


def test_one_failure_is_waited_out(world: World) -> None:
    world.status = {"model-one": Deployed("steady", 0, 1, 1.0, "it died", failures=1, retry_in_s=0.0)}
    assert asyncio.run(world.directory.details("one")) == told()


def test_a_model_that_is_not_deployed_is_unavailable(world: World) -> None:
    directory = world.make(looks=2)
    with pytest.raises(ModelUnavailable, match="'two' is not deployed yet"):
        asyncio.run(directory.details("two"))
    world.replica.set(DeploymentUnavailableError(None))  # type: ignore[arg-type]
    with pytest.raises(ModelUnavailable, match="'one'"):
        asyncio.run(directory.details("one"))


@pytest.mark.parametrize("before", [{}, {"model-one": replace(READY, phase="leaving", running=0)}])
def test_a_model_that_is_being_deployed_is_waited_for(world: World, before: dict[str, Deployed]) -> None:
    async def deployed_later() -> ModelDetails:
        world.status = before
        asking = asyncio.create_task(world.directory.details("one"))
        await until(lambda: world.asked > 0)
        while not asking.done():
            world.tell({"model-one": READY})
            await asyncio.sleep(POLL_S)
        return await asking

    assert asyncio.run(deployed_later()) == told()


@pytest.mark.parametrize("removed", ["from the registry", "from the cluster"])
def test_what_waits_for_a_removed_model_ends(world: World, removed: str) -> None:
    async def wait() -> None:
        async with world.directory.guard("one"):
            if removed == "from the registry":
                world.write(registry("two"))
            else:
                world.tell({"model-one": Deployed("leaving", 0, 0, 1.0)})
            await asyncio.Event().wait()

    with pytest.raises(UnknownModel if removed == "from the registry" else ModelUnavailable, match="'one'"):
        asyncio.run(asyncio.wait_for(wait(), DEADLINE_S))


def test_a_call_to_a_removed_model_is_cancelled(world: World) -> None:
    async def wait() -> None:
        world.replica.set(NEVER)
        asking = asyncio.create_task(world.directory.details("one"))
        await world.handle.until_called()
        world.write(registry("two"))
        await asking

    with pytest.raises(UnknownModel, match="'one'"):
        asyncio.run(asyncio.wait_for(wait(), DEADLINE_S))
    assert world.handle.cancelled == 1


def test_a_caller_that_leaves_is_not_told_of_the_model(world: World) -> None:
    async def leave() -> None:
        async def work() -> None:
            async with world.directory.guard("one"):
                await asyncio.Event().wait()

        working = asyncio.create_task(work())
        await asyncio.sleep(0)
        working.cancel()
        await working

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(leave())


async def tried(world: World, directory: ModelDirectory | None = None) -> str:
    """What somebody who asks for the model is told; time passes while they wait."""

    async def ask() -> ModelDetails:
        return await (directory or world.directory).details("one")

    asking = asyncio.create_task(ask())
    while not asking.done():
        world.now += NOTICE_S
        await asyncio.sleep(POLL_S)
    with pytest.raises(ModelUnavailable) as refused:
        await asking
    return refused.value.message


@pytest.mark.parametrize("found", [None, LOADING, ASLEEP])
def test_a_model_that_fits_no_node_is_refused_at_once_with_numbers(
    world: World, found: Deployed | None
) -> None:
    world.write(registry("one", "two", num_cpus=3, min_replicas=0))
    world.status = {"model-one": found} if found else {}
    with pytest.raises(ModelUnavailable) as refused:
        asyncio.run(asyncio.wait_for(world.make(looks=sys.maxsize).details("one"), DEADLINE_S))
    assert refused.value.message == (
        "model 'one' cannot be placed: it needs 3 CPUs on one node; the largest node has 2"
    )
    assert not world.handle.calls
    told = state(world)
    assert (told["state"], told["message"]) == (
        "unplaceable",
        "needs 3 CPUs on one node; the largest node has 2",
    )


@pytest.mark.parametrize(
    ("found", "room", "fields"), [(LOADING, QUEUED, {}), (ASLEEP, FULL, {"min_replicas": 0})]
)
def test_a_model_whose_room_others_hold_is_refused_until_they_leave(
    world: World, found: Deployed, room: Room, fields: dict[str, Any]
) -> None:
    world.write(registry("one", "two", **fields))
    world.status, world.room = {"model-one": found}, room
    why = asyncio.run(tried(world))
    assert "needs 2 CPUs on one node; at most 0 CPUs of one are free" in why
    assert state(world)["state"] == "unplaceable"
    world.room = EMPTY
    world.tell({"model-one": READY})
    assert state(world)["state"] == "ready"


def test_a_request_that_waits_ends_when_its_model_loses_its_place(world: World) -> None:
    async def wait() -> None:
        await world.directory.details("one")
        async with world.directory.guard("one"):
            world.room = QUEUED
            world.tell({"model-one": LOADING})
            while True:
                world.now += NOTICE_S
                await asyncio.sleep(POLL_S)

    with pytest.raises(ModelUnavailable, match="cannot be placed"):
        asyncio.run(asyncio.wait_for(wait(), DEADLINE_S))


@pytest.mark.parametrize(
    ("found", "room"),
    [
        (replace(LOADING, stopping=1), QUEUED),  # an old replica makes room for the new one
        (LOADING, FULL),  # it holds what it needs itself, and loads
        (
            LOADING,
            Room((Node(CORES, CORES),), (CORES,), frozenset({"model-one"})),
        ),  # its process is being started
    ],
)
def test_a_model_that_loads_is_waited_for(world: World, found: Deployed, room: Room) -> None:
    async def ask() -> ModelDetails:
        world.status, world.room = {"model-one": found}, room
        asking = asyncio.create_task(world.directory.details("one"))
        for _ in range(5):
            world.now += STATUS_S
            await asyncio.sleep(POLL_S)
        return await asking

    assert asyncio.run(ask()) == told()


def test_further_replicas_without_a_place_are_told_and_disturb_nobody(world: World) -> None:
    world.write(registry("one", "two", max_replicas=3))
    world.status, world.room = {"model-one": replace(READY, starting=1)}, QUEUED
    state(world)
    world.now += STATUS_S
    found = state(world)
    assert found["state"] == "ready"
    assert found["message"].startswith("further replicas find no place: each needs 2 CPUs")
    assert asyncio.run(world.directory.details("one")) == told()


def test_a_model_that_is_removed_is_not_told_as_ready_for_want_of_room(world: World) -> None:
    world.write(registry("one", "two", max_replicas=3))
    world.status, world.room = {"model-one": replace(READY, starting=1)}, QUEUED
    state(world)
    world.now += STATUS_S
    assert state(world)["state"] == "ready"
    world.tell({"model-one": replace(READY, phase="leaving", starting=1)})
    assert state(world) == {"state": "removed", "message": "being removed"} | {
        "replicas": {"running": 1, "min": 1, "max": 3}
    }


def test_an_autoscaler_is_given_its_time(world: World) -> None:
    world.write(registry("one", "two", num_cpus=3))
    queued = Room((Node(CORES, CORES),), ({"CPU": 3.0},), frozenset({"model-one"}))
    world.status, world.room = {"model-one": LOADING}, queued
    patient = world.make(autoscaler_timeout_s=60.0)

    def look() -> dict[str, Any]:
        return asyncio.run(patient.describe("one"))[0]

    assert look()["state"] == "loading"
    assert look()["message"] == "waits for room: needs 3 CPUs on one node; the largest node has 2"
    world.now += 60.0
    look()
    assert look()["state"] == "unplaceable"
    assert "needs 3 CPUs" in asyncio.run(tried(world, patient))


def test_an_autoscaler_is_asked_for_a_node_by_waking_the_model(world: World) -> None:
    world.write(registry("one", "two", num_cpus=3, min_replicas=0))
    world.status = {"model-one": ASLEEP}
    assert asyncio.run(world.make(autoscaler_timeout_s=60.0).details("one")) == told()
    assert world.handle.methods == ["details"]


def test_nodes_are_looked_at_only_where_a_replica_is_missing(world: World) -> None:
    world.write(registry("one"))
    for _ in range(5):
        world.now += STATUS_S
        state(world)
    assert world.rooms_asked == 0


def test_the_reason_is_our_own_words() -> None:
    text = "Traceback:\n  File x\nwavescope.errors.RegistryInvalid: model 'a': sha256: is wrong\nmore"
    assert reason(text) == "model 'a': sha256: is wrong"
    assert (
        reason("Traceback (most recent call last): KeyError: 3")
        == "its process does not start; the log says why"
    )
    assert reason("") == ""
