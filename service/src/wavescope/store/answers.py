"""What every store answers in the same words, and rules that all go by."""

from __future__ import annotations

from wavescope.errors import (
    IdempotencyConflict,
    JobCancelled,
    JobUnfinished,
    QueueFull,
    QuotaExceeded,
    UnknownJob,
)
from wavescope.store.protocols import Job

OLDEST_EVERY = 4  # claims: one takes the oldest job of all
_RETRY_AFTER_S = 10


def unknown(job_id: str) -> UnknownJob:
    """There is no such job."""
    return UnknownJob(f"no job is {job_id!r}", field="id")


def conflict(job_id: str, idempotency_key: str | None) -> IdempotencyConflict:
    """There is a job of that key or, without a key, id, and it is another."""
    if idempotency_key is None:
        return IdempotencyConflict(f"the id {job_id!r} was used for another job", field="id")
    return IdempotencyConflict(
        f"the idempotency key {idempotency_key!r} was used for another request", field="idempotency_key"
    )


def full(most: int) -> QueueFull:
    """There are as many jobs as may be."""
    return QueueFull(
        f"{most} jobs have not ended yet; no more are accepted", max_jobs=most, retry_after_s=_RETRY_AFTER_S
    )


def too_heavy(size: int, most: int) -> QueueFull:
    """The bytes of a job are more than there is room for."""
    return QueueFull(
        f"this job has {size} bytes; with those of the jobs that have not ended yet there would be more than {most}",
        max_bytes=most,
        retry_after_s=_RETRY_AFTER_S,
    )


def over_quota(most: int) -> QuotaExceeded:
    """The owner has as many jobs as he may."""
    return QuotaExceeded(
        f"{most} jobs of this key have not ended yet, which is its quota",
        max_jobs=most,
        retry_after_s=_RETRY_AFTER_S,
    )


def without_result(job: Job) -> Exception:
    """Why a job has no result."""
    if job.state == "cancelled":
        return JobCancelled(f"job {job.id!r} was cancelled", field="id")
    if job.state == "failed":
        return ValueError(f"job {job.id!r} failed: it has a problem and no result")
    return JobUnfinished(f"job {job.id!r} is {job.state}: it has no result yet", field="id")


def size(key: str, result: bytes) -> int:
    """Bytes that a kept result counts, with its key: so a bound of 0 keeps nothing, not even what is empty."""
    return len(key.encode()) + len(result)
