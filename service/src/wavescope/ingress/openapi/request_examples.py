"""Examples of the OpenAPI document; a test holds them against the schemas."""

from __future__ import annotations

from typing import Any, Final

from wavescope.engine.kinds import DEFAULT_KIND, KINDS
from wavescope.engine.kinds.kind import Kind
from wavescope.engine.requests import make_request
from wavescope.errors import UnknownModel
from wavescope.ingress.problems import hidden_message, problem
from wavescope.models.spec import DEFAULT_MODEL

# A grey PNG of 8 × 8 px: small enough to read, and an image that is really accepted.
TINY_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAADklEQVR42mNogAIGyhgAgIQgARDoahcAAAAASUVORK5CYII="

_REQUEST_ID: Final = "5d0c8f2e6a1b4c7d"
_IMAGE = {"base64": TINY_PNG}

# What the example of a kind has beyond its images.
_FIELDS: dict[str, dict[str, Any]] = {"profile": {"target": "tabby"}, "sobol": {"baseline": "blur"}}


def _of_kind(kind: Kind) -> dict[str, Any]:
    other = {"other": _IMAGE} if kind.takes_other else {}
    value = {"kind": kind.name, "image": _IMAGE, **other, **_FIELDS.get(kind.name, {})}
    return {"summary": f"{kind.name}: {kind.summary}", "value": value}


REQUESTS: dict[str, Any] = {
    "defaults": {
        "summary": "The paper's defaults for the predicted class",
        "value": {"image": _IMAGE},
    },
    **{kind.name: _of_kind(kind) for kind in KINDS.values() if kind is not DEFAULT_KIND},
    "faithfulness": {
        "summary": "Any kind: how well its map shows what the model uses",
        "value": {"image": _IMAGE, "nb_design": 16, "faithfulness": True},
    },
    "adaptive": {
        "summary": "Any kind, adaptive: the indices of 784 factors from at most 628 forwards in two seconds",
        "value": {"image": _IMAGE, "plan": "adaptive", "max_forwards": 628, "deadline_s": 2},
    },
    "targets": {
        "summary": "A batch: several classes of one image, scored in one pass",
        "value": {"image": _IMAGE, "targets": [281, "Egyptian cat", None]},
    },
    "images": {
        "summary": "A batch: several images, each for its own predicted class",
        "value": {"kind": "profile", "images": [_IMAGE, _IMAGE]},
    },
    "pairs": {
        "summary": "A batch: several images, each for its own classes",
        "value": {"images": [_IMAGE, _IMAGE], "targets": [[281, 285], None]},
    },
    "reference": {
        "summary": "As the authors' code computes",
        "value": {"image": _IMAGE, "compat": "reference"},
    },
    "all": {
        "summary": "Every field of a request for one image",
        "value": {
            "model": DEFAULT_MODEL.name,
            "image": _IMAGE,
            **make_request(plan="full", target=281).parameters(),
        },
    },
}

PREDICTION: dict[str, Any] = {"image": _IMAGE, "top_k": 2}

MODEL: dict[str, Any] = {
    "name": "efficientnet-lite0",
    "ready": True,
    "device": "cpu",
    "gradients": True,
    "no_gradients": None,
}
MODELS: dict[str, Any] = {
    "models": ["efficientnet-lite0"],
    "details": {"efficientnet-lite0": {key: value for key, value in MODEL.items() if key != "name"}},
}


def _problem(code: str, message: str, field: str | None = None, **limits: Any) -> dict[str, Any]:
    content = {"code": code, "message": message, "field": field, "limits": limits}
    return {**content, "request_id": _REQUEST_ID}


PROBLEMS: dict[int, dict[str, Any]] = {
    401: _problem("unauthenticated", "no API key came with the request"),
    404: problem(UnknownModel.among("resnet", ["efficientnet-lite0"]), _REQUEST_ID),
    409: _problem("job_unfinished", "job '0c5fd0e7b6a84a1e9d3f5a2b7c8e9f01' is running"),
    410: _problem("job_cancelled", "job '0c5fd0e7b6a84a1e9d3f5a2b7c8e9f01' was cancelled"),
    413: _problem("body_too_large", "the body is larger than 33554432 bytes", max_body_bytes=33_554_432),
    415: _problem("not_an_image", "the file cannot be decoded as an image", "image"),
    422: _problem("invalid_request", "levels must be at least 1, not 0", "levels", minimum=1),
    429: _problem("queue_full", "64 requests wait already; at most 64 may", max_waiting=64, retry_after_s=12),
    500: _problem("internal", hidden_message(_REQUEST_ID)),
    503: _problem("model_unavailable", "no model can score yet"),
}
