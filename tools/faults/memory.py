"""Memory that processes have for themselves (Linux)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

SETTLE_S = 30.0
POLL_S = 1.0


def private_mb(processes: Iterable[int]) -> dict[str, float]:
    """Anonymous resident memory by what the processes call themselves, MB: without files, and what they share."""
    found: dict[str, float] = {}
    for process in processes:
        with suppress(OSError, StopIteration):  # it ended while we looked
            folder = Path("/proc") / str(process)
            title = (folder / "cmdline").read_text(errors="replace").replace("\0", " ").split(" ")[0]
            # A worker of Ray writes behind a point what it does now.
            title = title.rsplit("/", 1)[-1].split(".")[0]
            lines = (folder / "status").read_text().splitlines()
            line = next(line for line in lines if line.startswith("RssAnon:"))
            found[title] = found.get(title, 0.0) + int(line.split()[1]) * 1024 / 1e6
    return found


def settled_mb(processes: Callable[[], Iterable[int]]) -> dict[str, float]:
    """The least of a while, in which what was begun ends."""
    deadline, found = time.monotonic() + SETTLE_S, [private_mb(processes())]
    while time.monotonic() < deadline:
        time.sleep(POLL_S)
        found.append(private_mb(processes()))
    return min(found, key=lambda one: sum(one.values()))
