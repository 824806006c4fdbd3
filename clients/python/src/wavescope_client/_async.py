"""The same as :mod:`wavescope_client._sync`, to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import httpx

from wavescope_client import _wire
from wavescope_client._calls import Call, Reply
from wavescope_client._errors import WavescopeError
from wavescope_client._flows import Done, Emit, Flow, Flows, Open, Read, Send, Sleep, Step, Work, resume
from wavescope_client._status import Found, JobStatus

Told = TypeVar("Told")
Answer = TypeVar("Answer")


class Steps:
    """Takes the steps of one flow; holds at most one reply open."""

    def __init__(self, http: httpx.AsyncClient, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._http = http
        self._sleep = sleep
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes]

    async def advance(self, flow: Flow[Any]) -> Emit | Done:
        """Goes on to the next value, or to the end."""
        step = resume(flow)
        while not isinstance(step, Emit | Done):
            try:
                answer = await self._take(step)
            except WavescopeError as error:
                step = resume(flow, error=error)
            else:
                step = resume(flow, answer)
        return step

    async def aclose(self) -> None:
        if self._response is not None:
            await self._response.aclose()

    async def _take(self, step: Step) -> Any:
        match step:
            case Send(call):
                with _wire.failures(self._http.base_url):
                    response = await self._http.send(_wire.build(self._http, call))
                return _wire.reply(response, response.content)
            case Open(call):
                return await self._open(call)
            case Read():
                with _wire.breaks(self._http.base_url):
                    return await anext(self._chunks, None)
            case Sleep(delay_s):
                return await self._sleep(delay_s)
            case Work(function):
                return await asyncio.to_thread(function)

    async def _open(self, call: Call) -> Reply:
        await self.aclose()
        with _wire.failures(self._http.base_url):
            self._response = await self._http.send(_wire.build(self._http, call), stream=True)
            content = b"" if self._response.is_success else await self._response.aread()
        self._chunks = self._response.aiter_bytes()
        return _wire.reply(self._response, content)


class Shell:
    """What a client and its jobs share."""

    def __init__(
        self, http: httpx.AsyncClient, sleep: Callable[[float], Awaitable[None]], flows: Flows
    ) -> None:
        self.http = http
        self.flows = flows
        self._sleep = sleep

    async def run(self, flow: Flow[Answer]) -> Answer:
        return (await self.steps().advance(flow)).value

    def steps(self) -> Steps:
        return Steps(self.http, self._sleep)


class AsyncStream(Generic[Told]):
    """What the service tells, as it comes: :class:`Stream` for ``async with`` and ``async for``."""

    def __init__(self, steps: Steps, flow: Flow[None]) -> None:
        self._steps = steps
        self._flow = flow

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Told:
        try:
            step = await self._steps.advance(self._flow)
        except BaseException:
            await self.aclose()
            raise
        if isinstance(step, Done):
            await self.aclose()
            raise StopAsyncIteration
        return step.value

    async def aclose(self) -> None:
        self._flow.close()
        await self._steps.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class AsyncJob(Generic[Found]):
    """A job of the service, by its id: :class:`Job`, its methods to be awaited, but for ``watch``."""

    def __init__(self, shell: Shell, job_id: str) -> None:
        self.id = job_id
        self._shell = shell

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    async def status(self) -> JobStatus:
        return await self._shell.run(self._shell.flows.status(self.id))

    def watch(self) -> AsyncStream[JobStatus]:
        return AsyncStream(self._shell.steps(), self._shell.flows.watch(self.id))

    async def wait(self, timeout_s: float | None = None) -> JobStatus:
        return await self._shell.run(self._shell.flows.wait(self.id, timeout_s))

    async def result(self, *, figure: bool = False) -> Found:
        return await self._shell.run(self._shell.flows.result(self.id, figure=figure))

    async def cancel(self) -> JobStatus:
        return await self._shell.run(self._shell.flows.cancel(self.id))
