"""The gateway's calls of the aggregator: typed as its methods are, bounded in time, and stopped when nobody waits."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

import pytest
from ray.exceptions import ActorDiedError
from tests.polling import DEADLINE_S

from wavescope.errors import DeadlineExceeded, ModelUnavailable, QueueFull
from wavescope.ingress.plane import Estimate
from wavescope.serving.aggregator import EstimatorAggregator
from wavescope.serving.aggregator_client import AggregatorClient
from wavescope.serving.calls.local_handle import LocalHandle

T = TypeVar("T")
ESTIMATE = Estimate(88, 1.5, 0.25, cached=False)
REQUEST: Any = None
METHODS = [name for name, _ in inspect.getmembers(AggregatorClient, callable) if not name.startswith("_")]


class Aggregator:
    """Answers estimates, or fails; streams numbers, and waits for ever after the last."""

    def __init__(self, error: Exception | None = None, *, waits: bool = False) -> None:
        self._error, self._waits = error, waits
        self.began, self.ended = asyncio.Event(), asyncio.Event()

    async def estimate(self, request: Any, caller: Any) -> Estimate:
        await self._work()
        return ESTIMATE

    async def stream(self, request: Any, caller: Any) -> AsyncGenerator[int, None]:
        yield 1
        yield 2
        await self._work()

    async def _work(self) -> None:
        self.began.set()
        try:
            if self._error is not None:
                raise self._error
            if self._waits:
                await asyncio.Event().wait()
        finally:
            self.ended.set()


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, DEADLINE_S))


def client(aggregator: Aggregator, timeout_s: float = 30.0) -> AggregatorClient:
    return AggregatorClient(LocalHandle(aggregator), timeout_s, grace_s=0.0)


async def ask(method: str, aggregator: Aggregator, timeout_s: float = 30.0) -> Any:
    if method == "stream":
        return [event async for event in client(aggregator, timeout_s).stream(REQUEST, REQUEST)]
    return await client(aggregator, timeout_s).estimate(REQUEST, REQUEST)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_one_of_the_aggregator_with_the_same_types(name: str) -> None:
    assert inspect.signature(getattr(AggregatorClient, name)) == inspect.signature(
        getattr(EstimatorAggregator, name)
    )


def test_answers_pass() -> None:
    async def answer() -> tuple[Any, Any]:
        return await ask("estimate", Aggregator()), await ask("stream", Aggregator())

    assert run(answer()) == (ESTIMATE, [1, 2])


@pytest.mark.parametrize(
    ("error", "expected"),
    [(QueueFull("full"), QueueFull), (ActorDiedError(), ModelUnavailable)],
    ids=["an error of ours", "a death"],
)
@pytest.mark.parametrize("method", ["estimate", "stream"])
def test_errors_pass_and_a_death_is_said_plainly(
    method: str, error: Exception, expected: type[Exception]
) -> None:
    async def fail() -> None:
        with pytest.raises(expected, match=r"full|send it again"):
            await ask(method, Aggregator(error))

    run(fail())


@pytest.mark.parametrize("method", ["estimate", "stream"])
def test_a_call_that_ends_too_late_is_stopped(method: str) -> None:
    async def wait() -> None:
        aggregator = Aggregator(waits=True)
        with pytest.raises(DeadlineExceeded):
            await ask(method, aggregator, timeout_s=0.05)
        await aggregator.ended.wait()

    run(wait())


def test_a_cancelled_call_stops_the_work() -> None:
    async def cancel() -> None:
        aggregator = Aggregator(waits=True)
        asking = asyncio.create_task(client(aggregator).estimate(REQUEST, REQUEST))
        await aggregator.began.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await aggregator.ended.wait()

    run(cancel())


def test_a_stream_that_is_closed_stops_the_work() -> None:
    async def close() -> None:
        aggregator = Aggregator(waits=True)
        events = client(aggregator).stream(REQUEST, REQUEST)
        assert [await anext(events), await anext(events)] == [1, 2]
        asking = asyncio.ensure_future(anext(events))
        await aggregator.began.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await aggregator.ended.wait()

    run(close())
