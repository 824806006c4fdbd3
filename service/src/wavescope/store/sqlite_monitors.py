"""Monitors in the SQLite store: their registry, logs, leases and checkpoints.

What was created, configured, appended, sent or deleted is on the disk when the call returns. Counts, leases, results
and checkpoints survive the death of any process; their last moments may be lost with the power, and are made again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from wavescope.store import errors
from wavescope.store.migrations import MONITOR_TABLES
from wavescope.store.monitors import Entry, EventOutcome, MonitorRecord, NewEntry
from wavescope.store.sqlite_monitor_log import (
    PURGE_BATCH,
    accepts,
    add_pending,
    append_judged,
    count_events,
    delete_payload,
    judge_entries,
    purge_some,
)
from wavescope.store.sqlite_session import SqliteSessions

_RECORDS = """SELECT name, owner, created_at, token_digest, config, paused, last_seq, folded, pending, pending_bytes,
    last_observation_at, status,
    (SELECT json_group_object(outcome, number) FROM monitor_events WHERE monitor = name) FROM monitors"""
_CLAIMABLE = """SELECT name FROM monitors WHERE lease_until <= ?1 AND (folded < last_seq OR lease_until <= ?1 - ?2)
    ORDER BY lease_until, name LIMIT 1"""
_ENTRIES = """SELECT entry.seq, at, kind, content, result, payload FROM monitor_entries AS entry
    LEFT JOIN monitor_payloads AS image ON ?4 AND image.monitor = entry.monitor AND image.seq = entry.seq
    WHERE entry.monitor = ?1 AND entry.seq > ?2 ORDER BY entry.seq LIMIT ?3"""
_RESULTS = """SELECT seq, at, kind, content, result FROM monitor_entries
    WHERE monitor = ? AND result IS NOT NULL AND at >= ? AND at < ? ORDER BY at DESC, seq DESC LIMIT ?"""


class SqliteMonitors(SqliteSessions):
    """SQLite implementation of :class:`wavescope.store.monitors.Monitors`."""

    # ---- registry ----------------------------------------------------------------------------------------------------
    def create_monitor(self, record: MonitorRecord, *, max_monitors: int) -> tuple[MonitorRecord, bool]:
        with self._transaction(durable=True) as connection:
            existing = _find(connection, record.name)
            if existing is not None:
                return existing, False
            (many,) = connection.execute("SELECT COUNT(*) FROM monitors").fetchone()
            if many >= max_monitors:
                raise errors.too_many_monitors(max_monitors)
            now = self._clock()
            connection.execute(
                """INSERT INTO monitors (name, owner, created_at, last_at, token_digest, config)
                VALUES (?, ?, ?, ?, ?, ?)""",
                (record.name, record.owner, now, now, record.token_digest, record.config),
            )
            return _get(connection, record.name), True

    def configure_monitor(
        self,
        name: str,
        *,
        config: bytes | None = None,
        token_digest: str | None = None,
        paused: bool | None = None,
    ) -> MonitorRecord:
        with self._transaction(durable=True) as connection:
            connection.execute(
                """UPDATE monitors SET config = COALESCE(?, config), token_digest = COALESCE(?, token_digest),
                paused = COALESCE(?, paused) WHERE name = ?""",
                (config, token_digest, paused, name),
            )
            return _get(connection, name)

    def get_monitor(self, name: str) -> MonitorRecord:
        with self._session() as connection:
            return _get(connection, name)

    def list_monitors(self) -> list[MonitorRecord]:
        with self._session() as connection:
            return [_record(row) for row in connection.execute(f"{_RECORDS} ORDER BY name")]

    def delete_monitor(self, name: str) -> None:
        with self._transaction(durable=True) as connection:
            _get(connection, name)
            for table, column in MONITOR_TABLES:
                connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (name,))  # noqa: S608 - names of ours

    # ---- logs --------------------------------------------------------------------------------------------------------
    def append_entries(
        self,
        name: str,
        entries: Sequence[NewEntry],
        *,
        max_pending: int | None = None,
        max_pending_bytes: int | None = None,
        thin_s: float = 0.0,
    ) -> list[tuple[EventOutcome, int]]:
        limits = max_pending, max_pending_bytes, thin_s
        # Whether a transaction goes to the disk is decided before it begins: only one that accepts something has to.
        with self._session() as connection:
            durable = accepts(judge_entries(connection, name, entries, *limits, self._clock()))
        while True:
            with self._transaction(durable=durable) as connection:
                now = self._clock()
                outcomes = judge_entries(connection, name, entries, *limits, now)
                if durable or not accepts(outcomes):
                    append_judged(connection, name, entries, outcomes, now)
                    return outcomes
            durable = True

    def count_events(self, name: str, counts: Mapping[EventOutcome, int]) -> None:
        with self._transaction() as connection:
            for outcome, number in counts.items():
                count_events(connection, name, outcome, number)

    def read_entries(self, name: str, *, after: int, limit: int, payloads: bool = False) -> list[Entry]:
        with self._session() as connection:
            rows = connection.execute(_ENTRIES, (name, after, max(0, limit), payloads))
            return [_entry(row) for row in rows]

    def read_results(self, name: str, *, since: float, until: float, limit: int) -> list[Entry]:
        with self._session() as connection:
            rows = connection.execute(_RESULTS, (name, since, until, max(0, limit))).fetchall()
            return [_entry(row) for row in reversed(rows)]

    def end_observation(self, name: str, seq: int, worker: str, result: bytes, *, keep: bool = False) -> bool:
        with self._transaction() as connection:
            row = connection.execute(
                """SELECT size, result IS NOT NULL FROM monitor_entries JOIN monitors ON name = monitor
                WHERE monitor = ? AND seq = ? AND kind = 'observation' AND worker = ?""",
                (name, seq, worker),
            ).fetchone()
            if row is None:
                return False
            size, ended = row
            if not ended:
                connection.execute(
                    "UPDATE monitor_entries SET result = ? WHERE monitor = ? AND seq = ?", (result, name, seq)
                )
                add_pending(connection, name, -1, -size)
                if not keep:
                    delete_payload(connection, name, seq)
            return True

    def get_payload(self, name: str, seq: int) -> bytes | None:
        with self._session() as connection:
            row = connection.execute(
                "SELECT payload FROM monitor_payloads WHERE monitor = ? AND seq = ?", (name, seq)
            ).fetchone()
            return None if row is None else row[0]

    def drop_payloads(self, name: str, seqs: Sequence[int]) -> None:
        with self._transaction() as connection:
            for seq in seqs:
                ended = connection.execute(
                    "SELECT 1 FROM monitor_entries WHERE monitor = ? AND seq = ? AND result IS NOT NULL",
                    (name, seq),
                ).fetchone()
                if ended:
                    delete_payload(connection, name, seq)

    def purge_entries(self, name: str, *, before: int) -> int:
        purged = 0
        while True:
            with self._transaction() as connection:
                found = purge_some(connection, name, before)
            purged += found
            if found < PURGE_BATCH:
                return purged

    # ---- leases ------------------------------------------------------------------------------------------------------
    def claim_monitor(self, worker: str, lease_s: float, *, wake_after_s: float) -> MonitorRecord | None:
        with self._session() as connection:
            # Idle workers only read, and so block no writer.
            if connection.execute(_CLAIMABLE, (self._steady(), wake_after_s)).fetchone() is None:
                return None
        with self._transaction() as connection:
            now = self._steady()
            first = connection.execute(_CLAIMABLE, (now, wake_after_s)).fetchone()
            if first is None:
                return None
            connection.execute(
                "UPDATE monitors SET worker = ?, lease_until = ? WHERE name = ?",
                (worker, now + lease_s, *first),
            )
            return _get(connection, *first)

    def renew_monitor(self, name: str, worker: str, lease_s: float) -> bool:
        with self._transaction() as connection:
            updated = connection.execute(
                "UPDATE monitors SET lease_until = ? WHERE name = ? AND worker = ?",
                (self._steady() + lease_s, name, worker),
            )
            return updated.rowcount == 1

    def release_monitor(self, name: str, worker: str) -> None:
        with self._transaction() as connection:
            connection.execute(
                """UPDATE monitors SET worker = NULL, lease_until = MIN(lease_until, ?)
                WHERE name = ? AND worker = ?""",
                (self._steady(), name, worker),
            )

    def load_checkpoint(self, name: str) -> tuple[int, bytes | None, bytes | None]:
        with self._session() as connection:
            row = connection.execute(
                """SELECT folded, state, effects FROM monitors LEFT JOIN monitor_states ON monitor = name
                WHERE name = ?""",
                (name,),
            ).fetchone()
            return (0, None, None) if row is None else row

    def save_checkpoint(self, name: str, worker: str, *, folded: int, state: bytes, status: bytes) -> bool:
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT folded FROM monitors WHERE name = ? AND worker = ? AND last_seq >= ?",
                (name, worker, folded),
            ).fetchone()
            if row is None:
                return False
            if folded >= row[0]:
                connection.execute(
                    "UPDATE monitors SET folded = ?, status = ? WHERE name = ?", (folded, status, name)
                )
                connection.execute(
                    """INSERT INTO monitor_states (monitor, state) VALUES (?, ?)
                    ON CONFLICT (monitor) DO UPDATE SET state = excluded.state""",
                    (name, state),
                )
            return True

    def save_effects(self, name: str, worker: str, effects: bytes) -> bool:
        with self._transaction(durable=True) as connection:
            saved = connection.execute(
                """INSERT INTO monitor_states (monitor, effects)
                SELECT name, ? FROM monitors WHERE name = ? AND worker = ?
                ON CONFLICT (monitor) DO UPDATE SET effects = excluded.effects""",
                (effects, name, worker),
            )
            return saved.rowcount == 1


def _find(connection: sqlite3.Connection, name: str) -> MonitorRecord | None:
    row = connection.execute(f"{_RECORDS} WHERE name = ?", (name,)).fetchone()
    return None if row is None else _record(row)


def _get(connection: sqlite3.Connection, name: str) -> MonitorRecord:
    found = _find(connection, name)
    if found is None:
        raise errors.unknown_monitor(name)
    return found


def _record(row: tuple[Any, ...]) -> MonitorRecord:
    (
        name,
        owner,
        created_at,
        token_digest,
        config,
        paused,
        last_seq,
        folded,
        pending,
        pending_bytes,
        last_observation_at,
        status,
        events,
    ) = row
    return MonitorRecord(
        name=name,
        owner=owner,
        created_at=created_at,
        token_digest=token_digest,
        config=config,
        paused=bool(paused),
        last_seq=last_seq,
        folded=folded,
        pending=pending,
        pending_bytes=pending_bytes,
        last_observation_at=last_observation_at,
        events=json.loads(events),
        status=status,
    )


def _entry(row: tuple[Any, ...]) -> Entry:
    seq, at, kind, content, result, *payload = row
    return Entry(
        seq=seq, at=at, kind=kind, content=content, result=result, payload=payload[0] if payload else None
    )
