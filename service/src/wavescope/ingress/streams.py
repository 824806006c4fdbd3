"""Streams of events between the data plane and a transport; each of these generators closes the one it reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from wavescope.engine.events import Finished, Partial, Progress
from wavescope.engine.types import Indices
from wavescope.ingress.plane import Event

Item = TypeVar("Item")
_END: Final = object()


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A partial, with its indices computed."""

    partial: Partial
    indices: Indices


async def with_indices(
    stream: AsyncGenerator[Event, None],
) -> AsyncGenerator[Progress | Known | Finished, None]:
    """The events of a stream, the indices of its partials computed in a thread.

    Of the partials of an image that come while others are computed, the newest alone is told; none is told after
    the last event, nor one that has no indices.
    """
    waiting: dict[int, Partial] = {}
    async with _reading(stream) as reader:
        while True:
            if reader.aside is None and waiting:
                partial = waiting.pop(next(iter(waiting)))
                reader.put_aside(asyncio.to_thread(_computed, partial))
            event = await reader.next()
            if isinstance(event, Partial):
                waiting[event.image] = event
            elif isinstance(event, Finished):
                if (known := await reader.take_aside()) is not None:
                    yield known
                yield event
                return
            elif event is _END:
                return
            elif event is not None:  # progress, or what was computed aside
                yield event


def _computed(partial: Partial) -> Known | None:
    indices = partial.find()
    return None if indices is None else Known(partial, indices)


async def with_pauses(
    stream: AsyncGenerator[Item, None], pause: Callable[[], Awaitable[None]]
) -> AsyncGenerator[Item | None, None]:
    """The items of a stream, and ``None`` each time that ``pause`` ends before the next."""
    async with _reading(stream) as reader:
        while True:
            reader.put_aside(pause())
            item = await reader.next()
            if item is _END:
                return
            await reader.drop_aside()
            yield item


async def ahead(stream: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
    """The items of a stream, the next of which is waited for already while one is told.

    Leaving then always cancels a wait. Ray Serve's gRPC proxy cancels its replica in no other case: closed between two
    messages, it would let it work on for nobody.
    """
    pull = asyncio.create_task(_next(stream))
    try:
        while (item := await pull) is not _END:
            pull = asyncio.create_task(_next(stream))
            await asyncio.sleep(0)  # a task that never began would not be waiting
            yield item
    finally:
        await _end(pull)
        await stream.aclose()


class _Reader:
    """Waits for the next item of a stream and for one thing aside, whichever comes first."""

    def __init__(self, stream: AsyncGenerator[Any, None]) -> None:
        self._stream = stream
        self._pull: asyncio.Task[Any] | None = None
        self.aside: asyncio.Task[Any] | None = None

    def put_aside(self, waited: Awaitable[Any]) -> None:
        self.aside = asyncio.ensure_future(waited)

    async def next(self) -> Any:
        """The next item, ``_END`` after the last, or what was aside."""
        if self._pull is None:
            self._pull = asyncio.create_task(_next(self._stream))
        await asyncio.wait(
            [task for task in (self._pull, self.aside) if task is not None],
            return_when=asyncio.FIRST_COMPLETED,
        )
        # What was aside came first where both are done: it is older.
        if self.aside is not None and self.aside.done():
            return await self.take_aside()
        pull, self._pull = self._pull, None
        return pull.result()

    async def take_aside(self) -> Any:
        """What is aside, waited for; ``None`` where nothing is."""
        if self.aside is None:
            return None
        aside, self.aside = self.aside, None
        return await aside

    async def drop_aside(self) -> None:
        """Stop waiting for what is aside."""
        aside, self.aside = self.aside, None
        await _end(aside)

    async def close(self) -> None:
        """Stop waiting for anything, and close the stream."""
        try:
            await _end(self._pull, self.aside)
        finally:
            await self._stream.aclose()


async def _next(stream: AsyncGenerator[Any, None]) -> Any:
    return await anext(stream, _END)


async def _end(*tasks: asyncio.Task[Any] | None) -> None:
    ended = [task for task in tasks if task is not None]
    for task in ended:
        task.cancel()
    await asyncio.gather(*ended, return_exceptions=True)


@asynccontextmanager
async def _reading(stream: AsyncGenerator[Any, None]) -> AsyncGenerator[_Reader, None]:
    reader = _Reader(stream)
    try:
        yield reader
    finally:
        await reader.close()
