"""A real Redis server of a test's own, and stores that several processes can open."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from tests.programs import find_program

from wavescope.store.protocols import Store
from wavescope.store.redis import RedisStore
from wavescope.store.sqlite import SqliteStore

READY = "Ready to accept connections"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@dataclass
class RedisServer:
    """One server on a random port of loopback, which it keeps when it is started again.

    Args:
        directory: what it writes.
        options: of its command line.
        tls: options in place of the plain port's.
    """

    directory: Path
    options: tuple[str, ...] = ()
    tls: tuple[str, ...] = ()
    port: int = 0
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        for _ in range(5):  # another process may take the port before the server does
            port = self.port or free_port()
            if self._try(port):
                self.port = port
                return
        pytest.fail("redis-server does not start")

    def _try(self, port: int) -> bool:
        ports = ("--port", "0", "--tls-port", str(port), *self.tls) if self.tls else ("--port", str(port))
        command = (find_program("redis-server"), *ports, "--bind", "127.0.0.1", "--dir", str(self.directory))
        self._process = subprocess.Popen(
            (*command, "--save", "", "--daemonize", "no", *self.options), stdout=subprocess.PIPE, text=True
        )
        # The log is short: it fits the pipe, which nobody reads any more.
        for line in self._process.stdout or ():
            if READY in line:
                return True
        self.kill()
        return False

    def kill(self) -> None:
        """Without a chance to write anything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


@dataclass(frozen=True)
class Place:
    """Where a store is; goes to other processes."""

    kind: Literal["sqlite", "redis"]
    address: str
    prefix: str = ""

    def open(self, clock: Callable[[], float] | None = None, result_bytes: int = 10_000) -> Store:
        if self.kind == "redis":
            return RedisStore(self.address, prefix=self.prefix, clock=clock, result_bytes=result_bytes)
        options = {} if clock is None else {"clock": clock, "steady": clock}
        return SqliteStore(Path(self.address), result_bytes=result_bytes, **options)


@dataclass
class Clock:
    """Time that a test makes pass."""

    now: float = 1_700_000_000.123456

    def __call__(self) -> float:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += seconds
