"""Streams between the data plane and the transports: order, pauses, and that each closes what it reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

import pytest
from tests.polling import DEADLINE_S

from wavescope import errors
from wavescope.engine.events import Progress
from wavescope.ingress.plane import Event
from wavescope.ingress.streams import ahead, with_pauses

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, DEADLINE_S))


class Source:
    """Events as they are put; counts how often it was closed."""

    def __init__(self, *events: Any) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.asked = asyncio.Event()
        self.closed = 0
        for event in events:
            self.queue.put_nowait(event)

    async def read(self) -> AsyncGenerator[Any, None]:
        try:
            while True:
                self.asked.set()
                event = await self.queue.get()
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.closed += 1


def test_an_error_passes_and_closes_the_stream() -> None:
    async def closed() -> int:
        source = Source(Progress(0, 88, 0.0, None), errors.QueueFull("full"))
        events = with_pauses(source.read(), asyncio.Event().wait)
        assert await anext(events) == Progress(0, 88, 0.0, None)
        with pytest.raises(errors.QueueFull, match="full"):
            await anext(events)
        return source.closed

    assert run(closed()) == 1


def test_closing_early_closes_the_stream() -> None:
    async def closed() -> int:
        source = Source(Progress(0, 88, 0.0, None))
        events = with_pauses(source.read(), asyncio.Event().wait)
        await anext(events)
        await events.aclose()
        return source.closed

    assert run(closed()) == 1


def test_cancelling_while_nothing_happens_closes_the_stream() -> None:
    async def closed() -> int:
        source = Source()
        events = with_pauses(source.read(), asyncio.Event().wait)
        waiting = asyncio.ensure_future(anext(events))
        await source.asked.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return source.closed

    assert run(closed()) == 1


def test_each_pause_is_told_as_none() -> None:
    async def told() -> list[Any]:
        pauses: asyncio.Queue[None] = asyncio.Queue()
        source = Source()
        events = with_pauses(source.read(), pauses.get)
        found: list[Any] = []
        for _ in range(2):
            pauses.put_nowait(None)
            found.append(await anext(events))
        source.queue.put_nowait("item")
        found.append(await anext(events))
        pauses.put_nowait(None)
        found.append(await anext(events))
        await events.aclose()
        return found

    assert run(told()) == [None, None, "item", None]


def test_leaving_between_two_items_cancels_the_wait_for_the_next() -> None:
    async def cancelled() -> list[str]:
        found = []

        async def waiting() -> AsyncGenerator[int, None]:
            try:
                yield 1
                await asyncio.Event().wait()
            except BaseException as error:
                found.append(type(error).__name__)
                raise

        items = ahead(waiting())
        assert await anext(items) == 1
        await items.aclose()
        return found

    assert run(cancelled()) == ["CancelledError"]


def test_waiting_ahead_changes_no_item() -> None:
    async def told() -> list[int]:
        async def items() -> AsyncGenerator[int, None]:
            for item in range(4):
                yield item

        return [item async for item in ahead(items())]

    assert run(told()) == [0, 1, 2, 3]


def test_a_stream_that_ends_by_itself_ends_both() -> None:
    async def nothing() -> AsyncGenerator[Event, None]:
        for event in ():
            yield event

    async def told() -> list[Any]:
        return [event async for event in with_pauses(nothing(), asyncio.Event().wait)]

    assert run(told()) == []
