"""What benchmarks ask of the operating system (Linux)."""

from __future__ import annotations

import socket
from pathlib import Path


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def resident_mb(name: str) -> list[float]:
    """Resident memory of every Serve replica whose deployment has this name, MB."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text()
            if command.startswith("ray::ServeReplica") and name in command:
                status = (process / "status").read_text()
                line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
                found.append(int(line.split()[1]) * 1024 / 1e6)
        except OSError:
            continue  # it ended while we looked
    return found
