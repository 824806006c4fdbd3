"""SQLite store: jobs, monitors and cached results in one file, shared by all processes of one host.

Committed changes survive the death of any process, by the write-ahead log. A job that was accepted, ended or cancelled
is on the disk before the call returns and survives a loss of power too; of progress and scores the last moments may be
lost then, and are scored again.

The file must not be on a network file system: the index of the log is shared memory of one host. Leases are timed by
the monotonic clock of that host, which nobody can set; the calendar's clock gives dates only.

A file that is deleted or replaced while it is open: see :mod:`wavescope.store.sqlite_file`.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from wavescope.errors import StoreUnavailable
from wavescope.store import errors, sqlite_session
from wavescope.store.migrations import expire_leases_of_another_boot
from wavescope.store.protocols import FINAL, OLDEST_EVERY, Job, NewJob, result_size
from wavescope.store.sqlite_monitors import SqliteMonitors

_PURGE_BATCH = 100  # jobs in one transaction, so that other calls get their turn
_VACUUM_PAGES = 10_000  # of 4 KiB, returned to the file system by one purge
_NO_LIMIT = 2**63 - 1

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


class SqliteStore(SqliteMonitors):
    """SQLite implementation of :class:`wavescope.store.protocols.Store`.

    A process has one connection and makes one call at a time: a call takes far less than a millisecond, and SQLite has
    one writer. Nothing is opened before the first call.

    Args:
        path: path of the file; it and its folder are made with permissions for this user alone.
        result_bytes: largest size of all cached results with their keys, in bytes.
        clock: reads the time in seconds since 1970, for the times of jobs.
        steady: reads the monotonic clock of the host in seconds, for leases; the same for all who use the file.
        busy_s: longest wait for other calls, of this process and of others, before the store counts as unavailable.
        results_busy_s: the same for calls about cached results, which can be computed instead.
    """

    def __init__(
        self,
        path: Path,
        *,
        result_bytes: int,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        busy_s: float = 5.0,
        results_busy_s: float = 0.5,
    ) -> None:
        self._result_bytes = result_bytes
        self._results_busy_s = results_busy_s
        super().__init__(path, clock=clock, steady=steady, busy_s=busy_s)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Expire old leases and bound the cache, once whenever a file is opened."""
        expire_leases_of_another_boot(connection, sqlite_session.boot_id())
        if _size_of_results(connection) > self._result_bytes:
            connection.execute("BEGIN IMMEDIATE")
            self._evict(connection)
            connection.execute("COMMIT")

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
            existing = self._find_by_key(connection, job.owner, job.idempotency_key, job.content)
            if existing is None:
                existing = self._find_repeated(connection, job)
            if existing is not None:
                return existing, False
            if max_unfinished is not None and _count_unfinished(connection) >= max_unfinished:
                raise errors.queue_full(max_unfinished)
            if max_bytes is not None and _counter(connection, "payloads") + len(job.payload) > max_bytes:
                raise errors.payloads_too_large(len(job.payload), max_bytes)
            if max_owned is not None and _count_unfinished(connection, job.owner) >= max_owned:
                raise errors.quota_exceeded(max_owned)
            inserted = connection.execute(
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
            self._file.note_newest(inserted.lastrowid or 0)
            connection.execute("INSERT INTO payloads VALUES (?, ?)", (job.id, job.payload))
            return self._get(connection, job.id), True

    def find_by_key(self, owner: str, idempotency_key: str, content: str) -> Job | None:
        with self._session() as connection:  # which waits for no writer
            return self._find_by_key(connection, owner, idempotency_key, content)

    def get(self, job_id: str) -> Job:
        with self._session() as connection:
            return self._get(connection, job_id)

    def cancel(self, job_id: str) -> Job:
        with self._transaction(durable=True) as connection:
            if self._get(connection, job_id).state not in FINAL:
                self._end(connection, job_id, "cancelled")
                connection.execute("UPDATE jobs SET worker = NULL WHERE id = ?", (job_id,))
            return self._get(connection, job_id)

    def result(self, job_id: str) -> bytes:
        with self._session() as connection:
            row = connection.execute("SELECT output FROM outputs WHERE job = ?", (job_id,)).fetchone()
            if row is None:
                raise errors.no_result(self._get(connection, job_id))
            return row[0]

    def count_unfinished(self, owner: str | None = None) -> int:
        with self._session() as connection:
            return _count_unfinished(connection, owner)

    # ---- queue -------------------------------------------------------------------------------------------------------
    def claim(self, worker: str, lease_s: float) -> tuple[Job, bytes] | None:
        with self._session() as connection:
            # Idle workers only read, and so block no writer.
            if connection.execute(_CLAIMABLE, (self._steady(),)).fetchone() is None:
                return None
        with self._transaction() as connection:
            now = self._steady()
            number = _counter(connection, "claims") + 1
            query = _OLDEST if number % OLDEST_EVERY == 0 else _NEXT
            first = connection.execute(query, (now,)).fetchone()
            if first is None:
                return None
            connection.execute("UPDATE counters SET value = ? WHERE name = 'claims'", (number,))
            connection.execute(
                """UPDATE jobs SET state = 'running', worker = ?, lease_until = ?, attempts = attempts + 1,
                started_at = COALESCE(started_at, MAX(created_at, ?)) WHERE id = ?""",
                (worker, now + lease_s, self._clock(), *first),
            )
            payload = connection.execute("SELECT payload FROM payloads WHERE job = ?", first).fetchone()
            # A payload that is missing is returned as an empty one: the worker then fails the job, once.
            return self._get(connection, *first), b"" if payload is None else payload[0]

    def heartbeat(self, job_id: str, worker: str, lease_s: float, *, forwards: int, planned: int) -> bool:
        with self._transaction() as connection:
            updated = connection.execute(
                """UPDATE jobs SET lease_until = ?, forwards = MAX(forwards, ?),
                planned = COALESCE(NULLIF(?, 0), planned) WHERE id = ? AND worker = ? AND state = 'running'""",
                (self._steady() + lease_s, forwards, planned, job_id, worker),
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
                (self._steady() + after_s if after_s > 0 else 0, job_id, worker),
            )

    # ---- scores of chunks --------------------------------------------------------------------------------------------
    def save_chunk(self, job_id: str, call: str, start: int, chunk: bytes) -> None:
        with self._transaction() as connection:
            connection.execute(
                """INSERT OR IGNORE INTO chunks SELECT id, ?, ?, ? FROM jobs
                WHERE id = ? AND state IN ('queued', 'running')""",
                (call, start, chunk, job_id),
            )

    def load_chunks(self, job_id: str, call: str) -> list[tuple[int, bytes]]:
        with self._session() as connection:
            return connection.execute(
                "SELECT start, chunk FROM chunks WHERE job = ? AND call = ? ORDER BY start", (job_id, call)
            ).fetchall()

    # ---- cached results ----------------------------------------------------------------------------------------------
    def get_cached(self, key: str) -> bytes | None:
        with self._session(self._results_busy_s) as connection:
            row = connection.execute("SELECT result FROM results WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        # Best effort: if another process is writing, this use is not recorded and the result is evicted earlier.
        with suppress(StoreUnavailable), self._transaction(busy_s=0.0) as connection:
            connection.execute(
                "UPDATE results SET used = (SELECT MAX(used) + 1 FROM results) WHERE key = ?", (key,)
            )
        return row[0]

    def put_cached(self, key: str, result: bytes) -> None:
        size = result_size(key, result)
        if size > self._result_bytes:
            return
        with self._transaction(busy_s=self._results_busy_s) as connection:
            connection.execute(
                """INSERT OR REPLACE INTO results
                VALUES (?, (SELECT COALESCE(MAX(used), 0) + 1 FROM results), ?, ?)""",
                (key, size, result),
            )
            self._evict(connection)

    def _evict(self, connection: sqlite3.Connection) -> None:
        """Evict the least recently used results until the others are within the bound."""
        total = _size_of_results(connection)
        while total > self._result_bytes:
            used, size = connection.execute("SELECT used, size FROM results ORDER BY used LIMIT 1").fetchone()
            connection.execute("DELETE FROM results WHERE used = ?", (used,))
            total -= size

    # ---- jobs and cached results -------------------------------------------------------------------------------------
    def purge(self, *, finished_before: float, max_bytes: int | None = None) -> int:
        most = _NO_LIMIT if max_bytes is None else max_bytes
        purged = 0
        while self._is_purgeable(finished_before, most):
            with self._transaction() as connection:
                purged += self._purge_some(connection, finished_before, most)
        self._shrink(at_once=purged > 0)
        return purged

    def _is_purgeable(self, finished_before: float, most: int) -> bool:
        """Check whether there is a job to purge, by reading alone, which blocks no writer."""
        with self._session() as connection:
            (first,) = connection.execute(
                "SELECT MIN(finished_at) FROM jobs WHERE finished_at IS NOT NULL"
            ).fetchone()
            return first is not None and (first < finished_before or _counter(connection, "outputs") > most)

    def _purge_some(self, connection: sqlite3.Connection, finished_before: float, most: int) -> int:
        """Purge the jobs that finished first, up to :data:`_PURGE_BATCH`; return their number."""
        ended = connection.execute(
            "SELECT id, finished_at FROM jobs WHERE finished_at IS NOT NULL ORDER BY finished_at, id LIMIT ?",
            (_PURGE_BATCH,),
        ).fetchall()
        for purged, (job_id, finished_at) in enumerate(ended):
            if finished_at >= finished_before and _counter(connection, "outputs") <= most:
                return purged
            connection.execute("DELETE FROM outputs WHERE job = ?", (job_id,))
            connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
        return len(ended)

    def _shrink(self, *, at_once: bool) -> None:
        """Return free pages to the file system: after a purge all, else only many, as new jobs soon fill a few."""
        with self._session() as connection:
            (free,) = connection.execute("PRAGMA freelist_count").fetchone()
            if free > (0 if at_once else _VACUUM_PAGES):
                # Each step frees one page; only a script runs to its end, as the steps return no rows.
                connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
            # A log that grew behind a reader is truncated if there is none now, without waiting.
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _find_by_key(
        self, connection: sqlite3.Connection, owner: str, idempotency_key: str | None, content: str
    ) -> Job | None:
        """Find the job of an idempotency key, if there is one."""
        row = connection.execute(
            "SELECT id, content FROM jobs WHERE owner = ? AND idempotency_key = ?", (owner, idempotency_key)
        ).fetchone()
        if row is None:
            return None
        if row[1] != content:
            raise errors.idempotency_conflict(row[0], idempotency_key)
        return self._get(connection, row[0])

    def _find_repeated(self, connection: sqlite3.Connection, job: NewJob) -> Job | None:
        """Find the job of a repeated submission, by its id, if there is one."""
        row = connection.execute("SELECT owner, content FROM jobs WHERE id = ?", (job.id,)).fetchone()
        if row is None:
            return None
        if row != (job.owner, job.content):
            raise errors.idempotency_conflict(job.id, job.idempotency_key)
        return self._get(connection, job.id)

    def _get(self, connection: sqlite3.Connection, job_id: str) -> Job:
        row = connection.execute(_GET, (job_id,)).fetchone()
        if row is None:
            raise errors.unknown_job(job_id)
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
        """End a job, and delete its payload and its chunks, which only a worker needs."""
        connection.execute(
            """UPDATE jobs SET state = ?, error = ?, finished_at = MAX(created_at, COALESCE(started_at, 0), ?)
            WHERE id = ?""",
            (state, error, self._clock(), job_id),
        )
        connection.execute("DELETE FROM payloads WHERE job = ?", (job_id,))
        connection.execute("DELETE FROM chunks WHERE job = ?", (job_id,))


def _count_unfinished(connection: sqlite3.Connection, owner: str | None = None) -> int:
    return connection.execute(_UNFINISHED, (owner,)).fetchone()[0]


def _size_of_results(connection: sqlite3.Connection) -> int:
    return connection.execute("SELECT COALESCE(SUM(size), 0) FROM results").fetchone()[0]


def _counter(connection: sqlite3.Connection, name: str) -> int:
    """Read a counter: number of ``claims``, or bytes of all ``payloads`` or ``outputs``."""
    return connection.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()[0]
