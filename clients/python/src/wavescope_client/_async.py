"""Driver of :mod:`wavescope_client._flows` over asynchronous httpx; streams and jobs of the asynchronous client."""

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
from wavescope_client._status import JobStatus, ResultT

EventT = TypeVar("EventT")
ReturnT = TypeVar("ReturnT")


class FlowDriver:
    """Performs the steps of one flow; holds at most one reply open."""

    def __init__(self, http: httpx.AsyncClient, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._http = http
        self._sleep = sleep
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes]

    async def advance(self, flow: Flow[Any]) -> Emit | Done:
        """Run the flow to its next value, or to its end."""
        step = resume(flow)
        while not isinstance(step, Emit | Done):
            try:
                answer = await self._perform(step)
            except WavescopeError as error:
                step = resume(flow, error=error)
            else:
                step = resume(flow, answer)
        return step

    async def aclose(self) -> None:
        """Close the reply that is open, if one is."""
        if self._response is not None:
            await self._response.aclose()

    async def _perform(self, step: Step) -> Any:
        match step:
            case Send(call):
                with _wire.translate_errors(self._http.base_url):
                    response = await self._http.send(_wire.build_request(self._http, call))
                return _wire.read_reply(response, response.content)
            case Open(call):
                return await self._open(call)
            case Read():
                with _wire.translate_stream_errors(self._http.base_url):
                    return await anext(self._chunks, None)
            case Sleep(delay_s):
                return await self._sleep(delay_s)
            case Work(function):
                return await asyncio.to_thread(function)

    async def _open(self, call: Call) -> Reply:
        await self.aclose()
        with _wire.translate_errors(self._http.base_url):
            self._response = await self._http.send(_wire.build_request(self._http, call), stream=True)
            content = b"" if self._response.is_success else await self._response.aread()
        self._chunks = self._response.aiter_bytes()
        return _wire.read_reply(self._response, content)


class Session:
    """Connections, retry clock and flows, shared by a client and its jobs."""

    def __init__(
        self, http: httpx.AsyncClient, sleep: Callable[[float], Awaitable[None]], flows: Flows
    ) -> None:
        self.http = http
        self.flows = flows
        self._sleep = sleep

    async def run(self, flow: Flow[ReturnT]) -> ReturnT:
        """Run a flow that emits nothing; return its value."""
        return (await self.driver().advance(flow)).value

    def driver(self) -> FlowDriver:
        """Make a driver for one flow."""
        return FlowDriver(self.http, self._sleep)


class AsyncStream(Generic[EventT]):
    """Stream of events of a request or a job: an asynchronous iterator that ends by itself.

    Use it with ``async with`` where the loop may be left early: closing it closes the connection, and the service then
    stops the work that only this connection waited for.

    Usage:

        >>> async with client.stream("cat.jpg") as events:
        ...     first = await anext(events)
        >>> first.forwards, first.planned
        (0, 628)

    Raises:
        ServiceError: the service refused the request, or reports a failure later on.
        StreamBroken: the connection was cut before the end.
        ConnectionFailed, TimedOut, InvalidReply: there is no usable reply.
    """

    def __init__(self, driver: FlowDriver, flow: Flow[None]) -> None:
        self._driver = driver
        self._flow = flow

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EventT:
        try:
            step = await self._driver.advance(self._flow)
        except BaseException:
            await self.aclose()
            raise
        if isinstance(step, Done):
            await self.aclose()
            raise StopAsyncIteration
        return step.value

    async def aclose(self) -> None:
        """Close the connection; there are no further events.

        Example:
            >>> events = client.stream("cat.jpg")
            >>> type(await anext(events)).__name__
            'Progress'
            >>> await events.aclose()
        """
        self._flow.close()
        await self._driver.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class AsyncJob(Generic[ResultT]):
    """Job of the service, by its id; it goes on whatever becomes of the client.

    Its methods are those of :class:`Job`, to be awaited, except ``watch``. Each raises :class:`UnknownJob` for a job
    that the service does not know or has deleted, and otherwise what :meth:`AsyncClient.explain` raises.

    Usage:

        >>> job = await client.submit("cat.jpg", plan="full")
        >>> (await job.wait()).state
        'succeeded'
        >>> explanation = await job.result()

    Attributes:
        id: id of the job, for :meth:`AsyncClient.job` in another process or later.
    """

    def __init__(self, session: Session, job_id: str) -> None:
        self.id = job_id
        self._session = session

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    async def status(self) -> JobStatus:
        """Ask for the state of the job.

        Returns:
            The state now.

        Example:
            >>> job = await client.submit("cat.jpg")
            >>> (await job.status()).state
            'queued'
        """
        return await self._session.run(self._session.flows.status(self.id))

    def watch(self) -> AsyncStream[JobStatus]:
        """Follow the state and the progress of the job; not awaited.

        A connection that is lost is opened again, and where connections do not last the service is polled: the stream
        raises only where the service cannot be reached for the ``total_s`` of the retry policy.

        Returns:
            An asynchronous iterator over the state now and every change of it, which ends after a final state.

        Example:
            >>> job = await client.submit("cat.jpg")
            >>> [status.state async for status in job.watch()]
            ['queued', 'running', 'succeeded']
        """
        return AsyncStream(self._session.driver(), self._session.flows.watch(self.id))

    async def wait(self, timeout_s: float | None = None) -> JobStatus:
        """Wait until the job has ended, polling its state.

        Args:
            timeout_s: longest wait in seconds; ``None`` to wait without limit.

        Returns:
            The final state, which may be ``failed`` or ``cancelled``.

        Raises:
            TimedOut: the job has not ended by then; it goes on.

        Example:
            >>> job = await client.submit("cat.jpg")
            >>> (await job.wait(timeout_s=60)).state
            'succeeded'
        """
        return await self._session.run(self._session.flows.wait(self.id, timeout_s))

    async def result(self, *, figure: bool = False) -> ResultT:
        """Fetch the result of the job; does not wait for it.

        Args:
            figure: whether the reply brings the figures.

        Returns:
            The explanation, or the list of those of a batch.

        Raises:
            JobUnfinished: there is no result yet.
            JobCancelled: the job was cancelled.
            JobFailed: the job failed; asking again is useless.

        Example:
            >>> job = await client.submit("cat.jpg")
            >>> _ = await job.wait()
            >>> (await job.result()).target.label
            'tabby'
        """
        return await self._session.run(self._session.flows.result(self.id, figure=figure))

    async def cancel(self) -> JobStatus:
        """Cancel the job, unless it has ended.

        Returns:
            The final state: ``cancelled``, or the one in which it had ended before.

        Example:
            >>> job = await client.submit("cat.jpg")
            >>> (await job.cancel()).state
            'cancelled'
        """
        return await self._session.run(self._session.flows.cancel(self.id))
