"""The parts of a run, each a number of inputs and what came of them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tools.fuzz import requests, rpcs, wire
from tools.fuzz.target import Target
from tools.fuzz.verdict import HANG_S, Verdict

CALLERS = 4
# What schemathesis is to judge: all but positive_data_acceptance, since no schema says which fields go together.
NOT_JUDGED = "positive_data_acceptance"


class Input(Protocol):
    """What is sent."""

    @property
    def content(self) -> bytes: ...


Sent = TypeVar("Sent", bound=Input)


@dataclass(slots=True)
class Section:
    """What came of the inputs of one kind.

    Attributes:
        name: for the report.
        outcomes: how many inputs ended so.
        complaints: what should not have happened, in words.
        slowest_s: the longest that one took.
        took_s: all of them.
    """

    name: str
    outcomes: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    took_s: float = 0.0

    @property
    def count(self) -> int:
        """Of inputs."""
        return self.outcomes.total()

    def plus(self, other: Section) -> Section:
        """With what came of more inputs of the same kind."""
        return Section(
            self.name,
            self.outcomes + other.outcomes,
            self.complaints + other.complaints,
            max(self.slowest_s, other.slowest_s),
            self.took_s + other.took_s,
        )


def http(target: Target, seed: int, count: int, folder: Path) -> Section:
    """Requests with something wrong in them."""
    return _each(
        "HTTP", requests.shots(seed), count, folder, lambda: None, lambda _, shot: wire.send(target, shot)
    )


def files(target: Target, seed: int, count: int, folder: Path) -> Section:
    """Damaged image files over HTTP."""
    sent = requests.files_sent(seed)
    return _each(
        "image files over HTTP", sent, count, folder, lambda: None, lambda _, shot: wire.send(target, shot)
    )


def grpc(target: Target, seed: int, count: int, folder: Path) -> Section:
    """RPCs with something wrong in them."""
    return _each("gRPC", rpcs.rpcs(seed), count, folder, lambda: rpcs.channel_to(target), rpcs.call)


def _each(
    name: str,
    inputs: Iterator[Sent],
    count: int,
    folder: Path,
    connect: Callable[[], Any],
    send: Callable[[Any, Sent], Verdict],
) -> Section:
    """Sends that many inputs, and keeps those that should not have ended as they did."""
    section, began, lock = Section(name), time.monotonic(), threading.Lock()
    connection = connect()

    def one(numbered: tuple[int, Sent]) -> None:
        number, sent = numbered
        started = time.monotonic()
        verdict = send(connection, sent)
        took_s = time.monotonic() - started
        with lock:
            section.outcomes[verdict.outcome] += 1
            section.slowest_s = max(section.slowest_s, took_s)
            if verdict.complaint is not None:
                file = folder / f"{name.replace(' ', '-')}-{number}.bin"
                file.write_bytes(sent.content)
                described = getattr(sent, "what", None) or getattr(sent, "method", "")
                section.complaints.append(f"{name} {number} ({described}): {verdict.complaint}; {file}")

    with ThreadPoolExecutor(CALLERS) as callers:
        # In portions: what waits to be sent is kept in memory.
        numbered = enumerate(islice(inputs, count))
        while portion := list(islice(numbered, 200)):
            list(callers.map(one, portion))
    if connection is not None:
        connection.close()
    section.took_s = time.monotonic() - began
    return section


def decoding(seed: int, count: int) -> Section:
    """Damaged image files through the decoder, in a process of its own, which holds its memory to a bound."""
    section, began = Section("image files, decoded"), time.monotonic()
    command = [sys.executable, "-m", "tests.fuzz.images", "--seed", str(seed), "--count", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 + count)
    summary = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {"outcomes": {}, "slowest_s": 0.0}
    section.outcomes.update(summary["outcomes"])
    section.slowest_s, section.took_s = summary["slowest_s"], time.monotonic() - began
    if done.returncode != 0:
        section.complaints.append(f"decoding: {done.stdout} {done.stderr}")
    return section


def openapi(target: Target, seed: int, examples: int, folder: Path) -> Section:
    """What schemathesis makes of the OpenAPI document: examples of it, its edges, random data, and linked calls.

    Args:
        target: the service.
        seed: of schemathesis.
        examples: that it draws for one operation.
        folder: for its report.
    """
    section, began = Section("OpenAPI"), time.monotonic()
    events = folder / "openapi.ndjson"
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{target.url}/openapi.json", "--checks", "all",
        "--exclude-checks", NOT_JUDGED, "--seed", str(seed), "--max-examples", str(examples), "--workers", "2",
        "--request-timeout", str(HANG_S), "--continue-on-failure", "--no-shrink", "--warnings", "off",
        "--report", "ndjson", "--report-ndjson-path", str(events), "--generation-database", "none",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (folder / "openapi.txt").write_text(done.stdout + done.stderr)
    for line in events.read_text().splitlines() if events.exists() else ():
        for interaction in _interactions(json.loads(line)):
            reply = interaction["response"]
            status = "no answer" if reply is None else str(reply["status_code"])
            section.outcomes[status] += 1
            section.slowest_s = max(section.slowest_s, reply["elapsed"] if reply else HANG_S)
    if done.returncode != 0 or not section.count:
        section.complaints.append(
            f"OpenAPI: see {folder / 'openapi.txt'}\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
        )
    section.took_s = time.monotonic() - began
    return section


def _interactions(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The requests of a scenario, with what came of them."""
    recorder = event.get("ScenarioFinished", {}).get("recorder", {})
    yield from recorder.get("interactions", {}).values()
