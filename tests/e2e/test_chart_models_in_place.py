"""The chart's serve config on a real Ray: models come, change and go, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from ray import serve
from ray.serve import context
from ray.serve.config import HTTPOptions, gRPCOptions
from ray.serve.schema import ServeDeploySchema
from skimage import data
from tests.cluster.service import SMALL, body, eventually, png
from tests.fakes.onnx_models import OnnxToy
from tests.helm.conftest import SAID, render_chart
from tests.ports import free_port

from wavescope.engine.types import Preprocessing
from wavescope.serving import names, proxy
from wavescope.serving.command import run

Deploy = Callable[[list[dict[str, Any]]], None]

PREPROCESSING = Preprocessing(size=(32, 32), resize=32, mean=(0.5,) * 3, std=(0.25,) * 3)
REQUEST = body(png(data.chelsea()), **SMALL, plan="full", seed=5)


def toy(folder: Path, name: str, seed: int) -> dict[str, Any]:
    """An entry of the registry; another seed is another file."""
    file = OnnxToy(f"toy-{seed}", PREPROCESSING, seed).write(folder).reference
    return {
        "name": name,
        "source": f"onnx:{file}",
        "outputs": "logits",
        "device": "cpu",
        "num_cpus": 0.1,
        "preprocessing": {"size": 32, "resize": 32, "mean": [0.5] * 3, "std": [0.25] * 3},
    }


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that pods mount, which follows its ConfigMap in its own time."""
    return tmp_path_factory.mktemp("etc") / "models.yaml"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Ray with the variables of the chart's pods; the address of its HTTP proxy."""
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAVESCOPE_NO_AUTH", "true")
        patch.setenv("WAVESCOPE_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        with run.cluster(num_cpus=4):
            http = HTTPOptions(host="127.0.0.1", port=port)
            grpc = gRPCOptions(port=free_port(), grpc_servicer_functions=list(proxy.SERVICERS))
            serve.start(http_options=http, grpc_options=grpc)
            yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def deploy(cluster: str, registry: Path) -> Deploy:
    """What KubeRay does with the RayService of these models."""

    def deploy(models: list[dict[str, Any]]) -> None:
        values = {"models": models, "gateway": {"maxReplicasPerNode": 2}, "settings": {"models_poll_s": 0.2}}
        (service,) = [item for item in render_chart({**SAID, **values}) if item["kind"] == "RayService"]
        text = service["spec"]["serveConfigV2"].replace("/etc/wavescope/models.yaml", str(registry))
        config = yaml.safe_load(text)
        for where in ("proxy_location", "http_options", "grpc_options"):
            del config[where]  # they bind all interfaces
        context._get_global_client().deploy_apps(ServeDeploySchema.model_validate(config))

    return deploy


def replicas() -> dict[str, set[int]]:
    """Process ids of the replicas, by application and deployment."""
    applications = context._get_global_client().get_serve_details()["applications"]
    return {
        f"{application}/{deployment}": {replica["pid"] for replica in told["replicas"]}
        for application, details in applications.items()
        for deployment, told in details["deployments"].items()
    }


def running(*models: str) -> bool:
    applications = serve.status().applications
    wanted = {names.APPLICATION, *map(names.model_application, models)}
    return set(applications) == wanted and all(app.status == "RUNNING" for app in applications.values())


def total(url: str, model: str) -> list[float] | None:
    """The indices that the service gives; ``None`` where it cannot."""
    reply = httpx.post(f"{url}/v1/explanations", json=REQUEST | {"model": model}, timeout=60)
    return reply.json()["indices"]["total"] if reply.status_code == 200 else None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_models_come_change_and_go_in_place(
    cluster: str, deploy: Deploy, registry: Path, tmp_path: Path
) -> None:
    first, second = toy(tmp_path, "first", 0), toy(tmp_path, "second", 1)
    registry.write_text(yaml.safe_dump({"models": [first, second]}))
    deploy([first, second])
    eventually(lambda: running("first", "second"), "both models run")
    before, processes = {name: total(cluster, name) for name in ("first", "second")}, replicas()
    assert None not in before.values()
    assert before["first"] != before["second"]

    changed = {**second, "source": toy(tmp_path, "second", 2)["source"]}
    deploy([first, changed])  # and the mounted file is still the old one
    eventually(lambda: total(cluster, "second") not in (None, before["second"]), "the new weights score")
    eventually(lambda: running("first", "second"), "the old replica is gone")
    after = replicas()
    assert {name for name in after if after[name] != processes[name]} == {"model-second/ModelReplica"}
    assert total(cluster, "first") == before["first"]

    third = toy(tmp_path, "third", 3) | {"min_replicas": 0}
    registry.write_text(yaml.safe_dump({"models": [first, third]}))
    deploy([first, third])
    eventually(lambda: running("first", "third"), "one model came and one went")
    eventually(lambda: total(cluster, "third") is not None, "a model that slept answers")
    assert total(cluster, "second") is None
    assert total(cluster, "first") == before["first"]
    same = {name: pids for name, pids in replicas().items() if not name.startswith("model-third/")}
    assert same == {name: after[name] for name in same}
    assert len(same) == len(names.DEPLOYMENTS) + 1
