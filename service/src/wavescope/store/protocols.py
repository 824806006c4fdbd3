"""What the service asks of a store. Every method may block and may be called from any thread and process.

All raise :class:`wavescope.errors.StoreUnavailable` where the store does not answer; it is not known then whether the
call was carried out. Every call may be repeated: a second ``submit`` of the same job or ``finish`` of the same worker
changes nothing and answers as the first did. Times are seconds since 1970, by the store's clock where it has one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
FINAL: tuple[State, ...] = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to be kept.

    Attributes:
        id: unique, of the caller's making.
        owner: name of the API key it came with; empty without keys. Others do not see the job.
        payload: the request and its images, encoded; opaque to the store, which forgets it when the job ends.
        content: digest of what was asked for, the same for the same request.
        idempotency_key: of the caller, unique per owner; ``None`` for none. It is free again once the job is purged.
        priority: larger ones are claimed first.
        labels: what is told of the job besides, JSON-ready: kind, model, number of images.
    """

    id: str
    owner: str
    payload: bytes
    content: str
    idempotency_key: str | None = None
    priority: int = 0
    labels: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is known of a job.

    Attributes:
        id, owner, labels: see :class:`NewJob`.
        state: ``queued`` until claimed and after a release, ``running`` while a worker has it, even one whose lease has
            lapsed, then one of :data:`FINAL`.
        created_at, started_at, finished_at: ``started_at`` is that of the first claim.
        forwards: images scored so far.
        planned: images to be scored in all; 0 before that is known.
        attempts: how often it was claimed and not released.
        error: the problem of a failed job: ``code``, ``message``, ``field``, ``limits``.
    """

    id: str
    owner: str
    state: State
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    forwards: int = 0
    planned: int = 0
    attempts: int = 0
    error: dict[str, Any] | None = None
    labels: dict[str, Any] = field(default_factory=dict[str, Any])


class Jobs(Protocol):
    """The callers' side."""

    def submit(
        self,
        job: NewJob,
        *,
        max_unfinished: int | None = None,
        max_owned: int | None = None,
        max_bytes: int | None = None,
    ) -> tuple[Job, bool]:
        """Keeps a job; ``False`` where the owner's idempotency key has one of the same content already, which is told.

        Nobody else submits between the look at the limits and the keeping. A job that is known is told whatever the
        limits.

        Args:
            job: to be kept.
            max_unfinished: jobs queued or running, with this one; ``None`` for any number, as of the others.
            max_owned: those of its owner.
            max_bytes: payloads of jobs queued or running, with this one's.

        Raises:
            IdempotencyConflict: the key, or the id, was used for another content.
            QueueFull: there would be more jobs or bytes in all.
            QuotaExceeded: there would be more jobs of the owner.
        """
        ...

    def find(self, owner: str, idempotency_key: str, content: str) -> Job | None:
        """The job that a submission with this key would be answered with; ``None`` where it would make one.

        Raises:
            IdempotencyConflict: the key was used for another content.
        """
        ...

    def get(self, job_id: str) -> Job:
        """Raises UnknownJob."""
        ...

    def cancel(self, job_id: str) -> Job:
        """Ends a job that is not finished; a finished one stays as it is. Raises UnknownJob."""
        ...

    def result(self, job_id: str) -> bytes:
        """What a worker finished it with. The caller looks at the state first: a failed job has a problem instead.

        Raises:
            UnknownJob, JobUnfinished, JobCancelled: there is no result, yet or any more.
            ValueError: the job failed; its problem is in :attr:`Job.error`.
        """
        ...

    def unfinished(self, owner: str | None = None) -> int:
        """Jobs queued or running, of an owner or in all."""
        ...


class Queue(Protocol):
    """The workers' side: at-least-once, by leases. No two workers have the same name."""

    def claim(self, worker: str, lease_s: float) -> tuple[Job, bytes] | None:
        """The next job and its payload: queued, or running with a lease that has lapsed; ``None`` if there is none.

        Larger priority first; within one, of the owner with the fewest jobs under a lease; of those, the oldest. Every
        fourth claim takes the oldest of all instead, so that none waits for ever. A payload that was lost is empty.
        """
        ...

    def beat(self, job_id: str, worker: str, lease_s: float, *, forwards: int, planned: int) -> bool:
        """Renews the lease and tells the progress; ``False`` where the job is not this worker's any more.

        Fewer ``forwards`` than before change nothing, nor does ``planned`` of 0: who begins anew counts anew.
        It is this worker's until another claims it, also after the lease has lapsed, or until it ends.
        """
        ...

    def finish(self, job_id: str, worker: str, result: bytes | dict[str, Any]) -> bool:
        """Ends a job with its result, or as failed with a problem; ``False`` where it is not this worker's any more.

        Its payload and its scores are forgotten. The worker that ended it is told ``True`` again.
        """
        ...

    def release(self, job_id: str, worker: str, *, after_s: float = 0.0) -> None:
        """Gives a job back unfinished, to be claimed again from ``after_s`` seconds from now; it keeps its place.

        The claim does not count as an attempt.
        """
        ...


class Ledger(Protocol):
    """Scores of a job's chunks, so that none is scored twice; keeping one twice changes nothing."""

    def keep(self, job_id: str, call: str, start: int, chunk: bytes) -> None:
        """Keeps the scores of rows from ``start`` of one scoring call of a job; of a finished job nothing is kept.

        What is kept already stays as it is.
        """
        ...

    def kept(self, job_id: str, call: str) -> list[tuple[int, bytes]]:
        """(start, chunk) of all that was kept of one call, by start."""
        ...


class Results(Protocol):
    """Results of earlier requests, bounded by their bytes with their keys: the least recently used go first."""

    def recall(self, key: str) -> bytes | None:
        """The result kept under a key, which counts as its use; ``None`` if there is none."""
        ...

    def remember(self, key: str, result: bytes) -> None:
        """Keeps a result, unless it alone is more than the bound; others go until all are within it."""
        ...


class Store(Jobs, Queue, Ledger, Results, Protocol):
    """All of it."""

    def purge(self, *, finished_before: float, max_bytes: int | None = None) -> int:
        """Forgets jobs that finished earlier, with their results and idempotency keys; how many.

        So go the others that finished first, while the results of all are more than ``max_bytes``.
        """
        ...

    def close(self) -> None:
        """Lets go of connections. The store is not used afterwards."""
        ...
