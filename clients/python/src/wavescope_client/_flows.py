"""What the clients do, without I/O: generators that ask for one step after the other.

A flow yields a step and is sent what came of it; a :class:`WavescopeError` of a step is raised within the flow. Its
return value is the answer; flows that tell several things yield each as :class:`Emit`. The synchronous and the
asynchronous client take the same steps, each in its own way.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from wavescope_client import _calls
from wavescope_client._calls import Call, Reply, Top
from wavescope_client._errors import ConnectionFailed, StreamBroken, TimedOut, Unavailable, WavescopeError
from wavescope_client._images import Image, image_bytes
from wavescope_client._retry import RetryPolicy
from wavescope_client._sse import Parser
from wavescope_client._status import Estimate, JobStatus, Result
from wavescope_client._types import Explanation, Target

Answer = TypeVar("Answer")

FIRST_POLL_S = 0.1
MAX_POLL_S = 2.0
MAX_SILENT_STREAMS = 3
"""Streams in a row that break without telling anything new, before a job is polled instead."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a call: the whole reply."""

    call: Call


@dataclass(frozen=True, slots=True)
class Open:
    """Send a call and close what was open before: the head of the reply; the whole reply where it is a refusal."""

    call: Call


@dataclass(frozen=True, slots=True)
class Read:
    """Wait for more of the reply that is open: bytes, possibly none; ``None`` at its end."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait: ``None``."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Work:
    """Read and encode image files: what the function returns, or raises."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand a value to the caller, who may or may not come back for more: ``None``."""

    value: Any


@dataclass(frozen=True, slots=True)
class Done:
    """The flow is over; this is no step, but what runs it tells."""

    value: Any


Step = Send | Open | Read | Sleep | Work
Flow = Generator[Step | Emit, Any, Answer]


@dataclass(frozen=True, slots=True)
class Question:
    """Images and the fields of a request about them.

    Attributes:
        images: (part, image), see :func:`_calls.build_request`.
    """

    images: Sequence[tuple[str, Image]]
    fields: Mapping[str, Any]

    def files(self) -> list[tuple[str, bytes]]:
        return [(part, image_bytes(image)) for part, image in self.images]


def one(image: Image, other: Image | None = None, **fields: Any) -> Question:
    """A question about one image."""
    others = [] if other is None else [("other", other)]
    return Question([("image", image), *others], fields)


def batch(
    images: Sequence[Image], targets: Sequence[Target | Sequence[Target]] | None = None, **fields: Any
) -> Question:
    """A question about several images.

    Raises:
        TypeError: one image or one class where a sequence is due.
    """
    for name, given in (("images", images), ("targets", targets)):
        if isinstance(given, str | bytes):  # sequences as well, of letters
            raise TypeError(f"{name} must be a sequence with one entry per image, not {type(given).__name__}")
    if targets is not None:
        fields["targets"] = [_entry(entry) for entry in targets]
    return Question([("images", image) for image in images], fields)


def _entry(entry: Target | Sequence[Target]) -> Target | list[Target]:
    """An entry of ``targets`` as JSON has it; a name is a sequence too, and one class."""
    return entry if entry is None or isinstance(entry, int | str) else list(entry)


@dataclass(frozen=True, slots=True)
class Flows:
    """Every flow.

    Attributes:
        retry: when to try again.
        clock: seconds from some fixed moment.
    """

    retry: RetryPolicy
    clock: Callable[[], float]

    # ---- explanations ---------------------------------------------------------------------------
    def explain(self, question: Question, *, figure: bool, fresh: bool) -> Flow[Explanation]:
        reply = yield from self._ask(question, _calls.EXPLANATIONS, accept=_accept(figure), fresh=fresh)
        return _calls.parse_explanation(reply)

    def explain_batch(self, question: Question, *, figure: bool, fresh: bool) -> Flow[list[Explanation]]:
        reply = yield from self._ask(question, _calls.EXPLANATIONS, accept=_accept(figure), fresh=fresh)
        return _calls.parse_batch(reply)

    def png(self, question: Question, *, fresh: bool) -> Flow[bytes]:
        reply = yield from self._ask(question, _calls.EXPLANATIONS, accept=_calls.PNG, fresh=fresh)
        return _calls.parse_png(reply)

    def stream(self, question: Question, *, fresh: bool) -> Flow[None]:
        """Emits what happens; ends with the result."""
        files = yield Work(question.files)
        call = _calls.build_request(
            _calls.EXPLANATIONS, files, question.fields, accept=_calls.EVENTS, fresh=fresh
        )
        head = yield from self._exchange(Open(call))
        _calls.parse_head(head)
        parser = Parser()
        while (chunk := (yield Read())) is not None:
            for event in parser.feed(chunk):
                told = _calls.read_event(event, head.headers.get("x-request-id"))
                if told is not None:
                    yield Emit(told)
                if isinstance(told, Result):
                    return
        raise StreamBroken("the stream ended before its result")

    def estimate(self, question: Question) -> Flow[Estimate]:
        return _calls.parse_estimate((yield from self._ask(question, _calls.ESTIMATES)))

    # ---- models ---------------------------------------------------------------------------------
    def predict(self, question: Question) -> Flow[Top]:
        return _calls.parse_prediction((yield from self._ask(question, _calls.PREDICTIONS)))

    def predict_batch(self, question: Question) -> Flow[list[Top]]:
        return _calls.parse_predictions((yield from self._ask(question, _calls.PREDICTIONS)))

    def models(self) -> Flow[dict[str, dict[str, Any]]]:
        return _calls.parse_models((yield from self._exchange(Send(Call("GET", "/v1/models")))))

    def model(self, name: str) -> Flow[dict[str, Any]]:
        return _calls.parse_model((yield from self._exchange(Send(_calls.build_model(name)))))

    def ready(self) -> Flow[bool]:
        return _calls.parse_ready((yield Send(Call("GET", "/readyz"))))

    # ---- jobs -----------------------------------------------------------------------------------
    def submit(self, question: Question, *, fresh: bool, idempotency_key: str | None) -> Flow[JobStatus]:
        # Made once, before the first try: a reply that was lost cannot have left a second job behind.
        key = uuid.uuid4().hex if idempotency_key is None else idempotency_key
        reply = yield from self._ask(question, _calls.JOBS, fresh=fresh, idempotency_key=key)
        return _calls.parse_job(reply)

    def status(self, job_id: str) -> Flow[JobStatus]:
        return _calls.parse_job((yield from self._exchange(Send(_calls.build_job(job_id)))))

    def cancel(self, job_id: str) -> Flow[JobStatus]:
        return _calls.parse_job((yield from self._exchange(Send(_calls.build_job(job_id, method="DELETE")))))

    def result(self, job_id: str, *, figure: bool) -> Flow[Any]:
        reply = yield from self._exchange(Send(_calls.build_result(job_id, _accept(figure))))
        return _calls.parse_found(reply)

    def wait(self, job_id: str, timeout_s: float | None) -> Flow[JobStatus]:
        """Asks for the state until it is final."""
        began_s, delay_s, left_s = self.clock(), FIRST_POLL_S, timeout_s
        while True:
            status = yield from self._look(job_id, left_s)
            if status.ended:
                return status
            if timeout_s is not None:
                left_s = timeout_s - (self.clock() - began_s)
                if left_s <= 0:
                    raise TimedOut(f"job {job_id} is still {status.state} after {timeout_s} s")
            yield Sleep(delay_s if left_s is None else min(delay_s, left_s))
            delay_s = min(2 * delay_s, MAX_POLL_S)

    def watch(self, job_id: str) -> Flow[None]:
        """Emits every state that differs from the last; ends with a final one.

        A stream that breaks is opened again after a look at the state; where streams keep breaking without telling
        anything, looking is all that is done.
        """
        told: JobStatus | None = None
        silent, delay_s = 0, FIRST_POLL_S
        while True:
            if silent < MAX_SILENT_STREAMS:
                heard = yield from self._follow(job_id, told)
                silent = 0 if heard != told else silent + 1
                told = heard
            if told is None or not told.ended:
                status = yield from self._look(job_id)
                delay_s = FIRST_POLL_S if status != told else min(2 * delay_s, MAX_POLL_S)
                if status != told:
                    yield Emit(status)
                told = status
            if told.ended:
                return
            yield Sleep(delay_s)

    def _follow(self, job_id: str, told: JobStatus | None) -> Flow[JobStatus | None]:
        """Emits what one stream tells, until it breaks; returns what was told last."""
        try:
            head = yield from self._exchange(Open(_calls.build_watch(job_id)))
            _calls.parse_head(head)
            parser = Parser()
            while (chunk := (yield Read())) is not None:
                for event in parser.feed(chunk):
                    status = _calls.read_job_event(event, told, head.headers.get("x-request-id"))
                    if status is not None and status != told:
                        told = status
                        yield Emit(told)
                    if told is not None and told.ended:
                        return told
        except (ConnectionFailed, TimedOut, Unavailable):
            pass  # the state is asked for next: if the service is not there, that tells it
        return told

    def _look(self, job_id: str, within_s: float | None = None) -> Flow[JobStatus]:
        """The state of a job, from a service that may be restarting."""
        retry = self.retry.patient(within_s)
        return _calls.parse_job((yield from self._exchange(Send(_calls.build_job(job_id)), retry)))

    # ---- below all of them ----------------------------------------------------------------------
    def _ask(
        self,
        question: Question,
        path: str,
        *,
        accept: str = _calls.JSON,
        fresh: bool = False,
        idempotency_key: str | None = None,
    ) -> Flow[Reply]:
        files = yield Work(question.files)
        call = _calls.build_request(
            path, files, question.fields, accept=accept, fresh=fresh, idempotency_key=idempotency_key
        )
        return (yield from self._exchange(Send(call)))

    def _exchange(self, step: Send | Open, retry: RetryPolicy | None = None) -> Flow[Reply]:
        """The reply to a call, after as many tries as the policy allows."""
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
    """The next step of a flow, after what came of the last one; raises what the flow raises."""
    try:
        return flow.send(answer) if error is None else flow.throw(error)
    except StopIteration as done:
        return Done(done.value)


def _accept(figure: bool) -> str:
    return _calls.JSON_AND_FIGURE if figure else _calls.JSON
