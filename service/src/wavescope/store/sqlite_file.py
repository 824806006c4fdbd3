"""File of the SQLite store: creating, opening, noticing its deletion or damage, restoring it.

A file that is deleted stays readable and writable for every process that has it open, and is gone when the last of them
ends: commits to it are lost. So every call checks that the paths of the database, its log and the index of the log
still lead to the files that were opened (three calls of ``stat``, a few microseconds). If they do not, the first
process to notice writes all that it still sees to a new file in their place, and the others open that one.

No acknowledged job or entry of a monitor is lost: the paths are checked once more after the commit, so it was committed
before the file was deleted and is in the restored one. If a process with an older file was the first to restore, or an
older copy was put there, the others add what it lacks (:mod:`wavescope.store.sqlite_merge`).
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wavescope.errors import StoreUnavailable
from wavescope.store.migrations import migrate
from wavescope.store.sqlite_merge import add_missing

_LOG_BYTES = 64 * 2**20  # the log is truncated to this after a large payload
_MIN_BYTES = 32 * 2**10  # no file with our tables is smaller
_CHECK_S = 1.0  # longest check of a file that is opened: enough for about a gigabyte
_RESTORE_EVERY_S = 1.0  # between two attempts to restore a file
_POLL_S = 0.005
_STEPS = 10_000  # instructions of SQLite between two reads of the clock
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

log = logging.getLogger(__name__)

Files = tuple[tuple[int, int], ...]


class _LogMissing(Exception):
    """Other processes have the file open, and its log is not where it was."""


class _FolderReplaced(Exception):
    """The folder that was locked is not at its path any more."""


class _FileMissing(Exception):
    """There is no file at the path, and a connection to the former one that can restore it."""


class StoreFile:
    """SQLite database at a path, with its log.

    A process may have several, as long as nothing else in it opens that file: closing a file of SQLite that was opened
    by other means would release the locks of this process on it.

    Args:
        path: path of the database; it and its folder are made with permissions for this user alone.
        prepare: called with every new connection before it is used.
    """

    def __init__(self, path: Path, prepare: Callable[[sqlite3.Connection], None]) -> None:
        self._path = path
        self._prepare = prepare
        self._log = path.with_name(f"{path.name}-wal")
        self._index = path.with_name(f"{path.name}-shm")
        self._mark = path.with_name(f"{path.name}.damaged")
        self._opened: Files | None = None
        self._floor = 0
        self._epoch: str | None = None
        self._last = 0
        self._restore_from_s = 0.0

    def is_in_place(self) -> bool:
        """Check that the open file is the one at the path, and not marked as damaged."""
        return self._is_same_file() and not self._mark.exists()

    def _is_same_file(self) -> bool:
        try:
            found = self._path.stat()
            files = (_id(found), *(_id(path.stat()) for path in (self._log, self._index)))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return files == self._opened and found.st_size >= self._floor

    def open(self, ends_s: float, *, former: sqlite3.Connection | None = None) -> sqlite3.Connection:
        """Connect to the file at the path; an empty store is made if there is none.

        Args:
            ends_s: monotonic time until which other processes are waited for.
            former: connection to the file that was there before; what a copy lacks of it is added to the copy.

        Raises:
            InvalidRequest: a newer version of the service wrote the file.
            StoreUnavailable: the file is empty or damaged.
            sqlite3.Error, OSError: the file cannot be opened.
        """
        while True:
            try:
                return self._open(ends_s, former)
            except (_LogMissing, _FolderReplaced) as missing:
                # Another process restores it, for which it needs the lock; or the last one closes and deletes the log.
                if time.monotonic() >= ends_s:
                    raise StoreUnavailable(
                        "the store's log was taken away, and is not put back yet"
                    ) from missing
                time.sleep(_POLL_S)

    def _open(self, ends_s: float, former: sqlite3.Connection | None) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One process at a time: SQLite does not wait when two processes switch to the log.
        with _lock(self._path.parent, ends_s) as folder:
            if not self._path.exists():
                if former is not None:
                    raise _FileMissing
                self._publish(_make, folder)
                if self._epoch is not None:
                    log.error("the store's file is gone, and all jobs with it; an empty one was made")
                self._epoch = None
            self._refuse_damaged()
            if not (self._log.exists() and self._index.exists()):
                self._refuse_open_elsewhere()
            connection = sqlite3.connect(
                self._path, timeout=_left_s(ends_s), isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
                migrate(connection)
                self._examine(connection)
                self._prepare(connection)
                connection.execute(
                    "PRAGMA wal_checkpoint"
                ).fetchall()  # so that the file has all of its pages
                if former is not None:
                    add_missing(former, connection)
                self._compare_with_last(connection)
                _check_folder(folder, self._path.parent)
            except BaseException:
                connection.close()
                raise
        return connection

    def reopen(self, former: sqlite3.Connection, ends_s: float) -> sqlite3.Connection:
        """Connect to the file that is at the path now, with all that a connection to the former one still sees.

        A deleted file is restored. A copy of the same store is given what it lacks. The former connection stays open:
        it may be the only one that sees a job until this returns.

        Raises:
            sqlite3.Error, OSError: the file cannot be written or read; another call may try again.
            StoreUnavailable: another call has tried a moment ago, or the file is damaged, or deleted again and again.
        """
        opened, floor, epoch, last = self._opened, self._floor, self._epoch, self._last
        while True:
            self._restore(former, ends_s)
            try:
                fresh = self.open(ends_s, former=former)
            except _FileMissing:
                fresh = None
            if fresh is not None and self.is_in_place():
                return fresh
            if fresh is not None:
                fresh.close()
            self._opened, self._floor, self._epoch, self._last = opened, floor, epoch, last
            if time.monotonic() >= ends_s:
                raise StoreUnavailable("the store's file is taken away again and again")

    def _restore(self, connection: sqlite3.Connection, ends_s: float) -> None:
        """Restore a deleted file: write all that a connection still sees to the path, unless another file is there."""
        if self._is_same_file():
            return  # only marked as damaged
        if time.monotonic() < self._restore_from_s:
            raise StoreUnavailable("the store's file is gone, and could not be put back a moment ago")
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _lock(self._path.parent, ends_s) as folder:
            if self._is_replaced():
                self._delete_our_logs()
                return
            self._restore_from_s = time.monotonic() + _RESTORE_EVERY_S
            published = self._publish(lambda path: _copy(connection, path), folder)
            self._restore_from_s = 0.0
        if published:
            log.error("the store's file was taken away; all that was in it has been put back")

    def close(self, connection: sqlite3.Connection) -> None:
        """Close a connection, and forget which file it was of."""
        self._opened = None
        connection.close()

    def note_newest(self, number: int) -> None:
        """Note the number of the newest job, to distinguish an old copy of the store from this one."""
        self._last = max(self._last, number)

    def check_damage(self, error: sqlite3.Error) -> bool:
        """Check a file that SQLite calls damaged; if it is, nobody uses it until it is replaced."""
        if not _means_damage(error):
            return False
        with suppress(sqlite3.Error, OSError):
            self.examine()
        return self._mark.exists()

    def examine(self) -> None:
        """Check the file by a connection of its own, for a second at most, and mark it if it is damaged.

        Raises:
            sqlite3.Error: the file is damaged or cannot be read.
        """
        fresh = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=_CHECK_S)
        try:
            self._examine(fresh)
        except sqlite3.Error as error:
            if _means_damage(error):
                self._mark.write_text(self._fingerprint())
                log.exception("the store's file is damaged: it is not used until it is replaced")
            raise
        finally:
            fresh.close()

    # ---- implementation ----------------------------------------------------------------------------------------------
    def _is_replaced(self) -> bool:
        """Check whether another file, not an empty one, is at the path."""
        with suppress(FileNotFoundError):
            found = self._path.stat()
            return found.st_size > 0 and (self._opened is None or _id(found) != self._opened[0])
        return False

    def _publish(self, fill: Callable[[Path], None], folder: int) -> bool:
        """Put a new file at the path atomically, in place of the old one if there was one.

        Args:
            fill: writes the new file at a path.
            folder: handle of the locked folder. If that is deleted and another one made, nothing is done in the other.

        Returns:
            Whether it is there: not if there was no file, and another one has come meanwhile.
        """
        replaces = self._path.exists()
        new = self._path.with_name(f"{self._path.name}.new")
        for name in (new.name, *(f"{new.name}{end}" for end in ("-wal", "-shm", "-journal"))):
            _unlink(name, folder)
        try:
            # SQLite would make it readable for everybody; its log inherits the permissions of the file.
            flags = os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            handle = os.open(new.name, flags, 0o600, dir_fd=folder)
            try:
                fill(new)
                os.fsync(handle)
            finally:
                os.close(handle)
            for path in (self._log, self._index):  # SQLite would take them for those of the new file
                _unlink(path.name, folder)
            if replaces:
                os.replace(new.name, self._path.name, src_dir_fd=folder, dst_dir_fd=folder)
            else:
                os.link(new.name, self._path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except FileExistsError:
            return False
        finally:
            _unlink(new.name, folder)
        os.fsync(folder)
        return True

    def _refuse_damaged(self) -> None:
        fingerprint = self._fingerprint()
        if self._mark.exists():
            if self._mark.read_text() == fingerprint:
                raise StoreUnavailable(
                    f"the store's file {self._path.name} is damaged: put a copy back, or delete it "
                    "and lose its jobs"
                )
            self._mark.unlink(missing_ok=True)
        if self._path.stat().st_size == 0 and not (self._log.exists() and self._log.stat().st_size):
            raise StoreUnavailable(
                f"the store's file {self._path.name} is empty, which it never is: put a copy back, or delete it"
            )

    def _refuse_open_elsewhere(self) -> None:
        """Refuse a file without its log that other processes have open: only they can restore the log."""
        connection = sqlite3.connect(self._path, timeout=0.0, isolation_level=None)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise _LogMissing from error
            raise
        finally:
            connection.close()

    def _delete_our_logs(self) -> None:
        """Delete the log of a file that was replaced; SQLite would take it for that of the successor."""
        for path, ours in zip((self._log, self._index), (self._opened or ())[1:], strict=False):
            with suppress(FileNotFoundError):
                if _id(path.stat()) == ours:
                    path.unlink()

    def _examine(self, connection: sqlite3.Connection) -> None:
        """Raise sqlite3.DatabaseError if a page is damaged; a large file is checked as far as time allows."""
        ends_s = time.monotonic() + _CHECK_S
        connection.set_progress_handler(lambda: time.monotonic() > ends_s, _STEPS)
        try:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            return
        finally:
            connection.set_progress_handler(None, 0)
        if verdict != "ok":
            damaged = sqlite3.DatabaseError("database disk image is malformed")
            damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damaged

    def _fingerprint(self) -> str:
        found = self._path.stat()
        return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"

    def _compare_with_last(self, connection: sqlite3.Connection) -> None:
        """Note which file was opened, and log an error if it is not the one that was open before."""
        found = self._path.stat()
        self._opened = (_id(found), *(_id(path.stat()) for path in (self._log, self._index)))
        self._floor = _MIN_BYTES if found.st_size >= _MIN_BYTES else 0
        (epoch,) = connection.execute("SELECT value FROM marks WHERE name = 'epoch'").fetchone()
        (last,) = connection.execute("SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence").fetchone()
        if self._epoch is not None and epoch != self._epoch:
            log.error(
                "the store's file was replaced by another: the jobs of the one before are not known any more"
            )
        elif last < self._last:
            log.error(
                "the store's file was replaced by an older copy: jobs %d to %d are gone", last + 1, self._last
            )
        self._epoch, self._last = epoch, last


def _make(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        migrate(connection)
    finally:
        connection.close()


def _copy(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("VACUUM INTO ?", (str(path),))
    copy = sqlite3.connect(path, isolation_level=None)
    try:
        (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError("database disk image is malformed")
        copy.execute("PRAGMA journal_mode = WAL")
    finally:
        copy.close()


def _means_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def _id(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _left_s(ends_s: float) -> float:
    return max(0.0, ends_s - time.monotonic())


@contextmanager
def _open_folder(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _lock(path: Path, ends_s: float) -> Iterator[int]:
    """Lend a handle of the folder at a path and hold its lock, one holder in all processes.

    Raises:
        StoreUnavailable: another process holds it until ``ends_s``.
    """
    while True:
        with _open_folder(path) as handle:
            _acquire(handle, ends_s)
            if _is_at(handle, path):
                yield handle
                return
        # It was deleted meanwhile, and its lock with it.
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _acquire(handle: int, ends_s: float) -> None:
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= ends_s:
                raise StoreUnavailable("the store is being opened by another process") from None
            time.sleep(_POLL_S)


def _is_at(handle: int, path: Path) -> bool:
    """Whether a folder is still the one at its path."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return _id(os.fstat(handle)) == _id(path.stat())
    return False


def _check_folder(handle: int, path: Path) -> None:
    """Raise _FolderReplaced if another folder is at the path: what was opened may not be what is there now."""
    if not _is_at(handle, path):
        raise _FolderReplaced


def _unlink(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
