"""``wavescope serve`` as a process of its own, for tests of the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from tests.ports import free_port

WAVESCOPE = Path(sys.executable).with_name("wavescope")


@contextmanager
def served(
    folder: Path, *options: str, grpc_port: int = 0, one_process: bool | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A service of its own, with its temporary files in ``folder``."""
    port = free_port()
    environment = {**os.environ, "TMPDIR": str(folder), "WAVESCOPE_LOG_LEVEL": "info"}
    if one_process is not None:
        environment |= {
            "WAVESCOPE_ONE_PROCESS": str(one_process),
            "WAVESCOPE_STATE_DIR": str(folder / "state"),
        }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [WAVESCOPE, "serve", "--port", str(port), "--grpc-port", str(grpc_port), *options],
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=60).status_code == 200
    except httpx.TransportError:
        return False
