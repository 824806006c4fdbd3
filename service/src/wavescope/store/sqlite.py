"""Jobs and results in one file, by the SQLite of the standard library: nothing to start, all processes of one host.

The write-ahead log keeps what was committed when any process dies. What a caller was told of (a job accepted, ended or
cancelled) is on the disk before the call returns and outlasts a loss of power too; of progress and scores the last
moments may be lost then, and are scored again.

The file must not be on a network file system: the log is shared memory of one host.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wavescope.errors import StoreUnavailable
from wavescope.store import answers, forks
from wavescope.store.layout import lay_out
from wavescope.store.protocols import FINAL, Job, NewJob

_LOG_BYTES = 64 * 2**20  # to which the log shrinks after a large payload
_PURGED_AT_ONCE = 100  # jobs, so that others get their turn
_PAGES_FREED_AT_ONCE = 10_000  # of 4 KiB, given back to the file system by a purge
_ANY_NUMBER = 2**63 - 1

_GET = """SELECT id, owner, state, created_at, started_at, finished_at, forwards, planned, attempts, error, labels
    FROM jobs WHERE id = ?"""
_CLAIMABLE = "SELECT 1 FROM unfinished WHERE lease_until <= ? LIMIT 1"
# The sign keeps SQLite from looking through all jobs by their number, those that ended too.
_OLDEST = "SELECT id FROM unfinished WHERE lease_until <= ? ORDER BY +number LIMIT 1"
_NEXT = """WITH leased AS (
        SELECT owner, COUNT(*) AS jobs FROM unfinished WHERE state = 'running' AND lease_until > ?1 GROUP BY owner)
    SELECT id FROM unfinished LEFT JOIN leased USING (owner) WHERE lease_until <= ?1
    ORDER BY priority DESC, COALESCE(jobs, 0), number LIMIT 1"""
_UNFINISHED = "SELECT COUNT(*) FROM unfinished WHERE ?1 IS NULL OR owner = ?1"


class SqliteStore:
    """A :class:`wavescope.store.protocols.Store` in a file.

    One connection per process, one call at a time: a call takes far less than a millisecond, and SQLite lets one write.

    Args:
        path: of the file; its directory is made, for nobody but this user, as is the file.
        result_bytes: bound of the results of earlier requests.
        clock: seconds since 1970.
        busy_s: wait for other processes before the store counts as unavailable.

    Raises:
        InvalidRequest: a newer version of the service wrote the file.
        StoreUnavailable: the file cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        *,
        result_bytes: int,
        clock: Callable[[], float] = time.time,
        busy_s: float = 10.0,
    ) -> None:
        self._path = path
        self._result_bytes = result_bytes
        self._clock = clock
        self._busy_s = busy_s
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        # Not even to close a connection that a fork brought along is safe (SQLite, "How To Corrupt An SQLite Database
        # File", 2.6).
        forks.watch(self)
        with self._transaction() as connection:
            self._evict(connection)

    # ---- connection --------------------------------------------------------------------------------------------------
    @contextmanager
    def _session(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one call at a time; it is made anew after an error."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._open()
                yield self._connection
            except (sqlite3.Error, OSError) as error:
                self._disconnect()
                raise StoreUnavailable(
                    f"the store of jobs and results does not answer: {_reason(error)}"
                ) from error

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """All or nothing, and nobody else writes meanwhile; if ``durable``, on the disk when it ends."""
        with self._session() as connection:
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One at a time: SQLite does not wait for its turn where two turn the log on, and to close a file that somebody
        # in this process has open would lose his locks.
        with _locked(self._path.parent):
            if not self._path.exists():
                # SQLite would make it for everybody to read; its log takes the file's permissions.
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(
                self._path, timeout=self._busy_s, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
                lay_out(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def hold(self) -> None:
        """No call goes on, and there is no connection, until :meth:`go_on`."""
        self._lock.acquire()
        self._disconnect()

    def go_on(self) -> None:
        """The next call connects anew."""
        self._lock.release()

    # ---- jobs --------------------------------------------------------------------------------------------------------
    def submit(
        self,
        job: NewJob,
        *,
        max_unfinished: int | None = None,
        max_owned: int | None = None,
        max_bytes: int | None = None,
    ) -> tuple[Job, bool]:
        with self._transaction(durable=True) as connection:
            known = self._known(connection, job.owner, job.idempotency_key, job.content)
            if known is None:
                known = self._repeated(connection, job)
            if known is not None:
                return known, False
            if max_unfinished is not None and _unfinished(connection) >= max_unfinished:
                raise answers.full(max_unfinished)
            if max_bytes is not None and _counter(connection, "payloads") + len(job.payload) > max_bytes:
                raise answers.too_heavy(len(job.payload), max_bytes)
            if max_owned is not None and _unfinished(connection, job.owner) >= max_owned:
                raise answers.over_quota(max_owned)
            connection.execute(
                """INSERT INTO jobs (id, owner, content, idempotency_key, priority, labels, state, created_at)
                VALUES (?, ?, ?, ?, ?, ?, 'queued', ?)""",
                (
                    job.id,
                    job.owner,
                    job.content,
                    job.idempotency_key,
                    job.priority,
                    json.dumps(job.labels),
                    self._clock(),
                ),
            )
            connection.execute("INSERT INTO payloads VALUES (?, ?)", (job.id, job.payload))
            return self._find(connection, job.id), True

    def find(self, owner: str, idempotency_key: str, content: str) -> Job | None:
        with self._transaction() as connection:
            return self._known(connection, owner, idempotency_key, content)

    def get(self, job_id: str) -> Job:
        with self._session() as connection:
            return self._find(connection, job_id)

    def cancel(self, job_id: str) -> Job:
        with self._transaction(durable=True) as connection:
            if self._find(connection, job_id).state not in FINAL:
                self._end(connection, job_id, "cancelled")
                connection.execute("UPDATE jobs SET worker = NULL WHERE id = ?", (job_id,))
            return self._find(connection, job_id)

    def result(self, job_id: str) -> bytes:
        with self._session() as connection:
            row = connection.execute("SELECT output FROM outputs WHERE job = ?", (job_id,)).fetchone()
            if row is None:
                raise answers.without_result(self._find(connection, job_id))
            return row[0]

    def unfinished(self, owner: str | None = None) -> int:
        with self._session() as connection:
            return _unfinished(connection, owner)

    # ---- queue -------------------------------------------------------------------------------------------------------
    def claim(self, worker: str, lease_s: float) -> tuple[Job, bytes] | None:
        with self._session() as connection:
            # Workers that find nothing to do keep nobody from writing.
            if connection.execute(_CLAIMABLE, (self._clock(),)).fetchone() is None:
                return None
        with self._transaction() as connection:
            now = self._clock()
            turn = _counter(connection, "claims") + 1
            which = _OLDEST if turn % answers.OLDEST_EVERY == 0 else _NEXT
            first = connection.execute(which, (now,)).fetchone()
            if first is None:
                return None
            connection.execute("UPDATE counters SET value = ? WHERE name = 'claims'", (turn,))
            connection.execute(
                """UPDATE jobs SET state = 'running', worker = ?, lease_until = ?, attempts = attempts + 1,
                started_at = COALESCE(started_at, ?) WHERE id = ?""",
                (worker, now + lease_s, now, *first),
            )
            kept = connection.execute("SELECT payload FROM payloads WHERE job = ?", first).fetchone()
            # A payload that is gone all the same is told as an empty one: its worker fails it, once.
            return self._find(connection, *first), b"" if kept is None else kept[0]

    def beat(self, job_id: str, worker: str, lease_s: float, *, forwards: int, planned: int) -> bool:
        with self._transaction() as connection:
            updated = connection.execute(
                """UPDATE jobs SET lease_until = ?, forwards = MAX(forwards, ?),
                planned = COALESCE(NULLIF(?, 0), planned) WHERE id = ? AND worker = ? AND state = 'running'""",
                (self._clock() + lease_s, forwards, planned, job_id, worker),
            )
            return updated.rowcount == 1

    def finish(self, job_id: str, worker: str, result: bytes | dict[str, Any]) -> bool:
        with self._transaction(durable=True) as connection:
            row = connection.execute(
                "SELECT state FROM jobs WHERE id = ? AND worker = ?", (job_id, worker)
            ).fetchone()
            if row is None:
                return False
            if row[0] == "running" and isinstance(result, bytes):
                connection.execute("INSERT INTO outputs VALUES (?, ?)", (job_id, result))
                self._end(connection, job_id, "succeeded")
            elif row[0] == "running":
                self._end(connection, job_id, "failed", json.dumps(result))
            return True

    def release(self, job_id: str, worker: str, *, after_s: float = 0.0) -> None:
        with self._transaction() as connection:
            connection.execute(
                """UPDATE jobs SET state = 'queued', worker = NULL, lease_until = ?, attempts = attempts - 1
                WHERE id = ? AND worker = ? AND state = 'running'""",
                (self._clock() + after_s if after_s > 0 else 0, job_id, worker),
            )

    # ---- ledger ------------------------------------------------------------------------------------------------------
    def keep(self, job_id: str, call: str, start: int, chunk: bytes) -> None:
        with self._transaction() as connection:
            connection.execute(
                """INSERT OR IGNORE INTO chunks SELECT id, ?, ?, ? FROM jobs
                WHERE id = ? AND state IN ('queued', 'running')""",
                (call, start, chunk, job_id),
            )

    def kept(self, job_id: str, call: str) -> list[tuple[int, bytes]]:
        with self._session() as connection:
            return connection.execute(
                "SELECT start, chunk FROM chunks WHERE job = ? AND call = ? ORDER BY start", (job_id, call)
            ).fetchall()

    # ---- results -----------------------------------------------------------------------------------------------------
    def recall(self, key: str) -> bytes | None:
        with self._session() as connection:
            row = connection.execute("SELECT result FROM results WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        with self._transaction() as connection:
            connection.execute(
                "UPDATE results SET used = (SELECT MAX(used) + 1 FROM results) WHERE key = ?", (key,)
            )
        return row[0]

    def remember(self, key: str, result: bytes) -> None:
        size = answers.size(key, result)
        if size > self._result_bytes:
            return
        with self._transaction() as connection:
            connection.execute(
                """INSERT OR REPLACE INTO results
                VALUES (?, (SELECT COALESCE(MAX(used), 0) + 1 FROM results), ?, ?)""",
                (key, size, result),
            )
            self._evict(connection)

    def _evict(self, connection: sqlite3.Connection) -> None:
        """Forgets the least recently used results until the others are within the bound."""
        (total,) = connection.execute("SELECT COALESCE(SUM(size), 0) FROM results").fetchone()
        while total > self._result_bytes:
            used, size = connection.execute("SELECT used, size FROM results ORDER BY used LIMIT 1").fetchone()
            connection.execute("DELETE FROM results WHERE used = ?", (used,))
            total -= size

    # ---- both --------------------------------------------------------------------------------------------------------
    def purge(self, *, finished_before: float, max_bytes: int | None = None) -> int:
        most = _ANY_NUMBER if max_bytes is None else max_bytes
        purged = 0
        while self._is_purgeable(finished_before, most):
            with self._transaction() as connection:
                purged += self._purge_some(connection, finished_before, most)
        self._shrink(at_once=purged > 0)
        return purged

    def _is_purgeable(self, finished_before: float, most: int) -> bool:
        """Whether there is anything to do, for which nobody is kept from writing."""
        with self._session() as connection:
            (first,) = connection.execute(
                "SELECT MIN(finished_at) FROM jobs WHERE finished_at IS NOT NULL"
            ).fetchone()
            return first is not None and (first < finished_before or _counter(connection, "outputs") > most)

    def _purge_some(self, connection: sqlite3.Connection, finished_before: float, most: int) -> int:
        """Forgets the first of those that finished; how many."""
        ended = connection.execute(
            "SELECT id, finished_at FROM jobs WHERE finished_at IS NOT NULL ORDER BY finished_at, id LIMIT ?",
            (_PURGED_AT_ONCE,),
        ).fetchall()
        for purged, (job_id, finished_at) in enumerate(ended):
            if finished_at >= finished_before and _counter(connection, "outputs") <= most:
                return purged
            connection.execute("DELETE FROM outputs WHERE job = ?", (job_id,))
            connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
        return len(ended)

    def _shrink(self, *, at_once: bool) -> None:
        """Gives room back to the file system: after a purge, else only much of it, as new jobs soon fill a little."""
        with self._session() as connection:
            (free,) = connection.execute("PRAGMA freelist_count").fetchone()
            if free > (0 if at_once else _PAGES_FREED_AT_ONCE):
                connection.execute(f"PRAGMA incremental_vacuum({_PAGES_FREED_AT_ONCE})").fetchall()

    def _known(
        self, connection: sqlite3.Connection, owner: str, idempotency_key: str | None, content: str
    ) -> Job | None:
        """The job of an idempotency key, if there is one."""
        row = connection.execute(
            "SELECT id, content FROM jobs WHERE owner = ? AND idempotency_key = ?", (owner, idempotency_key)
        ).fetchone()
        if row is None:
            return None
        if row[1] != content:
            raise answers.conflict(row[0], idempotency_key)
        return self._find(connection, row[0])

    def _repeated(self, connection: sqlite3.Connection, job: NewJob) -> Job | None:
        """The job of the same id, if there is one."""
        row = connection.execute("SELECT owner, content FROM jobs WHERE id = ?", (job.id,)).fetchone()
        if row is None:
            return None
        if row != (job.owner, job.content):
            raise answers.conflict(job.id, job.idempotency_key)
        return self._find(connection, job.id)

    def _find(self, connection: sqlite3.Connection, job_id: str) -> Job:
        row = connection.execute(_GET, (job_id,)).fetchone()
        if row is None:
            raise answers.unknown(job_id)
        (
            job_id,
            owner,
            state,
            created_at,
            started_at,
            finished_at,
            forwards,
            planned,
            attempts,
            error,
            labels,
        ) = row
        return Job(
            id=job_id,
            owner=owner,
            state=state,
            created_at=created_at,
            started_at=started_at,
            finished_at=finished_at,
            forwards=forwards,
            planned=planned,
            attempts=attempts,
            error=None if error is None else json.loads(error),
            labels=json.loads(labels),
        )

    def _end(self, connection: sqlite3.Connection, job_id: str, state: str, error: str | None = None) -> None:
        """Ends a job, and forgets what only a worker needs."""
        connection.execute(
            "UPDATE jobs SET state = ?, error = ?, finished_at = ? WHERE id = ?",
            (state, error, self._clock(), job_id),
        )
        connection.execute("DELETE FROM payloads WHERE job = ?", (job_id,))
        connection.execute("DELETE FROM chunks WHERE job = ?", (job_id,))


def _unfinished(connection: sqlite3.Connection, owner: str | None = None) -> int:
    return connection.execute(_UNFINISHED, (owner,)).fetchone()[0]


def _counter(connection: sqlite3.Connection, name: str) -> int:
    """Claims so far, or bytes of all ``payloads`` or ``outputs``."""
    return connection.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()[0]


def _reason(error: sqlite3.Error | OSError) -> str:
    # SQLite's messages name no path; those of the operating system do.
    return str(error) if isinstance(error, sqlite3.Error) else error.strerror or type(error).__name__


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Nobody else is in here for this directory, in any process."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
