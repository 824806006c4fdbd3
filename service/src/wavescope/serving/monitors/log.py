"""Entries of a monitor's log, between the store's bytes and the engine's types."""

from __future__ import annotations

from wavescope.engine.monitors.config import MonitorConfig
from wavescope.engine.monitors.observation import Observed
from wavescope.engine.monitors.state import Command, Facts, LogEntry, MonitorState, initial_state
from wavescope.engine.monitors.status import Summary, summarise
from wavescope.ingress.plane import MonitorStatus, Observation
from wavescope.store.codec import decode, encode
from wavescope.store.monitors import Entry, MonitorRecord, NewEntry


def observation_entry(observation: Observation, key: str) -> NewEntry:
    """The entry of an observation.

    Args:
        observation: the image, and what is known of it.
        key: identity of the entry.
    """
    facts = Facts(
        reference=observation.reference,
        fitted=observation.fitted,
        traceparent=observation.traceparent,
        label=observation.label,
    )
    return NewEntry(kind="observation", key=key, content=encode(facts), payload=observation.image)


def command_entry(command: Command, key: str) -> NewEntry:
    """The entry of a command."""
    return NewEntry(kind="command", key=key, content=encode(command))


def read_entry(entry: Entry) -> LogEntry:
    """The entry as the fold takes it."""
    if entry.kind == "command":
        return LogEntry(seq=entry.seq, at=entry.at, command=decode(entry.content, Command))
    observed = None if entry.result is None else decode(entry.result, Observed)
    return LogEntry(seq=entry.seq, at=entry.at, facts=decode(entry.content, Facts), observed=observed)


def read_state(record: MonitorRecord, checkpoint: bytes | None) -> MonitorState:
    """The state of a checkpoint; the initial one where there is none."""
    if checkpoint is not None:
        return decode(checkpoint, MonitorState)
    return initial_state(decode(record.config, MonitorConfig), record.created_at)


def read_status(record: MonitorRecord, token: str | None = None) -> MonitorStatus:
    """The status of a record.

    Args:
        record: of the store.
        token: capability token, where it was made just now.
    """
    summary = (
        decode(record.status, Summary) if record.status is not None else summarise(read_state(record, None))
    )
    return MonitorStatus(
        name=record.name,
        state=_state(record, summary),
        created_at=record.created_at,
        summary=summary,
        pending=record.pending,
        unfolded=record.last_seq - record.folded,
        events=record.events,
        last_observation_at=record.last_observation_at,
        token=token,
    )


def _state(record: MonitorRecord, summary: Summary) -> str:
    """A pause is known before it is folded; a reference that only waits to be measured is being checked."""
    if record.paused:
        return "paused"
    if summary.state == "paused":
        return "watching"  # resumed, and not folded yet
    waiting = summary.reference.n + record.pending >= summary.reference.size
    return "checking" if summary.state == "collecting" and waiting and record.pending else summary.state
