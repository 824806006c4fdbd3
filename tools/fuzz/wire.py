"""Sends one HTTP request as it is, and says what came of it."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from http.client import HTTPException, HTTPResponse

from tools.fuzz.requests import Shot
from tools.fuzz.target import Target
from tools.fuzz.verdict import HANG_S, Verdict, hung, leaks

CHUNK_BYTES = 65_536
# Of replies of the server below the application, which cannot read the request at all.
UNREADABLE = 400
EXPECTED_CODES = {503: ("model_unavailable", "store_unavailable"), 504: ("deadline_exceeded",)}


def send(target: Target, shot: Shot, *, hang_s: float = HANG_S) -> Verdict:
    """What came of a request; it hangs where the whole answer takes longer than ``hang_s``."""
    deadline = time.monotonic() + hang_s
    try:
        with socket.create_connection(("127.0.0.1", target.port), hang_s) as connection:
            with suppress(ConnectionError):  # it may answer, and close, before it has read everything
                connection.sendall(shot.content)
                if not shot.whole:
                    connection.shutdown(socket.SHUT_WR)
            return _read(connection, shot, deadline)
    except TimeoutError:
        return hung(hang_s)
    except (OSError, HTTPException) as error:
        return Verdict("closed", None if not shot.whole else f"no answer: {error!r}")


def _read(connection: socket.socket, shot: Shot, deadline: float) -> Verdict:
    with HTTPResponse(connection, method=shot.method) as reply:
        reply.begin()
        body = bytearray()
        while piece := reply.read1(CHUNK_BYTES):
            body += piece
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
        kind = reply.headers.get("Content-Type", "")
    return Verdict(str(reply.status), _complaint(shot, reply.status, kind, bytes(body)))


def _complaint(shot: Shot, status: int, kind: str, body: bytes) -> str | None:
    """What is wrong with an answer."""
    if found := leaks(body):
        return f"{status} reveals {found}"
    if status < 400 or shot.method == "HEAD" or status == UNREADABLE:
        return None
    try:
        code = json.loads(body)["code"]
    except (ValueError, LookupError, TypeError):
        return f"{status} is no problem in JSON but {kind}: {body[:200]!r}"
    return f"{status} {code}" if status >= 500 and code not in EXPECTED_CODES.get(status, ()) else None
