"""The example of a KServe explainer: Kubernetes takes its pod, and our command line what KServe starts it with."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from wavescope.cli import build_parser
from wavescope.cli.predictor import build_predictor_spec

KUBERNETES = "1.36"
PREDICTOR = "birds-predictor.default"
# As KServe's controller adds them to the explainer's container.
KSERVE = ("--model_name", "birds", "--predictor_host", PREDICTOR, "--http_port", "8080")
# Of the explainer, beside those of a pod.
EXTENSIONS = {"minReplicas", "maxReplicas", "scaleTarget", "scaleMetric", "containerConcurrency", "timeout"}


@pytest.fixture(scope="module")
def documents(root: Path) -> dict[str, dict[str, Any]]:
    text = (root / "deploy/kserve/inferenceservice.yaml").read_text()
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


@pytest.fixture(scope="module")
def explainer(documents: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return documents["InferenceService"]["spec"]["explainer"]


@pytest.fixture(scope="module")
def given(explainer: dict[str, Any]) -> argparse.Namespace:
    return build_parser().parse_args([*explainer["containers"][0]["args"], *KSERVE])


def test_kubernetes_takes_the_pod_and_the_config_map(
    documents: dict[str, dict[str, Any]], explainer: dict[str, Any]
) -> None:
    kubernetes_validate.validate(documents["ConfigMap"], KUBERNETES, strict=True)
    spec = {name: value for name, value in explainer.items() if name not in EXTENSIONS}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "explainer"}, "spec": spec}
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_arguments_are_those_of_our_command(given: argparse.Namespace) -> None:
    assert (given.model_name, given.predictor_host, given.port) == ("birds", PREDICTOR, 8080)
    assert (given.host, given.no_auth, given.predictor_protocol) == ("0.0.0.0", True, "v2")


def test_registry_tells_what_the_predictor_does_not(
    given: argparse.Namespace, documents: dict[str, dict[str, Any]], explainer: dict[str, Any], tmp_path: Path
) -> None:
    (mount,) = [item for item in explainer["containers"][0]["volumeMounts"] if item["name"] == "models"]
    assert str(given.models_file) == f"{mount['mountPath']}/models.yaml"
    file = tmp_path / "models.yaml"
    file.write_text(documents["ConfigMap"]["data"]["models.yaml"])
    spec, authority = build_predictor_spec(
        given.model_name,
        given.predictor_host,
        protocol=given.predictor_protocol,
        secure=False,
        models_file=file,
    )
    assert authority == f"{PREDICTOR}:80"
    assert spec.source == f"oip:http://{PREDICTOR}/v2/models/birds"
    assert spec.outputs == "logits"


def test_names_and_ports_agree(documents: dict[str, dict[str, Any]], explainer: dict[str, Any]) -> None:
    service = documents["InferenceService"]
    (entry,) = yaml.safe_load(documents["ConfigMap"]["data"]["models.yaml"])["models"]
    assert entry["name"] == service["metadata"]["name"]
    container = explainer["containers"][0]
    volumes = {volume["name"]: volume for volume in explainer["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert volumes["models"]["configMap"]["name"] == documents["ConfigMap"]["metadata"]["name"]
    assert container["ports"][0]["containerPort"] == container["readinessProbe"]["httpGet"]["port"] == 8080


def test_pod_has_room_where_the_image_writes(explainer: dict[str, Any], root: Path) -> None:
    dockerfile = (root / "Dockerfile").read_text()
    paths = {mount["mountPath"] for mount in explainer["containers"][0]["volumeMounts"]}
    (state,) = re.findall(r"^VOLUME (\S+)$", dockerfile, flags=re.MULTILINE)
    assert {state, "/dev/shm"} <= paths
    user = explainer["containers"][0]["securityContext"]["runAsUser"]
    assert f"USER {user}:{explainer['securityContext']['fsGroup']}\n" in dockerfile
