"""The real service in a process tree of its own, whose processes can be killed one by one (Linux)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
from tools.demo import free_port, tail

START_S = 300.0
STOP_S = 60.0
POLL_S = 0.2
# What the processes of a deployment call themselves.
REPLICA = "ray::ServeReplica:{application}:{deployment}"
PROXY = "ray::ProxyActor"
CONTROLLER = "ray::ServeController"


class Service:
    """``wavescope serve`` with settings of one's own.

    Args:
        folder: for its log and its state, which outlive a restart.
        models_file: of the registry.
        settings: by the names of the environment, without their prefix.
    """

    def __init__(self, folder: Path, models_file: Path, **settings: object) -> None:
        self.log = folder / "service.log"
        self.port, self.grpc_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments = ["--port", str(self.port), "--grpc-port", str(self.grpc_port)]
        self._arguments += ["--models", str(models_file)]
        given = {"state_dir": folder / "state", "log_level": "warning", **settings}
        self._environment = os.environ | {
            f"WAVESCOPE_{name.upper()}": str(value) for name, value in given.items()
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and waits until a model can score.

        Raises:
            RuntimeError: it left, or was not ready in time.
        """
        command = [str(Path(sys.executable).with_name("wavescope")), "serve", *self._arguments]
        with self.log.open("ab") as output:
            # A session of its own: Ctrl-C reaches this program alone, which then stops the service in order.
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, env=self._environment, start_new_session=True
            )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Waits until a model can score. Raises RuntimeError as :meth:`start`."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"the service left\n{tail(self.log)}")
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return
            time.sleep(POLL_S)
        raise RuntimeError(f"the service was not ready within {START_S:.0f} s\n{tail(self.log)}")

    def processes(self, title: str = "") -> list[int]:
        """Its processes whose command line begins so, in order of their start."""
        if self._process is None:
            return []
        children: dict[int, list[int]] = {}
        titles: dict[int, str] = {}
        for process, parent, command in _everything():
            children.setdefault(parent, []).append(process)
            titles[process] = command
        found, waiting = [], [self._process.pid]
        while waiting:
            process = waiting.pop()
            found.append(process)
            waiting += children.get(process, [])
        return sorted(process for process in found if titles.get(process, "").startswith(title))

    def kill(self, title: str) -> None:
        """Kills the first process of that title, without a word.

        Raises:
            RuntimeError: there is none.
        """
        found = self.processes(title)
        if not found:
            raise RuntimeError(f"no process is called {title}")
        os.kill(found[0], signal.SIGKILL)

    def kill_all(self) -> None:
        """Kills every process at once, as a power cut would."""
        for process in self.processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """Asks it to leave, and insists on it after a while."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill_all()


def replica(deployment: str, application: str = "wavescope") -> str:
    """The title of a deployment's processes."""
    return REPLICA.format(application=application, deployment=deployment)


def _everything() -> Iterator[tuple[int, int, str]]:
    """(process, parent, command line) of all processes."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended while we looked
            # The name in parentheses may hold anything: fields are counted from behind it.
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            yield int(folder.name), parent, _command(folder)


def _command(folder: Path) -> str:
    return (folder / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
