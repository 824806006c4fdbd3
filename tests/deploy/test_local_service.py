"""The files of the local service: Serve configuration, example registry, Compose."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve import Application
from ray.serve._private.build_app import build_app
from ray.serve.schema import ServeDeploySchema

from wavescope.cli import build_parser
from wavescope.errors import InvalidRequest
from wavescope.models.spec import ModelSpec
from wavescope.serving import names, proxy
from wavescope.serving.app import build, build_model
from wavescope.serving.command import cluster
from wavescope.settings import load_registry


@pytest.fixture(scope="module")
def serve_config(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "deploy/serve/local.yaml").read_text())


@pytest.fixture(scope="module")
def services(root: Path) -> dict[str, dict[str, Any]]:
    return yaml.safe_load((root / "deploy/compose.yaml").read_text())["services"]


def test_ray_accepts_the_local_serve_config(serve_config: dict[str, Any]) -> None:
    parsed = ServeDeploySchema.model_validate(serve_config)
    assert parsed.http_options.host == "127.0.0.1"
    assert (parsed.http_options.port, parsed.grpc_options.port) == (8000, 9000)


def test_local_serve_config_names_deployments_that_exist(serve_config: dict[str, Any]) -> None:
    found = {
        application["name"]: tuple(deployment["name"] for deployment in application["deployments"])
        for application in serve_config["applications"]
    }
    (default,) = load_registry(None)
    assert found == {
        names.APPLICATION: names.DEPLOYMENTS,
        names.model_application(default.name): (names.MODEL_REPLICA,),
    }


def test_builders_of_the_local_serve_config_can_be_imported(serve_config: dict[str, Any]) -> None:
    for application in serve_config["applications"]:
        module, name = application["import_path"].split(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_local_serve_config_has_the_services_of_the_command(serve_config: dict[str, Any]) -> None:
    assert serve_config["grpc_options"]["grpc_servicer_functions"] == list(proxy.SERVICERS)


def test_proxies_variables_are_told_in_the_local_serve_config(root: Path) -> None:
    text = (root / "deploy/serve/local.yaml").read_text()
    niceness = {"RAY_worker_niceness": cluster.DEFAULTS["RAY_worker_niceness"]}
    for name, value in (proxy.environment() | niceness).items():
        assert f"#   export {name}={value}" in text


@pytest.mark.parametrize(
    ("variable", "value", "local"),
    [
        ("WAVESCOPE_LOG_LEVEL", "info", True),
        ("WAVESCOPE_NO_AUTH", "true", False),
        ("WAVESCOPE_API_KEYS_FILE", "keys.yaml", False),
    ],
)
def test_a_serve_config_without_keys_answers_this_host_only(
    variable: str, value: str, local: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    deployments = {item.name: item for item in build_app(build({}), name=names.APPLICATION).deployments}
    assert set(deployments) == set(names.DEPLOYMENTS)
    assert deployments[names.GATEWAY].init_kwargs == {"loopback_only": local}


@pytest.mark.parametrize(
    ("builder", "args", "field"),
    [
        (build, {"model_file": "models.yaml"}, "model_file"),
        (build, {"model": "efficientnet-lite0"}, "model"),
        (build, {"models_file": ["models.yaml"]}, "models_file"),
        (build_model, {"name": "efficientnet-lite0"}, "name"),
        (build_model, {"model": "efficientnet-lite0", "models_files": "models.yaml"}, "models_files"),
    ],
)
def test_arguments_that_no_builder_reads_are_refused(
    builder: Callable[[dict[str, Any]], Application], args: dict[str, Any], field: str
) -> None:
    """A slip of the pen would serve the embedded default model without a word."""
    with pytest.raises(InvalidRequest, match=field) as refused:
        builder(args)
    assert refused.value.field == field


def test_a_serve_config_names_deployments_and_refuses_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVESCOPE_ONE_PROCESS", "true")
    with pytest.raises(InvalidRequest, match=r"one_process .* is for `wavescope serve`"):
        build({})


def test_whoever_may_wait_reaches_the_admission_desk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Ray Serve held back before it would neither be refused nor overtaken."""
    monkeypatch.setenv("WAVESCOPE_MAX_WAITING", "500")
    deployments = {item.name: item for item in build_app(build({}), name=names.APPLICATION).deployments}
    for name in (names.GATEWAY, names.AGGREGATOR, names.ADMISSION):
        assert deployments[name].max_ongoing_requests > 500 + 8


def test_example_registry_loads_and_shows_the_defaults(root: Path) -> None:
    (spec,) = load_registry(root / "deploy/models.yaml")
    assert spec == ModelSpec(name="efficientnet-lite0", source="embedded:efficientnet-lite0")


def test_commented_examples_of_the_registry_load_too(root: Path, tmp_path: Path) -> None:
    text = re.sub(r"^  # (?=  |- )", "  ", (root / "deploy/models.yaml").read_text(), flags=re.MULTILINE)
    labels = tmp_path / "birds.txt"
    labels.write_text("wren\nrobin\n")
    path = tmp_path / "models.yaml"
    path.write_text(text.replace("/models/birds.txt", str(labels)))
    names = [spec.name for spec in load_registry(path)]
    assert names == ["efficientnet-lite0", "resnet50", "birds", "rooms", "production"]


def test_compose_publishes_on_loopback_only(services: dict[str, dict[str, Any]]) -> None:
    ports = [port for service in services.values() for port in service["ports"]]
    assert sorted(ports) == [
        "127.0.0.1:3000:3000",
        "127.0.0.1:8000:8000",
        "127.0.0.1:9000:9000",
        "127.0.0.1:9090:9090",
    ]


def test_compose_mounts_files_that_exist(services: dict[str, dict[str, Any]], root: Path) -> None:
    for service in services.values():
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert (root / "deploy" / volume.split(":")[0]).exists(), volume


def test_compose_keeps_jobs_in_a_volume_where_the_image_has_its_state(
    services: dict[str, dict[str, Any]], root: Path
) -> None:
    (folder,) = re.findall(r"WAVESCOPE_STATE_DIR=(\S+)", (root / "Dockerfile").read_text())
    volumes = yaml.safe_load((root / "deploy/compose.yaml").read_text())["volumes"]
    assert f"state:{folder}" in services["wavescope"]["volumes"]
    assert {"state", "prometheus", "grafana"} == set(volumes)


def test_compose_with_keys_is_what_its_comments_say(root: Path, tmp_path: Path) -> None:
    text = (root / "deploy/compose.yaml").read_text()
    text = re.sub(r"^ +command: \[serve.*--no-auth.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^( *)# (?=command:|secrets:|  keys.yaml:|    file:)", r"\1", text, flags=re.MULTILINE)
    document = yaml.safe_load(text)
    service = document["services"]["wavescope"]
    assert service["secrets"] == list(document["secrets"])
    given = build_parser().parse_args(service["command"])
    assert str(given.api_keys_file) == f"/run/secrets/{service['secrets'][0]}"
    assert not hasattr(given, "no_auth")


def test_compose_confines_the_service(services: dict[str, dict[str, Any]]) -> None:
    service = services["wavescope"]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["init"] is True


def test_prometheus_scrapes_the_service_of_compose(root: Path, services: dict[str, dict[str, Any]]) -> None:
    document = yaml.safe_load((root / "deploy/prometheus/prometheus.yml").read_text())
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in document["scrape_configs"]}
    assert jobs["wavescope"] == ["wavescope:8000"]
    assert "wavescope" in services
