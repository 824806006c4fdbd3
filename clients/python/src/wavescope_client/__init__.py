"""Python client of the Wavescope service.

    from wavescope_client import Client

    with Client("http://127.0.0.1:8000") as client:
        explanation = client.explain("cat.jpg")
        print(explanation.target.label, [level.share for level in explanation.levels or ()])
        explanation.save_png("cat-explained.png")
        shift = client.explain("clean.jpg", "foggy.jpg", kind="compare").comparison
        both = client.explain_batch(["cat.jpg", "dog.jpg"], targets=[["tabby", "Egyptian cat"], None])
        job = client.submit("cat.jpg", nb_design=64)
        job.wait()
        thorough = job.result()

:class:`AsyncClient` is the same for asyncio. Errors are drawn as a tree in :mod:`wavescope_client._errors`:
``ServiceError`` and its subclasses are refusals; ``ConnectionFailed``, ``TimedOut`` and ``InvalidReply`` are replies
that did not come.
"""

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
    UnknownTarget,
    WavescopeError,
)
from wavescope_client._retry import RetryPolicy
from wavescope_client._status import Estimate, JobStatus, Partial, Progress, Result
from wavescope_client._sync import Job, Stream
from wavescope_client._types import (
    Band,
    Comparison,
    Corrupted,
    Crop,
    Explanation,
    Faithfulness,
    Indices,
    Kept,
    Level,
    Maps,
    Prediction,
    PredictionFields,
    ProfileBand,
    RequestFields,
    Ring,
    Robustness,
    Round,
    ScaleChange,
    Screening,
    Sufficiency,
    Worth,
    Zoom,
    ZoomLevel,
)

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "AsyncStream",
    "Band",
    "Client",
    "Comparison",
    "ConnectionFailed",
    "Corrupted",
    "CostLimitExceeded",
    "Crop",
    "DeadlineExceeded",
    "Estimate",
    "Explanation",
    "Faithfulness",
    "Forbidden",
    "IdempotencyConflict",
    "Indices",
    "InternalError",
    "InvalidReply",
    "InvalidRequest",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobStatus",
    "JobUnfinished",
    "Kept",
    "Level",
    "Maps",
    "ModelChanged",
    "ModelFailure",
    "NotAnImage",
    "Partial",
    "Prediction",
    "PredictionFields",
    "ProfileBand",
    "Progress",
    "QueueFull",
    "QuotaExceeded",
    "RemoteFailure",
    "RequestFields",
    "Result",
    "RetryPolicy",
    "Ring",
    "Robustness",
    "Round",
    "ScaleChange",
    "Screening",
    "ServiceError",
    "StoreUnavailable",
    "Stream",
    "StreamBroken",
    "Sufficiency",
    "TimedOut",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnknownJob",
    "UnknownModel",
    "UnknownTarget",
    "WavescopeError",
    "Worth",
    "Zoom",
    "ZoomLevel",
]
