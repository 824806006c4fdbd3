"""Protocol of the store for monitors: append-only logs, one lease for each, and what is derived from them.

A monitor is its log: observations and commands, numbered from 1 in the order in which the store accepted them. All
else, as its state, is derived from the log by a fold, and kept only so that nothing is folded twice.

Every method may block and may be called from any thread and process. All raise
:class:`wavescope.errors.StoreUnavailable` if the store does not answer; the call may then have been carried out or not.
Every call but :meth:`Monitors.count_events` is idempotent; a repeated :meth:`Monitors.append_entries` counts
duplicates. Times are seconds since 1970, by the store's clock where it has one. Calls about a monitor that does not
exist raise :class:`wavescope.errors.UnknownMonitor` where they say so; others find nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

EventOutcome = Literal["accepted", "sampled_out", "duplicate", "busy", "paused", "invalid", "ignored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """Entry to append to the log of a monitor.

    Attributes:
        kind: an observation, or a command of a person.
        key: identity of the entry; one that the log has already is a duplicate. Not empty.
        content: facts about the entry, encoded; opaque to the store.
        payload: image of an observation, deleted when the observation ends unless it is to be kept. Commands have none.
    """

    kind: Literal["observation", "command"]
    key: str
    content: bytes = b""
    payload: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Entry of a log.

    Attributes:
        seq: its number, from 1 without gaps.
        at: when it was accepted; never before the entries ahead of it, even if the clock was set back.
        kind, content: see :class:`NewEntry`.
        result: measurement of an observation that has ended, encoded; ``None`` before, and of commands.
        payload: image; ``None`` where it is deleted, or was not asked for.
    """

    seq: int
    at: float
    kind: Literal["observation", "command"]
    content: bytes
    result: bytes | None = None
    payload: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorRecord:
    """Record of a monitor.

    Attributes:
        name: unique in the store.
        owner: name of the API key that made it; empty without keys.
        created_at: when it was made.
        token_digest: SHA-256 of the capability token, in hexadecimal.
        config: parameters now, encoded.
        paused: whether observations are turned away.
        last_seq: number of the last entry, 0 for none.
        folded: number of the last entry that the checkpoint covers.
        pending: observations that have not ended.
        pending_bytes: size of their payloads.
        last_observation_at: when the last observation was accepted; ``None`` for none.
        events: observations and events that arrived, by outcome; outcomes that never occurred are left out.
        status: summary that was saved with the checkpoint, encoded; ``None`` before the first.
    """

    name: str
    owner: str
    created_at: float
    token_digest: str
    config: bytes
    paused: bool = False
    last_seq: int = 0
    folded: int = 0
    pending: int = 0
    pending_bytes: int = 0
    last_observation_at: float | None = None
    events: dict[str, int] = field(default_factory=dict[str, int])
    status: bytes | None = None


class MonitorRegistry(Protocol):
    """Monitors, as callers see them."""

    def create_monitor(self, record: MonitorRecord, *, max_monitors: int) -> tuple[MonitorRecord, bool]:
        """Create a monitor; one of that name that exists is returned as it is, whatever the limit.

        Only ``name``, ``owner``, ``token_digest`` and ``config`` of the record are read.

        Returns:
            The record, and whether it is new.

        Raises:
            TooManyMonitors: there are so many already.
        """
        ...

    def configure_monitor(
        self,
        name: str,
        *,
        config: bytes | None = None,
        token_digest: str | None = None,
        paused: bool | None = None,
    ) -> MonitorRecord:
        """Change what is given of a monitor.

        Raises:
            UnknownMonitor: there is none of that name.
        """
        ...

    def get_monitor(self, name: str) -> MonitorRecord:
        """Get a monitor.

        Raises:
            UnknownMonitor: there is none of that name.
        """
        ...

    def list_monitors(self) -> list[MonitorRecord]:
        """List all monitors, by name."""
        ...

    def delete_monitor(self, name: str) -> None:
        """Delete a monitor with its log and all images.

        Raises:
            UnknownMonitor: there is none of that name.
        """
        ...


class MonitorLog(Protocol):
    """Logs of monitors."""

    def append_entries(
        self,
        name: str,
        entries: Sequence[NewEntry],
        *,
        max_pending: int | None = None,
        max_pending_bytes: int | None = None,
        thin_s: float = 0.0,
    ) -> list[tuple[EventOutcome, int]]:
        """Append entries in one transaction; what is accepted is on the disk when the call returns.

        Each is judged after those before it. In this order: one whose key the log has is ``duplicate``; then, of
        observations alone, one of a paused monitor is ``paused``, one less than ``thin_s`` from the last observation
        that an earlier call accepted ``sampled_out`` (so that images of one event are all taken or none), and one that
        would bring those that have not ended above ``max_pending`` or ``max_pending_bytes`` ``busy``. Observations are
        counted in ``events``, commands are not.

        Returns:
            For each entry the outcome, and its number: that of the first one for a duplicate, else 0 where it was not
            accepted.

        Raises:
            UnknownMonitor: there is none of that name.
        """
        ...

    def count_events(self, name: str, counts: Mapping[EventOutcome, int]) -> None:
        """Count events that are not appended: sampled out, invalid, or of a kind that has no image to observe.

        The last moments before a loss of power may be missing.

        Nothing happens where there is no monitor.
        """
        ...

    def read_entries(self, name: str, *, after: int, limit: int, payloads: bool = False) -> list[Entry]:
        """Read at most ``limit`` entries from ``after`` + 1 on, in order; those that were purged are left out."""
        ...

    def read_results(self, name: str, *, since: float, until: float, limit: int) -> list[Entry]:
        """Read the last ``limit`` ended observations accepted within [since, until), in order, without payloads."""
        ...

    def end_observation(self, name: str, seq: int, worker: str, result: bytes, *, keep: bool = False) -> bool:
        """End an observation with its measurement; one that has ended stays as it is.

        Args:
            name: of the monitor.
            seq: number of the observation.
            worker: that has the lease of the monitor.
            result: the measurement, encoded.
            keep: whether its payload stays.

        Returns:
            ``False``, and nothing happens, if the monitor is not this worker's any more, or has no such observation.
        """
        ...

    def get_payload(self, name: str, seq: int) -> bytes | None:
        """Get the image of an observation; ``None`` where it is deleted."""
        ...

    def drop_payloads(self, name: str, seqs: Sequence[int]) -> None:
        """Delete kept images of observations that have ended."""
        ...

    def purge_entries(self, name: str, *, before: int) -> int:
        """Delete entries below a number that are folded, with their keys and kept images; return how many."""
        ...


class MonitorLeases(Protocol):
    """Leases of monitors, and what the holder of one saves. No two workers have the same name.

    A monitor is a worker's from its claim until another claims it, even after the lease has expired, or until the
    worker releases it or the monitor is deleted.
    """

    def claim_monitor(self, worker: str, lease_s: float, *, wake_after_s: float) -> MonitorRecord | None:
        """Claim a monitor that nobody has a lease of and that has something to do; ``None`` if there is none.

        There is something to do where entries are not folded, or the last lease ended ``wake_after_s`` ago or longer.
        The one whose lease ended first goes first; one that was never claimed goes before all others, at once. Where
        there is nothing to do, the store is only read.
        """
        ...

    def renew_monitor(self, name: str, worker: str, lease_s: float) -> bool:
        """Renew a lease; ``False`` if the monitor is not this worker's any more, or is deleted."""
        ...

    def release_monitor(self, name: str, worker: str) -> None:
        """End a lease, if the monitor is this worker's; another worker may claim it at once."""
        ...

    def load_checkpoint(self, name: str) -> tuple[int, bytes | None, bytes | None]:
        """Load the number of the last folded entry, the state after it and the effects; 0 and ``None`` before any."""
        ...

    def save_checkpoint(self, name: str, worker: str, *, folded: int, state: bytes, status: bytes) -> bool:
        """Save the state after an entry; ``False``, and nothing happens, if the monitor is not this worker's any more.

        It is ``False``, too, where the log has fewer entries: an older copy of the store was put back. Fewer folded
        entries than before change nothing.
        """
        ...

    def save_effects(self, name: str, worker: str, effects: bytes) -> bool:
        """Save what was sent and started outside, such as webhooks; ``False`` as :meth:`save_checkpoint`."""
        ...


class Monitors(MonitorRegistry, MonitorLog, MonitorLeases, Protocol):
    """Store of monitors."""
