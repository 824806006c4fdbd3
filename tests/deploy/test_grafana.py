"""The dashboard asks for metrics that exist, by labels they have, and a real Prometheus answers every panel."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from tests.polling import DEADLINE_S

from wavescope.telemetry.metrics import METRICS, RESULTS, Metric

TARGET_LABELS = {"job", "instance"}
START_S, STEP_S, SAMPLES = 1_700_000_000, 10, 120
READY = "Server is ready to receive web requests"


@pytest.fixture(scope="module")
def dashboard(root: Path) -> dict[str, Any]:
    return json.loads((root / "deploy/grafana/wavescope.json").read_text())


def expressions(dashboard: dict[str, Any]) -> dict[str, str]:
    """Every query by panel and letter or annotation, with Grafana's variables as for "All"."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])  # a row has none
    }
    found |= {annotation["name"]: annotation["expr"] for annotation in dashboard["annotations"]["list"]}
    return {name: in_full(expr) for name, expr in found.items()}


def in_full(expr: str) -> str:
    """A query without Grafana's variables."""
    for variable in ("$job", "$model", "$monitor"):
        expr = expr.replace(variable, ".*")
    return expr.replace("$__rate_interval", "1m").replace("$__interval", "1m")


def labels_by_series() -> dict[str, set[str]]:
    """Labels of every series that the declared metrics expose."""
    series: dict[str, set[str]] = {}
    for metric in METRICS:
        own = TARGET_LABELS | set(metric.labels)
        if metric.kind == "histogram":
            series[f"{metric.name}_bucket"] = own | {"le"}
            series[f"{metric.name}_sum"] = series[f"{metric.name}_count"] = own
        else:
            series[metric.name] = own
    return series


def test_queries_read_declared_metrics_by_labels_they_have(dashboard: dict[str, Any]) -> None:
    known = labels_by_series()
    for name, expr in expressions(dashboard).items():
        read: set[str] = set()
        used: set[str] = set()

        def visit(node: promql_parser.Expr, read: set[str] = read, used: set[str] = used) -> bool:
            if isinstance(node, promql_parser.VectorSelector):
                read.add(node.name or "")
                used.update(matcher.name for matcher in node.matchers.matchers)
            if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
                used.update(node.modifier.labels)
            return True

        promql_parser.walk(promql_parser.parse(expr), visit)
        assert read, name
        for series in read:
            assert series in known, f"{name} reads {series}"
            assert used <= known[series], f"{name}: {series} has no {used - known[series]}"


def test_every_declared_metric_is_shown(dashboard: dict[str, Any]) -> None:
    text = " ".join(expressions(dashboard).values())
    assert [metric.name for metric in METRICS if metric.name not in text] == []


def test_panels_are_titled_apart_and_do_not_overlap(dashboard: dict[str, Any]) -> None:
    titles = [panel["title"] for panel in dashboard["panels"]]
    assert len(set(titles)) == len(titles)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        grid = panel["gridPos"]
        cells = {(grid["x"] + dx, grid["y"] + dy) for dx in range(grid["w"]) for dy in range(grid["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_an_alarm_of_a_monitor_is_an_annotation(dashboard: dict[str, Any]) -> None:
    (annotation,) = dashboard["annotations"]["list"]
    assert "changes(wavescope_monitor_alarms_total" in annotation["expr"]
    assert "[$__interval]" in annotation["expr"]
    assert annotation["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_variables_and_data_source_are_provisioned(dashboard: dict[str, Any], root: Path) -> None:
    variables = {item["name"]: item for item in dashboard["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "model", "monitor"]
    for name in ("job", "model", "monitor"):
        series = variables[name]["query"]["query"].removeprefix("label_values(").split(",")[0]
        assert name in labels_by_series()[series]
    folder = root / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
    assert source["type"] == variables["datasource"]["query"]
    (provider,) = yaml.safe_load((folder / "dashboards/wavescope.yaml").read_text())["providers"]
    compose = (root / "deploy/compose.yaml").read_text()
    assert f"./grafana/wavescope.json:{provider['options']['path']}/wavescope.json:ro" in compose


def label_values(metric: Metric, model: str) -> str:
    """A label set of ``metric`` that the dashboard's matchers find."""
    values = {
        "kind": "wcam",
        "model": model,
        "protocol": "http",
        "code": "internal",
        "outcome": "hit" if metric == RESULTS else "scored",
        "deployment": "ModelReplica",
        "reason": "queue_full",
        "state": "alarm" if "monitor" in metric.labels else "succeeded",
        "monitor": "birds",
        "signal": "reliance",
        "scale": "1-2px",
        "stage": "score",
        "model_name": model,
    }
    pairs = {"job": "wavescope", "instance": "a:8000"} | {name: values[name] for name in metric.labels}
    return ",".join(f'{name}="{value}"' for name, value in pairs.items())


def open_metrics() -> str:
    """Twenty minutes of every declared metric in OpenMetrics text; counters grow by one per sample."""
    lines = []
    for metric in METRICS:
        labels = label_values(metric, "m")
        name = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
        lines.append(f"# TYPE {name} {metric.kind}")
        for index in range(SAMPLES):
            at_s = START_S + index * STEP_S
            if metric.kind == "histogram":
                values = f"{index} {at_s}"
                bounds = (*metric.buckets, "+Inf")
                lines += [f'{name}_bucket{{{labels},le="{bound}"}} {values}' for bound in bounds]
                lines += [f"{name}_count{{{labels}}} {values}", f"{name}_sum{{{labels}}} {values}"]
            else:
                lines.append(f"{metric.name}{{{labels}}} {index} {at_s}")
    return "\n".join([*lines, "# EOF", ""])


@contextmanager
def prometheus(executable: str, configuration: Path, data: Path) -> Iterator[str]:
    """A Prometheus over ``data`` on a free port of loopback; gives its address once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [
        executable,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address={address}",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            log = []
            for line in process.stderr:
                log.append(line)
                if READY in line:
                    break
            else:
                pytest.fail("".join(log))
            yield f"http://{address}"
        finally:
            process.terminate()
            process.communicate(timeout=DEADLINE_S)


@pytest.mark.timeout(120)
def test_every_panel_shows_something_on_a_real_prometheus(
    tool: Callable[[str], str], dashboard: dict[str, Any], tmp_path: Path
) -> None:
    promtool, executable = tool("promtool"), tool("prometheus")
    source, data = tmp_path / "metrics.txt", tmp_path / "data"
    source.write_text(open_metrics())
    build = [promtool, "tsdb", "create-blocks-from", "openmetrics", str(source), str(data)]
    subprocess.run(build, check=True, capture_output=True, timeout=DEADLINE_S)
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text("{}")
    with prometheus(executable, configuration, data) as address:
        for name, expr in expressions(dashboard).items():
            query = urllib.parse.urlencode({"query": expr, "time": START_S + (SAMPLES - 1) * STEP_S})
            with urllib.request.urlopen(f"{address}/api/v1/query?{query}", timeout=DEADLINE_S) as reply:
                answer = json.load(reply)
            assert answer["status"] == "success", name
            assert answer["data"]["result"], f"{name} shows nothing: {expr}"
