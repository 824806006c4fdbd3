"""Errors of the stores, with the same messages in SQLite and in Redis."""

from __future__ import annotations

from wavescope.errors import (
    IdempotencyConflict,
    JobCancelled,
    JobUnfinished,
    QueueFull,
    QuotaExceeded,
    TooManyMonitors,
    UnknownJob,
    UnknownMonitor,
)
from wavescope.store.protocols import Job

_RETRY_AFTER_S = 10


def unknown_job(job_id: str) -> UnknownJob:
    """Make the error for an unknown job id."""
    return UnknownJob(f"no job is {job_id!r}", field="id")


def idempotency_conflict(job_id: str, idempotency_key: str | None) -> IdempotencyConflict:
    """Make the error for an idempotency key or, without one, an id that another job has."""
    if idempotency_key is None:
        return IdempotencyConflict(f"the id {job_id!r} was used for another job", field="id")
    return IdempotencyConflict(
        f"the idempotency key {idempotency_key!r} was used for another request", field="idempotency_key"
    )


def queue_full(most: int) -> QueueFull:
    """Make the error for more unfinished jobs than ``most``."""
    return QueueFull(
        f"{most} jobs have not ended yet; no more are accepted", max_jobs=most, retry_after_s=_RETRY_AFTER_S
    )


def payloads_too_large(size: int, most: int) -> QueueFull:
    """Make the error for a job of ``size`` bytes that would bring all payloads above ``most`` bytes."""
    return QueueFull(
        f"this job has {size} bytes; with those of the jobs that have not ended yet there would be more than {most}",
        max_bytes=most,
        retry_after_s=_RETRY_AFTER_S,
    )


def quota_exceeded(most: int) -> QuotaExceeded:
    """Make the error for an owner whose job quota is used up."""
    return QuotaExceeded(
        f"{most} jobs of this key have not ended yet, which is its quota",
        max_jobs=most,
        retry_after_s=_RETRY_AFTER_S,
    )


def unknown_monitor(name: str) -> UnknownMonitor:
    """Make the error for an unknown name of a monitor."""
    return UnknownMonitor(f"no monitor is {name!r}", field="name")


def too_many_monitors(most: int) -> TooManyMonitors:
    """Make the error for more monitors than ``most``."""
    return TooManyMonitors(
        f"there are {most} monitors already, as many as max_monitors (WAVESCOPE_MAX_MONITORS) allows: delete one",
        max_monitors=most,
    )


def no_result(job: Job) -> Exception:
    """Make the error for a job without a result; its state decides which."""
    if job.state == "cancelled":
        return JobCancelled(f"job {job.id!r} was cancelled", field="id")
    if job.state == "failed":
        return ValueError(f"job {job.id!r} failed: it has a problem and no result")
    return JobUnfinished(f"job {job.id!r} is {job.state}: it has no result yet", field="id")
