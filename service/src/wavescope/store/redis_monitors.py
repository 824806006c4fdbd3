"""Monitors in the Redis store: their registry, logs, leases and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from wavescope.store import errors
from wavescope.store.monitors import Entry, EventOutcome, MonitorRecord, NewEntry
from wavescope.store.redis_session import RedisSessions

_PURGE_BATCH = 1000  # entries in one script, so that other calls get their turn


class RedisMonitors(RedisSessions):
    """Redis implementation of :class:`wavescope.store.monitors.Monitors`."""

    # ---- registry ----------------------------------------------------------------------------------------------------
    def create_monitor(self, record: MonitorRecord, *, max_monitors: int) -> tuple[MonitorRecord, bool]:
        outcome, found = self._run(
            "create_monitor", record.name, record.owner, record.token_digest, record.config, max_monitors
        )
        if outcome == b"full":
            raise errors.too_many_monitors(max_monitors)
        return _record(found), outcome == b"made"

    def configure_monitor(
        self,
        name: str,
        *,
        config: bytes | None = None,
        token_digest: str | None = None,
        paused: bool | None = None,
    ) -> MonitorRecord:
        given = {
            "config": config,
            "token_digest": token_digest,
            "paused": None if paused is None else int(paused),
        }
        changed = [part for pair in given.items() if pair[1] is not None for part in pair]
        return _known(name, self._run("configure_monitor", name, *changed))

    def get_monitor(self, name: str) -> MonitorRecord:
        return _known(name, self._run("get_monitor", name))

    def list_monitors(self) -> list[MonitorRecord]:
        return sorted((_record(found) for found in self._run("list_monitors")), key=lambda one: one.name)

    def delete_monitor(self, name: str) -> None:
        if not self._run("delete_monitor", name):
            raise errors.unknown_monitor(name)

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
        bounds = ("" if bound is None else bound for bound in (max_pending, max_pending_bytes))
        sent: list[Any] = []
        for entry in entries:
            payload = entry.payload if entry.kind == "observation" else None
            sent += [entry.kind, entry.key, entry.content, int(payload is not None), payload or b""]
        found = self._run("append_entries", name, *bounds, repr(float(thin_s)), *sent)
        if found is None:
            raise errors.unknown_monitor(name)
        return [
            (cast("EventOutcome", outcome.decode()), seq)
            for outcome, seq in zip(found[::2], found[1::2], strict=True)
        ]

    def count_events(self, name: str, counts: Mapping[EventOutcome, int]) -> None:
        self._run("count_events", name, *(part for pair in counts.items() for part in pair))

    def read_entries(self, name: str, *, after: int, limit: int, payloads: bool = False) -> list[Entry]:
        return [_entry(*found) for found in self._run("read_entries", name, after, limit, int(payloads))]

    def read_results(self, name: str, *, since: float, until: float, limit: int) -> list[Entry]:
        times = (repr(float(since)), repr(float(until)))
        return [_entry(*found) for found in reversed(self._run("read_results", name, *times, max(0, limit)))]

    def end_observation(self, name: str, seq: int, worker: str, result: bytes, *, keep: bool = False) -> bool:
        return self._run("end_observation", name, seq, worker, int(keep), result) == 1

    def get_payload(self, name: str, seq: int) -> bytes | None:
        with self._translate_errors():
            return self._client.get(f"{self._prefix}monitor-payload:{seq}:{name}")

    def drop_payloads(self, name: str, seqs: Sequence[int]) -> None:
        self._run("drop_payloads", name, *seqs)

    def purge_entries(self, name: str, *, before: int) -> int:
        purged = 0
        while True:
            found = self._run("purge_entries", name, before, _PURGE_BATCH)
            purged += found
            if found < _PURGE_BATCH:
                return purged

    # ---- leases ------------------------------------------------------------------------------------------------------
    def claim_monitor(self, worker: str, lease_s: float, *, wake_after_s: float) -> MonitorRecord | None:
        found = self._run("claim_monitor", worker, lease_s, wake_after_s)
        return _record(found) if found else None

    def renew_monitor(self, name: str, worker: str, lease_s: float) -> bool:
        return self._run("renew_monitor", name, worker, lease_s) == 1

    def release_monitor(self, name: str, worker: str) -> None:
        self._run("release_monitor", name, worker)

    def load_checkpoint(self, name: str) -> tuple[int, bytes | None, bytes | None]:
        folded, state, effects = self._run("load_checkpoint", name)
        return folded, state, effects

    def save_checkpoint(self, name: str, worker: str, *, folded: int, state: bytes, status: bytes) -> bool:
        return self._run("save_checkpoint", name, worker, folded, state, status) == 1

    def save_effects(self, name: str, worker: str, effects: bytes) -> bool:
        return self._run("save_effects", name, worker, effects) == 1


def _known(name: str, found: list[Any]) -> MonitorRecord:
    """Make the record that a script found; it found nothing if the name is unknown."""
    if not found:
        raise errors.unknown_monitor(name)
    return _record(found)


def _record(found: list[Any]) -> MonitorRecord:
    """Make a record from its name, the names and values of its hash, and those of its events."""
    name, fields, events = found
    values: dict[bytes, bytes] = dict(zip(fields[::2], fields[1::2], strict=True))
    observed_at = values.get(b"last_observation_at")
    return MonitorRecord(
        name=name.decode(),
        owner=values[b"owner"].decode(),
        created_at=float(values[b"created_at"]),
        token_digest=values[b"token_digest"].decode(),
        config=values[b"config"],
        paused=values[b"paused"] == b"1",
        last_seq=int(values[b"last_seq"]),
        folded=int(values[b"folded"]),
        pending=int(values[b"pending"]),
        pending_bytes=int(values[b"pending_bytes"]),
        last_observation_at=None if observed_at is None else float(observed_at),
        events={
            outcome.decode(): int(number) for outcome, number in zip(events[::2], events[1::2], strict=True)
        },
        status=values.get(b"status"),
    )


def _entry(seq: int, packed: bytes, result: bytes | None, payload: bytes | None) -> Entry:
    kind, at, length, rest = packed.split(b" ", 3)
    return Entry(
        seq=seq,
        at=float(at),
        kind="observation" if kind == b"observation" else "command",
        content=rest[int(length) :],
        result=result,
        payload=payload,
    )
