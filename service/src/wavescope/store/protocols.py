"""Protocols of the store: jobs, their queue, scores of chunks, cached results.

Every method may block and may be called from any thread and process.

All raise :class:`wavescope.errors.StoreUnavailable` if the store does not answer; the call may then have been carried
out or not. Every call is idempotent: a second ``submit`` of the same job or ``finish`` of the same worker changes
nothing and returns what the first did. Times are seconds since 1970, by the store's clock where it has one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from wavescope.store.monitors import Monitors

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
FINAL: tuple[State, ...] = ("succeeded", "failed", "cancelled")
"""States that no job leaves."""

OLDEST_EVERY = 4
"""One claim in so many takes the oldest job of all, so that none waits for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """New job to submit.

    Attributes:
        id: unique id, made by the caller.
        owner: name of the API key of the request; empty without keys. Others do not see the job.
        payload: the request and its images, encoded; opaque to the store, which deletes it when the job ends.
        content: digest of the request, the same for the same request.
        idempotency_key: key of the caller, unique per owner; ``None`` for none. It is free again once the job
            is purged.
        priority: priority in the queue; larger ones are claimed first.
        labels: further facts about the job, JSON-ready: kind, model, number of images.
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
    """State of a job.

    Attributes:
        id, owner, labels: see :class:`NewJob`.
        state: ``queued`` until claimed and after a release, ``running`` while a worker has it, even after its lease has
            expired, then one of :data:`FINAL`.
        created_at, started_at, finished_at: times; ``started_at`` is that of the first claim.
        forwards: number of images scored so far.
        planned: number of images to be scored; 0 before it is known.
        attempts: number of claims that were not released.
        error: reason of a failed job: ``code``, ``message``, ``field``, ``limits``.
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
    """Jobs, as the callers see them."""

    def submit(
        self,
        job: NewJob,
        *,
        max_unfinished: int | None = None,
        max_owned: int | None = None,
        max_bytes: int | None = None,
    ) -> tuple[Job, bool]:
        """Submit a job, unless the owner's idempotency key has a job of the same content already.

        The limits are checked in the same transaction. A job that exists already is returned whatever the limits.

        Args:
            job: the new job.
            max_unfinished: largest number of jobs queued or running, with this one; ``None`` for no limit, here and
                below.
            max_owned: largest number of those jobs of its owner.
            max_bytes: largest size of the payloads of those jobs, with this one's.

        Returns:
            The job, and whether it is new.

        Raises:
            IdempotencyConflict: the key, or the id, was used for another content.
            QueueFull: there would be more jobs or bytes in all.
            QuotaExceeded: there would be more jobs of the owner.
        """
        ...

    def find_by_key(self, owner: str, idempotency_key: str, content: str) -> Job | None:
        """Find the job of an idempotency key; ``None`` if a submission with it would make a new one.

        Raises:
            IdempotencyConflict: the key was used for another content.
        """
        ...

    def get(self, job_id: str) -> Job:
        """Get the state of a job.

        Raises:
            UnknownJob: there is none of that id.
        """
        ...

    def cancel(self, job_id: str) -> Job:
        """Cancel a job that has not ended; one that has ended stays as it is.

        Raises:
            UnknownJob: there is none of that id.
        """
        ...

    def result(self, job_id: str) -> bytes:
        """Get the result of a job that succeeded. Callers check its state first.

        Raises:
            UnknownJob, JobUnfinished, JobCancelled: there is no result, yet or any more.
            ValueError: the job failed; the reason is in :attr:`Job.error`.
        """
        ...

    def count_unfinished(self, owner: str | None = None) -> int:
        """Count the jobs queued or running, of one owner or of all."""
        ...


class JobQueue(Protocol):
    """Queue of jobs, as the workers see it: at least once, by leases. No two workers have the same name."""

    def claim(self, worker: str, lease_s: float) -> tuple[Job, bytes] | None:
        """Claim the next job and its payload: queued, or running with an expired lease; ``None`` if there is none.

        The larger priority goes first; within one, the owner with the fewest jobs under a lease; of those, the oldest
        job. Every :data:`OLDEST_EVERY`-th claim takes the oldest job of all instead. A payload that was lost is empty.
        """
        ...

    def heartbeat(self, job_id: str, worker: str, lease_s: float, *, forwards: int, planned: int) -> bool:
        """Renew the lease and report the progress; ``False`` if the job is not this worker's any more.

        Fewer ``forwards`` than before change nothing, nor does ``planned`` of 0: a second attempt counts from 0.
        The job is this worker's until another claims it, even after the lease has expired, or until it ends.
        """
        ...

    def finish(self, job_id: str, worker: str, result: bytes | dict[str, Any]) -> bool:
        """End a job with its result, or as failed with a problem; ``False`` if it is not this worker's any more.

        Its payload and its scores are deleted. A repeated call of the worker that ended it returns ``True`` again.
        """
        ...

    def release(self, job_id: str, worker: str, *, after_s: float = 0.0) -> None:
        """Return a job to the queue; it can be claimed again after ``after_s`` seconds and keeps its place.

        The claim does not count as an attempt.
        """
        ...


class ChunkScores(Protocol):
    """Scores of the chunks of unfinished jobs, so that none is scored twice."""

    def save_chunk(self, job_id: str, call: str, start: int, chunk: bytes) -> None:
        """Save the scores of one chunk, whose rows begin at ``start``, of one scoring call of a job.

        A chunk that was saved before stays as it is; chunks of a job that has ended are dropped.
        """
        ...

    def load_chunks(self, job_id: str, call: str) -> list[tuple[int, bytes]]:
        """Load the saved chunks of one scoring call: (start, chunk), by start."""
        ...


class ResultCache(Protocol):
    """Cache of results, bounded by their bytes with their keys; the least recently used are evicted."""

    def get_cached(self, key: str) -> bytes | None:
        """Get the cached result of a key, which counts as its use; ``None`` if there is none."""
        ...

    def put_cached(self, key: str, result: bytes) -> None:
        """Cache a result, unless it alone exceeds the bound; others are evicted until all are within it."""
        ...


class Store(Jobs, JobQueue, ChunkScores, ResultCache, Monitors, Protocol):
    """Store of jobs, queue, scores, cached results and monitors."""

    def check(self) -> list[str]:
        """Check that the store can be used and is durable; return warnings, in sentences.

        Raises:
            InvalidRequest: it cannot be used as it is set up.
            StoreUnavailable: it does not answer, or is damaged.
        """
        ...

    def purge(self, *, finished_before: float, max_bytes: int | None = None) -> int:
        """Delete jobs that finished before a time, with their results and idempotency keys; return their number.

        While the results of all jobs exceed ``max_bytes``, further jobs are deleted, those that finished first before
        others.
        """
        ...

    def close(self) -> None:
        """Close the connections. The store is not used afterwards."""
        ...


def result_size(key: str, result: bytes) -> int:
    """Size in bytes that a cached result counts: with its key, so that a bound of 0 caches nothing at all."""
    return len(key.encode()) + len(result)
