"""What every store answers in the same words."""

from __future__ import annotations

from wavescope.errors import IdempotencyConflict, JobCancelled, JobUnfinished, UnknownJob
from wavescope.store.protocols import Job, NewJob


def unknown(job_id: str) -> UnknownJob:
    """There is no such job."""
    return UnknownJob(f"no job is {job_id!r}", field="id")


def conflict(job: NewJob) -> IdempotencyConflict:
    """There is a job of that key or id, and it is another."""
    if job.idempotency_key is None:
        return IdempotencyConflict(f"the id {job.id!r} was used for another job", field="id")
    return IdempotencyConflict(
        f"the idempotency key {job.idempotency_key!r} was used for another request", field="idempotency_key"
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
