"""Sessions of the SQLite store: its one connection, lent to one call at a time and reopened after errors."""

from __future__ import annotations

import functools
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wavescope.errors import InvalidRequest, StoreUnavailable
from wavescope.store import fork_safety
from wavescope.store.sqlite_file import StoreFile

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # Linux only
# Errors that leave the connection usable; after any other it is reopened.
_HARMLESS = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL)


class SqliteSessions(ABC):
    """Sessions and transactions on the connection of a process, which is made at the first call.

    Args:
        path: path of the file; it and its folder are made with permissions for this user alone.
        clock: reads the time in seconds since 1970.
        steady: reads the monotonic clock of the host in seconds, for leases; the same for all who use the file.
        busy_s: longest wait for other calls, of this process and of others, before the store counts as unavailable.
    """

    def __init__(
        self, path: Path, *, clock: Callable[[], float], steady: Callable[[], float], busy_s: float
    ) -> None:
        self._file = StoreFile(path, self._prepare)
        self._clock = clock
        self._steady = steady
        self._busy_s = busy_s
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        # Not even to close a connection that a fork brought along is safe (SQLite, "How To Corrupt An SQLite Database
        # File", 2.6).
        fork_safety.register(self)

    @contextmanager
    def _session(self, busy_s: float | None = None) -> Iterator[sqlite3.Connection]:
        """Lend the connection to one call at a time; it is reopened after an error."""
        limit_s = self._busy_s if busy_s is None else busy_s
        ends_s = time.monotonic() + limit_s
        if not self._lock.acquire(timeout=limit_s):
            raise _unavailable(f"it was busy for {limit_s:g} s")
        try:
            connection = self._connect(ends_s)
            left_ms = max(0, round(1000 * (ends_s - time.monotonic())))
            connection.execute(f"PRAGMA busy_timeout = {left_ms}")
            yield connection
        except (sqlite3.Error, OSError) as error:
            self._recover(error)
            raise _unavailable(_reason(error)) from error
        finally:
            self._lock.release()

    @contextmanager
    def _transaction(
        self, *, durable: bool = False, busy_s: float | None = None
    ) -> Iterator[sqlite3.Connection]:
        """Run a write transaction; if ``durable``, it is on the disk when it ends."""
        with self._session(busy_s) as connection:
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            if durable and not self._file.is_in_place():
                # The commit went to a file that is gone; the next call restores that, with this change or without.
                raise _unavailable("its file was taken away just now")

    def _connect(self, ends_s: float) -> sqlite3.Connection:
        """Connect to the file that is at the path now; return the open connection if it is that one."""
        former = self._connection
        try:
            if former is None:
                self._connection = self._file.open(ends_s)
            elif not self._file.is_in_place():
                self._connection = self._file.reopen(former, ends_s)
                former.close()
        except InvalidRequest as newer:
            raise _unavailable(newer.message) from newer
        assert self._connection is not None
        return self._connection

    @abstractmethod
    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Prepare a file for use, once whenever it is opened."""
        ...

    def _recover(self, error: sqlite3.Error | OSError) -> None:
        """Close a connection that an error may have broken, unless it alone still sees a file that is gone."""
        if isinstance(error, OSError) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _HARMLESS:
            return
        damaged = self._file.check_damage(error)
        if damaged or self._file.is_in_place() or not isinstance(error, sqlite3.OperationalError):
            self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._file.close(connection)

    def check(self) -> list[str]:
        try:
            with self._transaction(durable=True) as connection:
                connection.execute("UPDATE marks SET value = value WHERE name = 'epoch'")
            self._file.examine()
        except StoreUnavailable as error:
            if isinstance(error.__cause__, InvalidRequest):
                raise error.__cause__ from None
            raise
        except (sqlite3.Error, OSError) as error:
            raise _unavailable(_reason(error)) from error
        return []

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def before_fork(self) -> None:
        """Wait for the call that is under way and close the connection; further calls wait for :meth:`after_fork`."""
        self._lock.acquire()
        self._disconnect()

    def after_fork(self) -> None:
        """Let calls go on; the next one reconnects."""
        self._lock.release()


def _unavailable(reason: str) -> StoreUnavailable:
    return StoreUnavailable(f"the store of jobs and results does not answer: {reason}")


def _reason(error: sqlite3.Error | OSError) -> str:
    # SQLite's messages name no path; those of the operating system do.
    return str(error) if isinstance(error, sqlite3.Error) else error.strerror or type(error).__name__


@functools.cache
def boot_id() -> str:
    """Read the boot id of this machine, which every boot changes."""
    with suppress(OSError):
        return _BOOT_ID.read_text().strip()
    return "unknown"
