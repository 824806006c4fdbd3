"""JSON of a job; checks of job ids and idempotency keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from wavescope.errors import InvalidRequest, JobFailed, UnknownJob
from wavescope.ingress.plane import JobStatus
from wavescope.ingress.problems import TABLE

IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
MAX_KEY_CHARS: Final = 128
MAX_ID_CHARS: Final = 128


def job_reply(job: JobStatus, root: str = "") -> dict[str, Any]:
    """A job as a JSON-ready dictionary.

    Args:
        job: its state.
        root: of the service's paths, where it is not served at the root.
    """
    address = f"{root}{job_path(job.id)}"
    return {
        "id": job.id,
        "state": job.state,
        "kind": job.kind,
        "model": job.model,
        "images": job.image_count,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
        "finished_at": rfc3339(job.finished_at),
        "forwards": job.forwards,
        "planned": job.planned,
        "eta_s": job.eta_s,
        "error": job_error(job),
        "links": {"self": address, "events": f"{address}/events", "result": f"{address}/result"},
    }


def job_path(job_id: str) -> str:
    """The path of a job."""
    return f"/v1/jobs/{job_id}"


def job_error(job: JobStatus) -> dict[str, Any] | None:
    """Problem of a failed job, details of defects left out."""
    if job.error is None:
        return None
    code = job.error.get("code", "internal")
    if TABLE.get(code, TABLE["internal"])[0] == 500:
        message = f"internal error; see the log for job {job.id}"
        return {"code": "internal", "message": message, "field": None, "limits": {}}
    return {
        "code": code,
        "message": job.error.get("message", ""),
        "field": job.error.get("field"),
        "limits": job.error.get("limits") or {},
    }


def job_failed(job: JobStatus) -> JobFailed:
    """Error of a request for the result of a failed job, with the reason in its message and limits."""
    problem = job_error(job) or {}
    why = problem.get("message", "no reason was recorded")
    return JobFailed(f"the job failed: {why}", field="id", problem=problem)


def rfc3339(time_s: float | None) -> str | None:
    """A time, in seconds since 1970, as text."""
    if time_s is None:
        return None
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check_idempotency_key(key: str | None) -> str | None:
    """The key itself.

    Raises:
        InvalidRequest: it is not 1 to 128 printable ASCII characters.
    """
    if key is None or (0 < len(key) <= MAX_KEY_CHARS and key.isascii() and key.isprintable()):
        return key
    raise InvalidRequest(
        f"{IDEMPOTENCY_HEADER} must be 1 to {MAX_KEY_CHARS} printable ASCII characters",
        field=IDEMPOTENCY_HEADER,
        maximum_chars=MAX_KEY_CHARS,
    )


def check_job_id(job_id: str) -> str:
    """The id itself.

    Raises:
        UnknownJob: no job has such an id, so that no store is asked for it.
    """
    if 0 < len(job_id) <= MAX_ID_CHARS and job_id.isascii() and job_id.isprintable():
        return job_id
    raise UnknownJob("no job has that id", field="id")
