"""Example replies of the OpenAPI document, one per kind; a test holds them against the models.

Each is of an image of 2 × 2 px with one level, where the paper's have thousands of numbers.
"""

from __future__ import annotations

import json
from typing import Any

from wavescope.core.scores import AUTO_SCORES
from wavescope.engine.kinds import KINDS
from wavescope.engine.requests import make_request
from wavescope.ingress.openapi.request_examples import TINY_PNG

_FLOATS = {"shape": [2, 2], "dtype": "float32", "data": "zczMPgAAAD8AAAA/AAAAPw=="}
_FACTORS = {"shape": [2, 2], "dtype": "int32", "data": "AAAAAAEAAAABAAAAAQAAAA=="}
_NO_MAPS = {
    "factors": _FACTORS,
    **dict.fromkeys(("wcam", "spatial_wcam", "fam", "sobol", "wam", "spatial_wam")),
}
_BAND = {"sum": 0.1, "share": 0.1, "mean_share": 0.1}
_TABBY = {"index": 281, "label": "tabby", "probability": 0.91}
_EGYPTIAN = {"index": 285, "label": "Egyptian cat", "probability": 0.05}
# A reply names the score that ``auto`` stands for.
_SMALL = {"score": AUTO_SCORES["logits"], "levels": 1, "grid_size": 2, "nb_design": 2, "plan": "full"}
_SCALES: tuple[tuple[int, list[int | None]], ...] = ((0, [2, None]), (1, [1, 2]))

_LEVELS = [
    {
        "level": level,
        "scale_px": scale_px,
        "sum": 0.4,
        "share": 0.5,
        "mean_share": 0.5,
        **dict.fromkeys(("horizontal", "vertical", "diagonal"), _BAND if level else None),
    }
    for level, scale_px in _SCALES
]
_SUFFICIENCY = {
    "reconstruction_depth": 1,
    "sufficient_image": TINY_PNG,
    "curve": {"n": [0, 1, 2], "probability": [0.02, 0.73, 0.91], "predicted": [904, 281, 281]},
    "sufficiency": {
        "outcome": "sufficient",
        "n_factors": 2,
        "positive_factors": 2,
        "top_factor_image": TINY_PNG,
        "positive_image": TINY_PNG,
        "kept": {
            "coefficients": 9,
            "coefficients_total": 12,
            "energy_share": 0.97,
            "compressed_bytes": 31,
            "compressed_bytes_total": 40,
        },
        "order": [1, 0],
    },
}


_INDICES = {
    "total": [0.4, 0.5],
    "first": [0.3, 0.4],
    **dict.fromkeys(("standard_error", "interval_95", "resolved", "upper_bound", "effect_error")),
    "effect": [0.8, -0.3],
}


def _contrast(levels: list[Any] | None, radial: list[Any] | None) -> dict[str, Any]:
    """The section of the target against the runner-up."""
    return {
        "against": _EGYPTIAN,
        "outcome": "explained",
        "indices": _INDICES,
        "map": _FLOATS,
        "levels": levels,
        "radial": radial,
        "warnings": [],
    }


def _reply(kind: str, **sections: Any) -> dict[str, Any]:
    """The reply of a kind, with the sections that it alone has."""
    absent = (
        "radial", "profile", *_SUFFICIENCY, "comparison", "robustness", "zoom", "attributions", "faithfulness",
        "screening",
    )  # fmt: skip
    return {
        "id": "5d0c8f2e6a1b4c7d",
        "kind": kind,
        "model": "efficientnet-lite0",
        "precision": "float32",
        "outcome": "explained",
        "target": _TABBY,
        "prediction": [_TABBY, _EGYPTIAN],
        "indices": _INDICES,
        "maps": _NO_MAPS | dict.fromkeys(KINDS[kind].maps, _FLOATS),
        "levels": _LEVELS,
        "worth": {"variance": 0.02, "split_half": 0.81, "runner_up": _EGYPTIAN, "class_contrast": 0.06},
        "contrast": _contrast(sections.get("levels", _LEVELS), sections.get("radial"))
        if "contrast" in KINDS[kind].sections
        else None,
        **dict.fromkeys(absent),
        "crop": {"left": 80.0, "top": 0.0, "right": 560.0, "bottom": 480.0},
        "forwards": 8,
        "timing": {"plan_s": 0.02, "score_s": 0.05, "total_s": 0.08},
        "parameters": make_request(kind=kind, **_SMALL).parameters()
        | ({"against": 285} if "contrast" in KINDS[kind].sections else {}),
        "warnings": ["nb_design is 2: standard errors need at least 4 design rows"],
        "partial": False,
        "cached": False,
        **sections,
    }


_WCAM = _reply("wcam")
_FAITHFULNESS = {
    "domain": "wavelet",
    "insertion": 0.62,
    "deletion": 0.18,
    "mu_fidelity": 0.55,
    "mu_fidelity_spearman": 0.51,
    "fraction": [0.0, 0.5, 1.0],
    "insertion_curve": [0.02, 0.73, 0.91],
    "deletion_curve": [0.91, 0.1, 0.02],
    "parameters": {
        "steps": 2,
        "samples": 200,
        "subset": 0.2,
        "baseline": "zero",
        "score": "probability",
        "seed": 0,
    },
}
_ADAPTIVE_INDICES = {
    "total": [0.4, 0.5],
    "first": None,
    "standard_error": [0.21, 0.08],
    "interval_95": [[0.14, 0.9], [0.36, 0.69]],
    "resolved": [False, True],
    "upper_bound": [0.83, 0.69],
    "effect": [None, -0.3],
    "effect_error": [None, 0.04],
}
_ADAPTIVE = {
    "indices": _ADAPTIVE_INDICES,
    "contrast": {**_contrast(_LEVELS, None), "indices": _ADAPTIVE_INDICES},
    "screening": {
        "stopped": "max_forwards",
        "groups": 1,
        "rounds": [
            {"forwards": 16, "resolved": 0, "standard_error": 0.3, "correlation": 0.71, "level_error": 0.12},
            {"forwards": 32, "resolved": 1, "standard_error": 0.21, "correlation": 0.83, "level_error": 0.08},
        ],
        "prior": "size",
        "gradients": 0,
    },
    "forwards": 32,
    "parameters": make_request(
        **_SMALL | {"plan": "adaptive", "nb_design": 8, "max_forwards": 32, "against": 285, "prior": "size"}
    ).parameters(),
    "warnings": [],
}

REPLIES: dict[str, Any] = {
    "wcam": {"summary": "wcam", "value": _WCAM},
    "fam": {
        "summary": "fam",
        "value": _reply(
            "fam",
            levels=None,
            radial=[
                {"frequency": [0.0, 0.354], "mean": 0.4, "share": 0.44},
                {"frequency": [0.354, 0.707], "mean": 0.5, "share": 0.56},
            ],
        ),
    },
    "sobol": {"summary": "sobol", "value": _reply("sobol", levels=None)},
    "sufficient-image": {
        "summary": "sufficient-image",
        "value": _reply("sufficient-image", **_SUFFICIENCY),
    },
    "profile": {
        "summary": "profile",
        "value": _reply(
            "profile",
            profile=[
                {
                    "level": level,
                    "orientation": None,
                    "scale_px": scale_px,
                    "total": 0.4,
                    "standard_error": None,
                    "interval_95": None,
                    "share": 0.5,
                    "share_standard_error": None,
                }
                for level, scale_px in _SCALES
            ],
        ),
    },
    "compare": {
        "summary": "compare",
        "value": _reply(
            "compare",
            comparison={
                "scale_shift": 0.12,
                "place_shift": 0.3,
                "scales": [
                    {"level": 0, "scale_px": [2, None], "share": 0.5, "other_share": 0.62, "change": 0.12},
                    {"level": 1, "scale_px": [1, 2], "share": 0.5, "other_share": 0.38, "change": -0.12},
                ],
                "place_change": _FLOATS,
                "other": _reply("compare"),
            },
        ),
    },
    "robustness": {
        "summary": "robustness",
        "value": _reply(
            "robustness",
            **_SUFFICIENCY,
            robustness={
                "share": 0.5,
                "shares": {"gaussian_noise": 0.5},
                "corrupted": [
                    {
                        "corruption": "gaussian_noise",
                        "severity": 1,
                        "predicted": _TABBY,
                        "probability": 0.91,
                        "same_label": True,
                    },
                    {
                        "corruption": "gaussian_noise",
                        "severity": 2,
                        "predicted": {**_EGYPTIAN, "probability": 0.5},
                        "probability": 0.3,
                        "same_label": False,
                    },
                ],
            },
        ),
    },
    "zoom": {
        "summary": "zoom",
        "value": _reply(
            "zoom",
            zoom={
                "new_share": 0.07,
                "new_mean_share": 0.02,
                "levels": [
                    {
                        "level": level,
                        "scale_px": scale_px,
                        "share": share,
                        "mean_share": share,
                        "zoomed_share": zoomed_share,
                        "zoomed_mean_share": zoomed_share,
                    }
                    for level, scale_px, share, zoomed_share in (
                        (0, [2.0, None], 0.5, 0.5),
                        (1, [1.0, 2.0], 0.5, 0.43),
                        (2, [0.5, 1.0], None, 0.07),
                    )
                ],
                "zoomed": _reply("zoom"),
            },
        ),
    },
    "wam": {
        "summary": "wam",
        "value": _reply(
            "wam",
            indices=None,
            worth=None,
            attributions={
                "method": "smoothgrad",
                "samples": 25,
                "factors": [0.8, 2.4],
                "signed": None,
                "standard_error": [0.05, 0.12],
                "split_half": 0.93,
                "score": 8.45,
                "baseline_score": None,
                "completeness_error": None,
                "level_maps": [
                    {
                        "level": level,
                        "scale_px": scale_px,
                        "map": {**_FLOATS, "shape": [1, 1], "data": "zczMPg=="},
                    }
                    for level, scale_px in _SCALES
                ],
            },
            forwards=75,
            warnings=[],
        ),
    },
    "faithfulness": {"summary": "With faithfulness", "value": {**_WCAM, "faithfulness": [_FAITHFULNESS]}},
    "adaptive": {"summary": "With plan adaptive", "value": {**_WCAM, **_ADAPTIVE}},
    "batch": {
        "summary": "A batch",
        "value": {"explanations": [_WCAM, {**_WCAM, "target": _EGYPTIAN}], "forwards": 8},
    },
}

ESTIMATE: dict[str, Any] = {"forwards": 6288, "expected_s": 41.5, "queue_s": 0.0, "cached": False}
PREDICTIONS: dict[str, Any] = {
    "model": "efficientnet-lite0",
    "predictions": [[_TABBY, _EGYPTIAN]],
    "warnings": [[]],
}
JOB: dict[str, Any] = {
    "id": "0c5fd0e7b6a84a1e9d3f5a2b7c8e9f01",
    "state": "running",
    "kind": "wcam",
    "model": "efficientnet-lite0",
    "images": 1,
    "created_at": "2026-01-02T03:04:05.678Z",
    "started_at": "2026-01-02T03:04:05.701Z",
    "finished_at": None,
    "forwards": 3144,
    "planned": 6288,
    "eta_s": 20.75,
    "error": None,
    "links": {
        "self": "/v1/jobs/0c5fd0e7b6a84a1e9d3f5a2b7c8e9f01",
        "events": "/v1/jobs/0c5fd0e7b6a84a1e9d3f5a2b7c8e9f01/events",
        "result": "/v1/jobs/0c5fd0e7b6a84a1e9d3f5a2b7c8e9f01/result",
    },
}
PROGRESS: dict[str, Any] = {"forwards": 3144, "planned": 6288, "elapsed_s": 20.75, "eta_s": 20.75}
PARTIAL: dict[str, Any] = {"image": 0, "forwards": 3, "rows": 2, "indices": _WCAM["indices"]}
JOB_PROGRESS: dict[str, Any] = {"forwards": 3144, "planned": 6288, "eta_s": 20.75}


def _events(*events: tuple[str, dict[str, Any]]) -> str:
    return "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)


EVENTS = _events(("progress", PROGRESS), ("partial", PARTIAL), ("result", _WCAM))
JOB_EVENTS = _events(("state", JOB), ("progress", JOB_PROGRESS))
