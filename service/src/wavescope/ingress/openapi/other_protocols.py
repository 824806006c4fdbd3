"""The protocols of others in the OpenAPI document: where they are, and what describes them."""

from __future__ import annotations

from typing import Any

from wavescope.ingress.problems import RETRYABLE_STATUSES
from wavescope.ingress.rest.negotiation import JSON

_KSERVE = "KServe v1"
_OIP = "Open Inference Protocol v2"
_BODY = (408, 413, 415)
_WORK = (404, *_BODY, 429, 502, 503, 504)
_ANYWHERE = (400, 401, 403, 422, 429, 431, 500)
_DESCRIPTION = "See docs/protocols.md, and the protocol's own specification."


def _other(
    protocol: str, summary: str, operation: str, *refusals: int, body: bool = False, needs_key: bool = True
) -> dict[str, Any]:
    """One operation; its bodies are the protocol's, its refusals say ``error`` beside what our own problems say."""
    statuses = sorted({*refusals, *_ANYWHERE} - (set() if needs_key else {401, 429}))
    described: dict[str, Any] = {
        "summary": summary,
        "description": _DESCRIPTION,
        "operationId": operation,
        "tags": [protocol],
        "responses": {
            "200": {"description": "OK", "content": {JSON: {"schema": {}}}},
            **{str(status): _refusal(status) for status in statuses},
        },
    }
    if body:
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": {"type": "object"}}}}
    return described if needs_key else {**described, "security": []}


def _refusal(status: int) -> dict[str, Any]:
    problem_content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    # What stands before all endpoints answers with refusals as our own do.
    content = (
        {"application/problem+json": problem_content}
        if status in (401, 403)
        else {
            JSON: {"schema": {"type": "object", "required": ["error"]}},
            "application/problem+json": problem_content,
        }
    )
    described: dict[str, Any] = {"description": "Refused.", "content": content}
    if status in RETRYABLE_STATUSES:
        described["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 0}}}
    return described


def _path(*names: str) -> dict[str, Any]:
    return {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    }


def _models() -> dict[str, Any]:
    """Paths below a model of the Open Inference Protocol, with and without its version."""
    paths: dict[str, Any] = {}
    for path, names, suffix in (
        ("/v2/models/{name}", ("name",), ""),
        ("/v2/models/{name}/versions/{version}", ("name", "version"), "Version"),
    ):
        named = _path(*names)
        paths[path] = {**named, "get": _other(_OIP, "Describe a model", f"oipModel{suffix}", 404)}
        ready = _other(_OIP, "Whether a model can score", f"oipModelReady{suffix}", 404, 503)
        paths[f"{path}/ready"] = {**named, "get": ready}
        infer = _other(_OIP, "Predict or explain", f"oipInfer{suffix}", *_WORK, body=True)
        infer["responses"]["200"]["content"]["application/octet-stream"] = {"schema": {"type": "string"}}
        paths[f"{path}/infer"] = {**named, "post": infer}
    return paths


OTHERS: dict[str, Any] = {
    "/": {"get": _other(_KSERVE, "Whether the process answers", "kserveAlive")},
    "/v1/models/{name}:predict": {
        **_path("name"),
        "post": _other(_KSERVE, "Predict", "kservePredict", *_WORK, body=True),
    },
    "/v1/models/{name}:explain": {
        **_path("name"),
        "post": _other(_KSERVE, "Explain", "kserveExplain", *_WORK, body=True),
    },
    "/v2": {"get": _other(_OIP, "Describe the server", "oipServer")},
    "/v2/health/live": {"get": _other(_OIP, "Whether the process answers", "oipLive", needs_key=False)},
    "/v2/health/ready": {"get": _other(_OIP, "Whether a model can score", "oipReady", 503, needs_key=False)},
    "/v2/repository/index": {"post": _other(_OIP, "List the models", "oipIndex")},
    **_models(),
}
