"""Handles of what lives in this very process, called as a deployment of its own would be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any


class LocalHandle:
    """Calls the methods of one object as a ``DeploymentHandle`` calls those of a replica.

    Arguments and results are passed as they are, not copied; callers treat both as read-only, as they are where they
    cross processes.

    Args:
        target: its public coroutine functions and asynchronous generators can be called.
        stream: whether calls answer with their items one by one, as with ``DeploymentHandle.options``.
    """

    def __init__(self, target: Any, *, stream: bool = False) -> None:
        self._target = target
        self._stream = stream

    def options(self, *, stream: bool) -> LocalHandle:
        """The same, with answers of the other kind."""
        return LocalHandle(self._target, stream=stream)

    def __getattr__(self, name: str) -> LocalMethod:
        if name.startswith("_"):
            raise AttributeError(name)
        return LocalMethod(getattr(self._target, name), stream=self._stream)


class LocalMethod:
    """One method of the object."""

    def __init__(self, method: Callable[..., Any], *, stream: bool) -> None:
        self._method = method
        self._stream = stream

    def remote(self, *args: Any) -> Any:
        """A :class:`LocalResponse` or :class:`LocalStream`; the work goes on whether or not anybody waits."""
        if self._stream:
            return LocalStream(self._method(*args))
        return LocalResponse(self._method(*args))


class LocalResponse:
    """The answer of one call: awaited as often as wanted."""

    _running: set[asyncio.Task[Any]] = set()  # noqa: RUF012  # of all: the loop itself keeps no task alive

    def __init__(self, call: Any) -> None:
        self._task: asyncio.Task[Any] = asyncio.ensure_future(call)
        self._running.add(self._task)
        self._task.add_done_callback(self._ended)

    def __await__(self) -> Generator[Any, None, Any]:
        # Shielded: who stops waiting says so by cancel(), as of a call to another process.
        return asyncio.shield(self._task).__await__()

    def cancel(self) -> None:
        """Stops the work, unless it is done."""
        self._task.cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # raised in whoever waits; nobody has to


class LocalStream:
    """The items of one call, one by one."""

    def __init__(self, items: AsyncGenerator[Any, None]) -> None:
        self._items = items
        self._closing: asyncio.Task[None] | None = None
        self._next: asyncio.Task[Any] | None = None

    def __aiter__(self) -> LocalStream:
        return self

    async def __anext__(self) -> Any:
        # In a task of its own, so that cancel() can stop it wherever it is.
        self._next = asyncio.ensure_future(anext(self._items))
        try:
            return await self._next
        finally:
            self._next = None

    def cancel(self) -> None:
        """Stops the work, unless it is done."""
        if self._next is not None:
            self._next.cancel()
        elif self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._items.aclose())
