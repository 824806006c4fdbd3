"""Chunks in flight: a bounded window, retries of what died, nothing left behind. No cluster is needed."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, ObjectLostError, OwnerDiedError, RayTaskError
from tests.fakes.classifiers import details
from tests.fakes.handles import AT_ONCE, NEVER, Answers, FakeHandle
from tests.polling import until

from wavescope.engine.plan import make_stack
from wavescope.errors import ModelFailure, ModelUnavailable
from wavescope.serving import runner as runners
from wavescope.serving.calls.dispatch import call, fan_out
from wavescope.serving.calls.local_handle import LocalHandle
from wavescope.serving.generator_client import GeneratorClient
from wavescope.serving.runner import RayRunner, Replicas
from wavescope.telemetry.counters import Counters

# ---- one call ----------------------------------------------------------------------------------


def test_a_call_whose_replica_died_is_sent_again() -> None:
    replicas = FakeHandle(Answers(ActorDiedError(), ActorDiedError(), 7))
    retries: list[None] = []
    found = asyncio.run(
        call(replicas.score.remote, what="a chunk", policy=AT_ONCE, retried=lambda: retries.append(None))
    )
    assert (found, len(retries)) == (7, 2)


def test_replica_after_replica_dying_is_an_error_that_may_be_retried() -> None:
    with pytest.raises(ModelUnavailable, match=r"^a chunk: 8 replicas in a row died") as caught:
        asyncio.run(call(FakeHandle(Answers(ActorDiedError())).score.remote, what="a chunk", policy=AT_ONCE))
    assert caught.value.retryable


def test_errors_raised_on_purpose_come_without_rays_envelope_and_are_not_retried() -> None:
    cause = ModelFailure("not a number", row=3)
    envelope = RayTaskError("score", "traceback", cause).as_instanceof_cause()
    replicas = FakeHandle(Answers(envelope))
    with pytest.raises(ModelFailure) as caught:
        asyncio.run(call(replicas.score.remote, what="a chunk", policy=AT_ONCE))
    assert caught.value is cause
    assert len(replicas.calls) == 1


def test_cancelling_cancels_what_is_on_its_way() -> None:
    replicas = FakeHandle(Answers(NEVER))

    async def cancelled() -> None:
        task = asyncio.create_task(call(replicas.score.remote, what="a chunk", policy=AT_ONCE))
        await replicas.until_called()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert replicas.cancelled == 1


# ---- many --------------------------------------------------------------------------------------
CHUNKS = [(start, start + 2) for start in range(0, 20, 2)]


def test_no_more_than_the_window_is_in_flight_and_all_are_taken() -> None:
    flying, most = 0, 0
    taken: list[int] = []

    async def score(start: int, stop: int) -> int:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0)
        flying -= 1
        return stop

    def take(start: int, stop: int) -> bool:
        assert stop == start + 2
        taken.append(start)
        return True

    asyncio.run(fan_out(CHUNKS, score, take, window=3))
    assert sorted(taken) == list(range(0, 20, 2))
    assert most == 3


@pytest.mark.parametrize("window", [1, 3])
def test_once_told_to_stop_nothing_further_is_sent_and_what_flies_is_taken(window: int) -> None:
    sent: list[int] = []
    taken: list[int] = []

    async def score(start: int, stop: int) -> int:
        del stop
        sent.append(start)
        await asyncio.sleep(0)
        return start

    def take(start: int, scores: int) -> bool:
        del scores
        taken.append(start)
        return len(taken) != 4

    asyncio.run(fan_out(CHUNKS, score, take, window=window))
    assert sorted(taken) == sorted(sent)
    assert 4 <= len(sent) <= 4 + window - 1


def test_the_first_failure_is_told_and_the_others_are_cancelled() -> None:
    cancelled: list[int] = []

    async def score(start: int, stop: int) -> int:
        del stop
        if start == 2:
            raise ModelFailure("not a number")
        try:
            return await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(start)
            raise

    with pytest.raises(ModelFailure):
        asyncio.run(fan_out(CHUNKS, score, lambda start, scores: True, window=3))
    assert sorted(cancelled) == [0, 4]


def test_a_cancelled_fan_out_cancels_every_chunk_in_flight_and_sends_no_other() -> None:
    replicas = FakeHandle(Answers(NEVER))

    async def score(start: int, stop: int) -> Any:
        return await call(replicas.score.remote, what=f"chunk {start}..{stop}", policy=AT_ONCE)

    async def cancelled() -> None:
        task = asyncio.create_task(fan_out(CHUNKS, score, lambda start, scores: True, window=3))
        await until(lambda: len(replicas.calls) == 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert (len(replicas.calls), replicas.cancelled) == (3, 3)


# ---- the plan's object -------------------------------------------------------------------------


class Losing:
    """A model whose replicas cannot fetch some objects that they are sent."""

    def __init__(self, lost: set[str], error: Exception) -> None:
        self._lost, self._error = lost, error
        self.sent: list[str] = []

    async def predict(self, revision: str, digest: str, work: list[str]) -> str:
        del revision, digest
        self.sent.append(work[0])
        if work[0] in self._lost:
            raise self._error
        return "outputs"


@pytest.fixture
def puts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was put into the object store, each named by its number."""
    found: list[Any] = []

    def put(work: Any) -> str:
        found.append(work)
        return f"object {len(found)}"

    monkeypatch.setattr(runners.ray, "put", put)
    return found


def asked(model: Losing) -> Any:
    handles = Replicas(
        generator=None, model=FakeHandle(model), name="fake", window=2, chunk_rows=8, chunk_retries=AT_ONCE
    )  # type: ignore[arg-type]
    runner = RayRunner([], details((1, 4, 4)), handles, Counters())
    return asyncio.run(runner.clean(make_stack(np.zeros((1, 1, 4, 4), np.uint8))))  # type: ignore[arg-type]


class Planner:
    """A generator of this process."""

    def __init__(self, made: Any) -> None:
        self._made = made

    async def plan(self, *_: Any) -> Any:
        return self._made

    async def corrupt(self, *_: Any) -> Any:
        return (("fog", 1),), self._made


def test_what_a_generator_of_this_process_made_is_put_once_when_it_is_asked_about(puts: list[Any]) -> None:
    made = make_stack(np.zeros((1, 1, 4, 4), np.uint8))

    async def run() -> None:
        model = Losing(set(), ObjectLostError("00" * 28, None, ""))
        generator = GeneratorClient(LocalHandle(Planner(made)), retries=AT_ONCE)
        handles = Replicas(generator, FakeHandle(model), "fake", 2, 8)  # type: ignore[arg-type]
        runner = RayRunner([b""], details((1, 4, 4)), handles, Counters())
        _, stack = await runner.corrupt(0, None)  # type: ignore[arg-type]
        plan = await runner.plan(0, None, 1)  # type: ignore[arg-type]
        assert plan is stack is made
        assert puts == []
        await asyncio.gather(*(runner.clean(plan) for _ in range(5)))
        assert model.sent == ["object 1"] * 5

    asyncio.run(run())
    assert puts == [made]


def test_putting_does_not_hold_up_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(runners.ray, "put", lambda work: threads.append(threading.get_ident()) or "object 1")
    assert asked(Losing(set(), ObjectLostError("00" * 28, None, ""))) == "outputs"
    assert threads != [threading.get_ident()]


@pytest.mark.parametrize("error", [ObjectLostError, OwnerDiedError])
def test_an_object_that_was_lost_is_put_again(puts: list[Any], error: Any) -> None:
    raised = RayTaskError("predict", "traceback", error("00" * 28, None, "")).as_instanceof_cause()
    model = Losing({"object 1"}, raised)
    assert asked(model) == "outputs"
    assert model.sent == ["object 1", "object 2"]
    assert puts[0] is puts[1]


def test_an_object_lost_again_and_again_is_an_error_that_may_be_retried(puts: list[Any]) -> None:
    lost = ObjectLostError("00" * 28, None, "")
    with pytest.raises(ModelUnavailable, match="the object of the plan was lost 3 times"):
        asked(Losing({"object 1", "object 2", "object 3"}, lost))
    assert len(puts) == 3
