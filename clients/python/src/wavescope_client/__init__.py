"""Python client of the Wavescope service.

    from wavescope_client import Client

    with Client("http://127.0.0.1:8000") as client:
        explanation = client.explain("cat.jpg")
        print(explanation.target.label, [level.share for level in explanation.levels or ()])
        explanation.save_png("cat-explained.png")

Errors are drawn as a tree in :mod:`wavescope_client._errors`: ``ServiceError`` and its subclasses are
refusals; ``ConnectionFailed``, ``TimedOut`` and ``InvalidReply`` are replies that did not come.
"""

from wavescope_client._client import Client
from wavescope_client._errors import (
    ConnectionFailed,
    CostLimitExceeded,
    DeadlineExceeded,
    InternalError,
    InvalidReply,
    InvalidRequest,
    ModelFailure,
    NotAnImage,
    ServiceError,
    TimedOut,
    TooLarge,
    Unavailable,
    UnknownModel,
    UnknownTarget,
    WavescopeError,
)
from wavescope_client._retry import RetryPolicy
from wavescope_client._types import (
    Band,
    Crop,
    Explanation,
    Indices,
    Level,
    Maps,
    Prediction,
    RequestFields,
)

__all__ = [
    "Band",
    "Client",
    "ConnectionFailed",
    "CostLimitExceeded",
    "Crop",
    "DeadlineExceeded",
    "Explanation",
    "Indices",
    "InternalError",
    "InvalidReply",
    "InvalidRequest",
    "Level",
    "Maps",
    "ModelFailure",
    "NotAnImage",
    "Prediction",
    "RequestFields",
    "RetryPolicy",
    "ServiceError",
    "TimedOut",
    "TooLarge",
    "Unavailable",
    "UnknownModel",
    "UnknownTarget",
    "WavescopeError",
]
