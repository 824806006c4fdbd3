"""The chart is well formed, and Kubernetes' own schemas accept what it renders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helm_python.chart import Chart, lint, package

KUBERNETES = "1.36"
CUSTOM = ("RayService", "PodMonitor")
INFO = 1


def test_helm_lint_is_strictly_clean_in_every_scenario(chart_path: Path, scenario: dict[str, Any]) -> None:
    report = lint(chart_path, scenario, strict=True)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > INFO] == []


def test_plain_objects_pass_kubernetes_schemas_strictly(objects: list[dict[str, Any]]) -> None:
    plain = [item for item in objects if item["kind"] not in CUSTOM]
    assert {item["kind"] for item in plain} == {
        "ConfigMap",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "ServiceAccount",
    }
    for item in plain:
        kubernetes_validate.validate(item, KUBERNETES, strict=True)


def test_pod_templates_pass_kubernetes_schemas_strictly(pods: dict[str, dict[str, Any]]) -> None:
    for name, template in pods.items():
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        pod["metadata"] = {**template["metadata"], "name": name}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_pod_monitor_exists_only_where_monitoring_is_enabled(
    objects: list[dict[str, Any]], scenario: dict[str, Any]
) -> None:
    kinds = [item["kind"] for item in objects]
    assert kinds.count("PodMonitor") == int(scenario["monitoring"]["enabled"])


def test_every_template_is_short_enough_to_read(chart_path: Path) -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in (chart_path / "templates").iterdir()}
    assert {name: lines for name, lines in lengths.items() if lines > 53} == {}


def test_package_holds_the_templates_and_no_scenarios(chart_path: Path, tmp_path: Path) -> None:
    archive = package(chart_path, destination=tmp_path)
    with Chart.load(archive) as chart:
        names = {entry["name"] for entry in chart.files} | {entry["name"] for entry in chart.templates}
        assert chart.schema is not None
    assert "templates/rayservice.yaml" in names
    assert not [name for name in names if name.startswith("ci/")]


@pytest.mark.parametrize("name", ["x" * 60, "wavescope", "team-a"])
def test_names_stay_within_what_kuberay_accepts(chart_path: Path, name: str, said: dict[str, Any]) -> None:
    with Chart.load(chart_path) as chart:
        rendered = chart.render(said, name=name, namespace="science")
    service = yaml.safe_load(rendered["wavescope/templates/rayservice.yaml"])
    assert len(service["metadata"]["name"]) <= 47


def test_notes_tell_how_to_come_in(chart_path: Path, said: dict[str, Any]) -> None:
    with Chart.load(chart_path) as chart:
        notes, open_notes = (
            next(text for path, text in chart.render(values).items() if path.endswith("NOTES.txt"))
            for values in (said, {**said, "keysSecret": {"name": ""}, "noAuth": True})
        )
    assert "wavescope keys new NAME" in notes
    assert "wavescope-keys" in notes
    assert "Authorization: Bearer" in notes
    assert "Whoever reaches ports 8000 and 9000 is served" in open_notes
    assert "Authorization" not in open_notes


def test_notes_warn_where_rays_ports_are_open(chart_path: Path, said: dict[str, Any]) -> None:
    with Chart.load(chart_path) as chart:
        closed, opened = (
            next(text for path, text in chart.render(values).items() if path.endswith("NOTES.txt"))
            for values in (said, {**said, "networkPolicy": {"enabled": False}})
        )
    assert "Ray's own ports are open" in opened
    assert "Ray's own ports" not in closed
