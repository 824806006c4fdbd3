"""Python client of the Wavescope service.

Usage:

    >>> from wavescope_client import Client
    >>> with Client("http://127.0.0.1:8000") as client:
    ...     explanation = client.explain("cat.jpg")
    ...     both = client.explain_batch(["cat.jpg", "dog.jpg"], targets=[["tabby", "Egyptian cat"], None])
    ...     job = client.submit("cat.jpg", nb_design=64)
    ...     final = job.wait()
    >>> explanation.target.label, [round(level.share, 2) for level in explanation.levels]
    ('tabby', [0.55, 0.21, 0.15, 0.09])
    >>> len(both), final.state
    (3, 'succeeded')

:class:`AsyncClient` has the same methods for asyncio. The errors are drawn as a tree in
:mod:`wavescope_client._errors`: ``ServiceError`` and its subclasses are refusals; ``ConnectionFailed``, ``TimedOut``
and ``InvalidReply`` mean that there is no usable reply.
"""

from wavescope_client import _types  # generated
from wavescope_client._async import AsyncJob, AsyncStream
from wavescope_client._async_client import AsyncClient
from wavescope_client._client import Client
from wavescope_client._errors import (
    ConnectionFailed,
    CostLimitExceeded,
    DeadlineExceeded,
    Forbidden,
    IdempotencyConflict,
    InternalError,
    InvalidReply,
    InvalidRequest,
    JobCancelled,
    JobFailed,
    JobUnfinished,
    ModelChanged,
    ModelFailure,
    MonitorConflict,
    NotAnImage,
    QueueFull,
    QuotaExceeded,
    RemoteFailure,
    ServiceError,
    StoreUnavailable,
    StreamBroken,
    TimedOut,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnknownJob,
    UnknownModel,
    UnknownMonitor,
    UnknownTarget,
    WavescopeError,
)
from wavescope_client._retry import RetryPolicy
from wavescope_client._status import Estimate, JobStatus, Partial, Progress, Result
from wavescope_client._sync import Job, Stream
from wavescope_client._types import *  # noqa: F403  # the names of its __all__

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "AsyncStream",
    "Client",
    "ConnectionFailed",
    "CostLimitExceeded",
    "DeadlineExceeded",
    "Estimate",
    "Forbidden",
    "IdempotencyConflict",
    "InternalError",
    "InvalidReply",
    "InvalidRequest",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobStatus",
    "JobUnfinished",
    "ModelChanged",
    "ModelFailure",
    "MonitorConflict",
    "NotAnImage",
    "Partial",
    "Progress",
    "QueueFull",
    "QuotaExceeded",
    "RemoteFailure",
    "Result",
    "RetryPolicy",
    "ServiceError",
    "StoreUnavailable",
    "Stream",
    "StreamBroken",
    "TimedOut",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnknownJob",
    "UnknownModel",
    "UnknownMonitor",
    "UnknownTarget",
    "WavescopeError",
]
__all__ += _types.__all__
