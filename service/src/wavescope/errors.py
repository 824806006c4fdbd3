"""The errors Wavescope raises on purpose.

    WavescopeError
    ├── InvalidRequest            a field of the request is wrong
    │   ├── UnknownTarget         the class is not one of the model's
    │   └── CostLimitExceeded     more forwards than the service admits
    ├── IdempotencyConflict       the idempotency key was used for another request
    ├── UnknownModel              no model of that name is registered
    ├── UnknownJob                no job of that id, or not the caller's
    ├── UnknownMonitor            no monitor of that name, or not the caller's
    ├── MonitorConflict           the monitor cannot be changed so while it has its reference
    ├── MonitorStale              the monitor's reference is of another model or request
    ├── AlarmNotOpen              no alarm of that number is open
    ├── TooManyMonitors           more monitors than the service keeps
    ├── JobUnfinished             the result of a job that has none yet
    ├── JobFailed                 the result of a job that failed; why is in ``limits["problem"]``
    ├── JobCancelled              the result of a job that was cancelled
    ├── Unauthenticated           no valid API key came with the request
    ├── Forbidden                 the caller may not do this
    ├── QuotaExceeded             more than the caller's share
    ├── QueueFull                 more than the service takes on now
    ├── NotAnImage                the bytes cannot be decoded as an image
    ├── ImageTooLarge             more pixels than the service decodes, or more work
    ├── BodyTooLarge              more bytes than the service reads
    ├── ConstantScore             the score does not vary: indices are undefined
    ├── RegistryInvalid           the model registry cannot be used
    ├── WeightsUnavailable        a model's weights are neither cached nor reachable
    ├── ModelUnavailable          no replica of the model answers
    ├── ModelChanged              the model was updated while the request ran
    ├── ModelFailure              the model returned something that is not a number
    │   ├── NoGradients           the model cannot be differentiated
    │   └── InfiniteGradient      a gradient of the model is not finite, where its score is
    ├── RemoteFailure             a model served elsewhere refused or failed
    ├── StoreUnavailable          the store of jobs and results does not answer
    ├── StartFailed               the service cannot start, or its cluster has died
    ├── DeadlineExceeded          the time allowed for the request is over
    └── InternalError             a defect of ours; details are in the log

Errors carry data, never a transport: one table in ``ingress`` maps ``code`` to an HTTP status and a gRPC code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self


class WavescopeError(Exception):
    """Base of every error raised on purpose.

    Args:
        message: one sentence for the caller, naming the value and the limit.
        field: the request or settings field at fault, if one is.
        **limits: the limits that were crossed, as JSON-ready values.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, field: str | None = None, **limits: Any) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.limits = limits

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword arguments are lost by the default protocol, and these errors cross processes.
        return _rebuild, (type(self), self.message, self.field, self.limits)


def _rebuild(
    cls: type[WavescopeError], message: str, field: str | None, limits: dict[str, Any]
) -> WavescopeError:
    return cls(message, field=field, **limits)


class InvalidRequest(WavescopeError):
    """A field of the request is wrong."""

    code = "invalid_request"


class UnknownTarget(InvalidRequest):
    """The class is not one of the model's."""

    code = "unknown_target"


class CostLimitExceeded(InvalidRequest):
    """More forwards than the service admits."""

    code = "cost_limit_exceeded"


class IdempotencyConflict(WavescopeError):
    """The idempotency key was used for another request."""

    code = "idempotency_conflict"


class UnknownModel(WavescopeError):
    """No model of that name is registered."""

    code = "unknown_model"

    @classmethod
    def among(cls, name: str, registered: Iterable[str]) -> Self:
        """The error for a name that is none of those registered."""
        known = sorted(registered)
        return cls(
            f"model {name[:128]!r} is not registered; registered: {', '.join(known) or 'none'}",
            field="model",
            supported=known,
        )


class UnknownJob(WavescopeError):
    """No job of that id, or not the caller's."""

    code = "unknown_job"


class UnknownMonitor(WavescopeError):
    """No monitor of that name, or not the caller's."""

    code = "unknown_monitor"


class MonitorConflict(WavescopeError):
    """The monitor cannot be changed so while it has its reference."""

    code = "monitor_conflict"


class MonitorStale(WavescopeError):
    """The monitor's reference is of another model or request."""

    code = "monitor_stale"


class AlarmNotOpen(WavescopeError):
    """No alarm of that number is open."""

    code = "alarm_not_open"


class TooManyMonitors(WavescopeError):
    """More monitors than the service keeps."""

    code = "too_many_monitors"


class JobUnfinished(WavescopeError):
    """The result of a job that has none yet."""

    code = "job_unfinished"


class JobFailed(WavescopeError):
    """The result of a job that failed; why is in ``limits["problem"]``."""

    code = "job_failed"


class JobCancelled(WavescopeError):
    """The result of a job that was cancelled."""

    code = "job_cancelled"


class Unauthenticated(WavescopeError):
    """No valid API key came with the request."""

    code = "unauthenticated"


class Forbidden(WavescopeError):
    """The caller may not do this."""

    code = "forbidden"


class QuotaExceeded(WavescopeError):
    """More than the caller's share."""

    code = "quota_exceeded"
    retryable = True


class QueueFull(WavescopeError):
    """More than the service takes on now."""

    code = "queue_full"
    retryable = True


class NotAnImage(WavescopeError):
    """The bytes cannot be decoded as an image."""

    code = "not_an_image"


class ImageTooLarge(WavescopeError):
    """More pixels than the service decodes, or more work."""

    code = "image_too_large"


class BodyTooLarge(WavescopeError):
    """More bytes than the service reads."""

    code = "body_too_large"


class ConstantScore(WavescopeError):
    """The score does not vary: indices are undefined."""

    code = "constant_score"


class RegistryInvalid(WavescopeError):
    """The model registry cannot be used."""

    code = "registry_invalid"


class WeightsUnavailable(WavescopeError):
    """A model's weights are neither cached nor reachable."""

    code = "weights_unavailable"


class ModelUnavailable(WavescopeError):
    """No replica of the model answers."""

    code = "model_unavailable"
    retryable = True


class ModelChanged(WavescopeError):
    """The model was updated while the request ran."""

    code = "model_changed"
    retryable = True


class ModelFailure(WavescopeError):
    """The model returned something that is not a number."""

    code = "model_failure"


class NoGradients(ModelFailure):
    """The model cannot be differentiated; ``limits["reason"]`` says why."""


class InfiniteGradient(ModelFailure):
    """A gradient of the model is not finite, where its score is; ``limits["row"]`` is the sample."""


class RemoteFailure(WavescopeError):
    """A model served elsewhere refused or failed."""

    code = "remote_failure"


class StoreUnavailable(WavescopeError):
    """The store of jobs and results does not answer."""

    code = "store_unavailable"
    retryable = True


class StartFailed(WavescopeError):
    """The service cannot start, or its cluster has died."""

    code = "start_failed"


class DeadlineExceeded(WavescopeError):
    """The time allowed for the request is over."""

    code = "deadline_exceeded"
    retryable = True

    @classmethod
    def of_request(cls, limit_s: float) -> Self:
        """The error of a request that took longer than any may."""
        return cls(f"the request was not finished within {limit_s:g} s", request_timeout_s=limit_s)


class InternalError(WavescopeError):
    """A defect of ours; details are in the log."""

    code = "internal"
