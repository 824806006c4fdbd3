"""Log of a monitor in the SQLite store: judging, appending and purging entries within a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from wavescope.store import errors
from wavescope.store.monitors import EventOutcome, NewEntry

PURGE_BATCH = 1000
"""Largest number of entries that one transaction purges, so that other calls get their turn."""


def judge_entries(
    connection: sqlite3.Connection,
    name: str,
    entries: Sequence[NewEntry],
    max_pending: int | None,
    max_pending_bytes: int | None,
    thin_s: float,
    now: float,
) -> list[tuple[EventOutcome, int]]:
    """Judge entries, each after those before it, and number those that are accepted."""
    row = connection.execute(
        """SELECT last_seq, paused, pending, pending_bytes, last_observation_at FROM monitors
        WHERE name = ?""",
        (name,),
    ).fetchone()
    if row is None:
        raise errors.unknown_monitor(name)
    last, paused, pending, pending_bytes, observed_at = row
    too_soon = observed_at is not None and abs(now - observed_at) < thin_s
    outcomes: list[tuple[EventOutcome, int]] = []
    known: dict[str, int] = {}
    for entry in entries:
        size = _size(entry)
        seq = known.get(entry.key) or _seq_of(connection, name, entry.key)
        if seq:
            outcomes.append(("duplicate", seq))
            continue
        if entry.kind == "observation":
            full = max_pending is not None and pending >= max_pending
            heavy = max_pending_bytes is not None and pending_bytes + size > max_pending_bytes
            if paused or too_soon or full or heavy:
                outcomes.append(("paused" if paused else "sampled_out" if too_soon else "busy", 0))
                continue
            pending, pending_bytes = pending + 1, pending_bytes + size
        last += 1
        known[entry.key] = last
        outcomes.append(("accepted", last))
    return outcomes


def _seq_of(connection: sqlite3.Connection, name: str, key: str) -> int:
    """Find the number of the entry with a key; 0 for none."""
    row = connection.execute(
        "SELECT seq FROM monitor_entries WHERE monitor = ? AND key = ?", (name, key)
    ).fetchone()
    return 0 if row is None else row[0]


def accepts(outcomes: Sequence[tuple[EventOutcome, int]]) -> bool:
    """Check whether any entry is accepted."""
    return any(outcome == "accepted" for outcome, _ in outcomes)


def _size(entry: NewEntry) -> int:
    return len(entry.payload or b"") if entry.kind == "observation" else 0


def append_judged(
    connection: sqlite3.Connection,
    name: str,
    entries: Sequence[NewEntry],
    outcomes: Sequence[tuple[EventOutcome, int]],
    now: float,
) -> None:
    """Append the accepted entries, and count the observations by outcome."""
    for entry, (outcome, seq) in zip(entries, outcomes, strict=True):
        if entry.kind == "observation":
            count_events(connection, name, outcome, 1)
        if outcome != "accepted":
            continue
        size = _size(entry)
        connection.execute(
            """INSERT INTO monitor_entries (monitor, seq, at, kind, key, content, size)
            SELECT name, ?, MAX(last_at, ?), ?, ?, ?, ? FROM monitors WHERE name = ?""",
            (seq, now, entry.kind, entry.key, entry.content, size, name),
        )
        connection.execute(
            "UPDATE monitors SET last_seq = ?, last_at = MAX(last_at, ?) WHERE name = ?", (seq, now, name)
        )
        if entry.kind == "observation":
            connection.execute("UPDATE monitors SET last_observation_at = last_at WHERE name = ?", (name,))
            add_pending(connection, name, 1, size)
            if entry.payload is not None:
                connection.execute(
                    "INSERT INTO monitor_payloads VALUES (?, ?, ?)", (name, seq, entry.payload)
                )


def count_events(connection: sqlite3.Connection, name: str, outcome: EventOutcome, number: int) -> None:
    """Count events of a monitor, if there is one of that name."""
    if number:
        connection.execute(
            """INSERT INTO monitor_events SELECT name, ?, ? FROM monitors WHERE name = ?
            ON CONFLICT (monitor, outcome) DO UPDATE SET number = number + excluded.number""",
            (outcome, number, name),
        )


def add_pending(connection: sqlite3.Connection, name: str, observations: int, size: int) -> None:
    """Add to the number and the bytes of the observations that have not ended."""
    connection.execute(
        "UPDATE monitors SET pending = pending + ?, pending_bytes = pending_bytes + ? WHERE name = ?",
        (observations, size, name),
    )


def delete_payload(connection: sqlite3.Connection, name: str, seq: int) -> None:
    """Delete the payload of an entry, if it has one."""
    connection.execute("DELETE FROM monitor_payloads WHERE monitor = ? AND seq = ?", (name, seq))


def purge_some(connection: sqlite3.Connection, name: str, before: int) -> int:
    """Purge the first folded entries below a number, up to :data:`PURGE_BATCH`; return how many."""
    rows = connection.execute(
        """SELECT seq, size, kind = 'observation' AND result IS NULL FROM monitor_entries
        WHERE monitor = ?1 AND seq < ?2 AND seq <= (SELECT folded FROM monitors WHERE name = ?1)
        ORDER BY seq LIMIT ?3""",
        (name, before, PURGE_BATCH),
    ).fetchall()
    for seq, size, pending in rows:
        if pending:
            add_pending(connection, name, -1, -size)
        delete_payload(connection, name, seq)
        connection.execute("DELETE FROM monitor_entries WHERE monitor = ? AND seq = ?", (name, seq))
    return len(rows)
