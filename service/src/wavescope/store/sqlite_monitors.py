"""Monitors in the SQLite store: their logs, leases and checkpoints."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from wavescope.store import errors
from wavescope.store.monitors import Entry, EventOutcome, MonitorRecord, NewEntry

_RECORD = """SELECT name, owner, created_at, token_digest, config, paused, last_seq, folded, pending, pending_bytes,
    last_observation_at, status FROM monitors"""
# Something to do: entries that are not folded, or nobody has looked for a while.
_CLAIMABLE = """SELECT name FROM monitors
    WHERE lease_until <= ?1 AND (last_seq > folded OR lease_until <= ?1 - ?2) ORDER BY lease_until, name LIMIT 1"""
_HELD = "name = ? AND worker = ?"


class SqliteMonitors:
    """Monitors of :class:`wavescope.store.sqlite.SqliteStore`; see :class:`wavescope.store.monitors.Monitors`."""

    _clock: Callable[[], float] = staticmethod(time.time)
    _steady: Callable[[], float] = staticmethod(time.monotonic)

    def _session(self, busy_s: float | None = None) -> AbstractContextManager[sqlite3.Connection]:
        raise NotImplementedError

    def _transaction(
        self, *, durable: bool = False, busy_s: float | None = None
    ) -> AbstractContextManager[sqlite3.Connection]:
        raise NotImplementedError

    # ---- monitors ----------------------------------------------------------------------------------------------------
    def create_monitor(self, record: MonitorRecord, *, max_monitors: int) -> tuple[MonitorRecord, bool]:
        with self._transaction(durable=True) as connection:
            existing = _find(connection, record.name)
            if existing is not None:
                return existing, False
            (count,) = connection.execute("SELECT COUNT(*) FROM monitors").fetchone()
            if count >= max_monitors:
                raise errors.too_many_monitors(max_monitors)
            connection.execute(
                "INSERT INTO monitors (name, owner, created_at, token_digest, config) VALUES (?, ?, ?, ?, ?)",
                (record.name, record.owner, self._clock(), record.token_digest, record.config),
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
                (config, token_digest, None if paused is None else int(paused), name),
            )
            return _get(connection, name)

    def get_monitor(self, name: str) -> MonitorRecord:
        with self._session() as connection:
            return _get(connection, name)

    def list_monitors(self) -> list[MonitorRecord]:
        with self._session() as connection:
            counted = connection.execute("SELECT monitor, outcome, count FROM monitor_events").fetchall()
            events: dict[str, dict[str, int]] = {}
            for name, outcome, count in counted:
                events.setdefault(name, {})[outcome] = count
            rows = connection.execute(f"{_RECORD} ORDER BY name").fetchall()
            return [_record(row, events.get(row[0], {})) for row in rows]

    def delete_monitor(self, name: str) -> None:
        with self._transaction(durable=True) as connection:
            _get(connection, name)
            connection.execute("DELETE FROM monitors WHERE name = ?", (name,))
            for table in ("entries", "entry_payloads", "monitor_events"):
                connection.execute(f"DELETE FROM {table} WHERE monitor = ?", (name,))  # noqa: S608

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
        with self._transaction(durable=True) as connection:
            record, now = _get(connection, name), self._clock()
            last = record.last_observation_at
            thinned = thin_s > 0 and last is not None and 0 <= now - last < thin_s
            found: list[tuple[EventOutcome, int]] = []
            seq, pending, size, latest = record.last_seq, record.pending, record.pending_bytes, last
            for entry in entries:
                outcome, known = self._judge(connection, name, entry)
                observation = entry.kind == "observation"
                weight = len(entry.payload or b"")
                if outcome is None and observation:
                    full = (max_pending is not None and pending >= max_pending) or (
                        max_pending_bytes is not None and size + weight > max_pending_bytes
                    )
                    outcome = (
                        "paused" if record.paused else "sampled_out" if thinned else "busy" if full else None
                    )
                if outcome is None:
                    seq += 1
                    outcome, known = "accepted", seq
                    _insert(connection, name, seq, now, entry)
                    if observation:
                        pending, size, latest = pending + 1, size + weight, now
                found.append((outcome, known))
                if observation:
                    _count(connection, name, outcome, 1)
            connection.execute(
                """UPDATE monitors SET last_seq = ?, pending = ?, pending_bytes = ?, last_observation_at = ?
                WHERE name = ?""",
                (seq, pending, size, latest, name),
            )
            return found

    @staticmethod
    def _judge(connection: sqlite3.Connection, name: str, entry: NewEntry) -> tuple[EventOutcome | None, int]:
        row = connection.execute(
            "SELECT seq FROM entries WHERE monitor = ? AND key = ?", (name, entry.key)
        ).fetchone()
        return (None, 0) if row is None else ("duplicate", row[0])

    def count_events(self, name: str, counts: Mapping[EventOutcome, int]) -> None:
        with self._transaction() as connection:
            if _find(connection, name) is not None:
                for outcome, count in counts.items():
                    _count(connection, name, outcome, count)

    def read_entries(self, name: str, *, after: int, limit: int, payloads: bool = False) -> list[Entry]:
        with self._session() as connection:
            rows = connection.execute(
                """SELECT seq, at, kind, content, result, CASE WHEN ? THEN (SELECT payload FROM entry_payloads
                WHERE entry_payloads.monitor = entries.monitor AND entry_payloads.seq = entries.seq) END
                FROM entries WHERE monitor = ? AND seq > ? ORDER BY seq LIMIT ?""",
                (int(payloads), name, after, limit),
            ).fetchall()
            return [_entry(row) for row in rows]

    def read_results(self, name: str, *, since: float, until: float, limit: int) -> list[Entry]:
        with self._session() as connection:
            rows = connection.execute(
                """SELECT seq, at, kind, content, result, NULL FROM entries
                WHERE monitor = ? AND at >= ? AND at < ? AND result IS NOT NULL ORDER BY seq DESC LIMIT ?""",
                (name, since, until, limit),
            ).fetchall()
            return [_entry(row) for row in reversed(rows)]

    def end_observation(self, name: str, seq: int, worker: str, result: bytes, *, keep: bool = False) -> bool:
        with self._transaction() as connection:
            if not _is_held(connection, name, worker):
                return False
            row = connection.execute(
                """SELECT result IS NOT NULL, COALESCE(LENGTH(payload), 0) FROM entries
                LEFT JOIN entry_payloads USING (monitor, seq) WHERE monitor = ? AND seq = ? AND kind = 'observation'""",
                (name, seq),
            ).fetchone()
            if row is None:
                return False
            ended, size = row
            if ended:
                return True
            connection.execute(
                "UPDATE entries SET result = ? WHERE monitor = ? AND seq = ?", (result, name, seq)
            )
            if not keep:
                connection.execute("DELETE FROM entry_payloads WHERE monitor = ? AND seq = ?", (name, seq))
            connection.execute(
                "UPDATE monitors SET pending = pending - 1, pending_bytes = pending_bytes - ? WHERE name = ?",
                (size, name),
            )
            return True

    def get_payload(self, name: str, seq: int) -> bytes | None:
        with self._session() as connection:
            row = connection.execute(
                "SELECT payload FROM entry_payloads WHERE monitor = ? AND seq = ?", (name, seq)
            ).fetchone()
            return None if row is None else row[0]

    def drop_payloads(self, name: str, seqs: Sequence[int]) -> None:
        with self._transaction() as connection:
            connection.executemany(
                """DELETE FROM entry_payloads WHERE monitor = ?1 AND seq = ?2 AND EXISTS (SELECT 1 FROM entries
                WHERE entries.monitor = ?1 AND entries.seq = ?2 AND result IS NOT NULL)""",
                [(name, seq) for seq in seqs],
            )

    def purge_entries(self, name: str, *, before: int) -> int:
        with self._session() as connection:  # which blocks no writer
            row = connection.execute(
                "SELECT MIN(seq) FROM entries WHERE monitor = ? AND seq < ?", (name, before)
            ).fetchone()
            if row is None or row[0] is None:
                return 0
        with self._transaction() as connection:
            record = _find(connection, name)
            if record is None:
                return 0
            most = min(before, record.folded + 1)
            connection.execute("DELETE FROM entry_payloads WHERE monitor = ? AND seq < ?", (name, most))
            purged = connection.execute("DELETE FROM entries WHERE monitor = ? AND seq < ?", (name, most))
            return purged.rowcount

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
            renewed = connection.execute(
                f"UPDATE monitors SET lease_until = ? WHERE {_HELD}",  # noqa: S608
                (self._steady() + lease_s, name, worker),
            )
            return renewed.rowcount == 1

    def release_monitor(self, name: str, worker: str) -> None:
        with self._transaction() as connection:
            connection.execute(
                f"UPDATE monitors SET worker = NULL, lease_until = ? WHERE {_HELD}",  # noqa: S608
                (self._steady(), name, worker),
            )

    def load_checkpoint(self, name: str) -> tuple[int, bytes | None, bytes | None]:
        with self._session() as connection:
            row = connection.execute(
                "SELECT folded, checkpoint, effects FROM monitors WHERE name = ?", (name,)
            ).fetchone()
            return (0, None, None) if row is None else row

    def save_checkpoint(self, name: str, worker: str, *, folded: int, state: bytes, status: bytes) -> bool:
        with self._transaction() as connection:
            if not _is_held(connection, name, worker):
                return False
            connection.execute(
                "UPDATE monitors SET folded = ?1, checkpoint = ?2, status = ?3 WHERE name = ?4 AND folded <= ?1",
                (folded, state, status, name),
            )
            return True

    def save_effects(self, name: str, worker: str, effects: bytes) -> bool:
        with self._transaction(durable=True) as connection:
            saved = connection.execute(
                f"UPDATE monitors SET effects = ? WHERE {_HELD}",  # noqa: S608
                (effects, name, worker),
            )
            return saved.rowcount == 1


def _insert(connection: sqlite3.Connection, name: str, seq: int, at: float, entry: NewEntry) -> None:
    connection.execute(
        "INSERT INTO entries (monitor, seq, at, kind, key, content) VALUES (?, ?, ?, ?, ?, ?)",
        (name, seq, at, entry.kind, entry.key, entry.content),
    )
    if entry.payload is not None:
        connection.execute("INSERT INTO entry_payloads VALUES (?, ?, ?)", (name, seq, entry.payload))


def _count(connection: sqlite3.Connection, name: str, outcome: str, count: int) -> None:
    connection.execute(
        """INSERT INTO monitor_events VALUES (?1, ?2, ?3)
        ON CONFLICT (monitor, outcome) DO UPDATE SET count = count + ?3""",
        (name, outcome, count),
    )


def _is_held(connection: sqlite3.Connection, name: str, worker: str) -> bool:
    return (
        connection.execute(f"SELECT 1 FROM monitors WHERE {_HELD}", (name, worker)).fetchone()  # noqa: S608
        is not None
    )


def _find(connection: sqlite3.Connection, name: str) -> MonitorRecord | None:
    row = connection.execute(f"{_RECORD} WHERE name = ?", (name,)).fetchone()
    if row is None:
        return None
    events = connection.execute(
        "SELECT outcome, count FROM monitor_events WHERE monitor = ?", (name,)
    ).fetchall()
    return _record(row, dict(events))


def _get(connection: sqlite3.Connection, name: str) -> MonitorRecord:
    found = _find(connection, name)
    if found is None:
        raise errors.unknown_monitor(name)
    return found


def _record(row: tuple, events: dict[str, int]) -> MonitorRecord:  # type: ignore[type-arg]  # of _RECORD
    return MonitorRecord(
        name=row[0],
        owner=row[1],
        created_at=row[2],
        token_digest=row[3],
        config=row[4],
        paused=bool(row[5]),
        last_seq=row[6],
        folded=row[7],
        pending=row[8],
        pending_bytes=row[9],
        last_observation_at=row[10],
        events=events,
        status=row[11],
    )


def _entry(row: tuple) -> Entry:  # type: ignore[type-arg]  # (seq, at, kind, content, result, payload)
    seq, at, kind, content, result, payload = row
    return Entry(seq=seq, at=at, kind=kind, content=content, result=result, payload=payload)
