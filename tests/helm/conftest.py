"""Renders the chart with Helm's own engine, once per scenario of ``helm/wavescope/ci``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python.chart import Chart

CHART = Path(__file__).parents[2] / "helm" / "wavescope"
SCENARIOS = sorted((CHART / "ci").glob("*-values.yaml"))

# What the chart asks for outright.
SAID: dict[str, Any] = yaml.safe_load((CHART / "ci" / "default-values.yaml").read_text())

Objects = list[dict[str, Any]]
Render = Callable[[dict[str, Any]], Objects]


def render_chart(values: dict[str, Any]) -> Objects:
    """Every Kubernetes object of the chart under ``values``, as release ``demo`` in namespace ``science``."""
    with Chart.load(CHART) as chart:
        chart.validate_schema(values)
        manifests = chart.render(values, name="demo", namespace="science")
    texts = (text for path, text in sorted(manifests.items()) if path.endswith(".yaml"))
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


@pytest.fixture(scope="session")
def chart_path() -> Path:
    return CHART


@pytest.fixture(scope="session")
def said() -> dict[str, Any]:
    """The values without which nothing is rendered."""
    return SAID


@pytest.fixture(scope="session")
def render() -> Render:
    """Renders the chart with values over those that it asks for outright."""
    return lambda values: render_chart({**SAID, **values})


@pytest.fixture(scope="session", params=SCENARIOS, ids=lambda path: path.name.removesuffix("-values.yaml"))
def scenario(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The values of one scenario, over the chart's defaults as Helm merges them."""
    values: dict[str, Any] = yaml.safe_load(request.param.read_text())
    with Chart.load(CHART) as chart:
        return chart.merge_values(values)


@pytest.fixture(scope="session")
def objects(scenario: dict[str, Any]) -> Objects:
    return render_chart(scenario)


@pytest.fixture(scope="session")
def rayservice(objects: Objects) -> dict[str, Any]:
    (found,) = [item for item in objects if item["kind"] == "RayService"]
    return found


@pytest.fixture(scope="session")
def serve_config(rayservice: dict[str, Any]) -> dict[str, Any]:
    return yaml.safe_load(rayservice["spec"]["serveConfigV2"])


@pytest.fixture(scope="session")
def pods(rayservice: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Pod templates by group; the head's group is ``head``."""
    cluster = rayservice["spec"]["rayClusterConfig"]
    workers = {group["groupName"]: group["template"] for group in cluster["workerGroupSpecs"]}
    return {"head": cluster["headGroupSpec"]["template"], **workers}
