"""The chart's serveConfigV2 is what Ray Serve reads, and names what the code declares."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from wavescope.serving import names
from wavescope.settings import Settings, load_registry


def test_ray_accepts_the_serve_config(serve_config: dict[str, Any]) -> None:
    parsed = ServeDeploySchema.model_validate(serve_config)
    assert parsed.http_options.port == serve_config["http_options"]["port"]
    assert parsed.grpc_options.port == serve_config["grpc_options"]["port"]


def test_applications_and_deployments_are_those_of_the_code(
    serve_config: dict[str, Any], scenario: dict[str, Any]
) -> None:
    found = {
        application["name"]: [deployment["name"] for deployment in application["deployments"]]
        for application in serve_config["applications"]
    }
    models = [model["name"] for model in scenario["models"]]
    expected = {names.model_application(model): [names.MODEL_REPLICA] for model in models}
    assert found == {names.APPLICATION: list(names.DEPLOYMENTS), **expected}


def test_only_the_front_application_has_a_route(serve_config: dict[str, Any]) -> None:
    routes = {
        application["name"]: application["route_prefix"] for application in serve_config["applications"]
    }
    assert routes.pop(names.APPLICATION) == "/"
    assert set(routes.values()) == {None}


def test_import_paths_lead_to_builders(serve_config: dict[str, Any]) -> None:
    for application in serve_config["applications"]:
        module, _, name = application["import_path"].partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_grpc_functions_lead_to_generated_code(serve_config: dict[str, Any]) -> None:
    for path in serve_config["grpc_options"]["grpc_servicer_functions"]:
        module, _, name = path.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))


def test_config_map_loads_as_a_registry_of_the_scenario(
    objects: list[dict[str, Any]], scenario: dict[str, Any], serve_config: dict[str, Any], tmp_path: Path
) -> None:
    (config_map,) = [item for item in objects if item["kind"] == "ConfigMap"]
    assert yaml.safe_load(config_map["data"]["models.yaml"]) == {"models": scenario["models"]}
    path = tmp_path / "models.yaml"
    path.write_text(
        config_map["data"]["models.yaml"].replace("/weights/birds.txt", str(label_file(tmp_path)))
    )
    served = [application["args"].get("model") for application in serve_config["applications"][1:]]
    assert [spec.name for spec in load_registry(path)] == served


def label_file(folder: Path) -> Path:
    """Two class names, one per line: what a registry's ``labels`` may point at."""
    path = folder / "birds.txt"
    path.write_text("wren\nrobin\n")
    return path


def test_settings_reach_every_application_and_apply_in_place(
    render: Callable[[dict[str, Any]], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, changed = (
        next(item["spec"] for item in render(values) if item["kind"] == "RayService")
        for values in ({}, {"settings": {"max_forwards": 50_000, "drain_s": 12.5}, "logLevel": "DEBUG"})
    )
    assert plain["rayClusterConfig"] == changed["rayClusterConfig"]
    for application in ServeDeploySchema.model_validate(
        yaml.safe_load(changed["serveConfigV2"])
    ).applications:
        for name, value in application.runtime_env["env_vars"].items():
            monkeypatch.setenv(name, value)
        settings = Settings()
        assert (settings.max_forwards, settings.drain_s, settings.log_level) == (50_000, 12.5, "debug")
