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
from wavescope.ingress.openapi.other_protocols import OTHERS
from wavescope.ingress.problems import PROBLEM_MEDIA_TYPE, RETRYABLE_STATUSES, TABLE
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
)  # fmt: skip

_FILE = {"type": "string", "format": "binary"}
# Of any request: its key, where it comes from, its priority, and a defect of ours.
_ANYWHERE = (400, 401, 403, 422, 429, 431, 500)
# Of a body, and of what is computed of it.
_BODY = (408, 413, 415)
_WORK = (404, *_BODY, 429, 502, 503, 504)


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
            "/v1/jobs/{id}": {"parameters": [_path("id")], "get": _job(), "delete": _cancel()},
            "/v1/jobs/{id}/events": {"parameters": [_path("id")], "get": _job_events()},
            "/v1/jobs/{id}/result": {"parameters": [_path("id")], "get": _job_result()},
            "/v1/models": {
                "get": _operation("List the models", "models", _json(_ref("Models"), request_examples.MODELS))
            },
            "/v1/models/{name}": {
                "parameters": [_path("name")],
                "get": _operation(
                    "Describe a model", "model", _json(_ref("Model"), request_examples.MODEL), 404
                ),
            },
            "/livez": {"get": _open("Whether the process answers", "livez", _json(_status_schema()))},
            "/readyz": {"get": _open("Whether a model can score", "readyz", _json(_status_schema()), 503)},
            "/metrics": {"get": _operation("Metrics in Prometheus' format", "metrics", _text())},
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
        EVENTS: _events(
            {"progress": "ProgressEvent", "partial": "PartialEvent", "result": "as application/json"},
            reply_examples.EVENTS,
        ),
    }
    operation = _operation("Explain an image, or a batch", "explain", content, 406, *_WORK)
    operation["responses"]["200"]["headers"]["Wavescope-Cache"] = {
        "description": "Whether the result was kept from an earlier request; absent from a stream.",
        "schema": {"type": "string", "enum": ["hit", "miss"]},
    }
    return {
        **operation,
        "description": description,
        "parameters": [*operation["parameters"], _fresh()],
        "requestBody": _explanation_body(),
    }


def _estimate() -> dict[str, Any]:
    content = _json(_ref("EstimateReply"), reply_examples.ESTIMATE)
    return {
        **_operation("What an explanation would cost", "estimate", content, *_WORK),
        "description": "Takes the request for an explanation, and scores nothing.",
        "requestBody": _explanation_body(),
    }


def _predict() -> dict[str, Any]:
    content = _json(_ref("PredictionsReply"), reply_examples.PREDICTIONS)
    multipart = {
        "type": "object",
        "properties": {
            "image": {**_FILE, "description": "The image file; required where images is absent."},
            "images": {"type": "array", "items": _FILE, "description": "Several image files."},
            "request": {"allOf": [_ref("PredictionFields")], "description": "Everything else, as JSON."},
        },
    }
    return {
        **_operation("What a model says of images", "predict", content, *_WORK),
        "requestBody": _body(_ref("PredictionBody"), multipart, {"example": request_examples.PREDICTION}),
    }


def _submit() -> dict[str, Any]:
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "pattern": "^[!-~]([ -~]{0,126}[!-~])?$"},
        "description": "The same key and request again give the same job; the key with another request is refused.",
    }
    content = _json(_ref("JobReply"), reply_examples.JOB)
    operation = _operation("Submit a job", "submitJob", content, 409, *_WORK)
    accepted = operation["responses"].pop("200")
    accepted["description"] = "Accepted: the job is not lost, whatever process of the service ends."
    accepted["headers"]["Location"] = {"description": "Of the job.", "schema": {"type": "string"}}
    accepted["links"] = {
        name: {"operationId": name, "parameters": {"id": "$response.body#/id"}}
        for name in ("job", "cancelJob", "jobEvents", "jobResult")
    }
    return {
        **operation,
        "description": "Takes the request for an explanation, one or many images; the job is computed whoever waits.",
        "parameters": [*operation["parameters"], key, _fresh()],
        "requestBody": _explanation_body(),
        "responses": {"202": accepted, **operation["responses"]},
    }


def _job() -> dict[str, Any]:
    content = _json(_ref("JobReply"), reply_examples.JOB)
    return _operation("How far a job has come", "job", content, 404, 503)


def _cancel() -> dict[str, Any]:
    content = _json(_ref("JobReply"), {**reply_examples.JOB, "state": "cancelled", "eta_s": None})
    return {
        **_operation("Cancel a job", "cancelJob", content, 404, 503),
        "description": "No further device batch of it starts. A job that has ended stays as it is.",
    }


def _job_events() -> dict[str, Any]:
    content = {
        EVENTS: _events({"state": "JobReply", "progress": "JobProgressEvent"}, reply_examples.JOB_EVENTS)
    }
    return {
        **_operation("Watch a job", "jobEvents", content, 404, 406, 429, 503),
        "description": "Sent now and on each change, until it has ended. So many streams are open at once; one more is "
        "refused.",
    }


def _job_result() -> dict[str, Any]:
    return {
        **_operation(
            "What a job was asked for", "jobResult", _explanation_content(), 404, 406, 409, 410, 503
        ),
        "description": "As an explanation is answered, in the same media types. Of a job that failed: 409, with its "
        "problem in the limits.",
    }


def _explanation_content() -> dict[str, Any]:
    return {
        JSON: {
            "schema": {"oneOf": [_ref("ExplanationReply"), _ref("BatchReply")]},
            "examples": reply_examples.REPLIES,
        },
        PNG: {"schema": _FILE},
        NPZ: {"schema": _FILE},
    }


def _events(schemas: dict[str, str], example: str) -> dict[str, Any]:
    """The schema of a stream: the names of its events, each with the schema of its data."""
    data = ", ".join(f"{name}: {schema}" for name, schema in schemas.items())
    described = (
        f"One server-sent event, its data in JSON ({data}, error: a problem with its status, after which nothing "
        "comes). An error before anything is sent is answered with its own status. Comments come while nothing happens."
    )
    schema = {
        "type": "object",
        "description": described,
        "required": ["event", "data"],
        "properties": {
            "event": {"type": "string", "enum": [*schemas, "error"]},
            "data": {"type": "string", "description": "JSON."},
        },
    }
    return {"schema": schema, "example": example}


def _explanation_body() -> dict[str, Any]:
    multipart = {
        "type": "object",
        "properties": {
            "image": {**_FILE, "description": "The image file; required where images is absent."},
            "images": {"type": "array", "items": _FILE, "description": "The image files of a batch."},
            "other": {**_FILE, "description": "Kind compare alone: the image file to compare with."},
            "request": {"allOf": [_ref("ExplanationFields")], "description": "Everything else, as JSON."},
        },
    }
    return _body(_ref("ExplanationBody"), multipart, {"examples": request_examples.REQUESTS})


def _body(schema: dict[str, Any], multipart: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    parts = {"schema": multipart, "encoding": {"request": {"contentType": JSON}}}
    return {"required": True, "content": {JSON: {"schema": schema, **shown}, "multipart/form-data": parts}}


def _operation(summary: str, operation: str, content: dict[str, Any], *refusals: int) -> dict[str, Any]:
    """Operation that needs a key where keys are configured."""
    statuses = sorted({*refusals, *_ANYWHERE})
    return {
        "summary": summary,
        "operationId": operation,
        "parameters": [_request_id_parameter(), _priority()],
        "responses": {
            "200": {"description": "OK", "headers": _headers(), "content": content},
            **{str(status): _problem(status) for status in statuses},
        },
    }


def _open(summary: str, operation: str, content: dict[str, Any], *refusals: int) -> dict[str, Any]:
    """Operation that needs no key, and no place among the requests that are served."""
    described = _operation(summary, operation, content, *refusals)
    for status in ("401", "429"):
        del described["responses"][status]
    return {**described, "security": []}


def _path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


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
    description = (
        "Echoed, and written in the log; one is made unless 1 to 128 printable ASCII characters are sent."
    )
    return _header("X-Request-ID", {"type": "string"}, description)


def _priority() -> dict[str, Any]:
    description = (
        "Of the call; the best that its key may have where it is absent. Interactive calls go first."
    )
    return _header("Wavescope-Priority", {"type": "string", "enum": ["interactive", "batch"]}, description)


def _fresh() -> dict[str, Any]:
    return _header(
        "Cache-Control", {"type": "string"}, "no-cache: computed anew even where the result is kept."
    )


def _header(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": description}


def _problem(status: int) -> dict[str, Any]:
    codes = sorted(code for code, (mapped, _) in TABLE.items() if mapped == status and code != "error")
    content: dict[str, Any] = {"schema": _ref("Problem")}
    if status in request_examples.PROBLEMS:
        content["example"] = request_examples.PROBLEMS[status]
    headers = _headers()
    if status in RETRYABLE_STATUSES:
        description = "Seconds after which the request may be sent again."
        headers["Retry-After"] = {"description": description, "schema": {"type": "integer", "minimum": 0}}
    if status == 401:
        headers["WWW-Authenticate"] = {"description": "Bearer", "schema": {"type": "string"}}
    return {
        "description": " or ".join(codes),
        "headers": headers,
        "content": {PROBLEM_MEDIA_TYPE: content},
    }
