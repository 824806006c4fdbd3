"""Table from error code to HTTP status and gRPC code, and the JSON problem of an error."""

from __future__ import annotations

import json
import math
from typing import Any

import grpc

from wavescope.errors import WavescopeError

PROBLEM_MEDIA_TYPE = "application/problem+json"
RETRYABLE_STATUSES = (429, 503)

TABLE: dict[str, tuple[int, grpc.StatusCode]] = {
    "error": (500, grpc.StatusCode.INTERNAL),
    "invalid_request": (422, grpc.StatusCode.INVALID_ARGUMENT),
    "unknown_target": (422, grpc.StatusCode.INVALID_ARGUMENT),
    "cost_limit_exceeded": (422, grpc.StatusCode.INVALID_ARGUMENT),
    "constant_score": (422, grpc.StatusCode.FAILED_PRECONDITION),
    "idempotency_conflict": (409, grpc.StatusCode.ALREADY_EXISTS),
    "unknown_model": (404, grpc.StatusCode.NOT_FOUND),
    "unknown_job": (404, grpc.StatusCode.NOT_FOUND),
    "unknown_monitor": (404, grpc.StatusCode.NOT_FOUND),
    "monitor_conflict": (409, grpc.StatusCode.FAILED_PRECONDITION),
    "monitor_stale": (409, grpc.StatusCode.FAILED_PRECONDITION),
    "alarm_not_open": (409, grpc.StatusCode.FAILED_PRECONDITION),
    "too_many_monitors": (409, grpc.StatusCode.RESOURCE_EXHAUSTED),
    "job_unfinished": (409, grpc.StatusCode.FAILED_PRECONDITION),
    # Whatever it failed with: the job stays failed, however often it is asked for.
    "job_failed": (409, grpc.StatusCode.FAILED_PRECONDITION),
    "job_cancelled": (410, grpc.StatusCode.CANCELLED),
    "unauthenticated": (401, grpc.StatusCode.UNAUTHENTICATED),
    "forbidden": (403, grpc.StatusCode.PERMISSION_DENIED),
    "quota_exceeded": (429, grpc.StatusCode.RESOURCE_EXHAUSTED),
    "queue_full": (429, grpc.StatusCode.RESOURCE_EXHAUSTED),
    "not_an_image": (415, grpc.StatusCode.INVALID_ARGUMENT),
    "image_too_large": (413, grpc.StatusCode.INVALID_ARGUMENT),
    "body_too_large": (413, grpc.StatusCode.RESOURCE_EXHAUSTED),
    "registry_invalid": (500, grpc.StatusCode.INTERNAL),
    "start_failed": (500, grpc.StatusCode.INTERNAL),
    "weights_unavailable": (503, grpc.StatusCode.UNAVAILABLE),
    "model_unavailable": (503, grpc.StatusCode.UNAVAILABLE),
    "model_changed": (503, grpc.StatusCode.UNAVAILABLE),
    "store_unavailable": (503, grpc.StatusCode.UNAVAILABLE),
    # The model behind the service failed, as behind a gateway; its message helps who registered it.
    "model_failure": (502, grpc.StatusCode.INTERNAL),
    "remote_failure": (502, grpc.StatusCode.INTERNAL),
    "deadline_exceeded": (504, grpc.StatusCode.DEADLINE_EXCEEDED),
    "internal": (500, grpc.StatusCode.INTERNAL),
    # Errors of the protocols themselves, raised in this layer only.
    "not_found": (404, grpc.StatusCode.NOT_FOUND),
    "method_not_allowed": (405, grpc.StatusCode.UNIMPLEMENTED),
    "not_acceptable": (406, grpc.StatusCode.INVALID_ARGUMENT),
    "unsupported_media_type": (415, grpc.StatusCode.INVALID_ARGUMENT),
    "malformed_request": (400, grpc.StatusCode.INVALID_ARGUMENT),
    "body_timeout": (408, grpc.StatusCode.DEADLINE_EXCEEDED),
    "header_timeout": (408, grpc.StatusCode.DEADLINE_EXCEEDED),
    "headers_too_large": (431, grpc.StatusCode.RESOURCE_EXHAUSTED),
}
# The rest of such a request is not read, so that nothing can follow it on its connection.
CLOSING_STATUSES = (400, 408, 413, 431)


class NotFound(WavescopeError):
    """No resource has that address."""

    code = "not_found"


class MethodNotAllowed(WavescopeError):
    """The address exists, and does not take that method."""

    code = "method_not_allowed"


class NotAcceptable(WavescopeError):
    """None of the media types in ``Accept`` is served."""

    code = "not_acceptable"


class UnsupportedMediaType(WavescopeError):
    """The body is of a media type that is not read."""

    code = "unsupported_media_type"


class MalformedRequest(WavescopeError):
    """Error of a request that is no HTTP, or contradicts itself."""

    code = "malformed_request"


class BodyTimeout(WavescopeError):
    """The body came too slowly."""

    code = "body_timeout"


class HeaderTimeout(WavescopeError):
    """The headers came too slowly."""

    code = "header_timeout"


class HeadersTooLarge(WavescopeError):
    """The request line and the headers are too long, or the headers too many."""

    code = "headers_too_large"


def http_status(error: WavescopeError) -> int:
    """The HTTP status of an error; 500 for a code that is not in the table."""
    return TABLE.get(error.code, TABLE["internal"])[0]


def grpc_code(error: WavescopeError) -> grpc.StatusCode:
    """The gRPC status of an error; ``INTERNAL`` for a code that is not in the table."""
    return TABLE.get(error.code, TABLE["internal"])[1]


def hidden_message(request_id: str) -> str:
    """The message of a defect to callers: where its details are, and nothing else."""
    return f"internal error; see the log for request {request_id}"


def is_hidden(error: WavescopeError) -> bool:
    """Whether the message of an error stays in the log."""
    return http_status(error) == 500


def retry_after_s(limits: dict[str, Any], default_s: float) -> float:
    """Seconds after which a refused caller may come again: what the error says, else the setting."""
    wanted_s = limits.get("retry_after_s")
    return max(0.0, wanted_s) if isinstance(wanted_s, int | float) and math.isfinite(wanted_s) else default_s


def may_come_again(code: str) -> bool:
    """Whether a refusal of that code says when to retry."""
    return TABLE.get(code, TABLE["internal"])[0] in RETRYABLE_STATUSES


def problem_headers(error: WavescopeError, default_retry_s: float) -> dict[str, str]:
    """The headers of a refusal, beside those of its body.

    Args:
        error: what is refused.
        default_retry_s: when the caller may come again where its limits do not say.
    """
    status = http_status(error)
    headers: dict[str, str] = {}
    if status in RETRYABLE_STATUSES:
        headers["Retry-After"] = str(math.ceil(retry_after_s(error.limits, default_retry_s)))
    if status == 415 and error.field == "Content-Encoding":  # RFC 9110, 12.5.3
        headers["Accept-Encoding"] = ", ".join(error.limits["supported"])
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in CLOSING_STATUSES:
        headers["Connection"] = "close"
    return headers


def problem(error: WavescopeError, request_id: str) -> dict[str, Any]:
    """The problem as a JSON-ready dictionary, details of defects left out."""
    if is_hidden(error):
        return _problem("internal", hidden_message(request_id), None, {}, request_id)
    return _problem(error.code, error.message, error.field, error.limits, request_id)


def defect(request_id: str) -> dict[str, Any]:
    """The problem that stands for any exception that is not a :class:`WavescopeError`."""
    return _problem("internal", hidden_message(request_id), None, {}, request_id)


def _problem(
    code: str, message: str, field: str | None, limits: dict[str, Any], request_id: str
) -> dict[str, Any]:
    return {"code": code, "message": message, "field": field, "limits": limits, "request_id": request_id}


def encode_problem(content: dict[str, Any]) -> bytes:
    """The problem as ASCII JSON: callers can put lone surrogates into names, which UTF-8 does not encode."""
    return json.dumps(content, ensure_ascii=True).encode("ascii")
