"""The chart's serveConfigV2 is what Ray Serve reads, and names what the code declares."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve._private.build_app import build_app
from ray.serve.schema import ServeDeploySchema

from wavescope.serving import names, proxy
from wavescope.serving.app import build_model
from wavescope.settings import Settings, build_model_spec, load_registry


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


def test_grpc_services_are_those_of_the_local_service(serve_config: dict[str, Any]) -> None:
    assert serve_config["grpc_options"]["grpc_servicer_functions"] == list(proxy.SERVICERS)


def test_no_replica_of_ours_can_land_on_the_head(serve_config: dict[str, Any]) -> None:
    for deployment in serve_config["applications"][0]["deployments"]:
        assert deployment["ray_actor_options"]["num_cpus"] > 0, deployment["name"]


def test_one_of_each_is_enough_where_only_one_can_be(serve_config: dict[str, Any]) -> None:
    for deployment in serve_config["applications"][0]["deployments"]:
        if deployment["name"] in (names.ADMISSION, names.HUB):
            assert "num_replicas" not in deployment


def test_config_map_loads_as_a_registry_of_the_scenario(
    objects: list[dict[str, Any]], scenario: dict[str, Any], serve_config: dict[str, Any], tmp_path: Path
) -> None:
    (config_map,) = [item for item in objects if item["kind"] == "ConfigMap"]
    assert yaml.safe_load(config_map["data"]["models.yaml"]) == {"models": scenario["models"]}
    path = tmp_path / "models.yaml"
    path.write_text(
        config_map["data"]["models.yaml"].replace("/weights/birds.txt", str(label_file(tmp_path)))
    )
    entries = [application["args"]["model"] for application in serve_config["applications"][1:]]
    assert entries == scenario["models"]
    assert [spec.name for spec in load_registry(path)] == [entry["name"] for entry in entries]


def test_models_are_built_from_what_the_serve_config_says_of_them(
    serve_config: dict[str, Any], tmp_path: Path
) -> None:
    """Not from the mounted file, which may be older; it is not even there."""
    labels = str(label_file(tmp_path))
    for application in serve_config["applications"][1:]:
        args = application["args"]
        entry = args["model"] | ({"labels": labels} if "labels" in args["model"] else {})
        assert not Path(args["models_file"]).exists()
        built = build_model(args | {"model": entry})
        (deployment,) = build_app(built, name=application["name"]).deployments
        spec = deployment.init_args[0]
        assert spec == build_model_spec(entry, Path(args["models_file"]).parent)


def label_file(folder: Path) -> Path:
    """Two class names, one per line: what a registry's ``labels`` may point at."""
    path = folder / "birds.txt"
    path.write_text("wren\nrobin\n")
    return path


def test_settings_reach_every_application_and_apply_in_place(
    render: Callable[[dict[str, Any]], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {
        "max_forwards": 50_000,
        "result_cache_bytes": 2**40,  # Go writes large numbers with an exponent
        "drain_s": 12.5,
        "remote_hosts": ["models.example:8000", "*.example"],
    }
    plain, changed = (
        next(item["spec"] for item in render(values) if item["kind"] == "RayService")
        for values in ({}, {"settings": changes, "logLevel": "DEBUG"})
    )
    assert plain["rayClusterConfig"] == changed["rayClusterConfig"]
    for application in ServeDeploySchema.model_validate(
        yaml.safe_load(changed["serveConfigV2"])
    ).applications:
        for name, value in application.runtime_env["env_vars"].items():
            monkeypatch.setenv(name, value)
        settings = Settings().model_dump()
        expected = {
            name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()
        }
        assert {name: settings[name] for name in changes} == expected
        assert settings["log_level"] == "debug"


def test_settings_that_proxies_read_are_in_the_environment_of_every_container(
    render: Callable[[dict[str, Any]], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {
        "root_path": "/wavescope",
        "allowed_origins": ["https://a.example", "https://b.example"],
        "metrics_need_key": True,
        "max_connections": 2_000_000,
        "max_header_bytes": 2048,
        "header_timeout_s": 2.5,
        "body_timeout_s": 7,
        "max_uploads": 3,
        "max_uploads_per_caller": 2,
        "max_upload_bytes": 2**40,
        "reply_timeout_s": 5,
    }
    values = {"settings": changes}
    (spec,) = [item["spec"] for item in render(values) if item["kind"] == "RayService"]
    applications = ServeDeploySchema.model_validate(yaml.safe_load(spec["serveConfigV2"])).applications
    assert all("WAVESCOPE_BODY_TIMEOUT_S" not in one.runtime_env["env_vars"] for one in applications)
    cluster = spec["rayClusterConfig"]
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        environment = group["template"]["spec"]["containers"][0]["env"]
        for entry in environment:
            if entry["name"].startswith("WAVESCOPE_") and "value" in entry:
                monkeypatch.setenv(entry["name"], entry["value"])
        settings = Settings().model_dump()
        expected = {
            name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()
        }
        assert {name: settings[name] for name in changes} == expected


@pytest.mark.parametrize(
    ("autoscaler", "expected"), [({}, 600.0), ({"placeTimeoutSeconds": 60}, 60.0), ({"enabled": False}, 0.0)]
)
def test_models_without_a_place_are_given_the_time_of_the_autoscaler(
    render: Callable[[dict[str, Any]], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    autoscaler: dict[str, Any],
    expected: float,
) -> None:
    rendered = render({"autoscaler": autoscaler})
    (spec,) = (item["spec"] for item in rendered if item["kind"] == "RayService")
    for application in ServeDeploySchema.model_validate(yaml.safe_load(spec["serveConfigV2"])).applications:
        for name, value in application.runtime_env["env_vars"].items():
            monkeypatch.setenv(name, value)
        assert Settings().autoscaler_timeout_s == expected
