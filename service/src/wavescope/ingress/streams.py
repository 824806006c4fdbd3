"""Wrappers of event streams between the data plane and a transport; each closes the stream it reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, TypeVar

Item = TypeVar("Item")
_END: Final = object()


async def with_pauses(
    stream: AsyncGenerator[Item, None], pause: Callable[[], Awaitable[None]]
) -> AsyncGenerator[Item | None, None]:
    """The items of a stream, and ``None`` each time that ``pause`` ends before the next."""
    pull: asyncio.Task[Any] | None = None
    pausing: asyncio.Future[None] | None = None
    try:
        while True:
            pull = pull or asyncio.create_task(_next(stream))
            pausing = asyncio.ensure_future(pause())
            await asyncio.wait((pull, pausing), return_when=asyncio.FIRST_COMPLETED)
            if pausing.done():  # first where both are done: it is older
                yield await pausing
                continue
            await _cancel(pausing)
            item, pull = pull.result(), None
            if item is _END:
                return
            yield item
    finally:
        try:
            await _cancel(pull, pausing)
        finally:
            await stream.aclose()


async def ahead(stream: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
    """The items of a stream, the next of which is waited for already while one is sent.

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
        await _cancel(pull)
        await stream.aclose()


async def _next(stream: AsyncGenerator[Any, None]) -> Any:
    return await anext(stream, _END)


async def _cancel(*tasks: asyncio.Future[Any] | None) -> None:
    """Cancels those tasks that are not done, and waits until all have ended."""
    cancelled = [task for task in tasks if task is not None]
    for task in cancelled:
        task.cancel()
    await asyncio.gather(*cancelled, return_exceptions=True)
