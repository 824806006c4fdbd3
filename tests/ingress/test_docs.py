"""The documentation: the OpenAPI document, and a page that needs no other host."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from tests.ingress.fakes import FakePlane, make_app, send

from wavescope.engine.kinds import KINDS
from wavescope.ingress.openapi import reply_examples, request_examples
from wavescope.ingress.openapi.document import document
from wavescope.ingress.openapi.reply_examples import REPLIES
from wavescope.ingress.problems import TABLE
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
from wavescope.ingress.schemas.request import PredictionBody


@pytest.fixture
def app(plane: FakePlane) -> FastAPI:
    return make_app(plane)


def walk(content: Any) -> Any:
    """Every dictionary in a JSON document."""
    if isinstance(content, dict):
        yield content
    for value in (
        content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    ):
        yield from walk(value)


def test_the_page_and_its_assets_come_from_this_service(app: FastAPI) -> None:
    page = send(app, "GET", "/docs")
    assert page.status_code == 200
    assert not re.findall(r"https?:|//", page.text.replace("<!-- `", ""))
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(assets) == 3
    for asset in assets:
        assert send(app, "GET", f"/{asset}").status_code == 200


@pytest.mark.parametrize("wanted", ["bytes=5-", "bytes=9-1", "bytes=99999999-", "nonsense"])
def test_assets_come_whole_whatever_range_is_asked_for(app: FastAPI, wanted: str) -> None:
    reply = send(app, "GET", "/docs/swagger-ui.css", headers={"Range": wanted})
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert reply.content == send(app, "GET", "/docs/swagger-ui.css").content


def test_no_other_file_is_served_with_the_assets(app: FastAPI) -> None:
    for name in ("index.html", "..%2f__init__.py", "%2e%2e"):
        assert send(app, "GET", f"/docs/{name}").status_code == 404


def test_the_validator_on_the_internet_is_off(app: FastAPI) -> None:
    assert '"validatorUrl": null' in send(app, "GET", "/docs").text


def test_the_document_is_of_a_version_that_the_page_reads(app: FastAPI) -> None:
    assert send(app, "GET", "/openapi.json").json()["openapi"] == "3.0.3"
    for schema in walk(document()["components"]["schemas"]):
        assert {"type": "null"} not in schema.get("anyOf", [])
        assert "const" not in schema


def test_every_route_is_documented_and_nothing_else(app: FastAPI) -> None:
    undocumented = {"/docs", "/docs/{name}", "/openapi.json"}
    routes = {
        (route.path, method)
        for route in app.routes
        for method in route.methods - {"HEAD"}
        if route.path not in undocumented
    }
    documented = {
        (path, method.upper()) for path, item in document()["paths"].items() for method in operations(item)
    }
    assert documented == routes


def operations(item: dict[str, Any]) -> dict[str, Any]:
    """The operations of a path, by method."""
    return {method: operation for method, operation in item.items() if method != "parameters"}


def test_every_reference_resolves() -> None:
    references = {part["$ref"] for part in walk(document()) if "$ref" in part}
    assert references
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in document()["components"]["schemas"]


def test_every_refusal_is_documented_as_a_problem() -> None:
    for path in document()["paths"].values():
        for operation in operations(path).values():
            assert "500" in operation["responses"]
            for status, response in operation["responses"].items():
                assert status.startswith("2") or "application/problem+json" in response["content"]
                assert ("Retry-After" in response.get("headers", {})) == (status in ("429", "503"))


def test_every_status_of_an_error_is_documented() -> None:
    found = {
        status
        for path in document()["paths"].values()
        for operation in operations(path).values()
        for status in operation["responses"]
    }
    # No operation answers these two: another path or another method is no operation of the document.
    assert {str(status) for status, _ in TABLE.values()} - found == {"405"}


@pytest.mark.parametrize(
    ("example", "model"),
    [
        (reply_examples.ESTIMATE, EstimateReply),
        (reply_examples.PREDICTIONS, PredictionsReply),
        (reply_examples.JOB, JobReply),
        (reply_examples.PROGRESS, ProgressEvent),
        (reply_examples.PARTIAL, PartialEvent),
        (reply_examples.JOB_PROGRESS, JobProgressEvent),
        (request_examples.PREDICTION, PredictionBody),
    ],
)
def test_other_examples_match_their_schemas(example: Any, model: type[BaseModel]) -> None:
    model.model_validate(example)


@pytest.mark.parametrize("name", REPLIES)
def test_examples_of_replies_match_their_schemas(name: str) -> None:
    model = BatchReply if name == "batch" else ExplanationReply
    model.model_validate(REPLIES[name]["value"])


def test_every_kind_has_an_example_reply_with_what_it_alone_has() -> None:
    assert set(KINDS) <= set(REPLIES)
    usual = {name for name, value in REPLIES["wcam"]["value"].items() if value is None} - {"screening"}
    usual.add("contrast")
    own = {kind: {name for name in usual if REPLIES[kind]["value"][name] is not None} for kind in KINDS}
    keys = {"sufficiency": {"reconstruction_depth", "sufficient_image", "curve", "sufficiency"}}
    expected = {
        name: {key for section in kind.sections for key in keys.get(section, {section})}
        | ({"radial"} if kind.transform == "fourier" else set())
        for name, kind in KINDS.items()
    }
    assert own == expected


@pytest.mark.parametrize("name", request_examples.REQUESTS)
def test_examples_of_requests_match_the_document(name: str) -> None:
    schemas = document()["components"]["schemas"]
    jsonschema.validate(
        request_examples.REQUESTS[name]["value"],
        _nullable({**schemas["ExplanationBody"], "components": {"schemas": schemas}}),
    )


@pytest.mark.parametrize("name", REPLIES)
def test_examples_of_replies_match_the_document(name: str) -> None:
    schemas = document()["components"]["schemas"]
    reply = document()["paths"]["/v1/explanations"]["post"]["responses"]["200"]["content"]["application/json"]
    assert reply["examples"][name] == REPLIES[name]
    jsonschema.validate(
        REPLIES[name]["value"], _nullable({**reply["schema"], "components": {"schemas": schemas}})
    )


def _nullable(schema: Any) -> Any:
    """A schema of OpenAPI 3.0 as JSON Schema, which says null as a type and an exclusive bound as a number."""
    if isinstance(schema, list):
        return [_nullable(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: _nullable(part) for name, part in schema.items()}
    if changed.get("exclusiveMinimum") is True:
        changed["exclusiveMinimum"] = changed.pop("minimum")
    return {"anyOf": [changed, {"type": "null"}]} if changed.pop("nullable", False) else changed


@pytest.mark.parametrize("status", sorted(request_examples.PROBLEMS))
def test_examples_of_problems_match_their_schema(status: int) -> None:
    schema = {**document()["components"]["schemas"]["Problem"]}
    schema["properties"] = {**schema["properties"], "field": {"type": ["string", "null"]}}
    jsonschema.validate(request_examples.PROBLEMS[status], schema)
