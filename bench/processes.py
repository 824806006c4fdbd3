"""What benchmarks ask of the operating system (Linux)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def peak_mb(name: str) -> list[float]:
    """The most that every Serve replica whose application and deployment contain ``name`` ever had resident, MB."""
    return [_status_mb(folder, "VmHWM:") for folder in _replicas(name)]


def own_peak_mb() -> float:
    """The most that this process ever had resident, MB; not ``ru_maxrss``, which begins with that of its parent."""
    return _status_mb(Path("/proc/self"), "VmHWM:")


def _replicas(name: str) -> Iterator[Path]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text()
        except OSError:
            continue  # it ended while we looked
        if command.startswith("ray::ServeReplica") and name in command:
            yield folder


def _status_mb(folder: Path, field: str) -> float:
    line = next(line for line in (folder / "status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / 1e6
