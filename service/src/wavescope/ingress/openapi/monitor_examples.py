"""Examples of monitors in the OpenAPI document; their numbers are those of one made-up stream."""

from __future__ import annotations

from typing import Any

CONFIG: dict[str, Any] = {
    "model": "efficientnet-lite0",
    "match": {"namespace": "prod", "inferenceservice": "birds"},
    "sample": {"rate": 0.05, "profile_rate": 0.2},
    "test": {"false_alarm": {"mean_observations": 1e6}},
}
OBSERVATIONS: dict[str, Any] = {"image": {"base64": "/9j/4AAQ…"}, "ids": ["camera-7/000123"]}
COMMANDS: dict[str, Any] = {
    "acknowledge": {"alarm": 1, "verdict": "harmful"},
    "rebaseline": {"from": "stream"},
}
_CONFIG: dict[str, Any] = {
    "model": "efficientnet-lite0",
    "request": {
        "kind": "profile", "partition": "subbands", "nb_design": 4, "seed": 0, "wavelet": "haar", "levels": 3,
        "score": "auto",
    },
    "match": {"namespace": "prod", "inferenceservice": "birds", "component": None},
    "values": "pixels",
    "sample": {"rate": 0.05, "thin_s": 0.0, "profile_rate": 0.2, "max_share_of_model": 0.2},
    "reference": {"fit": 100, "calibrate": 200, "source": "stream"},
    "test": {
        "method": "conformal", "false_alarm": {"mean_observations": 1e6}, "tolerance": None,
        "weights": {"input": 0.25, "confidence": 0.25, "reliance": 0.25, "fineness": 0.25},
    },
    "keep_images": 0,
    "webhook": None,
}  # fmt: skip
_SIGNAL: dict[str, Any] = {
    "name": "input",
    "observed": 1091,
    "failed": 0,
    "log10_evidence": 6.95,
    "log10_threshold": 6.903,
    "false_alarm_bound": 4.9e-4,
    "direction": "large",
    "changed_at": {"seq": 1385, "interval": [1379, 1389], "earlier": False},
}
_ALARM: dict[str, Any] = {
    "id": 1,
    "seq": 1391,
    "at": "2026-11-23T15:25:14.269Z",
    "signals": [_SIGNAL],
    "acknowledged_at": None,
    "verdict": None,
    "by": None,
    "links": {"diagnosis": "/v1/monitors/birds/alarms/1/diagnosis"},
}
MONITOR: dict[str, Any] = {
    "name": "birds",
    "state": "alarm",
    "since": "2026-11-23T15:25:14.269Z",
    "reason": None,
    "created_at": "2026-11-22T08:00:00.000Z",
    "model_revision": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "observations": 1391,
    "pending": 0,
    "rate_per_hour": 1104.0,
    "last_observation_at": "2026-11-23T15:25:14.269Z",
    "guarantee": {"mean_observations": 1e6, "mean_days_at_this_rate": 37.7, "assumes": "exchangeable"},
    "signals": [_SIGNAL],
    "cause": "input",
    "verdict": "The images changed; the model relies on the same scales so far.",
    "scales": [
        {
            "scale": "1-2px", "level": 3, "reference": 0.31, "reference_sd": 0.11, "now": 0.12,
            "interval_95": [0.08, 0.17], "profiles": 50,
        }
    ],
    "reference": {
        "n": 300, "size": 300, "source": "stream", "lag1_autocorrelation": 0.03, "self_test_log10": 1.4,
    },
    "outcomes": {"observed": 1391, "constant_score": 0, "undecodable": 0, "failed": 0, "expired": 0},
    "events": {"accepted": 1391, "sampled_out": 26429},
    "forwards": 41_730,
    "alarm": _ALARM,
    "alarms": 1,
    "config": _CONFIG,
    "links": {
        "self": "/v1/monitors/birds",
        "observations": "/v1/monitors/birds/observations",
        "events": "/v1/monitors/birds/events",
        "report": "/v1/monitors/birds/report",
        "alarms": "/v1/monitors/birds/alarms",
    },
}  # fmt: skip
ALARMS: dict[str, Any] = {"name": "birds", "count": 1, "alarms": [_ALARM]}
REPORT: dict[str, Any] = MONITOR | {
    "alarms": [_ALARM],
    "window": None,
    "evidence": {
        "signals": ["input"],
        "log10_threshold": [6.903],
        "seq": [1390, 1391],
        "at": ["2026-11-23T15:25:11.000Z", "2026-11-23T15:25:14.269Z"],
        "log10": [[6.1], [6.95]],
    },
    "shifted": [
        {
            "seq": 1391, "p": 0.005, "signal": "input", "nearest_reference": 12, "label": "camera-7/000123",
            "image_kept": False,
        }
    ],
}  # fmt: skip
DIAGNOSIS: dict[str, Any] = {
    "alarm": 1,
    "reason": None,
    "jobs": [
        {
            "id": "36a4892d39d05051a455c365cfe00265", "kind": "compare", "observation": 1391, "reference": 12,
            "links": {
                "self": "/v1/jobs/36a4892d39d05051a455c365cfe00265",
                "result": "/v1/jobs/36a4892d39d05051a455c365cfe00265/result",
            },
        }
    ],
}  # fmt: skip
