"""What a process and all its descendants take: CPU time and private memory (Linux)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from wavescope.serving.command.lifetime import descendants

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
LOOK_S = 0.25  # between looks of a meter: processes that live shorter may be missed


def members(root: int) -> set[int]:
    """A process and its descendants."""
    return {root, *descendants(root)}


def private_mb(root: int) -> dict[str, float]:
    """Memory that would be free without the tree, MB, summed by the processes' names."""
    totals: dict[str, float] = {}
    for process in members(root):
        folder = Path("/proc") / str(process)
        try:
            name = _name((folder / "cmdline").read_bytes())
            lines = (folder / "smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it ended while we looked
        kilobytes = sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
        totals[name] = totals.get(name, 0.0) + kilobytes * 1024 / 1e6
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def busy_s() -> float:
    """CPU seconds that the whole machine has worked since it started."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS_PER_S  # without idle and iowait


class Meter:
    """CPU seconds of a process tree, those of descendants that have ended included.

    A child that nobody waited for is in no parent's sum, so every process is looked at while it lives, until ``stop``.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._known = {root}
        self._ticks: dict[tuple[int, str], tuple[str, int]] = {}
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def read(self) -> dict[str, float]:
        """CPU seconds since the start, by name; of several with one name, their sum."""
        self._look()
        totals: dict[str, float] = {}
        with self._lock:
            for name, ticks in self._ticks.values():
                totals[name] = totals.get(name, 0.0) + ticks / TICKS_PER_S
        return dict(sorted(totals.items(), key=lambda item: -item[1]))

    def stop(self) -> None:
        """Looks no more by itself; :meth:`read` still does."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        with self._lock:
            # One whose parent has ended stays one of the tree.
            everything = dict(_everything())
            self._known &= everything.keys()
            grown = True
            while grown:
                found = {process for process, fields in everything.items() if int(fields[1]) in self._known}
                grown = not found <= self._known
                self._known |= found
            for process in self._known:
                fields = everything[process]
                try:
                    name = _name((Path("/proc") / str(process) / "cmdline").read_bytes())
                except OSError:
                    continue
                # By its start too, as numbers of processes come again.
                self._ticks[process, fields[19]] = (name, int(fields[11]) + int(fields[12]))


def _everything() -> Iterator[tuple[int, list[str]]]:
    """Every process, and the fields of its ``stat`` from the state on (proc_pid_stat(5), field 3)."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "stat").read_text()
        except OSError:
            continue  # it ended while we looked
        yield int(folder.name), text.rpartition(")")[2].split()


def _name(command: bytes) -> str:
    """``ray::ServeReplica:wavescope:Gateway``, ``raylet``, ``python agent.py`` and the like."""
    words = command.replace(b"\0", b" ").decode(errors="replace").split() or ["(ended)"]
    if words[0].startswith("ray::"):
        return words[0]
    program = Path(words[0]).name
    if program.startswith("python"):
        script = next((word for word in words[1:] if word.endswith(".py") or "wavescope" in word), "")
        return f"python {Path(script).name}".strip()
    return program
