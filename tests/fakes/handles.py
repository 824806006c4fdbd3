"""A handle of a deployment of Ray Serve, whose calls run in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final

from ray.exceptions import ActorDiedError

from wavescope.retries import RetryPolicy

# What a test sends again it sends at once.
AT_ONCE: Final = RetryPolicy(attempts=8, first_delay_s=0.0, max_delay_s=0.0)
NEVER: Final = object()


class FakeHandle:
    """Calls the coroutine functions of an object, as a ``DeploymentHandle`` calls those of a replica.

    Args:
        target: what is called; another one may take its place.

    Attributes:
        calls: everything that was sent, in its order.
        held: while it is an event that is not set, calls wait for it before they reach the target.
    """

    def __init__(self, target: Any) -> None:
        self.target = target
        self.calls: list[FakeCall] = []
        self.held: asyncio.Event | None = None
        self._sent = asyncio.Event()

    def __getattr__(self, method: str) -> FakeMethod:
        if method.startswith("_"):
            raise AttributeError(method)
        return FakeMethod(self, method)

    @property
    def methods(self) -> list[str]:
        """Names of the methods that were called, in their order."""
        return [call.method for call in self.calls]

    @property
    def running(self) -> int:
        """Calls that have not ended."""
        return sum(not call.done for call in self.calls)

    @property
    def cancelled(self) -> int:
        """Calls that were cancelled by who sent them."""
        return sum(call.cancelled for call in self.calls)

    async def until_called(self) -> None:
        """Waits for the first call."""
        while not self.calls:
            self._sent.clear()
            await self._sent.wait()

    def die(self, successor: Any) -> None:
        """The replica dies, and every call of it that has not ended; another one takes its place."""
        self.target = successor
        for call in self.calls:
            call.fail(ActorDiedError())

    def send(self, method: str, args: tuple[Any, ...]) -> FakeCall:
        """Sends one call; subclasses make more of it."""
        return self.record(FakeCall(method, args, self._run(method, args)))

    def record(self, call: FakeCall) -> FakeCall:
        """Notes a call that was sent."""
        self.calls.append(call)
        self._sent.set()
        return call

    async def _run(self, method: str, args: tuple[Any, ...]) -> Any:
        if self.held is not None:
            await self.held.wait()
        return await getattr(self.target, method)(*args)


class FakeMethod:
    """One method of a :class:`FakeHandle`."""

    def __init__(self, handle: FakeHandle, method: str) -> None:
        self._handle, self._method = handle, method

    def remote(self, *args: Any) -> FakeCall:
        return self._handle.send(self._method, args)


class FakeCall:
    """The response of one call: awaited as often as wanted, and cancelled only by :meth:`cancel`."""

    def __init__(self, method: str, args: tuple[Any, ...], work: Awaitable[Any]) -> None:
        self.method, self.args = method, args
        self.cancelled = False
        self._failure: Exception | None = None
        self._task = asyncio.ensure_future(work)
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody has to ask

    @property
    def done(self) -> bool:
        return self._task.done()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._result().__await__()

    async def _result(self) -> Any:
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._failure is not None and self._task.cancelled():
                raise self._failure from None
            raise

    def cancel(self) -> None:
        """Stops the work, unless it has ended."""
        self.cancelled = True
        self._task.cancel()

    def fail(self, error: Exception) -> None:
        """Ends the call with an error, unless it has ended."""
        if not self.done:
            self._failure = error
            self._task.cancel()

    async def _to_object_ref(self) -> Any:
        """The result stands for its object."""
        return await self


class Answers:
    """A target whose every method gives the next of these, and the last one again and again.

    Args:
        *values: results, errors that are raised, and ``NEVER``, which does not come.
    """

    def __init__(self, *values: Any) -> None:
        self._values = list(values)

    def set(self, *values: Any) -> None:
        """Changes what comes next."""
        self._values = list(values)

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        if method.startswith("_"):
            raise AttributeError(method)
        return self._answer

    async def _answer(self, *_: Any) -> Any:
        value = self._values.pop(0) if len(self._values) > 1 else self._values[0]
        if value is NEVER:
            await asyncio.Event().wait()
        if isinstance(value, Exception):
            raise value
        return value
