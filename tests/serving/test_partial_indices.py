"""Indices on the way are computed in a thread, the newest alone, and sent in order between progress and result."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from tests.ingress.fakes import make_explanation
from tests.polling import DEADLINE_S, until

from wavescope.engine.events import ComputePartial, Finished, Listener, PartialIndices, Progress
from wavescope.engine.types import Explanation
from wavescope.errors import InternalError
from wavescope.serving.aggregator import EstimatorAggregator
from wavescope.telemetry.counters import Counters

T = TypeVar("T")
EXPLANATION = make_explanation()
REQUEST: Any = SimpleNamespace(model="m")
Steps = Callable[[Listener], Awaitable[None]]


class Aggregator(EstimatorAggregator):
    """One whose requests are the steps of a test."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._reporter: Any = SimpleNamespace(counters=Counters())
        self.cancelled = False

    def __del__(self) -> None:  # type: ignore[override]
        return None

    async def _explain_in_time(self, request: Any, call: Any, listener: Listener) -> tuple[Explanation, ...]:
        try:
            listener.planned(88)
            await self._steps(listener)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return (EXPLANATION,)


class Computation:
    """Computes the indices of so many forwards; waits for the permission to, where it is to."""

    def __init__(self, forwards: int, *, waits: bool = False) -> None:
        self.partial = PartialIndices(0, forwards, forwards // 8, EXPLANATION.indices)
        self.began, self.release = threading.Event(), threading.Event()
        self.thread = ""
        if not waits:
            self.release.set()

    def __call__(self) -> PartialIndices:
        self.thread = threading.current_thread().name
        self.began.set()
        assert self.release.wait(DEADLINE_S)
        return self.partial


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, DEADLINE_S))


async def begun(computation: Computation) -> None:
    await asyncio.to_thread(computation.began.wait, DEADLINE_S)


def sent(steps: Steps) -> list[Any]:
    """The events of a stream, the reports of progress aside."""

    async def read() -> list[Any]:
        return [event async for event in Aggregator(steps).stream(REQUEST, REQUEST)]

    events = run(read())
    assert isinstance(events[0], Progress)
    return [event for event in events if not isinstance(event, Progress)]


def test_indices_are_computed_in_a_thread_and_the_result_comes_last() -> None:
    computation = Computation(16)

    async def steps(listener: Listener) -> None:
        listener.partial(computation)
        await begun(computation)

    partial, last = sent(steps)
    assert partial is computation.partial
    assert isinstance(last, Finished)
    assert last.explanations == (EXPLANATION,)
    assert computation.thread != threading.main_thread().name


def test_of_indices_that_come_while_others_are_computed_the_newest_alone_are() -> None:
    first, skipped, newest = Computation(16, waits=True), Computation(32), Computation(48)

    async def steps(listener: Listener) -> None:
        listener.partial(first)
        await begun(first)
        listener.partial(skipped)
        listener.partial(newest)
        first.release.set()
        await begun(newest)

    *partials, _ = sent(steps)
    assert partials == [first.partial, newest.partial]
    assert not skipped.began.is_set()


def test_scoring_goes_on_while_indices_are_computed() -> None:
    computation = Computation(16, waits=True)

    async def steps(listener: Listener) -> None:
        listener.partial(computation)
        await begun(computation)
        listener.scored(44)
        computation.release.set()
        await asyncio.Event().wait()

    async def read() -> Progress:
        events = Aggregator(steps).stream(REQUEST, REQUEST)
        async for event in events:
            if isinstance(event, Progress) and event.forwards:
                await events.aclose()
                return event
        raise AssertionError("no progress")

    assert run(read()).forwards == 44


def test_a_score_that_does_not_vary_has_no_partial_answer() -> None:
    computed = threading.Event()

    def compute() -> None:
        computed.set()

    async def steps(listener: Listener) -> None:
        listener.partial(compute)
        await asyncio.to_thread(computed.wait, 30)

    (last,) = sent(steps)
    assert isinstance(last, Finished)


def test_an_error_of_a_computation_ends_the_stream_and_the_work() -> None:
    def defect() -> PartialIndices | None:
        raise InternalError("a defect")

    assert run(_ended(defect, error="a defect"))


def test_closing_the_stream_ends_the_work() -> None:
    assert run(_ended(Computation(16)))


async def _ended(compute: ComputePartial, error: str = "") -> bool:
    """Whether the work was cancelled when the stream failed, or was closed after its first indices."""

    async def steps(listener: Listener) -> None:
        listener.partial(compute)
        await asyncio.Event().wait()

    aggregator = Aggregator(steps)
    events = aggregator.stream(REQUEST, REQUEST)
    assert isinstance(await anext(events), Progress)
    if error:
        with pytest.raises(InternalError, match=error):
            await anext(events)
    else:
        assert isinstance(await anext(events), PartialIndices)
        await events.aclose()
    await until(lambda: aggregator.cancelled)
    return aggregator.cancelled
