"""Errors of the client.

WavescopeError
├── ConnectionFailed            no reply: refused, reset, unknown host
│   └── StreamBroken            a stream of events that was cut before its end
├── TimedOut                    no reply, or no end of a job, within the time allowed
├── InvalidReply                a reply that is not Wavescope's
└── ServiceError                a refusal; has status, code, field, limits, request_id
    ├── InvalidRequest          422
    │   ├── UnknownTarget       the class is not one of the model's
    │   └── CostLimitExceeded   more forwards than the service admits
    ├── Unauthenticated         401, no valid API key
    ├── Forbidden               403, this API key may not do this
    ├── UnknownModel            404
    ├── UnknownJob              404, or the job of another API key
    ├── UnknownMonitor          404, or the monitor of another API key
    ├── MonitorConflict         409: the monitor is in no state for that, or one too many
    ├── JobUnfinished           409, the job has no result yet
    ├── JobFailed               409, the job failed; why is in ``limits["problem"]``
    ├── IdempotencyConflict     409, the idempotency key was used for another request
    ├── JobCancelled            410, the job will never have a result
    ├── NotAnImage              415
    ├── TooLarge                413, the body or the image
    ├── ModelFailure            502, the model returned something that is not a number
    │   └── RemoteFailure       the model is served elsewhere, and refused or failed there
    ├── Unavailable             429 or 503; worth another try later
    │   ├── QuotaExceeded       more than the share of this API key
    │   ├── QueueFull           more than the service takes on now
    │   ├── ModelChanged        the model was updated while the request ran
    │   └── StoreUnavailable    the store of jobs and results does not answer
    ├── DeadlineExceeded        504
    └── InternalError           500; details are in the service's log, by request_id
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class WavescopeError(Exception):
    """Base of all errors of this package, except those of wrong arguments."""


class ConnectionFailed(WavescopeError):
    """No reply came: connection refused or reset, unknown host."""


class StreamBroken(ConnectionFailed):
    """The stream of events was cut before its end."""


class TimedOut(WavescopeError):
    """No reply, or no end of a job, came within the time allowed."""


class InvalidReply(WavescopeError):
    """The reply is not Wavescope's: another server, or an incompatible version."""


class ServiceError(WavescopeError):
    """The service refused the request; subclasses say why.

    Args:
        message: sentence of the service for people.
        status: HTTP status.
        code: machine-readable name of the error, such as ``cost_limit_exceeded``.
        field: request field at fault, if one is.
        limits: limits that were exceeded, by name.
        request_id: id of the request in the service's log.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str,
        field: str | None = None,
        limits: Mapping[str, Any] | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.field = field
        self.limits = dict(limits or {})
        self.request_id = request_id

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword arguments are lost by the default protocol, and errors cross process pools.
        return _rebuild, (type(self), self.message, {**self.__dict__, "message": None})

    def __str__(self) -> str:
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.code}: {self.message}{request}"


def _rebuild(cls: type[ServiceError], message: str, data: dict[str, Any]) -> ServiceError:
    del data["message"]
    return cls(message, **data)


class InvalidRequest(ServiceError):
    """A field of the request is wrong."""


class UnknownTarget(InvalidRequest):
    """The class is not one of the model's."""


class CostLimitExceeded(InvalidRequest):
    """The request needs more forwards than the service admits."""


class Unauthenticated(ServiceError):
    """No valid API key came with the request."""


class Forbidden(ServiceError):
    """This API key may not do this."""


class UnknownModel(ServiceError):
    """No model of that name is registered."""


class UnknownJob(ServiceError):
    """No job has that id, or it belongs to another API key."""


class UnknownMonitor(ServiceError):
    """No monitor has that name, or it belongs to another API key."""


class MonitorConflict(ServiceError):
    """The monitor is in no state for that, has no such alarm open, or is one too many."""


class JobUnfinished(ServiceError):
    """The job has no result yet."""


class JobFailed(ServiceError):
    """The job failed; ``limits["problem"]`` has the ``code``, ``message``, ``field`` and ``limits`` of the reason."""


class IdempotencyConflict(ServiceError):
    """The idempotency key was used for another request."""


class JobCancelled(ServiceError):
    """The job was cancelled: it will never have a result."""


class NotAnImage(ServiceError):
    """The bytes cannot be decoded as an image."""


class TooLarge(ServiceError):
    """The body has more bytes, or the image more pixels, than the service takes."""


class ModelFailure(ServiceError):
    """The model returned something that is not a number."""


class RemoteFailure(ModelFailure):
    """The model is served elsewhere, and refused or failed there."""


class Unavailable(ServiceError):
    """The service or the model cannot answer now."""


class QuotaExceeded(Unavailable):
    """The quota of this API key is used up."""


class QueueFull(Unavailable):
    """The queue of the service is full."""


class ModelChanged(Unavailable):
    """The model was updated while the request ran."""


class StoreUnavailable(Unavailable):
    """The store of jobs and results does not answer."""


class DeadlineExceeded(ServiceError):
    """The service ran out of the time allowed for a request."""


class InternalError(ServiceError):
    """The service has a defect; details are in its log."""


BY_CODE: dict[str, type[ServiceError]] = {
    "invalid_request": InvalidRequest,
    "constant_score": InvalidRequest,
    "unknown_target": UnknownTarget,
    "cost_limit_exceeded": CostLimitExceeded,
    "unauthenticated": Unauthenticated,
    "forbidden": Forbidden,
    "unknown_model": UnknownModel,
    "unknown_job": UnknownJob,
    "unknown_monitor": UnknownMonitor,
    "monitor_conflict": MonitorConflict,
    "monitor_stale": MonitorConflict,
    "alarm_not_open": MonitorConflict,
    "too_many_monitors": MonitorConflict,
    "job_unfinished": JobUnfinished,
    "job_failed": JobFailed,
    "job_cancelled": JobCancelled,
    "idempotency_conflict": IdempotencyConflict,
    "not_an_image": NotAnImage,
    "image_too_large": TooLarge,
    "body_too_large": TooLarge,
    "model_failure": ModelFailure,
    "remote_failure": RemoteFailure,
    "quota_exceeded": QuotaExceeded,
    "queue_full": QueueFull,
    "model_changed": ModelChanged,
    "store_unavailable": StoreUnavailable,
    "model_unavailable": Unavailable,
    "weights_unavailable": Unavailable,
    "deadline_exceeded": DeadlineExceeded,
    "internal": InternalError,
}
# For replies by something in front of the service, and for codes younger than this client.
BY_STATUS: dict[int, type[ServiceError]] = {
    401: Unauthenticated,
    403: Forbidden,
    413: TooLarge,
    422: InvalidRequest,
    429: Unavailable,
    500: InternalError,
    502: Unavailable,
    503: Unavailable,
    504: DeadlineExceeded,
}
