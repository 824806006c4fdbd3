"""Driver of :mod:`wavescope_client._flows` over httpx; streams and jobs of the synchronous client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

    def __init__(self, http: httpx.Client, sleep: Callable[[float], None]) -> None:
        self._http = http
        self._sleep = sleep
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def advance(self, flow: Flow[Any]) -> Emit | Done:
        """Run the flow to its next value, or to its end."""
        step = resume(flow)
        while not isinstance(step, Emit | Done):
            try:
                answer = self._perform(step)
            except WavescopeError as error:
                step = resume(flow, error=error)
            else:
                step = resume(flow, answer)
        return step

    def close(self) -> None:
        """Close the reply that is open, if one is."""
        if self._response is not None:
            self._response.close()

    def _perform(self, step: Step) -> Any:
        match step:
            case Send(call):
                with _wire.translate_errors(self._http.base_url):
                    response = self._http.send(_wire.build_request(self._http, call))
                return _wire.read_reply(response, response.content)
            case Open(call):
                return self._open(call)
            case Read():
                with _wire.translate_stream_errors(self._http.base_url):
                    return next(self._chunks, None)
            case Sleep(delay_s):
                return self._sleep(delay_s)
            case Work(function):
                return function()

    def _open(self, call: Call) -> Reply:
        self.close()
        with _wire.translate_errors(self._http.base_url):
            self._response = self._http.send(_wire.build_request(self._http, call), stream=True)
            content = b"" if self._response.is_success else self._response.read()
        self._chunks = self._response.iter_bytes()
        return _wire.read_reply(self._response, content)


class Session:
    """Connections, retry clock and flows, shared by a client and its jobs."""

    def __init__(self, http: httpx.Client, sleep: Callable[[float], None], flows: Flows) -> None:
        self.http = http
        self.flows = flows
        self._sleep = sleep

    def run(self, flow: Flow[ReturnT]) -> ReturnT:
        """Run a flow that emits nothing; return its value."""
        return self.driver().advance(flow).value

    def driver(self) -> FlowDriver:
        """Make a driver for one flow."""
        return FlowDriver(self.http, self._sleep)


class Stream(Generic[EventT]):
    """Stream of events of a request or a job: an iterator that ends by itself.

    Use it as a context manager where the loop may be left early: closing it closes the connection, and the service then
    stops the work that only this connection waited for.

    Usage:

        >>> with client.stream("cat.jpg") as events:
        ...     first = next(events)
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

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> EventT:
        try:
            step = self._driver.advance(self._flow)
        except BaseException:
            self.close()
            raise
        if isinstance(step, Done):
            self.close()
            raise StopIteration
        return step.value

    def close(self) -> None:
        """Close the connection; there are no further events.

        Example:
            >>> events = client.stream("cat.jpg")
            >>> type(next(events)).__name__
            'Progress'
            >>> events.close()
        """
        self._flow.close()
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Job(Generic[ResultT]):
    """Job of the service, by its id; it goes on whatever becomes of the client.

    Every method raises :class:`UnknownJob` for a job that the service does not know or has deleted, and otherwise what
    :meth:`Client.explain` raises.

    Usage:

        >>> job = client.submit("cat.jpg", plan="full")
        >>> job.wait().state
        'succeeded'
        >>> explanation = job.result()

    Attributes:
        id: id of the job, for :meth:`Client.job` in another process or later.
    """

    def __init__(self, session: Session, job_id: str) -> None:
        self.id = job_id
        self._session = session

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def status(self) -> JobStatus:
        """Ask for the state of the job.

        Returns:
            The state now.

        Example:
            >>> job = client.submit("cat.jpg")
            >>> job.status().state
            'queued'
        """
        return self._session.run(self._session.flows.status(self.id))

    def watch(self) -> Stream[JobStatus]:
        """Follow the state and the progress of the job.

        A connection that is lost is opened again, and where connections do not last the service is polled: the stream
        raises only where the service cannot be reached for the ``total_s`` of the retry policy.

        Returns:
            An iterator over the state now and every change of it, which ends after a final state.

        Example:
            >>> for status in client.submit("cat.jpg").watch():
            ...     print(status.state, status.forwards)
            queued 0
            running 314
            succeeded 628
        """
        return Stream(self._session.driver(), self._session.flows.watch(self.id))

    def wait(self, timeout_s: float | None = None) -> JobStatus:
        """Wait until the job has ended, polling its state.

        Args:
            timeout_s: longest wait in seconds; ``None`` to wait without limit.

        Returns:
            The final state, which may be ``failed`` or ``cancelled``.

        Raises:
            TimedOut: the job has not ended by then; it goes on.

        Example:
            >>> client.submit("cat.jpg").wait(timeout_s=60).state
            'succeeded'
        """
        return self._session.run(self._session.flows.wait(self.id, timeout_s))

    def result(self, *, figure: bool = False) -> ResultT:
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
            >>> job = client.submit("cat.jpg")
            >>> _ = job.wait()
            >>> job.result(figure=True).save_png("cat-explained.png").name
            'cat-explained.png'
        """
        return self._session.run(self._session.flows.result(self.id, figure=figure))

    def cancel(self) -> JobStatus:
        """Cancel the job, unless it has ended.

        Returns:
            The final state: ``cancelled``, or the one in which it had ended before.

        Example:
            >>> client.submit("cat.jpg").cancel().state
            'cancelled'
        """
        return self._session.run(self._session.flows.cancel(self.id))
