"""Models that cannot be loaded are tried again after pauses that grow, whatever becomes of the processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.serving.test_replica import SPEC, Quiet, classifier

from wavescope.errors import ModelUnavailable, RegistryInvalid
from wavescope.serving import replica
from wavescope.serving.calls.retries import LOADING
from wavescope.serving.models.attempts import DIED, Attempts, Failing
from wavescope.settings import Settings


class World:
    """A shelf, the processes that live, and the time."""

    def __init__(self) -> None:
        self.kept: dict[str, Failing] = {}
        self.living: set[str] = set()
        self.now = 1000.0

    def get(self, model: str) -> Failing:
        return self.kept.get(model, Failing())

    def put(self, model: str, failing: Failing) -> None:
        self.kept[model] = failing

    def process(self, name: str, attempt: int = 0) -> Attempts:
        self.living.add(name)
        return Attempts(SPEC, attempt, name, self, alive=self.living.__contains__, clock=lambda: self.now)

    def dies_loading(self, name: str) -> float:
        """The pause that the process was given before it."""
        process = self.process(name)
        delay = process.delay_s()
        process.begin()
        self.living.discard(name)
        return delay

    @property
    def failing(self) -> Failing:
        return self.kept[SPEC.name]


@pytest.fixture
def world() -> World:
    return World()


def test_processes_that_die_one_after_the_other_are_given_growing_pauses(world: World) -> None:
    pauses = [world.dies_loading(f"process {number}") for number in range(12)]
    assert pauses[:6] == [0.0, 0.0, *(times * LOADING.first_delay_s for times in (1, 2, 4, 8))]
    assert pauses[-1] == LOADING.max_delay_s
    assert (world.failing.failures, world.failing.reason) == (11, DIED)


def test_a_process_that_still_loads_is_no_failure(world: World) -> None:
    for number in range(4):
        process = world.process(f"process {number}")
        assert process.delay_s() == 0.0
        process.begin()


def test_a_model_that_was_loaded_begins_anew(world: World) -> None:
    for number in range(3):
        world.dies_loading(f"process {number}")
    process = world.process("last")
    assert process.delay_s() > 0
    process.begin()
    process.loaded()
    assert world.failing.failures == 0
    assert world.process("next").delay_s() == 0.0


def test_another_deployment_is_tried_at_once(world: World) -> None:
    for number in range(3):
        world.dies_loading(f"process {number}")
    assert world.process("asked for", attempt=1).delay_s() == 0.0


Loads = Callable[..., object]


@pytest.fixture
def start(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Loads], replica.ModelReplica]:
    """Makes a replica whose model is loaded by a function, and whose pauses take no time."""

    def pause(seconds: float) -> asyncio.Future[None]:
        world.now += seconds
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def made(name: str, load: Loads) -> replica.ModelReplica:
        monkeypatch.setattr(replica, "attempts", lambda spec, attempt: world.process(name, attempt))
        monkeypatch.setattr(replica, "load", load)
        monkeypatch.setattr(replica, "Reporter", Quiet)
        monkeypatch.setattr(replica.asyncio, "sleep", pause)
        return replica.ModelReplica(SPEC, Settings(log_level="error"))

    return made


def broken(*_: object, **__: object) -> object:
    raise RegistryInvalid("model 'x': sha256: is wrong", field="sha256")


def test_a_replica_that_waits_loads_later_and_then_answers(
    world: World, start: Callable[[str, Loads], replica.ModelReplica]
) -> None:
    for number in range(4):
        world.dies_loading(f"process {number}")

    async def waited() -> None:
        began = world.now
        waiting = start("waits", lambda *_, **__: classifier())
        with pytest.raises(ModelUnavailable):
            await waiting.details()
        await waiting.check_health()
        assert world.now - began == 4 * LOADING.first_delay_s
        assert (await waiting.details()).revision == "now"

    asyncio.run(waited())
    assert world.failing.failures == 0


def test_a_model_that_raises_is_tried_by_one_process_after_pauses(
    world: World, start: Callable[[str, Loads], replica.ModelReplica]
) -> None:
    for number in range(2):
        with pytest.raises(RegistryInvalid):
            start(f"process {number}", broken)
    assert (world.failing.failures, world.failing.reason) == (2, "model 'x': sha256: is wrong")
    tried: list[float] = []

    def recovers(*_: object, **__: object) -> object:
        tried.append(world.now)
        return broken() if len(tried) < 4 else classifier()

    began = world.now
    asyncio.run(start("stays", recovers).check_health())
    assert [at - began for at in tried] == [5.0, 15.0, 35.0, 75.0]
