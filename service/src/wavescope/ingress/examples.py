"""Examples of the OpenAPI document; a test holds them against the schemas."""

from __future__ import annotations

from typing import Any

# A grey PNG of 8 × 8 px: small enough to read, and an image that is really accepted.
TINY_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAADklEQVR42mNogAIGyhgAgIQgARDoahcAAAAASUVORK5CYII="

REQUESTS: dict[str, Any] = {
    "defaults": {
        "summary": "The paper's defaults for the predicted class",
        "value": {"image": {"base64": TINY_PNG}},
    },
    "cheap": {
        "summary": "One factor per sub-band, for a class by name: 96 forwards",
        "value": {
            "image": {"base64": TINY_PNG},
            "model": "efficientnet-lite0",
            "target": "tabby",
            "partition": "subbands",
            "nb_design": 8,
        },
    },
    "all": {
        "summary": "Every field",
        "value": {
            "model": "efficientnet-lite0",
            "kind": "wcam",
            "image": {"base64": TINY_PNG},
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
        },
    },
}

_BAND = {"sum": 0.1, "share": 0.1, "mean_share": 0.1}
_NO_BANDS = {"horizontal": None, "vertical": None, "diagonal": None}
_BANDS = {"horizontal": _BAND, "vertical": _BAND, "diagonal": _BAND}
_PARAMETERS = {
    key: value for key, value in REQUESTS["all"]["value"].items() if key not in ("model", "image")
} | {"levels": 1, "partition": "levels", "grid_size": 28, "nb_design": 2}
_FLOATS = {"shape": [2, 2], "dtype": "float32", "data": "zczMPgAAAD8AAAA/AAAAPw=="}

REPLIES: dict[str, Any] = {
    "explained": {
        "summary": "Two levels of an image of 2 × 2 px",
        "value": {
            "id": "5d0c8f2e6a1b4c7d",
            "kind": "wcam",
            "model": "efficientnet-lite0",
            "outcome": "explained",
            "target": {"index": 281, "label": "tabby", "probability": 0.91},
            "prediction": [
                {"index": 281, "label": "tabby", "probability": 0.91},
                {"index": 285, "label": "Egyptian cat", "probability": 0.05},
            ],
            "indices": {
                "total": [0.4, 0.5],
                "first": [0.3, 0.4],
                "standard_error": None,
                "interval_95": None,
            },
            "maps": {
                "wcam": _FLOATS,
                "spatial_wcam": _FLOATS,
                "factors": {"shape": [2, 2], "dtype": "int32", "data": "AAAAAAEAAAABAAAAAQAAAA=="},
            },
            "levels": [
                {
                    "level": 0,
                    "scale_px": [2, None],
                    "sum": 0.4,
                    "share": 0.44,
                    "mean_share": 0.44,
                    **_NO_BANDS,
                },
                {"level": 1, "scale_px": [1, 2], "sum": 0.5, "share": 0.56, "mean_share": 0.56, **_BANDS},
            ],
            "crop": {"left": 80.0, "top": 0.0, "right": 560.0, "bottom": 480.0},
            "forwards": 8,
            "timing": {"plan_s": 0.02, "score_s": 0.05, "total_s": 0.08},
            "parameters": _PARAMETERS,
            "warnings": ["nb_design is 2: standard errors need at least 4 design rows"],
        },
    }
}

MODEL: dict[str, Any] = {"name": "efficientnet-lite0", "ready": True, "device": "cpu"}
MODELS: dict[str, Any] = {
    "models": ["efficientnet-lite0"],
    "details": {"efficientnet-lite0": {key: value for key, value in MODEL.items() if key != "name"}},
}


def _problem(code: str, message: str, field: str | None = None, **limits: Any) -> dict[str, Any]:
    told = {"code": code, "message": message, "field": field, "limits": limits}
    return {**told, "request_id": "5d0c8f2e6a1b4c7d"}


PROBLEMS: dict[int, dict[str, Any]] = {
    404: _problem("unknown_model", "no model is named 'resnet'", "model", supported=["efficientnet-lite0"]),
    413: _problem("body_too_large", "the body is larger than 33554432 bytes", max_body_bytes=33_554_432),
    415: _problem("not_an_image", "the file cannot be decoded as an image", "image"),
    422: _problem("invalid_request", "levels must be at least 1, not 0", "levels", minimum=1),
    500: _problem("internal", "internal error; see the log for request 5d0c8f2e6a1b4c7d"),
    503: _problem("model_unavailable", "no model can score yet"),
}
