"""A slow model of a store of monitors in lists and dictionaries, as the protocol says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from wavescope.store import errors
from wavescope.store.monitors import Entry, EventOutcome, MonitorRecord, NewEntry


@dataclass
class Line:
    entry: Entry
    key: str
    size: int


@dataclass
class Monitor:
    record: MonitorRecord
    lines: list[Line] = field(default_factory=list[Line])
    events: Counter[str] = field(default_factory=Counter[str])
    worker: str | None = None
    ended_at: float = float("-inf")
    state: bytes | None = None
    effects: bytes | None = None
    last_at: float = 0.0

    def read(self) -> MonitorRecord:
        waiting = [one for one in self.lines if one.entry.kind == "observation" and one.entry.result is None]
        return replace(
            self.record,
            pending=len(waiting),
            pending_bytes=sum(one.size for one in waiting),
            events={outcome: count for outcome, count in self.events.items() if count},
        )

    def line(self, seq: int) -> Line | None:
        return next((one for one in self.lines if one.entry.seq == seq), None)

    def judge(
        self, entry: NewEntry, too_soon: bool, max_pending: int | None, max_bytes: int | None
    ) -> tuple[EventOutcome, int]:
        for one in self.lines:
            if one.key == entry.key:
                return "duplicate", one.entry.seq
        if entry.kind == "observation":
            found = self.read()
            if found.paused:
                return "paused", 0
            if too_soon:
                return "sampled_out", 0
            if max_pending is not None and found.pending + 1 > max_pending:
                return "busy", 0
            if max_bytes is not None and found.pending_bytes + len(entry.payload or b"") > max_bytes:
                return "busy", 0
        return "accepted", self.record.last_seq + 1


class ModelMonitors:
    """Implementation of :class:`wavescope.store.monitors.Monitors` that a reader can check."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._monitors: dict[str, Monitor] = {}

    def _find(self, name: str) -> Monitor:
        if name not in self._monitors:
            raise errors.unknown_monitor(name)
        return self._monitors[name]

    def create_monitor(self, record: MonitorRecord, *, max_monitors: int) -> tuple[MonitorRecord, bool]:
        if record.name in self._monitors:
            return self._monitors[record.name].read(), False
        if len(self._monitors) >= max_monitors:
            raise errors.too_many_monitors(max_monitors)
        made = MonitorRecord(
            name=record.name,
            owner=record.owner,
            created_at=self._clock(),
            token_digest=record.token_digest,
            config=record.config,
        )
        self._monitors[record.name] = Monitor(made, last_at=made.created_at)
        return made, True

    def configure_monitor(
        self,
        name: str,
        *,
        config: bytes | None = None,
        token_digest: str | None = None,
        paused: bool | None = None,
    ) -> MonitorRecord:
        monitor = self._find(name)
        if config is not None:
            monitor.record = replace(monitor.record, config=config)
        if token_digest is not None:
            monitor.record = replace(monitor.record, token_digest=token_digest)
        if paused is not None:
            monitor.record = replace(monitor.record, paused=paused)
        return monitor.read()

    def get_monitor(self, name: str) -> MonitorRecord:
        return self._find(name).read()

    def list_monitors(self) -> list[MonitorRecord]:
        return [self._monitors[name].read() for name in sorted(self._monitors)]

    def delete_monitor(self, name: str) -> None:
        self._find(name)
        del self._monitors[name]

    def append_entries(
        self,
        name: str,
        entries: Sequence[NewEntry],
        *,
        max_pending: int | None = None,
        max_pending_bytes: int | None = None,
        thin_s: float = 0.0,
    ) -> list[tuple[EventOutcome, int]]:
        monitor, now = self._find(name), self._clock()
        observed_at = monitor.record.last_observation_at
        too_soon = observed_at is not None and abs(now - observed_at) < thin_s
        outcomes: list[tuple[EventOutcome, int]] = []
        for entry in entries:
            outcome, seq = monitor.judge(entry, too_soon, max_pending, max_pending_bytes)
            outcomes.append((outcome, seq))
            if entry.kind == "observation":
                monitor.events[outcome] += 1
            if outcome != "accepted":
                continue
            monitor.last_at = max(monitor.last_at, now)
            payload = entry.payload if entry.kind == "observation" else None
            added = Entry(
                seq=seq, at=monitor.last_at, kind=entry.kind, content=entry.content, payload=payload
            )
            monitor.lines.append(Line(added, entry.key, len(payload or b"")))
            monitor.record = replace(monitor.record, last_seq=seq)
            if entry.kind == "observation":
                monitor.record = replace(monitor.record, last_observation_at=monitor.last_at)
        return outcomes

    def count_events(self, name: str, counts: Mapping[EventOutcome, int]) -> None:
        if name in self._monitors:
            self._monitors[name].events.update(counts)

    def _lines(self, name: str) -> list[Line]:
        return self._monitors[name].lines if name in self._monitors else []

    def read_entries(self, name: str, *, after: int, limit: int, payloads: bool = False) -> list[Entry]:
        found = [one.entry for one in self._lines(name) if one.entry.seq > after][: max(0, limit)]
        return found if payloads else [replace(entry, payload=None) for entry in found]

    def read_results(self, name: str, *, since: float, until: float, limit: int) -> list[Entry]:
        entries = [replace(one.entry, payload=None) for one in self._lines(name)]
        found = [one for one in entries if one.result is not None and since <= one.at < until]
        return found[-limit:] if limit > 0 else []

    def end_observation(self, name: str, seq: int, worker: str, result: bytes, *, keep: bool = False) -> bool:
        monitor = self._monitors.get(name)
        if monitor is None or monitor.worker != worker:
            return False
        line = monitor.line(seq)
        if line is None or line.entry.kind != "observation":
            return False
        if line.entry.result is None:
            payload = line.entry.payload if keep else None
            line.entry = replace(line.entry, result=result, payload=payload)
        return True

    def get_payload(self, name: str, seq: int) -> bytes | None:
        return next((one.entry.payload for one in self._lines(name) if one.entry.seq == seq), None)

    def drop_payloads(self, name: str, seqs: Sequence[int]) -> None:
        for line in self._lines(name):
            if line.entry.seq in seqs and line.entry.result is not None:
                line.entry = replace(line.entry, payload=None)

    def purge_entries(self, name: str, *, before: int) -> int:
        monitor = self._monitors.get(name)
        if monitor is None:
            return 0
        kept = [
            one for one in monitor.lines if one.entry.seq >= before or one.entry.seq > monitor.record.folded
        ]
        purged = len(monitor.lines) - len(kept)
        monitor.lines = kept
        return purged

    def claim_monitor(self, worker: str, lease_s: float, *, wake_after_s: float) -> MonitorRecord | None:
        now = self._clock()
        able = [
            one
            for one in self._monitors.values()
            if one.ended_at <= now
            and (one.record.folded < one.record.last_seq or one.ended_at <= now - wake_after_s)
        ]
        if not able:
            return None
        first = min(able, key=lambda one: (one.ended_at, one.record.name))
        first.worker, first.ended_at = worker, now + lease_s
        return first.read()

    def _held(self, name: str, worker: str) -> Monitor | None:
        monitor = self._monitors.get(name)
        return monitor if monitor is not None and monitor.worker == worker else None

    def renew_monitor(self, name: str, worker: str, lease_s: float) -> bool:
        monitor = self._held(name, worker)
        if monitor is not None:
            monitor.ended_at = self._clock() + lease_s
        return monitor is not None

    def release_monitor(self, name: str, worker: str) -> None:
        monitor = self._held(name, worker)
        if monitor is not None:
            monitor.worker, monitor.ended_at = None, min(monitor.ended_at, self._clock())

    def load_checkpoint(self, name: str) -> tuple[int, bytes | None, bytes | None]:
        monitor = self._monitors.get(name)
        return (0, None, None) if monitor is None else (monitor.record.folded, monitor.state, monitor.effects)

    def save_checkpoint(self, name: str, worker: str, *, folded: int, state: bytes, status: bytes) -> bool:
        monitor = self._held(name, worker)
        if monitor is None or folded > monitor.record.last_seq:
            return False
        if folded >= monitor.record.folded:
            monitor.record = replace(monitor.record, folded=folded, status=status)
            monitor.state = state
        return True

    def save_effects(self, name: str, worker: str, effects: bytes) -> bool:
        monitor = self._held(name, worker)
        if monitor is not None:
            monitor.effects = effects
        return monitor is not None
