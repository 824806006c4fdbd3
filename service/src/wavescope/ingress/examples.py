"""Examples of the OpenAPI document; a test holds them against the schemas."""

from __future__ import annotations

from typing import Any, Final

from wavescope.errors import UnknownModel
from wavescope.ingress.problems import hidden_message, problem

# A grey PNG of 8 × 8 px: small enough to read, and an image that is really accepted.
TINY_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAADklEQVR42mNogAIGyhgAgIQgARDoahcAAAAASUVORK5CYII="

_REQUEST_ID: Final = "5d0c8f2e6a1b4c7d"
_IMAGE = {"base64": TINY_PNG}

REQUESTS: dict[str, Any] = {
    "defaults": {
        "summary": "The paper's defaults for the predicted class",
        "value": {"image": _IMAGE},
    },
    "profile": {
        "summary": "profile, the cheap one: importance per sub-band, for a class by name, in 96 forwards",
        "value": {"kind": "profile", "image": _IMAGE, "target": "tabby"},
    },
    "fam": {
        "summary": "fam: importance per frequency, in 28 rings",
        "value": {"kind": "fam", "image": _IMAGE},
    },
    "sobol": {
        "summary": "sobol: the map in the pixel domain, masked pixels blurred",
        "value": {"kind": "sobol", "image": _IMAGE, "baseline": "blur"},
    },
    "sufficient-image": {
        "summary": "sufficient-image: the least of the image that keeps its label",
        "value": {"kind": "sufficient-image", "image": _IMAGE},
    },
    "compare": {
        "summary": "compare: what changed from one image to another",
        "value": {"kind": "compare", "image": _IMAGE, "other": _IMAGE},
    },
    "robustness": {
        "summary": "robustness: the label under 19 corruptions of 5 severities, beside the reconstruction depth",
        "value": {"kind": "robustness", "image": _IMAGE},
    },
    "zoom": {
        "summary": "zoom: what becomes visible at twice the resolution",
        "value": {"kind": "zoom", "image": _IMAGE},
    },
    "faithfulness": {
        "summary": "Any kind: how well its map tells what the model uses",
        "value": {"image": _IMAGE, "nb_design": 16, "faithfulness": True},
    },
    "adaptive": {
        "summary": "Any kind, adaptive: what at most 628 forwards and two seconds tell of 784 factors",
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
            "model": "efficientnet-lite0",
            "kind": "wcam",
            "image": _IMAGE,
            "target": 281,
            "score": "probability",
            "seed": 0,
            "plan": "full",
            "wavelet": "haar",
            "levels": 3,
            "partition": "grid",
            "grid_size": 28,
            "nb_design": 8,
            "sampler": "sobol",
            "estimator": "jansen",
            "approximation": "perturb",
            "value_policy": "clip",
            "baseline": "zero",
            "faithfulness": False,
            "compat": None,
            "max_forwards": None,
            "deadline_s": None,
            "standard_error": None,
            "top_k": None,
        },
    },
}

PREDICTION: dict[str, Any] = {"image": _IMAGE, "top_k": 2}

MODEL: dict[str, Any] = {"name": "efficientnet-lite0", "ready": True, "device": "cpu"}
MODELS: dict[str, Any] = {
    "models": ["efficientnet-lite0"],
    "details": {"efficientnet-lite0": {key: value for key, value in MODEL.items() if key != "name"}},
}


def _problem(code: str, message: str, field: str | None = None, **limits: Any) -> dict[str, Any]:
    told = {"code": code, "message": message, "field": field, "limits": limits}
    return {**told, "request_id": _REQUEST_ID}


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
