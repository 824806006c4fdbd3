"""Bad input of every kind over real sockets: none is answered with a defect, or not at all.

``make fuzz`` sends many more of the same to the running service.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tests.fuzz.served import served
from tests.polling import DEADLINE_S
from tools.faults.memory import private_mb
from tools.fuzz import sections, wire
from tools.fuzz.requests import DOCUMENTS, Draft, Shot, files_sent, shots
from tools.fuzz.rpcs import rpcs
from tools.fuzz.target import Target


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with served() as target:
        yield target


@pytest.mark.parametrize(("section", "count"), [(sections.http, 180), (sections.grpc, 120)])
def test_bad_input_is_refused_or_answered(
    section: Callable[..., sections.Section], count: int, target: Target, tmp_path: Path
):
    found = section(target, 0, count, tmp_path)
    assert (found.complaints, found.count) == ([], count)
    assert len(found.outcomes) > 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [shots, files_sent, rpcs])
def test_what_was_sent_can_be_sent_again(make: Callable[[int], Iterator[Any]]):
    first, again, other = (list(islice(make(seed), 50)) for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize(("path", "document"), DOCUMENTS)
def test_what_is_damaged_is_sound_at_first(path: str, document: dict[str, Any], target: Target):
    headers = [("Content-Type", "application/json")]
    sound = Draft(path, headers=headers, body=json.dumps(document).encode()).shot("nothing")
    assert wire.send(target, sound).outcome in ("200", "202")


@pytest.mark.parametrize(
    ("section", "complaint"), [(sections.http, "500 internal"), (sections.grpc, "INTERNAL")]
)
def test_defects_are_found_and_kept(section: Callable[..., sections.Section], complaint: str, tmp_path: Path):
    with served(error=RuntimeError("a defect")) as target:
        found = section(target, 0, 60, tmp_path)
    assert any(complaint in told for told in found.complaints)
    assert len(list(tmp_path.iterdir())) == len(found.complaints)


def reply(status: int, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"", "no answer"),
        (reply(200, "text/plain", b"Traceback (most recent call last):"), "Traceback"),
        (reply(503, "text/plain", b"Service Unavailable"), "no problem in JSON"),
        (reply(500, "application/json", b'{"code":"internal"}'), "500 internal"),
        (reply(502, "application/json", b'{"code":"remote_failure"}'), "502"),
        (reply(503, "application/json", b'{"code":"model_unavailable"}'), None),
        (reply(422, "application/json", b'{"code":"invalid_request"}'), None),
        (None, "within"),
    ],
)
def test_what_may_not_be_answered(answer: bytes | None, complaint: str | None):
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer or b"")
                if answer is None:
                    over.wait(DEADLINE_S)

        server = threading.Thread(target=serve)
        server.start()
        found = wire.send(
            Target(listener.getsockname()[1], 0),
            Shot("sound", "GET", b"GET / HTTP/1.1\r\n\r\n"),
            hang_s=0.3 if answer is None else DEADLINE_S,
        )
        over.set()
        server.join(DEADLINE_S)
    assert (found.complaint is None) if complaint is None else (complaint in (found.complaint or ""))


def test_memory_is_what_processes_have_for_themselves():
    before_mb = sum(private_mb([os.getpid()]).values())
    # Mapped by itself: what the allocator takes from the system is the allocator's to say.
    with mmap.mmap(-1, 40_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as kept:
        for _ in range(40):
            kept.write(b"x" * 1_000_000)
        after_mb = sum(private_mb([os.getpid()]).values())
    assert after_mb - before_mb == pytest.approx(40, abs=5)
    assert private_mb([2**22 + 1]) == {}
