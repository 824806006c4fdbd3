"""Logic of the clients without I/O: generators that yield one step after the other.

A flow yields a step and is sent its outcome; a :class:`WavescopeError` of a step is raised within the flow. The return
value of the flow is the answer; flows with several answers yield each as :class:`Emit`. The drivers of the synchronous
and the asynchronous client perform the same steps, each in its own way.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, TypeVar

from wavescope_client import _calls
from wavescope_client._calls import Call, Reply, Top
from wavescope_client._errors import ConnectionFailed, StreamBroken, TimedOut, Unavailable, WavescopeError
from wavescope_client._images import Image, encode_image
from wavescope_client._retry import RetryPolicy
from wavescope_client._sse import Parser
from wavescope_client._status import Estimate, JobStatus, Result
from wavescope_client._types import Explanation, Target

ReturnT = TypeVar("ReturnT")

FIRST_POLL_S = 0.1
MAX_POLL_S = 2.0
MAX_SILENT_STREAMS = 3
"""Number of streams in a row that break without a new event, after which a job is polled instead."""


@dataclass(frozen=True, slots=True)
class Send:
    """Step: send a call. Outcome: the whole reply."""

    call: Call


@dataclass(frozen=True, slots=True)
class Open:
    """Step: send a call and close the reply that was open before.

    Outcome: the head of the reply; the whole reply where it is a refusal.
    """

    call: Call


@dataclass(frozen=True, slots=True)
class Read:
    """Step: wait for more of the reply that is open. Outcome: bytes, possibly none; ``None`` at its end."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Step: wait. Outcome: ``None``."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Work:
    """Step: read and encode image files. Outcome: the value that the function returns, or its exception."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Emit:
    """Value for the caller, who may or may not come back for more. Outcome: ``None``."""

    value: Any


@dataclass(frozen=True, slots=True)
class Done:
    """End of a flow with its return value; made by :func:`resume`, not yielded."""

    value: Any


Step = Send | Open | Read | Sleep | Work
Flow = Generator[Step | Emit, Any, ReturnT]


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """Images of a request and its other fields.

    Attributes:
        images: (part, image), see :func:`_calls.build_request`.
        fields: fields of the request, by name.
    """

    images: Sequence[tuple[str, Image]]
    fields: Mapping[str, Any]

    def files(self) -> list[tuple[str, bytes]]:
        """Read and encode the images: (part, bytes of a file)."""
        parts = [part for part, _ in self.images]
        names = [f"images[{place}]" if part == "images" else part for place, part in enumerate(parts)]
        return [
            (part, encode_image(image, name)) for (part, image), name in zip(self.images, names, strict=True)
        ]


def for_image(image: Image, other: Image | None = None, **fields: Any) -> ImageRequest:
    """Make the request for one image, and the one it is compared with."""
    others = [] if other is None else [("other", other)]
    return ImageRequest([("image", image), *others], fields)


def for_batch(
    images: Sequence[Image], targets: Sequence[Target | Sequence[Target]] | None = None, **fields: Any
) -> ImageRequest:
    """Make the request for several images.

    Raises:
        TypeError: one image or one class where a sequence is due.
    """
    for name, given in (("images", images), ("targets", targets)):
        shape = getattr(given, "shape", None)
        if shape is not None and len(shape) < (4 if name == "images" else 1):
            raise TypeError(
                f"{name} must be a sequence with one entry per image, not one array of shape {tuple(shape)}"
            )
        if isinstance(given, str | bytes | PathLike):  # strings are sequences as well, of letters
            raise TypeError(f"{name} must be a sequence with one entry per image, not {type(given).__name__}")
    if targets is not None:
        fields["targets"] = targets
    return ImageRequest([("images", image) for image in images], fields)


@dataclass(frozen=True, slots=True)
class Flows:
    """Flows of every method of the clients, by the name of the method.

    Attributes:
        retry: when a request is sent again.
        clock: reads a monotonic clock, in seconds.
    """

    retry: RetryPolicy
    clock: Callable[[], float]

    # ---- explanations ---------------------------------------------------------------------------
    def explain(self, request: ImageRequest, *, figure: bool, fresh: bool) -> Flow[Explanation]:
        """Explain one image."""
        reply = yield from self._request(request, _calls.EXPLANATIONS, accept=_accept(figure), fresh=fresh)
        return _calls.parse_explanation(reply)

    def explain_batch(self, request: ImageRequest, *, figure: bool, fresh: bool) -> Flow[list[Explanation]]:
        """Explain several images."""
        reply = yield from self._request(request, _calls.EXPLANATIONS, accept=_accept(figure), fresh=fresh)
        return _calls.parse_batch(reply)

    def png(self, request: ImageRequest, *, fresh: bool) -> Flow[bytes]:
        """Explain one image; return the figure."""
        reply = yield from self._request(request, _calls.EXPLANATIONS, accept=_calls.PNG, fresh=fresh)
        return _calls.parse_png(reply)

    def stream(self, request: ImageRequest, *, fresh: bool) -> Flow[None]:
        """Explain, emitting progress and partial results; ends with the result."""
        files = yield Work(request.files)
        call = _calls.build_request(
            _calls.EXPLANATIONS, files, request.fields, accept=_calls.EVENTS, fresh=fresh
        )
        head = yield from self._exchange(Open(call))
        _calls.parse_head(head)
        parser = Parser()
        while (chunk := (yield Read())) is not None:
            for event in parser.feed(chunk):
                value = _calls.read_event(event, head.headers.get("x-request-id"))
                if value is not None:
                    yield Emit(value)
                if isinstance(value, Result):
                    return
        raise StreamBroken("the stream ended before its result")

    def estimate(self, request: ImageRequest) -> Flow[Estimate]:
        """Estimate the cost of a request."""
        return _calls.parse_estimate((yield from self._request(request, _calls.ESTIMATES)))

    # ---- models ---------------------------------------------------------------------------------
    def predict(self, request: ImageRequest) -> Flow[Top]:
        """Classify one image."""
        return _calls.parse_prediction((yield from self._request(request, _calls.PREDICTIONS)))

    def predict_batch(self, request: ImageRequest) -> Flow[list[Top]]:
        """Classify several images."""
        return _calls.parse_predictions((yield from self._request(request, _calls.PREDICTIONS)))

    def models(self) -> Flow[dict[str, dict[str, Any]]]:
        """List the models."""
        return _calls.parse_models((yield from self._exchange(Send(Call("GET", "/v1/models")))))

    def model(self, name: str) -> Flow[dict[str, Any]]:
        """Describe one model."""
        return _calls.parse_model((yield from self._exchange(Send(_calls.build_model(name)))))

    def ready(self) -> Flow[bool]:
        """Check whether a model can score; without retries."""
        return _calls.parse_ready((yield Send(Call("GET", "/readyz"))))

    # ---- jobs -----------------------------------------------------------------------------------
    def submit(self, request: ImageRequest, *, fresh: bool, idempotency_key: str | None) -> Flow[JobStatus]:
        """Submit a job."""
        # One key for all tries: a retry after a lost reply finds the job of the try before.
        key = uuid.uuid4().hex if idempotency_key is None else idempotency_key
        reply = yield from self._request(request, _calls.JOBS, fresh=fresh, idempotency_key=key)
        return _calls.parse_job(reply)

    def status(self, job_id: str) -> Flow[JobStatus]:
        """Ask for the state of a job."""
        return _calls.parse_job((yield from self._exchange(Send(_calls.build_job(job_id)))))

    def cancel(self, job_id: str) -> Flow[JobStatus]:
        """Cancel a job."""
        return _calls.parse_job((yield from self._exchange(Send(_calls.build_job(job_id, method="DELETE")))))

    def result(self, job_id: str, *, figure: bool) -> Flow[Any]:
        """Fetch the result of a job."""
        reply = yield from self._exchange(Send(_calls.build_result(job_id, _accept(figure))))
        return _calls.parse_result(reply)

    def wait(self, job_id: str, timeout_s: float | None) -> Flow[JobStatus]:
        """Poll the state of a job until it is final."""
        began_s, delay_s, left_s = self.clock(), FIRST_POLL_S, timeout_s
        while True:
            status = yield from self._poll(job_id, left_s)
            if status.ended:
                return status
            if timeout_s is not None:
                left_s = timeout_s - (self.clock() - began_s)
                if left_s <= 0:
                    raise TimedOut(f"job {job_id} is still {status.state} after {timeout_s} s")
            yield Sleep(delay_s if left_s is None else min(delay_s, left_s))
            delay_s = min(2 * delay_s, MAX_POLL_S)

    def watch(self, job_id: str) -> Flow[None]:
        """Emit every state of a job that differs from the last; ends with a final one.

        When a stream breaks, the state is polled and the stream is opened again; where streams keep breaking without a
        new event, the job is polled alone.
        """
        last: JobStatus | None = None
        silent, delay_s = 0, FIRST_POLL_S
        while True:
            if silent < MAX_SILENT_STREAMS:
                streamed = yield from self._follow_stream(job_id, last)
                silent = 0 if streamed != last else silent + 1
                last = streamed
            if last is None or not last.ended:
                status = yield from self._poll(job_id)
                delay_s = FIRST_POLL_S if status != last else min(2 * delay_s, MAX_POLL_S)
                if status != last:
                    yield Emit(status)
                last = status
            if last.ended:
                return
            yield Sleep(delay_s)

    def _follow_stream(self, job_id: str, last: JobStatus | None) -> Flow[JobStatus | None]:
        """Emit the states of one stream, until it ends or breaks; return the last one."""
        try:
            head = yield from self._exchange(Open(_calls.build_watch(job_id)))
            _calls.parse_head(head)
            parser = Parser()
            while (chunk := (yield Read())) is not None:
                for event in parser.feed(chunk):
                    status = _calls.read_job_event(event, last, head.headers.get("x-request-id"))
                    if status is not None and status != last:
                        last = status
                        yield Emit(last)
                    if last is not None and last.ended:
                        return last
        except (ConnectionFailed, TimedOut, Unavailable):
            pass  # the state is polled next: if the service is not there, that raises
        return last

    def _poll(self, job_id: str, within_s: float | None = None) -> Flow[JobStatus]:
        """Ask for the state of a job, from a service that may be restarting."""
        retry = self.retry.patient(within_s)
        return _calls.parse_job((yield from self._exchange(Send(_calls.build_job(job_id)), retry)))

    # ---- below all of them ----------------------------------------------------------------------
    def _request(
        self,
        request: ImageRequest,
        path: str,
        *,
        accept: str = _calls.JSON,
        fresh: bool = False,
        idempotency_key: str | None = None,
    ) -> Flow[Reply]:
        files = yield Work(request.files)
        call = _calls.build_request(
            path, files, request.fields, accept=accept, fresh=fresh, idempotency_key=idempotency_key
        )
        return (yield from self._exchange(Send(call)))

    def _exchange(self, step: Send | Open, retry: RetryPolicy | None = None) -> Flow[Reply]:
        """Send a call, with as many tries as the policy allows; return the reply."""
        retry = self.retry if retry is None else retry
        began_s, attempt = self.clock(), 0
        while True:
            attempt += 1
            reply, failure = None, None
            try:
                reply = yield step
            except ConnectionFailed as error:
                failure = error
            status, headers = (reply.status, reply.headers) if reply is not None else (None, {})
            delay_s = retry.next_delay_s(
                attempt, status, headers, chance=random.random(), elapsed_s=self.clock() - began_s
            )
            if delay_s is not None:
                yield Sleep(delay_s)
            elif reply is not None:
                return reply
            elif failure is not None:
                raise failure


def resume(flow: Flow[Any], answer: Any = None, error: WavescopeError | None = None) -> Step | Emit | Done:
    """Resume a flow with the outcome of its last step; return the next step, or the end.

    Raises:
        Exception: whatever the flow raises.
    """
    try:
        return flow.send(answer) if error is None else flow.throw(error)
    except StopIteration as done:
        return Done(done.value)


def _accept(figure: bool) -> str:
    return _calls.JSON_AND_FIGURE if figure else _calls.JSON
