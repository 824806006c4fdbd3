"""Connections of HTTP with an end: uvicorn's own protocol bounds neither headers nor clients that never read.

What a client can hold is bounded here: the bytes of its headers and the time they take, requests sent ahead of their
turn, replies that it does not read, and how many connections there are at once. Bodies are the matter of
:mod:`wavescope.ingress.ray_proxy.http_guard`.
"""

from __future__ import annotations

import asyncio
import resource
from dataclasses import dataclass, replace
from typing import Any, Final

from uvicorn import config as uvicorn_config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from wavescope.errors import WavescopeError
from wavescope.ingress.call_context import choose_request_id
from wavescope.ingress.problems import (
    PROBLEM_MEDIA_TYPE,
    HeadersTooLarge,
    HeaderTimeout,
    MalformedRequest,
    encode_problem,
    http_status,
    problem,
)

MAX_HEADERS: Final = 128
MAX_PIPELINED: Final = 16  # requests that wait for the reply to the one before them
MANY_FILES: Final = 65_536  # more are not counted on
REPLY_BYTES_PER_S: Final = 1024  # that a client takes at least while a reply waits for it


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits that come from the settings.

    Attributes:
        max_connections: at once. For one more, the connection is closed that has waited longest for a request.
        max_header_bytes: of a request's first line and headers together.
        header_timeout_s: for these to come, from the first byte, or from the beginning of the connection.
        reply_timeout_s: that a client may take next to nothing of a reply.
        max_unread_bytes: of replies that wait for their clients, of all connections together.
    """

    max_connections: int = 1000
    max_header_bytes: int = 64 * 1024
    header_timeout_s: float = 10.0
    reply_timeout_s: float = 60.0
    max_unread_bytes: int = 512 * 2**20


def install(limits: ConnectionLimits) -> None:
    """Bounds the connections of every server that uvicorn starts in this process from now on.

    Ray Serve hands uvicorn no protocol, and takes none from us: this entry of uvicorn's table is the way in.
    """
    Bounded.limits = _within_open_files(limits)
    uvicorn_config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{Bounded.__name__}"


def _within_open_files(limits: ConnectionLimits) -> ConnectionLimits:
    """Half of the files that this process may open are left to everything else."""
    return replace(limits, max_connections=min(limits.max_connections, open_files() // 2))


def open_files() -> int:
    """Number of files that this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MANY_FILES if soft == resource.RLIM_INFINITY else max(2, min(soft, MANY_FILES))


class _Refused(Exception):
    """Ends the parsing of a request."""


class Bounded(HttpToolsProtocol):
    """One connection; see the module."""

    limits = ConnectionLimits()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.ws_protocol_class = (
            None  # nothing here speaks WebSocket: a handshake is a request like any other
        )
        self._head_bytes = 0  # of the request that is coming, as the parser passes them
        self._silent_bytes = 0  # that came since something of a request began, or was of its body
        self._moved = False  # whether that was the case in the piece that came last
        self._waits_since: float = self.loop.time()
        self._head_timer: asyncio.TimerHandle | None = None
        self._reply_timer: asyncio.TimerHandle | None = None
        self._unread = 0  # bytes when the reply timer was set
        self._why: WavescopeError | None = None

    # ---- how many there are ----------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        super().connection_made(transport)  # type: ignore[arg-type]
        # Whatever is not read is noticed, not only what exceeds a buffer.
        self.transport.set_write_buffer_limits(high=0)
        self._await_head()
        if len(self.connections) > self.limits.max_connections:
            idle = [c for c in self.connections if isinstance(c, Bounded) and c.is_idle and c is not self]
            # Where all others are busy, the new one has to go.
            min(idle, key=lambda one: one.waits_since, default=self).abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has closed the connection."""
        self._stop_timers()
        super().connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """Whether it has no request."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def waits_since(self) -> float:
        """Time at which the last request ended, in seconds of the event loop."""
        return self._waits_since

    def abort(self) -> None:
        """Closes it at once, whatever waits to be read."""
        self.connections.discard(self)
        self.transport.abort()

    # ---- headers ---------------------------------------------------------------------------------
    def data_received(self, data: bytes) -> None:
        """Something came."""
        if self.transport.is_closing():
            return
        self._moved = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._head_timer is None and self.is_idle:  # empty lines before a request
            self._await_head()
        # The parser keeps the pieces of a header, or of what may follow a body, until it ends.
        self._silent_bytes = 0 if self._moved else self._silent_bytes + len(data)
        if self._silent_bytes > self.limits.max_header_bytes:
            self._refuse(self._too_large())

    def on_message_begin(self) -> None:
        """The first byte of a request came."""
        super().on_message_begin()
        self._moved, self._head_bytes = True, 0
        self._await_head()

    def on_body(self, body: bytes) -> None:
        """A piece of a body came."""
        self._moved = True
        super().on_body(body)

    def on_url(self, url: bytes) -> None:
        """A piece of the address came."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header came."""
        super().on_header(name, value)
        self._count(len(name) + len(value) + 4)
        if len(self.headers) > MAX_HEADERS:
            self._why = HeadersTooLarge(
                f"the request has more than {MAX_HEADERS} headers", max_headers=MAX_HEADERS
            )
            raise _Refused

    def on_headers_complete(self) -> None:
        """The head came to its end."""
        self._stop_head_timer()
        if len(self.pipeline) >= MAX_PIPELINED:
            self._why = MalformedRequest(
                f"more than {MAX_PIPELINED} requests were sent before the one before them was answered",
                max_pipelined=MAX_PIPELINED,
            )
            raise _Refused
        super().on_headers_complete()

    def _count(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > self.limits.max_header_bytes:
            self._why = self._too_large()
            raise _Refused

    def _too_large(self) -> HeadersTooLarge:
        most = self.limits.max_header_bytes
        return HeadersTooLarge(
            f"the request's first line and headers are larger than {most} bytes", max_header_bytes=most
        )

    def on_response_complete(self) -> None:
        """A reply was handed to the connection."""
        self._waits_since = self.loop.time()
        super().on_response_complete()

    # ---- time ------------------------------------------------------------------------------------
    def _await_head(self) -> None:
        self._stop_head_timer()
        self._head_timer = self.loop.call_later(self.limits.header_timeout_s, self._head_is_late)

    def _head_is_late(self) -> None:
        if not self.is_idle:  # the next request is sent ahead while this one is answered
            self._await_head()
            return
        timeout_s = self.limits.header_timeout_s
        if self.scope is None:  # nothing came at all
            self.abort()
        else:
            self._refuse(
                HeaderTimeout(f"the headers did not come within {timeout_s:g} s", header_timeout_s=timeout_s)
            )

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_timers(self) -> None:
        self._stop_head_timer()
        if self._reply_timer is not None:
            self._reply_timer.cancel()
            self._reply_timer = None

    # ---- replies that are not read ---------------------------------------------------------------
    def pause_writing(self) -> None:
        """The client reads more slowly than it is sent."""
        super().pause_writing()
        self._watch_reader()
        paused = [c for c in self.connections if isinstance(c, Bounded) and c.flow.write_paused]
        waiting = sum(one.unread for one in paused)
        for one in sorted(paused, key=lambda one: one.unread, reverse=True):
            if waiting <= self.limits.max_unread_bytes:
                break
            waiting -= one.unread
            one.abort()

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if self._reply_timer is not None:
            self._reply_timer.cancel()
            self._reply_timer = None

    @property
    def unread(self) -> int:
        """Bytes of replies that the client has not taken."""
        return self.transport.get_write_buffer_size()

    def _watch_reader(self) -> None:
        self._unread = self.unread
        self._reply_timer = self.loop.call_later(self.limits.reply_timeout_s, self._look_at_reader)

    def _look_at_reader(self) -> None:
        taken = self._unread - self.unread
        if taken < REPLY_BYTES_PER_S * self.limits.reply_timeout_s:
            self.abort()
        else:
            self._watch_reader()

    # ---- refusals --------------------------------------------------------------------------------
    def send_400_response(self, msg: str) -> None:
        """The parser gave up: on what is no HTTP, or on what was refused above."""
        self._refuse(self._why or MalformedRequest("the request is no HTTP/1.1"))

    def _refuse(self, error: WavescopeError) -> None:
        """Send the error, unless a reply is under way, and close the connection."""
        self._stop_head_timer()
        if not self.is_idle:
            self.transport.close()
            return
        request_id = choose_request_id(None)
        body = encode_problem(problem(error, request_id))
        head = (
            f"content-type: {PROBLEM_MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nx-request-id: {request_id}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[http_status(error)] + head.encode("ascii") + body)
        self.transport.close()
