"""The OpenAPI document, in version 3.0: Swagger UI 4, which ``swagger-ui-bundle`` ships, reads no later one.

The routes read their bodies themselves, so the document is built here, from the same pydantic models; a test
holds its paths against the application's routes.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

import wavescope
from wavescope.ingress import example_replies, examples
from wavescope.ingress.negotiation import JSON, NPZ, PNG
from wavescope.ingress.problems import PROBLEM_MEDIA_TYPE, TABLE
from wavescope.ingress.reply_models import BatchReply, ExplanationReply
from wavescope.ingress.schemas import ExplanationBody, ExplanationFields

_CODES = sorted(set(TABLE) - {"error"})


class Problem(BaseModel):
    """What every refusal is answered with."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(json_schema_extra=lambda schema: schema.update(enum=[*_CODES]))
    message: str = Field(description="One sentence that names the value and the limit.")
    field: str | None = Field(description="The field at fault, if one is.")
    limits: dict[str, Any] = Field(description="The limits that were crossed.")
    request_id: str = Field(description="Also in the header X-Request-ID, and in the service's log.")


class Models(BaseModel):
    """The registered models."""

    models: list[str]
    details: dict[str, dict[str, Any]]


class Model(BaseModel):
    """One registered model; further keys say how it runs."""

    model_config = ConfigDict(extra="allow")

    name: str
    ready: bool


_SCHEMAS: tuple[type[BaseModel], ...] = (
    ExplanationBody, ExplanationFields, ExplanationReply, BatchReply, Problem, Models, Model,
)  # fmt: skip


@cache
def document() -> dict[str, Any]:
    """The whole document, JSON-ready."""
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Wavescope",
            "version": wavescope.__version__,
            "description": "Explains what an image classifier looks at: where, and on which scales.",
        },
        "paths": {
            "/v1/explanations": {"post": _explain()},
            "/v1/models": {"get": _get("List the models", "models", _json(_ref("Models"), examples.MODELS))},
            "/v1/models/{name}": {"get": _model()},
            "/livez": {"get": _get("Whether the process answers", "livez", _json(_status_schema()))},
            "/readyz": {"get": _get("Whether a model can score", "readyz", _json(_status_schema()), 503)},
            "/metrics": {"get": _get("Metrics in Prometheus' format", "metrics", _text())},
        },
        "components": {"schemas": _schemas()},
    }


def _schemas() -> dict[str, Any]:
    _, schema = models_json_schema(
        [(model, "validation") for model in _SCHEMAS], ref_template="#/components/schemas/{model}"
    )
    return {name: _to_openapi_30(content) for name, content in schema["$defs"].items()}


def _to_openapi_30(schema: Any) -> Any:
    """A JSON schema in the dialect of OpenAPI 3.0: ``nullable`` for null, ``enum`` for ``const``, a flag for bounds."""
    if isinstance(schema, list):
        return [_to_openapi_30(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: _to_openapi_30(value) for key, value in schema.items()}
    if "const" in changed:
        changed["enum"] = [changed.pop("const")]
    if "exclusiveMinimum" in changed:
        changed |= {"minimum": changed["exclusiveMinimum"], "exclusiveMinimum": True}
    branches = changed.get("anyOf", [])
    kept = [branch for branch in branches if branch != {"type": "null"}]
    if len(kept) == len(branches):
        return changed
    del changed["anyOf"]
    if len(kept) > 1:
        return {**changed, "anyOf": kept, "nullable": True}
    # Keywords beside a $ref are ignored, so it moves into an allOf.
    only = {"allOf": kept} if "$ref" in kept[0] else kept[0]
    if "enum" in only:
        only = {**only, "enum": [*only["enum"], None]}  # nullable alone does not let null into an enum
    return {**only, **changed, "nullable": True}


def _explain() -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    multipart = {
        "type": "object",
        "properties": {
            "image": {**file, "description": "The image file; required where images is absent."},
            "images": {"type": "array", "items": file, "description": "The image files of a batch."},
            "other": {**file, "description": "Kind compare alone: the image file to compare with."},
            "request": {"allOf": [_ref("ExplanationFields")], "description": "Everything else, as JSON."},
        },
    }
    return {
        "summary": "Explain an image, or a batch",
        "description": files("wavescope.ingress").joinpath("explain.md").read_text("utf-8"),
        "operationId": "explain",
        "parameters": [_request_id_parameter()],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": _ref("ExplanationBody"), "examples": examples.REQUESTS},
                "multipart/form-data": {
                    "schema": multipart,
                    "encoding": {"request": {"contentType": JSON}},
                },
            },
        },
        "responses": {
            "200": {
                "description": "The explanation.",
                "headers": _headers(),
                "content": {
                    JSON: {
                        "schema": {"oneOf": [_ref("ExplanationReply"), _ref("BatchReply")]},
                        "examples": example_replies.REPLIES,
                    },
                    PNG: {"schema": file},
                    NPZ: {"schema": file},
                },
            },
            **{str(status): _problem(status) for status in (404, 406, 413, 415, 422, 500, 502, 503, 504)},
        },
    }


def _model() -> dict[str, Any]:
    operation = _get("Describe a model", "model", _json(_ref("Model"), examples.MODEL), 404)
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    return {**operation, "parameters": [name, *operation["parameters"]]}


def _get(summary: str, operation: str, content: dict[str, Any], *refusals: int) -> dict[str, Any]:
    return {
        "summary": summary,
        "operationId": operation,
        "parameters": [_request_id_parameter()],
        "responses": {
            "200": {"description": "OK", "headers": _headers(), "content": content},
            **{str(status): _problem(status) for status in (*refusals, 500)},
        },
    }


def _json(schema: dict[str, Any], example: Any = None) -> dict[str, Any]:
    return {JSON: {"schema": schema} if example is None else {"schema": schema, "example": example}}


def _text() -> dict[str, Any]:
    return {"text/plain": {"schema": {"type": "string"}}}


def _status_schema() -> dict[str, Any]:
    return {"type": "object", "properties": {"status": {"type": "string"}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _headers() -> dict[str, Any]:
    return {"X-Request-ID": {"description": "The request's id.", "schema": {"type": "string"}}}


def _request_id_parameter() -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": 128}
    told = "Echoed, and written in the log; made where it is absent."
    return {"name": "X-Request-ID", "in": "header", "required": False, "schema": schema, "description": told}


def _problem(status: int) -> dict[str, Any]:
    codes = sorted(code for code, (mapped, _) in TABLE.items() if mapped == status and code != "error")
    content: dict[str, Any] = {"schema": _ref("Problem")}
    if status in examples.PROBLEMS:
        content["example"] = examples.PROBLEMS[status]
    told = {"description": " or ".join(codes), "headers": _headers()}
    return {**told, "content": {PROBLEM_MEDIA_TYPE: content}}
