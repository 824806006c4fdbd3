"""The real service in a process tree of its own, whose processes can be killed one by one (Linux)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
from tools.demo import free_port, tail

from wavescope.serving.command.lifetime import descendants

BUILD = Path("build")  # logs are left here
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
        found = (self._process.pid, *descendants(self._process.pid))
        return sorted(process for process in found if _command(process).startswith(title))

    def kill(self, title: str) -> None:
        """Kills the first process of that title, without a word.

        Raises:
            RuntimeError: there is none.
        """
        found = self.processes(title)
        if not found:
            raise RuntimeError(f"no process is called {title}")
        os.kill(found[0], signal.SIGKILL)

    def kill_command(self, name: str) -> None:
        """Kills the process of that program, one of Ray's that is no Python. Raises RuntimeError as :meth:`kill`."""
        for process in self.processes():
            with suppress(OSError):
                if Path(f"/proc/{process}/comm").read_text().strip() == name:
                    os.kill(process, signal.SIGKILL)
                    return
        raise RuntimeError(f"no process is called {name}")

    def wait_until_ended(self) -> None:
        """Waits for the command to end by itself. Raises RuntimeError where it does not."""
        if self._process is None:
            return
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"the service did not end within {STOP_S:.0f} s") from None

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


@contextmanager
def temporary_folder(name: str) -> Iterator[Path]:
    """A folder that is deleted in the end.

    Args:
        name: of the program that works in it.
    """
    with tempfile.TemporaryDirectory(prefix=f"wavescope-{name}-") as folder:
        yield Path(folder)


@contextmanager
def started(folder: Path, models: str, log: Path, **settings: object) -> Iterator[Service]:
    """A service that can score, and is stopped in the end.

    Args:
        folder: as of :class:`Service`; its registry file is written there.
        models: content of that file.
        log: where its log is left.
        settings: as of :class:`Service`.
    """
    models_file = folder / "models.yaml"
    models_file.write_text(models)
    service = Service(folder, models_file, **settings)
    try:
        service.start()
        yield service
    finally:
        service.stop()
        log.parent.mkdir(exist_ok=True)
        shutil.copy(service.log, log)


def replica(deployment: str, application: str = "wavescope") -> str:
    """The title of a deployment's processes."""
    return REPLICA.format(application=application, deployment=deployment)


def _command(process: int) -> str:
    """Its command line; empty of one that has ended."""
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
    return ""
