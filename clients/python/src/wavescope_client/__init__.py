"""Python client of the Wavescope service.

    from wavescope_client import Client

    with Client("http://127.0.0.1:8000") as client:
        explanation = client.explain("cat.jpg")
        print(explanation.target.label, [level.share for level in explanation.levels or ()])
        explanation.save_png("cat-explained.png")
        shift = client.explain("clean.jpg", "foggy.jpg", kind="compare").comparison
        both = client.explain_batch(["cat.jpg", "dog.jpg"], targets=[["tabby", "Egyptian cat"], None])

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
    "Band",
    "Client",
    "Comparison",
    "ConnectionFailed",
    "Corrupted",
    "CostLimitExceeded",
    "Crop",
    "DeadlineExceeded",
    "Explanation",
    "Faithfulness",
    "Indices",
    "InternalError",
    "InvalidReply",
    "InvalidRequest",
    "Kept",
    "Level",
    "Maps",
    "ModelFailure",
    "NotAnImage",
    "Prediction",
    "ProfileBand",
    "RequestFields",
    "RetryPolicy",
    "Ring",
    "Robustness",
    "Round",
    "ScaleChange",
    "Screening",
    "ServiceError",
    "Sufficiency",
    "TimedOut",
    "TooLarge",
    "Unavailable",
    "UnknownModel",
    "UnknownTarget",
    "WavescopeError",
    "Worth",
    "Zoom",
    "ZoomLevel",
]
