"""Clients that hold what they can get: each kind a bounded number of connections, to this host alone."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Event

from tools.fuzz.target import Target

from wavescope.ingress.openapi.request_examples import TINY_PNG

Give = Callable[[], Iterator[bytes]]  # what a client sends, piece by piece, until it ends
HOST = b"Host: localhost\r\n"
GET = b"GET %s HTTP/1.1\r\n" + HOST
POST = b"POST /v1/explanations HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
PIECE = b"a" * 65_536
MANY = 1_000  # pieces at most
PAUSE_S = 0.5
AGAIN_S = 1.0  # before what was closed is opened again
SEND_S = 5.0
ASKED = b'{"image": {"base64": "%s"}, "grid_size": 4, "nb_design": 4}' % TINY_PNG.encode()


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of client.

    Attributes:
        name: for the report.
        grpc: whether it speaks HTTP/2.
        connections: that it holds; one that is closed is opened again after a pause.
        give: what it sends on each; it never reads.
        pause_s: after every piece.
    """

    name: str
    grpc: bool
    connections: int
    give: Give
    pause_s: float = 0.0


def _once(*pieces: bytes) -> Give:
    return lambda: iter(pieces)


def _then(head: bytes, piece: bytes, count: int = MANY) -> Give:
    def give() -> Iterator[bytes]:
        yield head
        for _ in range(count):
            yield piece

    return give


# ---- HTTP/2 as far as a client needs it that does not read ----------------------------------------
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_STREAM, END_HEADERS = 1, 4
NO_WINDOW = struct.pack(">HI", 4, 0)  # SETTINGS_INITIAL_WINDOW_SIZE: nothing of a reply may be sent
EXPLAIN = b"/wavescope.v1.ExplanationService/Explain"


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    """One frame of HTTP/2."""
    return len(content).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + content


def hello(settings: bytes = b"") -> bytes:
    """What a connection begins with."""
    return PREFACE + frame(SETTINGS, 0, 0, settings)


def _headers(path: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """HPACK, every field as a literal that is not kept."""
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        *more,
    ]
    return b"".join(
        b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value for name, value in fields
    )


def call(stream: int, path: bytes = EXPLAIN) -> bytes:
    """The beginning of an RPC."""
    return frame(HEADERS, END_HEADERS, stream, _headers(path))


def _half_message() -> Iterator[bytes]:
    yield hello()
    for stream in range(1, 21, 2):
        yield call(stream) + frame(DATA, 0, stream, b"\0" + struct.pack(">I", 1_000_000) + b"\x0a")


def _no_message() -> Iterator[bytes]:
    yield hello() + b"".join(call(stream) for stream in range(1, 201, 2))


def _resets() -> Iterator[bytes]:
    yield hello()
    for stream in range(1, 2 * MANY, 2):
        yield call(stream) + frame(RESET, 0, stream, struct.pack(">I", 8))


def _unread_replies() -> Iterator[bytes]:
    live = b"/wavescope.v1.ExplanationService/ListModels"
    yield hello(NO_WINDOW)
    for stream in range(1, 11, 2):
        yield call(stream, live) + frame(DATA, END_STREAM, stream, b"\0\0\0\0\0")


def _endless_metadata() -> Iterator[bytes]:
    yield hello() + frame(HEADERS, 0, 1, _headers(EXPLAIN))
    for _ in range(MANY):
        yield frame(CONTINUATION, 0, 1, _headers(EXPLAIN, (b"x", b"a" * 100)))


KINDS = (
    Kind("half-sent bodies", False, 200, _once(POST + b"Content-Length: 1000\r\n\r\n{")),
    Kind("bodies byte by byte", False, 50, _then(POST + b"Content-Length: 1000\r\n\r\n", b" "), PAUSE_S),
    Kind("chunked bodies without an end", False, 50, _once(CHUNKED + b"1\r\n{\r\n")),
    Kind("half-sent headers", False, 200, _once(GET % b"/livez" + b"X-A: a")),
    Kind("headers byte by byte", False, 50, _then(GET % b"/livez" + b"X-A: ", b"a"), PAUSE_S),
    Kind("a header without an end", False, 4, _then(GET % b"/livez" + b"X-A: ", PIECE)),
    Kind("headers without an end", False, 4, _then(GET % b"/livez", b"X-A: a\r\n" * 5_000)),
    Kind("an address without an end", False, 4, _then(b"GET /", PIECE)),
    Kind("trailers without an end", False, 4, _then(CHUNKED + b"1\r\n{\r\n0\r\nX-A: ", PIECE)),
    Kind("connections without a request", False, 300, _once(b"")),
    Kind("requests ahead of their turn", False, 20, _then(b"", (GET % b"/livez" + b"\r\n") * 10, 10)),
    Kind("replies that nobody reads", False, 20, _once(GET % b"/docs/swagger-ui-bundle.js" + b"\r\n")),
    Kind(
        "event streams that nobody reads",
        False,
        10,
        _once(POST + b"Accept: text/event-stream\r\nContent-Length: %d\r\n\r\n%s" % (len(ASKED), ASKED)),
    ),
    Kind("connections without a preface", True, 100, _once(b"")),
    Kind("idle connections", True, 300, _once(hello())),
    Kind("half-sent messages", True, 20, _half_message),
    Kind("RPCs without a message", True, 20, _no_message),
    Kind("RPCs begun and reset", True, 4, _resets),
    Kind("replies that nobody reads", True, 4, _unread_replies),
    Kind("pings without an end", True, 4, _then(hello(), frame(PING, 0, 0, b"12345678") * 100, 100)),
    Kind("metadata without an end", True, 4, _endless_metadata),
)  # fmt: skip


def hold(target: Target, kind: Kind, over: Event) -> int:
    """Is such clients until it is over; returns how often a connection was opened."""
    port, opened = target.grpc_port if kind.grpc else target.port, 0
    with ExitStack() as stack:
        again = 0.0
        held: list[tuple[socket.socket, Iterator[bytes]]] = []
        while not over.is_set():
            while len(held) < kind.connections and time.monotonic() >= again and not over.is_set():
                with suppress(OSError):
                    client = stack.enter_context(socket.create_connection(("127.0.0.1", port), SEND_S))
                    client.setblocking(False)
                    held.append((client, kind.give()))
                    opened += 1
                    continue
                break
            kept = [one for one in held if not over.is_set() and _go_on(*one)]
            if len(kept) < len(held):
                again = time.monotonic() + AGAIN_S
            held = kept
            over.wait(kind.pause_s or PAUSE_S / 10)
    return opened


def _go_on(client: socket.socket, pieces: Iterator[bytes]) -> bool:
    """Sends the next piece; ``False`` where the connection is closed."""
    try:
        # Whether it was closed is seen without taking what could be read.
        if client.recv(1, socket.MSG_PEEK) == b"":
            client.close()
            return False
    except BlockingIOError:
        pass
    except OSError:
        client.close()
        return False
    try:
        client.send(next(pieces, b""))
    except BlockingIOError:
        pass  # the rest of the piece is lost: what is sent has no end anyway
    except OSError:
        client.close()
        return False
    return True


def hold_all(target: Target, over: Event) -> None:
    """Is all of them; runs in a process of its own, which takes no time from those who ask."""
    threads = [threading.Thread(target=hold, args=(target, kind, over)) for kind in KINDS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
