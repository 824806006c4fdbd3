"""Takes the steps of :mod:`wavescope_client._flows` over httpx, and what of it the caller holds: streams and jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

    def __init__(self, http: httpx.Client, sleep: Callable[[float], None]) -> None:
        self._http = http
        self._sleep = sleep
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def advance(self, flow: Flow[Any]) -> Emit | Done:
        """Goes on to the next value, or to the end."""
        step = resume(flow)
        while not isinstance(step, Emit | Done):
            try:
                answer = self._take(step)
            except WavescopeError as error:
                step = resume(flow, error=error)
            else:
                step = resume(flow, answer)
        return step

    def close(self) -> None:
        if self._response is not None:
            self._response.close()

    def _take(self, step: Step) -> Any:
        match step:
            case Send(call):
                with _wire.failures(self._http.base_url):
                    response = self._http.send(_wire.build(self._http, call))
                return _wire.reply(response, response.content)
            case Open(call):
                return self._open(call)
            case Read():
                with _wire.breaks(self._http.base_url):
                    return next(self._chunks, None)
            case Sleep(delay_s):
                return self._sleep(delay_s)
            case Work(function):
                return function()

    def _open(self, call: Call) -> Reply:
        self.close()
        with _wire.failures(self._http.base_url):
            self._response = self._http.send(_wire.build(self._http, call), stream=True)
            content = b"" if self._response.is_success else self._response.read()
        self._chunks = self._response.iter_bytes()
        return _wire.reply(self._response, content)


class Shell:
    """What a client and its jobs share."""

    def __init__(self, http: httpx.Client, sleep: Callable[[float], None], flows: Flows) -> None:
        self.http = http
        self.flows = flows
        self._sleep = sleep

    def run(self, flow: Flow[Answer]) -> Answer:
        return self.steps().advance(flow).value

    def steps(self) -> Steps:
        return Steps(self.http, self._sleep)


class Stream(Generic[Told]):
    """What the service tells, as it comes: an iterator that ends by itself.

    Use it as a context manager where the loop may be left early: closing it closes the connection, and the service then
    stops what only this connection waited for.

        with client.stream("cat.jpg") as events:
            for event in events:
                ...

    Raises:
        ServiceError: the service refused, or tells of a failure later on.
        StreamBroken: the connection was cut before the end.
        ConnectionFailed, TimedOut, InvalidReply: no usable reply.
    """

    def __init__(self, steps: Steps, flow: Flow[None]) -> None:
        self._steps = steps
        self._flow = flow

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Told:
        try:
            step = self._steps.advance(self._flow)
        except BaseException:
            self.close()
            raise
        if isinstance(step, Done):
            self.close()
            raise StopIteration
        return step.value

    def close(self) -> None:
        """Close the connection; nothing more is told."""
        self._flow.close()
        self._steps.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Job(Generic[Found]):
    """A job of the service, by its id. It goes on whatever becomes of the client.

    Every method raises :class:`UnknownJob` for one that the service has forgotten, and else as :meth:`Client.explain`.
    """

    def __init__(self, shell: Shell, job_id: str) -> None:
        self.id = job_id
        self._shell = shell

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def status(self) -> JobStatus:
        """The state now."""
        return self._shell.run(self._shell.flows.status(self.id))

    def watch(self) -> Stream[JobStatus]:
        """The state now, then whenever it or the progress changes; ends after a final state.

        A connection that is lost is opened again, and where connections do not last the service is asked now and
        then: it raises only where the service cannot be reached for the ``total_s`` of the retry policy.
        """
        return Stream(self._shell.steps(), self._shell.flows.watch(self.id))

    def wait(self, timeout_s: float | None = None) -> JobStatus:
        """The final state, once it is; asks now and then.

        Args:
            timeout_s: at most so long; ``None`` as long as it takes.

        Raises:
            TimedOut: it has not ended by then; it goes on.
        """
        return self._shell.run(self._shell.flows.wait(self.id, timeout_s))

    def result(self, *, figure: bool = False) -> Found:
        """What was asked for: an explanation, or those of a batch. Does not wait.

        Args:
            figure: have the figures drawn as well.

        Raises:
            JobUnfinished: there is no result yet.
            JobCancelled: there will never be one.
            JobFailed: it failed; never worth another try.
        """
        return self._shell.run(self._shell.flows.result(self.id, figure=figure))

    def cancel(self) -> JobStatus:
        """Ends a job that has not ended; its final state either way."""
        return self._shell.run(self._shell.flows.cancel(self.id))
