"""Prometheus reads the scrape configuration and the rules, and the rules do what their tests say."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from wavescope.engine.monitors.observation import OUTCOMES
from wavescope.ingress.problems import TABLE
from wavescope.store.protocols import FINAL
from wavescope.telemetry.metrics import METRICS
from wavescope.telemetry.monitors import EVENTS, STATES


def promtool(tool: Callable[[str], str], *arguments: str | Path) -> None:
    done = subprocess.run(
        [tool("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def rules(root: Path) -> list[dict[str, Any]]:
    document = yaml.safe_load((root / "deploy/prometheus/rules.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def unit_tests(root: Path) -> list[Path]:
    return sorted((root / "deploy/prometheus/tests").glob("*.yml"))


def cases_of(root: Path) -> list[dict[str, Any]]:
    return [test for path in unit_tests(root) for test in yaml.safe_load(path.read_text())["tests"]]


def test_promtool_accepts_the_configuration_and_its_rules(tool: Callable[[str], str], root: Path) -> None:
    promtool(tool, "check", "config", root / "deploy/prometheus/prometheus.yml")


def test_rules_hold_what_their_unit_tests_say(tool: Callable[[str], str], root: Path) -> None:
    promtool(tool, "test", "rules", *unit_tests(root))


def test_unit_tests_of_rules_compare_rounded_figures(root: Path) -> None:
    """Prometheus adds up series in any order: 0.2 is 0.19999999999999998 in one run of two."""
    expressions = [case["expr"] for test in cases_of(root) for case in test.get("promql_expr_test", [])]
    assert expressions
    assert [expression for expression in expressions if not expression.startswith("round(")] == []


def test_every_alert_has_a_unit_test(root: Path, rules: list[dict[str, Any]]) -> None:
    fired = {
        case["alertname"]
        for test in cases_of(root)
        for case in test.get("alert_rule_test", [])
        if case["exp_alerts"]
    }
    assert fired == {rule["alert"] for rule in rules if "alert" in rule}


def test_rules_read_declared_metrics_only(rules: list[dict[str, Any]]) -> None:
    known = {rule["record"] for rule in rules if "record" in rule}
    for metric in METRICS:
        suffixes = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        known |= {metric.name + suffix for suffix in suffixes}
    read: set[str] = set()

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector) and node.name:
            read.add(node.name)
        return True

    for rule in rules:
        promql_parser.walk(promql_parser.parse(rule["expr"]), visit)
    assert read <= known


def test_faults_are_the_codes_that_answer_5xx(root: Path) -> None:
    codes = "|".join(sorted(code for code, (status, _) in TABLE.items() if status >= 500))
    for name in ("prometheus/rules.yml", "grafana/wavescope.json"):
        text = (root / "deploy" / name).read_text().replace('\\"', '"')
        assert f'code=~"{codes}"' in text


def test_refusals_are_the_codes_that_answer_429(root: Path) -> None:
    codes = "|".join(sorted(code for code, (status, _) in TABLE.items() if status == 429))
    assert f'code=~"{codes}"' in (root / "deploy/prometheus/rules.yml").read_text()


def test_rules_and_dashboard_name_values_that_labels_have(root: Path) -> None:
    """States, outcomes and codes are strings to Prometheus: a wrong one is never complained of."""
    known = {
        "state": {*FINAL, *STATES},
        "outcome": {"scored", "retried", "recalled", "hit", "miss", *EVENTS, *OUTCOMES},
        "code": {*TABLE},
    }
    for name in ("prometheus/rules.yml", "grafana/wavescope.json"):
        text = (root / "deploy" / name).read_text().replace('\\"', '"')
        for label, values in re.findall(r'\b(state|outcome|code)(?:=~?|!=)"([a-z_|]+)"', text):
            assert set(values.split("|")) <= known[label], f"{name}: {label}"


def test_every_alert_leads_to_its_runbook_and_every_runbook_is_of_an_alert(
    root: Path, rules: list[dict[str, Any]]
) -> None:
    page = (root / "docs/runbooks.md").read_text("utf-8")
    books = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, flags=re.MULTILINE | re.DOTALL))
    alerts = {rule["alert"]: rule["annotations"] for rule in rules if "alert" in rule}
    assert list(books) == list(alerts), "in the order of the rules"
    for name, notes in alerts.items():
        assert notes["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
        assert re.findall(r"^\*\*(.+?):\*\*", books[name], flags=re.MULTILINE) == ["Means", "Look at", "Do"]


def test_every_alert_is_in_the_table_of_the_page_on_deployment(
    root: Path, rules: list[dict[str, Any]]
) -> None:
    page = (root / "docs/deploy.md").read_text("utf-8")
    listed = re.findall(r"^\| `(Wavescope\w+)` \|", page, flags=re.MULTILINE)
    assert listed == [rule["alert"] for rule in rules if "alert" in rule]


def test_an_alarm_of_a_monitor_waits_for_nothing_and_no_rule_takes_a_rate_of_evidence(
    rules: list[dict[str, Any]],
) -> None:
    (alarm,) = [rule for rule in rules if rule.get("alert") == "WavescopeMonitorAlarm"]
    assert "for" not in alarm
    assert not [rule["expr"] for rule in rules if "monitor_evidence" in rule["expr"]]


def test_panels_that_runbooks_name_exist(root: Path) -> None:
    page = (root / "docs/runbooks.md").read_text("utf-8")
    titles = {
        panel["title"] for panel in json.loads((root / "deploy/grafana/wavescope.json").read_text())["panels"]
    }
    named = {" ".join(name.split()) for name in re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", page)} - {"Targets"}
    assert named
    assert named <= titles


def test_amtool_accepts_the_configuration_of_the_alertmanager(tool: Callable[[str], str], root: Path) -> None:
    done = subprocess.run(
        [tool("amtool"), "check-config", str(root / "deploy/prometheus/alertmanager.yml")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
