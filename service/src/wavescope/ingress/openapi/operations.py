"""Parts of the OpenAPI document that its operations have in common."""

from __future__ import annotations

from typing import Any

from wavescope.ingress.openapi import request_examples
from wavescope.ingress.problems import PROBLEM_MEDIA_TYPE, RETRYABLE_STATUSES, TABLE
from wavescope.ingress.rest.negotiation import JSON

# Of any request: its key, where it comes from, its priority, and a defect of ours.
ANYWHERE = (400, 401, 403, 422, 429, 431, 500)
# Of a body, and of what is computed of it.
BODY = (408, 413, 415)
WORK = (404, *BODY, 429, 502, 503, 504)


def event_stream(schemas: dict[str, str], example: str) -> dict[str, Any]:
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


def request_body(schema: dict[str, Any], multipart: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    """Body in JSON or multipart."""
    parts = {"schema": multipart, "encoding": {"request": {"contentType": JSON}}}
    return {"required": True, "content": {JSON: {"schema": schema, **shown}, "multipart/form-data": parts}}


def operation(summary: str, name: str, content: dict[str, Any], *refusals: int) -> dict[str, Any]:
    """Operation that needs a key where keys are configured."""
    statuses = sorted({*refusals, *ANYWHERE})
    return {
        "summary": summary,
        "operationId": name,
        "parameters": [_request_id_parameter(), _priority()],
        "responses": {
            "200": {"description": "OK", "headers": _headers(), "content": content},
            **{str(status): _problem(status) for status in statuses},
        },
    }


def open_operation(summary: str, name: str, content: dict[str, Any], *refusals: int) -> dict[str, Any]:
    """Operation that needs no key, and no place among the requests that are served."""
    described = operation(summary, name, content, *refusals)
    for status in ("401", "429"):
        del described["responses"][status]
    return {**described, "security": []}


def path_parameter(name: str) -> dict[str, Any]:
    """Parameter in the path."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def json_content(schema: dict[str, Any], example: Any = None) -> dict[str, Any]:
    """Content in JSON."""
    return {JSON: {"schema": schema} if example is None else {"schema": schema, "example": example}}


def reference(name: str) -> dict[str, Any]:
    """Reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def _headers() -> dict[str, Any]:
    return {"X-Request-ID": {"description": "The request's id.", "schema": {"type": "string"}}}


def _request_id_parameter() -> dict[str, Any]:
    description = (
        "Echoed, and written in the log; one is made unless 1 to 128 printable ASCII characters are sent."
    )
    return header_parameter("X-Request-ID", {"type": "string"}, description)


def _priority() -> dict[str, Any]:
    description = (
        "Of the call; the best that its key may have where it is absent. Interactive calls go first."
    )
    return header_parameter(
        "Wavescope-Priority", {"type": "string", "enum": ["interactive", "batch"]}, description
    )


def header_parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    """Parameter in the headers."""
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": description}


def _problem(status: int) -> dict[str, Any]:
    codes = sorted(code for code, (mapped, _) in TABLE.items() if mapped == status and code != "error")
    content: dict[str, Any] = {"schema": reference("Problem")}
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
