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

from wavescope._version import __version__
from wavescope.engine.kinds import KINDS
from wavescope.ingress.openapi import reply_examples, request_examples
from wavescope.ingress.openapi.monitors import MONITOR_SCHEMAS, monitor_paths
from wavescope.ingress.openapi.operations import (
    WORK,
    event_stream,
    header_parameter,
    json_content,
    open_operation,
    operation,
    path_parameter,
    reference,
    request_body,
)
from wavescope.ingress.openapi.other_protocols import OTHERS
from wavescope.ingress.problems import TABLE
from wavescope.ingress.rest.negotiation import EVENTS, JSON, NPZ, PNG
from wavescope.ingress.schemas.reply import (
    BatchReply,
    EstimateReply,
    ExplanationReply,
    JobProgressEvent,
    JobReply,
    PartialEvent,
    PredictionsReply,
    ProgressEvent,
)
from wavescope.ingress.schemas.request import (
    ExplanationBody,
    ExplanationFields,
    PredictionBody,
    PredictionFields,
)

_CODES = sorted(set(TABLE) - {"error"})


class Problem(BaseModel):
    """The body of every error response."""

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
    gradients: bool | None = Field(None, description="Whether it has gradients; absent before it is loaded.")
    no_gradients: str | None = Field(None, description="Why it has none; null where it has some.")


_SCHEMAS: tuple[type[BaseModel], ...] = (
    ExplanationBody, ExplanationFields, ExplanationReply, BatchReply, EstimateReply, PredictionBody, PredictionFields,
    PredictionsReply, JobReply, ProgressEvent, PartialEvent, JobProgressEvent, Problem, Models, Model,
    *MONITOR_SCHEMAS,
)  # fmt: skip

_FILE = {"type": "string", "format": "binary"}


@cache
def document() -> dict[str, Any]:
    """The whole document, JSON-ready."""
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Wavescope",
            "version": __version__,
            "description": "Explains what an image classifier looks at: where, and on which scales.",
        },
        "security": [{}, {"bearer": []}, {"header": []}],
        "paths": {
            "/v1/explanations": {"post": _explain()},
            "/v1/explanations:estimate": {"post": _estimate()},
            "/v1/predictions": {"post": _predict()},
            "/v1/jobs": {"post": _submit()},
            "/v1/jobs/{id}": {"parameters": [path_parameter("id")], "get": _job(), "delete": _cancel()},
            "/v1/jobs/{id}/events": {"parameters": [path_parameter("id")], "get": _job_events()},
            "/v1/jobs/{id}/result": {"parameters": [path_parameter("id")], "get": _job_result()},
            "/v1/models": {
                "get": operation(
                    "List the models", "models", json_content(reference("Models"), request_examples.MODELS)
                )
            },
            "/v1/models/{name}": {
                "parameters": [path_parameter("name")],
                "get": operation(
                    "Describe a model", "model", json_content(reference("Model"), request_examples.MODEL), 404
                ),
            },
            "/livez": {
                "get": open_operation("Whether the process answers", "livez", json_content(_status_schema()))
            },
            "/readyz": {
                "get": open_operation(
                    "Whether a model can score", "readyz", json_content(_status_schema()), 503
                )
            },
            "/metrics": {"get": operation("Metrics in Prometheus' format", "metrics", _text())},
            **monitor_paths(),
            **OTHERS,
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same."},
            },
        },
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
    description = files("wavescope.ingress.openapi").joinpath("description.md").read_text("utf-8")
    description = description.replace(
        "{kinds}", ";\n".join(f"- `{kind.name}`: {kind.summary}" for kind in KINDS.values()) + "."
    )
    content = {
        **_explanation_content(),
        EVENTS: event_stream(
            {"progress": "ProgressEvent", "partial": "PartialEvent", "result": "as application/json"},
            reply_examples.EVENTS,
        ),
    }
    described = operation("Explain an image, or a batch", "explain", content, 406, *WORK)
    described["responses"]["200"]["headers"]["Wavescope-Cache"] = {
        "description": "Whether the result was kept from an earlier request; absent from a stream.",
        "schema": {"type": "string", "enum": ["hit", "miss"]},
    }
    return {
        **described,
        "description": description,
        "parameters": [*described["parameters"], _fresh()],
        "requestBody": _explanation_body(),
    }


def _estimate() -> dict[str, Any]:
    content = json_content(reference("EstimateReply"), reply_examples.ESTIMATE)
    return {
        **operation("What an explanation would cost", "estimate", content, *WORK),
        "description": "Takes the request for an explanation, and scores nothing.",
        "requestBody": _explanation_body(),
    }


def _predict() -> dict[str, Any]:
    content = json_content(reference("PredictionsReply"), reply_examples.PREDICTIONS)
    multipart = {
        "type": "object",
        "properties": {
            "image": {**_FILE, "description": "The image file; required where images is absent."},
            "images": {"type": "array", "items": _FILE, "description": "Several image files."},
            "request": {"allOf": [reference("PredictionFields")], "description": "Everything else, as JSON."},
        },
    }
    return {
        **operation("What a model says of images", "predict", content, *WORK),
        "requestBody": request_body(
            reference("PredictionBody"), multipart, {"example": request_examples.PREDICTION}
        ),
    }


def _submit() -> dict[str, Any]:
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "pattern": "^[!-~]([ -~]{0,126}[!-~])?$"},
        "description": "The same key and request again give the same job; the key with another request is refused.",
    }
    content = json_content(reference("JobReply"), reply_examples.JOB)
    described = operation("Submit a job", "submitJob", content, 409, *WORK)
    accepted = described["responses"].pop("200")
    accepted["description"] = "Accepted: the job is not lost, whatever process of the service ends."
    accepted["headers"]["Location"] = {"description": "Of the job.", "schema": {"type": "string"}}
    accepted["links"] = {
        name: {"operationId": name, "parameters": {"id": "$response.body#/id"}}
        for name in ("job", "cancelJob", "jobEvents", "jobResult")
    }
    return {
        **described,
        "description": "Takes the request for an explanation, one or many images; the job is computed whoever waits.",
        "parameters": [*described["parameters"], key, _fresh()],
        "requestBody": _explanation_body(),
        "responses": {"202": accepted, **described["responses"]},
    }


def _job() -> dict[str, Any]:
    content = json_content(reference("JobReply"), reply_examples.JOB)
    return operation("How far a job has come", "job", content, 404, 503)


def _cancel() -> dict[str, Any]:
    content = json_content(reference("JobReply"), {**reply_examples.JOB, "state": "cancelled", "eta_s": None})
    return {
        **operation("Cancel a job", "cancelJob", content, 404, 503),
        "description": "No further device batch of it starts. A job that has ended stays as it is.",
    }


def _job_events() -> dict[str, Any]:
    content = {
        EVENTS: event_stream({"state": "JobReply", "progress": "JobProgressEvent"}, reply_examples.JOB_EVENTS)
    }
    return {
        **operation("Watch a job", "jobEvents", content, 404, 406, 429, 503),
        "description": "Sent now and on each change, until it has ended. So many streams are open at once; one more is "
        "refused.",
    }


def _job_result() -> dict[str, Any]:
    return {
        **operation("What a job was asked for", "jobResult", _explanation_content(), 404, 406, 409, 410, 503),
        "description": "As an explanation is answered, in the same media types. Of a job that failed: 409, with its "
        "problem in the limits.",
    }


def _explanation_content() -> dict[str, Any]:
    return {
        JSON: {
            "schema": {"oneOf": [reference("ExplanationReply"), reference("BatchReply")]},
            "examples": reply_examples.REPLIES,
        },
        PNG: {"schema": _FILE},
        NPZ: {"schema": _FILE},
    }


def _explanation_body() -> dict[str, Any]:
    multipart = {
        "type": "object",
        "properties": {
            "image": {**_FILE, "description": "The image file; required where images is absent."},
            "images": {"type": "array", "items": _FILE, "description": "The image files of a batch."},
            "other": {**_FILE, "description": "Kind compare alone: the image file to compare with."},
            "request": {
                "allOf": [reference("ExplanationFields")],
                "description": "Everything else, as JSON.",
            },
        },
    }
    return request_body(reference("ExplanationBody"), multipart, {"examples": request_examples.REQUESTS})


def _text() -> dict[str, Any]:
    return {"text/plain": {"schema": {"type": "string"}}}


def _status_schema() -> dict[str, Any]:
    return {"type": "object", "properties": {"status": {"type": "string"}}}


def _fresh() -> dict[str, Any]:
    return header_parameter(
        "Cache-Control", {"type": "string"}, "no-cache: computed anew even where the result is kept."
    )
