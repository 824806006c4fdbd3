"""Monitors and the sink of inference events in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from wavescope.ingress.openapi import monitor_examples
from wavescope.ingress.openapi.operations import (
    BODY,
    event_stream,
    json_content,
    operation,
    path_parameter,
    reference,
    request_body,
)
from wavescope.ingress.rest.negotiation import EVENTS, JSON, PNG
from wavescope.ingress.schemas.monitor import (
    AcknowledgeBody,
    MonitorBody,
    ObservationFields,
    ObservationsBody,
    RebaselineBody,
)
from wavescope.ingress.schemas.monitor_reply import (
    AlarmsReply,
    DiagnosisReply,
    MonitorReply,
    MonitorsReply,
    OutcomesReply,
    ReportReply,
)

MONITOR_SCHEMAS: tuple[type[BaseModel], ...] = (
    MonitorBody, ObservationFields, ObservationsBody, AcknowledgeBody, RebaselineBody, MonitorReply, MonitorsReply,
    OutcomesReply, AlarmsReply, ReportReply, DiagnosisReply,
)  # fmt: skip
_FILE = {"type": "string", "format": "binary"}
_MONITOR = {"parameters": [path_parameter("name")]}


def monitor_paths() -> dict[str, Any]:
    """Paths of monitors and events."""
    monitor = json_content(reference("MonitorReply"), monitor_examples.MONITOR)
    listed = json_content(reference("MonitorsReply"), {"monitors": [monitor_examples.MONITOR]})
    alarms = json_content(reference("AlarmsReply"), monitor_examples.ALARMS)
    diagnosis = json_content(reference("DiagnosisReply"), monitor_examples.DIAGNOSIS)
    watched = {**monitor, EVENTS: event_stream({"state": "MonitorReply"}, "event: state\ndata: {}\n\n")}
    base = "/v1/monitors/{name}"
    return {
        "/v1/monitors": {"get": operation("List the monitors", "monitors", listed, 503)},
        base: {
            **_MONITOR,
            "get": operation("How a monitor is", "monitor", watched, 404, 406, 503),
            "put": _put(monitor),
            "delete": _empty(operation("Delete a monitor", "deleteMonitor", monitor, 404, 503), "204"),
        },
        f"{base}/observations": {**_MONITOR, "post": _observe()},
        f"{base}/report": {**_MONITOR, "get": _report()},
        f"{base}/alarms": {**_MONITOR, "get": operation("List the alarms", "alarms", alarms, 404, 503)},
        f"{base}/alarms/{{id}}/diagnosis": {
            "parameters": [path_parameter("name"), path_parameter("id")],
            "get": operation("Jobs that look into an alarm", "diagnosis", diagnosis, 404, 409, 503),
        },
        **{
            f"{base}:{verb}": {**_MONITOR, "post": _command(verb, text, schema, monitor)}
            for verb, text, schema in (
                ("acknowledge", "Acknowledge an alarm", "AcknowledgeBody"),
                ("rebaseline", "Take a new reference", "RebaselineBody"),
                ("pause", "Pause a monitor", None),
                ("resume", "Resume a monitor", None),
                ("renew-token", "Make a new token for events", None),
            )
        },
        f"{base}/events": {**_MONITOR, "post": _event("monitorEvent", 404)},
        f"{base}/events/{{token}}": {
            "parameters": [path_parameter("name"), path_parameter("token")],
            "post": {**_event("monitorEventByToken", 404), "security": []},
        },
        "/v1/events": {"post": _event("event")},
    }


def _put(monitor: dict[str, Any]) -> dict[str, Any]:
    described = operation("Make a monitor, or change it", "putMonitor", monitor, 404, 409, *BODY, 503)
    made = {**described["responses"]["200"], "description": "Made. The token is in this reply alone."}
    return {
        **described,
        "description": "What touches the reference cannot be changed. The same again changes nothing.",
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": reference("MonitorBody"), "example": monitor_examples.CONFIG}},
        },
        "responses": {"201": made, **described["responses"]},
    }


def _observe() -> dict[str, Any]:
    content = json_content(reference("OutcomesReply"), {"name": "birds", "outcomes": ["accepted"]})
    described = operation("Observe images", "observe", content, 404, 409, *BODY, 503)
    accepted = {**described["responses"].pop("200"), "description": "Stored; they are measured later."}
    multipart = {
        "type": "object",
        "properties": {
            "image": {**_FILE, "description": "The image file; required where images is absent."},
            "images": {"type": "array", "items": _FILE, "description": "Several image files."},
            "request": {
                "allOf": [reference("ObservationFields")],
                "description": "Everything else, as JSON.",
            },
        },
    }
    shown = {"example": monitor_examples.OBSERVATIONS}
    return {
        **described,
        "requestBody": request_body(reference("ObservationsBody"), multipart, shown),
        "responses": {"202": accepted, **described["responses"]},
    }


def _report() -> dict[str, Any]:
    content = {
        **json_content(reference("ReportReply"), monitor_examples.REPORT),
        PNG: {"schema": _FILE},
    }
    described = operation("Report of a monitor", "monitorReport", content, 404, 406, 503)
    times = [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": {"type": "string"},
            "description": f"{text}: RFC 3339, or seconds since 1970.",
        }
        for name, text in (("since", "First time of the window"), ("until", "End of the window"))
    ]
    return {**described, "parameters": [*described["parameters"], *times]}


def _command(verb: str, summary: str, schema: str | None, monitor: dict[str, Any]) -> dict[str, Any]:
    name = "".join(part.title() if place else part for place, part in enumerate(verb.split("-")))
    described = operation(summary, f"{name}Monitor", monitor, 404, 409, *(BODY if schema else ()), 503)
    if schema is None:
        return described
    example = monitor_examples.COMMANDS[verb]
    body = {"required": True, "content": {JSON: {"schema": reference(schema), "example": example}}}
    return {**described, "requestBody": body}


def _event(name: str, *refusals: int) -> dict[str, Any]:
    described = operation("Receive an inference event", name, {}, *refusals, 408, 413, 503)
    return _empty(
        {
            **described,
            "description": "A CloudEvent in binary or structured mode, of KServe's logger, a broker of Knative's, or "
            "Seldon. Whatever is wrong with it is 400, which no broker sends again.",
            "requestBody": {"required": True, "content": {"*/*": {"schema": _FILE}}},
        },
        "202",
    )


def _empty(described: dict[str, Any], status: str) -> dict[str, Any]:
    """The operation with an answer without a body."""
    responses = dict(described["responses"])
    former = responses.pop("200")
    done = {
        "description": "Stored, or counted." if status == "202" else "Done.",
        "headers": dict(former["headers"]),
    }
    if status == "202":
        done["headers"]["Wavescope-Outcomes"] = {
            "description": "What became of its images: accepted=1.",
            "schema": {"type": "string"},
        }
    return {**described, "responses": {status: done, **responses}}
