"""Merging of SQLite files: what one file of a store has and a copy of it lacks is added to the copy.

Jobs are added by their id, and come last in the order of submission. A monitor that the copy lacks is added with its
log, its images and its state. Where both have a monitor, the longer of the two logs is kept if it begins with the other
one; logs that went different ways are joined: the entries whose keys the copy lacks come last, under new numbers and
with their results, so that no entry is lost. Parameters and counts are those of the log that is kept. A monitor that
was created anew meanwhile replaces the one before it. One that was deleted after the copy was made comes back with
whoever still sees it.
"""

from __future__ import annotations

import logging
import sqlite3

from wavescope.store.migrations import MONITOR_TABLES

log = logging.getLogger(__name__)


def add_missing(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Add the jobs and the entries of monitors of one connection that another one, to a copy of its store, lacks.

    Nothing is added to a file that is no copy of the same store.
    """
    if _read_epoch(source) != _read_epoch(target):
        return
    target.execute("PRAGMA synchronous = FULL")
    target.execute("BEGIN IMMEDIATE")
    try:
        jobs = _add_missing_jobs(source, target)
        monitors = _add_missing_monitors(source, target)
        target.execute("COMMIT")
    finally:
        if target.in_transaction:
            target.execute("ROLLBACK")
    if jobs:
        log.error("the store's file was replaced by an older copy: %d jobs that it lacked were added", jobs)
    if monitors:
        log.error(
            "the store's file was replaced by an older copy: what it lacked of %d monitors was added",
            monitors,
        )


def _add_missing_jobs(source: sqlite3.Connection, target: sqlite3.Connection) -> int:
    """Add jobs with their requests, scores and results; return how many."""
    known = {name for (name,) in target.execute("SELECT id FROM jobs")}
    names = [name for (name,) in source.execute("SELECT id FROM jobs ORDER BY number")]
    missing = [name for name in names if name not in known]
    for name in missing:
        for table, key in (("jobs", "id"), ("payloads", "job"), ("outputs", "job"), ("chunks", "job")):
            _copy_rows(source, target, table, key, name)
    return len(missing)


def _add_missing_monitors(source: sqlite3.Connection, target: sqlite3.Connection) -> int:
    """Add monitors and entries of monitors; return of how many monitors."""
    heads = "SELECT name, created_at, last_seq FROM monitors ORDER BY name"
    known = {name: (created_at, last) for name, created_at, last in target.execute(heads)}
    changed = 0
    for name, created_at, last in source.execute(heads).fetchall():
        if name not in known or created_at > known[name][0]:
            _replace_monitor(source, target, name)
            changed += 1
        elif created_at == known[name][0]:
            changed += _merge_logs(source, target, name, last, known[name][1])
    return changed


def _merge_logs(
    source: sqlite3.Connection, target: sqlite3.Connection, name: str, last: int, last_there: int
) -> bool:
    """Merge the logs of a monitor, whose last entries have these numbers; return whether anything was added."""
    keys, keys_there = _read_keys(source, name), _read_keys(target, name)
    # Entries that were purged from one of them are taken to be the same.
    parted = min((seq for seq, key in keys.items() if keys_there.get(seq, key) != key), default=None)
    if parted is None:
        if last > last_there:
            _replace_monitor(source, target, name)
        return last > last_there
    known = set(keys_there.values())
    missing = [seq for seq, key in keys.items() if seq >= parted and key not in known]
    for seq in missing:
        _append_entry(source, target, name, seq)
    return bool(missing)


def _read_keys(connection: sqlite3.Connection, name: str) -> dict[int, str]:
    """Read the keys of the entries of a log by their numbers, in order."""
    return dict(
        connection.execute("SELECT seq, key FROM monitor_entries WHERE monitor = ? ORDER BY seq", (name,))
    )


def _replace_monitor(source: sqlite3.Connection, target: sqlite3.Connection, name: str) -> None:
    for table, column in MONITOR_TABLES:
        target.execute(f"DELETE FROM {table} WHERE {column} = ?", (name,))  # noqa: S608 - names of ours
        _copy_rows(source, target, table, column, name)


def _append_entry(source: sqlite3.Connection, target: sqlite3.Connection, name: str, seq: int) -> None:
    """Append an entry of one log to the other one, with its result and its payload."""
    at, kind, key, content, size, result = source.execute(
        "SELECT at, kind, key, content, size, result FROM monitor_entries WHERE monitor = ? AND seq = ?",
        (name, seq),
    ).fetchone()
    pending = kind == "observation" and result is None
    target.execute(
        """UPDATE monitors SET last_seq = last_seq + 1, last_at = MAX(last_at, ?), pending = pending + ?,
        pending_bytes = pending_bytes + ? WHERE name = ?""",
        (at, pending, size if pending else 0, name),
    )
    if kind == "observation":
        target.execute("UPDATE monitors SET last_observation_at = last_at WHERE name = ?", (name,))
    target.execute(
        """INSERT INTO monitor_entries (monitor, seq, at, kind, key, content, size, result)
        SELECT name, last_seq, last_at, ?, ?, ?, ?, ? FROM monitors WHERE name = ?""",
        (kind, key, content, size, result, name),
    )
    image = source.execute(
        "SELECT payload FROM monitor_payloads WHERE monitor = ? AND seq = ?", (name, seq)
    ).fetchone()
    if image is not None:
        target.execute(
            "INSERT INTO monitor_payloads SELECT name, last_seq, ? FROM monitors WHERE name = ?",
            (*image, name),
        )


def _copy_rows(
    source: sqlite3.Connection, target: sqlite3.Connection, table: str, column: str, name: str
) -> None:
    """Copy the rows of a table that have a name; a ``number`` of their order is given anew."""
    rows = source.execute(f"SELECT * FROM {table} WHERE {column} = ?", (name,))  # noqa: S608 - names of ours
    columns = [name for name, *_ in rows.description if name != "number" or table != "jobs"]
    skipped = len(rows.description) - len(columns)
    places = ", ".join("?" * len(columns))
    insert = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608
    target.executemany(insert, (row[skipped:] for row in rows))


def _read_epoch(connection: sqlite3.Connection) -> str | None:
    """Id of a store and its copies; ``None`` of a file that is none."""
    try:
        row = connection.execute("SELECT value FROM marks WHERE name = 'epoch'").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_ERROR:
            raise
        return None  # it has no such table
    return None if row is None else row[0]
