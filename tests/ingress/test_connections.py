"""Connections with limits, on real sockets."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from tests.polling import eventually
from uvicorn import config as uvicorn_config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from wavescope.ingress.ray_proxy import connections
from wavescope.ingress.ray_proxy.connections import MAX_HEADERS, MAX_PIPELINED, Bounded, ConnectionLimits

SHORT_S = 0.2
LONG_S = 60.0
HOST = b"Host: localhost\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST / HTTP/1.1\r\n" + HOST
PIECE = b"x" * 65536


def test_what_is_overridden_is_what_uvicorn_calls():
    ours = {"abort", "is_idle", "waits_since", "unread", "limits"}
    overridden = {name for name in vars(Bounded) if not name.startswith("_")} - ours
    assert "on_headers_complete" in overridden
    assert overridden <= set(vars(HttpToolsProtocol))


@dataclass
class App:
    """Reads the body, and answers with as many bytes as it was told to; counts what it began and what was left."""

    reply_bytes: int = 2
    waits: asyncio.Event | None = None
    begun: int = 0
    left: int = 0
    connections: set[Any] = field(default_factory=set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left += 1
                return
            more = message["more_body"]
        if self.waits is not None:
            await self.waits.wait()
        size = str(self.reply_bytes).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", size)]})
        await send({"type": "http.response.body", "body": b"x" * self.reply_bytes})


@dataclass
class Served:
    """A server, and where it is."""

    app: App
    port: int
    server: uvicorn.Server
    run: Callable[[Any], Any]

    @contextmanager
    def connect(self, *pieces: bytes) -> Iterator[socket.socket]:
        """A connection on which these were sent; what the server no longer takes is left out."""
        with socket.create_connection(("127.0.0.1", self.port), LONG_S) as client:
            try:
                for piece in pieces:
                    client.sendall(piece)
            except ConnectionError:
                pass
            yield client

    def open(self) -> int:
        """Connections that the server has."""
        return len(self.server.server_state.connections)

    def livez(self) -> int:
        with self.connect(GET + b"\r\n") as client:
            return reply(client)[0]


@contextmanager
def served(app: App | None = None, **limits: Any) -> Iterator[Served]:
    app = app or App()
    protocol = type("Limited", (Bounded,), {"limits": ConnectionLimits(**limits)})
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=protocol, log_level="critical", lifespan="off", timeout_keep_alive=60)
    server = uvicorn.Server(config)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    serving = asyncio.run_coroutine_threadsafe(server.serve([listener]), loop)

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(LONG_S)

    try:
        yield Served(app, listener.getsockname()[1], server, run)
    finally:
        server.should_exit = server.force_exit = True
        serving.result(LONG_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(LONG_S)
        loop.close()


def reply(client: socket.socket) -> tuple[int, dict[str, Any]]:
    """Status and problem of the next reply, and nothing of what comes behind it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = client.recv(1)
        assert piece, f"closed after {head!r}"
        head += piece
    length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
    content = client.recv(length, socket.MSG_WAITALL)
    return int(head.split()[1]), json.loads(content) if content.startswith(b"{") else {}


def is_closed(client: socket.socket) -> bool:
    """Whether the server closes the connection, within a deadline."""
    try:
        while client.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


LARGE = {"max_header_bytes": 4096}


@pytest.mark.parametrize(
    "pieces",
    [
        [GET + b"X: " + b"a" * 5000 + b"\r\n\r\n"],
        [GET + b"X: ", *[b"a" * 4096] * 200],
        [GET, *[b"X: a\r\n" * 100] * 200],
        [b"GET /" + b"a" * 5000],
        [b"GET /", *[b"a" * 4096] * 200],
        [GET, *[b"a" * 4096] * 200],
        [GET + b"X: a\r\n" * (MAX_HEADERS + 1) + b"\r\n"],
    ],
    ids=["one", "endless value", "endless count", "address", "endless address", "name", "too many"],
)
def test_headers_over_the_limit_are_refused_before_they_end(pieces: list[bytes]) -> None:
    with served(**LARGE) as server:
        with server.connect(*pieces) as client:
            status, problem = reply(client)
            assert (status, problem["code"]) == (431, "headers_too_large")
            assert problem["limits"] in ({"max_header_bytes": 4096}, {"max_headers": MAX_HEADERS})
            assert is_closed(client)
        assert server.app.begun == 0
        assert server.livez() == 200


@pytest.mark.parametrize(
    "pieces",
    [
        [POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nT: ", *[b"a" * 4096] * 200],
        [POST + b"Transfer-Encoding: chunked\r\n\r\n1;", *[b"a" * 4096] * 200],
        [b"\r\n" * 2048] * 200,
    ],
    ids=["trailers", "chunk extensions", "empty lines"],
)
def test_what_is_no_body_has_the_limit_of_headers_wherever_it_comes(pieces: list[bytes]) -> None:
    with served(**LARGE) as server:
        with server.connect(*pieces) as client:
            assert is_closed(client)
        eventually(lambda: server.open() == 0)
        assert server.livez() == 200


def test_headers_within_the_limit_are_served() -> None:
    with served(**LARGE) as server, server.connect(GET + b"X: " + b"a" * 3900 + b"\r\n\r\n") as client:
        assert reply(client)[0] == 200


def test_bodies_are_not_held_to_the_limit_of_headers() -> None:
    head = POST + b"Content-Length: %d\r\n\r\n" % (20 * len(PIECE))
    with served(**LARGE) as server, server.connect(head, *[PIECE] * 20) as client:
        assert reply(client)[0] == 200
        client.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
        assert reply(client)[0] == 200


@pytest.mark.parametrize("sent", [GET, b"G", GET + b"\r\n" + GET])
def test_headers_have_their_time(sent: bytes) -> None:
    with served(header_timeout_s=SHORT_S) as server, server.connect(sent) as client:
        if sent.count(b"GET") > 1:
            assert reply(client)[0] == 200
        status, problem = reply(client)
        assert (status, problem["code"]) == (408, "header_timeout")
        assert problem["limits"] == {"header_timeout_s": SHORT_S}
        assert is_closed(client)


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
def test_a_connection_without_a_request_is_closed(sent: bytes) -> None:
    with served(header_timeout_s=SHORT_S) as server, server.connect(sent) as client:
        assert is_closed(client)


def test_a_request_that_takes_its_time_is_not_cut_off() -> None:
    app = App(waits=asyncio.Event())
    # The next request has begun as well: its time counts from when it could be answered.
    sent = GET + b"\r\n" + GET
    with (
        served(app, header_timeout_s=SHORT_S, reply_timeout_s=SHORT_S) as server,
        server.connect(sent) as client,
    ):
        eventually(lambda: app.begun == 1)
        client.settimeout(3 * SHORT_S)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(LONG_S)
        server.run(_set(app.waits))
        assert reply(client)[0] == 200
        assert reply(client)[0] == 408


async def _set(event: asyncio.Event | None) -> None:
    assert event is not None
    event.set()


def test_what_is_no_http_is_told_so() -> None:
    with served() as server, server.connect(b"nonsense\r\n\r\n") as client:
        status, problem = reply(client)
        assert (status, problem["code"]) == (400, "malformed_request")


def test_requests_sent_ahead_are_few() -> None:
    app = App(waits=asyncio.Event())
    with served(app) as server, server.connect((GET + b"\r\n") * (MAX_PIPELINED + 2)) as client:
        assert is_closed(client)
        eventually(lambda: server.open() == 0)
        server.run(_set(app.waits))
        with server.connect((GET + b"\r\n") * MAX_PIPELINED) as client:
            assert [reply(client)[0] for _ in range(MAX_PIPELINED)] == [200] * MAX_PIPELINED


@pytest.mark.parametrize("ends", [False, True])
def test_a_reply_that_nobody_reads_is_cut_off(ends: bool) -> None:
    app = App(reply_bytes=64 * 2**20)
    head = GET + (b"Connection: close\r\n" if ends else b"") + b"\r\n"
    with served(app, reply_timeout_s=SHORT_S) as server, server.connect(head):
        eventually(lambda: app.begun == 1)
        eventually(lambda: server.open() == 0)


def test_a_reply_that_is_read_slowly_but_steadily_comes_whole() -> None:
    app = App(reply_bytes=64 * 2**20)
    with served(app, reply_timeout_s=1.0) as server, server.connect(GET + b"\r\n") as client:
        began, taken = time.monotonic(), 0
        while taken < app.reply_bytes:
            piece = client.recv(2**18)
            assert piece, f"cut off after {taken} bytes"
            taken += len(piece)
            if time.monotonic() - began < 3.0:  # longer than a client that stands still may take
                time.sleep(0.02)


def test_unread_replies_are_bounded_together() -> None:
    app = App(reply_bytes=16 * 2**20)
    with served(app, max_unread_bytes=40 * 2**20) as server, ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(server.connect(GET + b"\r\n"))
        eventually(lambda: app.begun == 6)
        eventually(lambda: server.open() <= 3)


def test_one_more_connection_takes_the_place_of_the_longest_idle() -> None:
    app = App()
    with served(app, max_connections=3) as server, ExitStack() as stack:
        oldest, used, newest = (stack.enter_context(server.connect()) for _ in range(3))
        used.sendall(GET + b"\r\n")
        assert reply(used)[0] == 200
        assert server.livez() == 200
        assert is_closed(oldest)
        for kept in (used, newest):
            kept.sendall(GET + b"\r\n")
            assert reply(kept)[0] == 200


def test_busy_connections_keep_their_place() -> None:
    app = App(waits=asyncio.Event())
    with served(app, max_connections=2) as server, ExitStack() as stack:
        busy = [stack.enter_context(server.connect(GET + b"\r\n")) for _ in range(2)]
        eventually(lambda: app.begun == 2)
        with server.connect() as more:
            assert is_closed(more)
        server.run(_set(app.waits))
        assert [reply(client)[0] for client in busy] == [200, 200]


def test_websocket_is_not_spoken() -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n"
    with served() as server, server.connect(GET + upgrade + key) as client:
        assert reply(client)[0] == 200


def test_servers_that_ask_for_no_protocol_are_given_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_config, "HTTP_PROTOCOLS", dict(uvicorn_config.HTTP_PROTOCOLS))
    monkeypatch.setattr(Bounded, "limits", Bounded.limits)
    limits = ConnectionLimits(max_connections=1, max_header_bytes=1234)
    connections.install(limits)
    config = uvicorn.Config(App())
    config.load()
    assert config.http_protocol_class is Bounded
    assert Bounded.limits == limits


def test_connections_leave_files_to_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_config, "HTTP_PROTOCOLS", dict(uvicorn_config.HTTP_PROTOCOLS))
    monkeypatch.setattr(Bounded, "limits", Bounded.limits)
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 256))
    connections.install(ConnectionLimits(max_connections=1000))
    assert Bounded.limits.max_connections == 128
