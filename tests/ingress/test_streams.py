"""Streams between the data plane and the transports: order, what is skipped, and that each closes what it reads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

import pytest
from tests.ingress.fakes import make_explanation

from wavescope import errors
from wavescope.engine.events import Finished, Partial, Progress
from wavescope.engine.types import Indices
from wavescope.ingress.plane import Event
from wavescope.ingress.streams import ahead, with_indices, with_pauses

EXPLANATION = make_explanation()
FINISHED = Finished((EXPLANATION,))
T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 30))


class Source:
    """Events as they are put; counts how often it was closed."""

    def __init__(self, *events: Any) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.closed = 0
        for event in events:
            self.queue.put_nowait(event)

    async def read(self) -> AsyncGenerator[Any, None]:
        try:
            while True:
                event = await self.queue.get()
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.closed += 1


def partial(image: int, forwards: int, find: Any = None) -> Partial:
    return Partial(image, forwards, forwards // 8, find or (lambda: EXPLANATION.indices))


def test_indices_are_computed_in_a_thread_and_told_in_order() -> None:
    threads: list[str] = []

    def find() -> Indices | None:
        threads.append(threading.current_thread().name)
        return EXPLANATION.indices

    async def told() -> list[Any]:
        source = Source(Progress(0, 88, 0.0, None), partial(0, 16, find), FINISHED)
        found = [event async for event in with_indices(source.read())]
        assert source.closed == 1
        return found

    progress, known, last = run(told())
    assert progress == Progress(0, 88, 0.0, None)
    assert (known.partial.forwards, known.indices) == (16, EXPLANATION.indices)
    assert last is FINISHED
    assert threads != [threading.main_thread().name]


def test_of_partials_that_wait_the_newest_of_each_image_is_told() -> None:
    async def told() -> list[Any]:
        began, release = threading.Event(), threading.Event()

        def find() -> Indices | None:
            began.set()
            release.wait(30)
            return EXPLANATION.indices

        source = Source(partial(0, 16, find))
        events = with_indices(source.read())
        first = asyncio.ensure_future(anext(events))
        await asyncio.to_thread(began.wait, 30)
        for event in (
            partial(0, 32),
            partial(1, 16),
            partial(0, 48),
            partial(1, 32),
            Progress(9, 88, 1.0, 8.0),
        ):
            source.queue.put_nowait(event)
        found: list[Any] = [await first]  # progress is told while indices are computed
        release.set()
        found += [await anext(events) for _ in range(3)]
        source.queue.put_nowait(FINISHED)
        return found + [event async for event in events]

    progress, *known, last = run(told())
    assert progress.forwards == 9
    assert [(event.partial.image, event.partial.forwards) for event in known] == [(0, 16), (0, 48), (1, 32)]
    assert last is FINISHED


def test_a_partial_without_indices_is_not_told() -> None:
    async def told() -> list[Any]:
        source = Source(partial(0, 16, lambda: None), FINISHED)
        return [event async for event in with_indices(source.read())]

    assert run(told()) == [FINISHED]


def test_an_error_passes_and_closes_the_stream() -> None:
    async def closed() -> int:
        source = Source(Progress(0, 88, 0.0, None), errors.QueueFull("full"))
        events = with_indices(source.read())
        assert await anext(events) == Progress(0, 88, 0.0, None)
        with pytest.raises(errors.QueueFull, match="full"):
            await anext(events)
        return source.closed

    assert run(closed()) == 1


def test_an_error_of_a_partial_passes_and_closes_the_stream() -> None:
    def find() -> Indices | None:
        raise errors.InternalError("a defect")

    async def closed() -> int:
        source = Source(partial(0, 16, find))
        with pytest.raises(errors.InternalError, match="a defect"):
            await anext(with_indices(source.read()))
        return source.closed

    assert run(closed()) == 1


@pytest.mark.parametrize("wrapped", [False, True], ids=["with_indices", "with_pauses"])
def test_closing_early_closes_the_stream(wrapped: bool) -> None:
    async def closed() -> int:
        source = Source(Progress(0, 88, 0.0, None))
        events: AsyncGenerator[Any, None] = with_indices(source.read())
        if wrapped:
            events = with_pauses(events, asyncio.Event().wait)
        await anext(events)
        await events.aclose()
        return source.closed

    assert run(closed()) == 1


def test_cancelling_while_nothing_happens_closes_the_stream() -> None:
    async def closed() -> int:
        source = Source()
        events = with_pauses(with_indices(source.read()), asyncio.Event().wait)
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
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
        return [event async for event in with_pauses(with_indices(nothing()), asyncio.Event().wait)]

    assert run(told()) == []
