"""Server-sent events: the streams of explanations and jobs as ``text/event-stream``."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, aclosing, nullcontext
from functools import partial
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from wavescope.engine.events import PartialIndices, Progress
from wavescope.errors import WavescopeError
from wavescope.ingress.job_replies import job_reply
from wavescope.ingress.monitor_replies import monitor_reply
from wavescope.ingress.plane import Event, JobStatus, MonitorStatus
from wavescope.ingress.problems import defect, http_status, is_hidden, problem
from wavescope.ingress.replies import encode_batch_json, encode_json, to_indices
from wavescope.ingress.rest.negotiation import EVENTS
from wavescope.ingress.streams import with_pauses

Pause = Callable[[], Awaitable[None]]
KEEP_ALIVE_S: Final = 15.0  # proxies and browsers commonly give a silent connection up after 30 s to 60 s
KEEP_ALIVE: Final = b": keep-alive\n\n"
keep_alive: Final[Pause] = partial(asyncio.sleep, KEEP_ALIVE_S)
log = logging.getLogger(__name__)


async def explanation_events(
    stream: AsyncGenerator[Event, None], *, batch: bool, pause: Pause = keep_alive
) -> AsyncGenerator[bytes, None]:
    """``progress``, ``partial`` and ``result``, with a comment after each pause.

    Args:
        stream: of the data plane; closed with this one.
        batch: whether the result is a list.
        pause: ends when nothing was sent for too long.
    """
    async with aclosing(with_pauses(stream, pause)) as events:
        async for event in events:
            yield KEEP_ALIVE if event is None else await _encode(event, batch)


async def job_events(
    states: AsyncGenerator[JobStatus, None], *, root: str, pause: Pause = keep_alive
) -> AsyncGenerator[bytes, None]:
    """``state`` on each change of it, and ``progress`` between, with a comment after each pause.

    Args:
        states: of the data plane; closed with this one.
        root: of the service's paths.
        pause: ends when nothing was sent for too long.
    """
    last: str | None = None
    async with aclosing(with_pauses(states, pause)) as events:
        async for job in events:
            if job is None:
                yield KEEP_ALIVE
            elif job.state != last:
                last = job.state
                yield _event("state", json.dumps(job_reply(job, root)).encode("ascii"))
            else:
                content = {"forwards": job.forwards, "planned": job.planned, "eta_s": job.eta_s}
                yield _event("progress", json.dumps(content).encode("ascii"))


class EventStream(Response):
    """A reply of server-sent events, which ends when its client leaves.

    An error before anything is sent is raised, and answered as any other; a later one is sent as the event ``error``.
    """

    media_type = EVENTS

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        request_id: str,
        place: AbstractContextManager[None] | None = None,
        *,
        around: AbstractContextManager[Any] | None = None,
    ) -> None:
        """Makes a reply.

        Args:
            chunks: encoded events; closed on every path once the reply is begun.
            request_id: for errors.
            place: among the streams that are open; taken while the events are sent.
            around: entered already; left with how the stream ended.
        """
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.headers["content-type"] = EVENTS  # without a charset: it is UTF-8 always
        self._chunks = chunks
        self._request_id = request_id
        self._place = place or nullcontext()
        self._around = around or nullcontext()
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until the last, or until the client leaves.

        Raises:
            ClientDisconnect: it left.
        """
        try:
            with self._around, self._place:
                async with aclosing(self._chunks):
                    await self._send_unless_left(receive, send)
        except ClientDisconnect:
            raise
        except Exception as error:  # the status is sent already
            if not self._started:
                raise
            await self._send_chunk(send, _event("error", self._problem(error)))
        await self._send_chunk(send, b"", last=True)

    async def _send_unless_left(self, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send_all(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise ClientDisconnect
            await sending
        finally:
            sending.cancel()
            leaving.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        async for chunk in self._chunks:
            await self._send_chunk(send, chunk)

    async def _send_chunk(self, send: Send, chunk: bytes, *, last: bool = False) -> None:
        try:
            if not self._started:
                self._started = True
                await send(
                    {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
                )
            await send({"type": "http.response.body", "body": chunk, "more_body": not last})
        except OSError as error:  # how servers say that nobody reads
            raise ClientDisconnect from error

    def _problem(self, error: Exception) -> bytes:
        if isinstance(error, WavescopeError) and not is_hidden(error):
            content, status = problem(error, self._request_id), http_status(error)
        else:
            log.error("stream failed", exc_info=error, extra={"request_id": self._request_id})
            content, status = defect(self._request_id), 500
        return json.dumps({**content, "status": status}).encode("ascii")


async def monitor_events(
    states: AsyncGenerator[MonitorStatus, None], *, root: str, pause: Pause = keep_alive
) -> AsyncGenerator[bytes, None]:
    """``state`` whenever the status changes, with a comment after each pause; arguments as of :func:`job_events`."""
    async with aclosing(with_pauses(states, pause)) as events:
        async for status in events:
            if status is None:
                yield KEEP_ALIVE
            else:
                content = json.dumps(monitor_reply(status, root), allow_nan=False)
                yield _event("state", content.encode("ascii"))


async def _left(receive: Receive) -> None:
    """Ends when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _encode(event: Event, batch: bool) -> bytes:
    if isinstance(event, Progress):
        content = {
            "forwards": event.forwards,
            "planned": event.planned,
            "elapsed_s": event.elapsed_s,
            "eta_s": event.eta_s,
        }
        return _event("progress", json.dumps(content).encode("ascii"))
    if isinstance(event, PartialIndices):
        content = {
            "image": event.image,
            "forwards": event.forwards,
            "rows": event.rows,
            "indices": to_indices(event.indices),
        }
        return _event("partial", json.dumps(content, allow_nan=False).encode("ascii"))
    # Thousands of numbers and some pictures: in a thread, so that other requests are served meanwhile.
    if batch:
        return _event("result", await asyncio.to_thread(encode_batch_json, event.explanations))
    (explanation,) = event.explanations
    return _event("result", await asyncio.to_thread(encode_json, explanation))


def _event(name: str, data: bytes) -> bytes:
    """One event; ``data`` is JSON without line breaks."""
    return b"event: %s\ndata: %s\n\n" % (name.encode("ascii"), data)
