"""KubeRay's CRD accepts the rendered RayService.

The CRD's ``openAPIV3Schema`` is turned into JSON Schema as the API server applies it under
``fieldValidation=Strict``: unknown fields are errors, fields with a default are not required, nulls are pruned.
CEL rules are not run. ``WAVESCOPE_KUBERAY_CRD`` names the file ``ray.io_rayservices.yaml`` of KubeRay.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

VARIABLE = "WAVESCOPE_KUBERAY_CRD"
NAMED = ("properties", "patternProperties", "definitions")
NESTED = ("items", "not", "allOf", "anyOf", "oneOf")


def prune_nulls(node: Any) -> Any:
    """The API server drops null fields before it validates."""
    if isinstance(node, dict):
        return {key: prune_nulls(value) for key, value in node.items() if value is not None}
    return [prune_nulls(item) for item in node] if isinstance(node, list) else node


def to_json_schema(schema: Any) -> Any:
    """One node of an ``openAPIV3Schema`` as strict JSON Schema."""
    if isinstance(schema, list):
        return [to_json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    converted = dict(schema)
    for key in NAMED:
        if key in schema:
            converted[key] = {name: to_json_schema(sub) for name, sub in schema[key].items()}
    for key in (*NESTED, "additionalProperties"):
        if key in schema:
            converted[key] = to_json_schema(schema[key])
    if schema.get("nullable") and isinstance(schema.get("type"), str):
        converted["type"] = [schema["type"], "null"]
    properties = schema.get("properties", {})
    if "required" in schema:  # defaults are applied before validation
        converted["required"] = [
            name for name in schema["required"] if "default" not in properties.get(name, {})
        ]
    open_ended = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    if properties and not open_ended:
        converted["additionalProperties"] = False
    return converted


def crd_validator(document: dict[str, Any], version: str = "v1") -> Draft202012Validator:
    """A validator of custom resources of ``version``, without their metadata."""
    served = next(item for item in document["spec"]["versions"] if item["name"] == version)
    schema = to_json_schema(served["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return Draft202012Validator(schema)


def complaints(validator: Draft202012Validator, manifest: dict[str, Any]) -> list[str]:
    """What is wrong with a manifest, one line each; empty when it is valid."""
    errors = validator.iter_errors(prune_nulls(manifest))
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in errors]


@pytest.fixture(scope="module")
def kuberay() -> Draft202012Validator:
    path = os.environ.get(VARIABLE)
    if not path:
        pytest.skip(f"{VARIABLE} is not set: KubeRay's CRD is not part of this repository")
    return crd_validator(yaml.load(Path(path).read_text(), Loader=yaml.CSafeLoader))


def test_kuberay_accepts_every_scenario(kuberay: Draft202012Validator, rayservice: dict[str, Any]) -> None:
    assert complaints(kuberay, rayservice) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda spec: spec.update(serveConfig="x"), "serveConfig"),
        (lambda spec: spec["rayClusterConfig"]["authOptions"].update(mode="open"), "open"),
        (
            lambda spec: spec["rayClusterConfig"]["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
            "0 is not",
        ),
        (lambda spec: spec["rayClusterConfig"]["headGroupSpec"].pop("template"), "template"),
        (lambda spec: spec.update(serveConfigV2={"applications": []}), "is not of type 'string'"),
    ],
)
def test_kuberay_refuses_damaged_manifests(
    kuberay: Draft202012Validator,
    render: Callable[[dict[str, Any]], list[dict[str, Any]]],
    damage: Callable[[dict[str, Any]], object],
    message: str,
) -> None:
    (manifest,) = [item for item in render({}) if item["kind"] == "RayService"]
    damage(manifest["spec"])
    assert any(message in line for line in complaints(kuberay, manifest))


SMALL_CRD = {
    "spec": {
        "versions": [
            {
                "name": "v1",
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["size", "mode"],
                                "properties": {
                                    "size": {"x-kubernetes-int-or-string": True},
                                    "mode": {"type": "string", "default": "plain"},
                                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                                    "items": {
                                        "type": "array",
                                        "items": {"type": "integer", "nullable": True},
                                    },
                                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                },
                            }
                        },
                    }
                },
            }
        ]
    }
}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"size": 1}, []),
        ({"size": "50%", "mode": None, "labels": {"a": "b"}, "free": {"any": 1}}, []),
        ({"size": 1, "items": [1, None]}, []),
        ({"mode": "plain"}, ["'size' is a required property"]),
        ({"size": 1.5}, ["1.5 is not of type 'integer', 'string'"]),
        ({"size": 1, "sise": 2}, ["Additional properties are not allowed ('sise' was unexpected)"]),
        ({"size": 1, "labels": {"a": 1}}, ["1 is not of type 'string'"]),
    ],
)
def test_validator_follows_the_api_server(spec: dict[str, Any], expected: list[str]) -> None:
    found = complaints(crd_validator(SMALL_CRD), {"metadata": {"name": "x"}, "spec": spec})
    assert [line.split(": ", 1)[1] for line in found] == expected
