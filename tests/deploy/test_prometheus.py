"""Prometheus reads the scrape configuration and the rules, and the rules do what their tests say."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from wavescope.ingress.problems import TABLE
from wavescope.store.protocols import FINAL
from wavescope.telemetry.metrics import METRICS


def promtool(tool: Callable[[str], str], *arguments: str | Path) -> None:
    done = subprocess.run(
        [tool("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def rules(root: Path) -> list[dict[str, Any]]:
    document = yaml.safe_load((root / "deploy/prometheus/rules.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def test_promtool_accepts_the_configuration_and_its_rules(tool: Callable[[str], str], root: Path) -> None:
    promtool(tool, "check", "config", root / "deploy/prometheus/prometheus.yml")


def test_rules_hold_what_their_unit_tests_say(tool: Callable[[str], str], root: Path) -> None:
    promtool(tool, "test", "rules", root / "deploy/prometheus/tests/rules_test.yml")


def test_unit_tests_of_rules_compare_rounded_figures(root: Path) -> None:
    """Prometheus adds up series in any order: 0.2 is 0.19999999999999998 in one run of two."""
    document = yaml.safe_load((root / "deploy/prometheus/tests/rules_test.yml").read_text())
    expressions = [case["expr"] for test in document["tests"] for case in test.get("promql_expr_test", [])]
    assert expressions
    assert [expression for expression in expressions if not expression.startswith("round(")] == []


def test_every_alert_has_a_unit_test(root: Path, rules: list[dict[str, Any]]) -> None:
    document = yaml.safe_load((root / "deploy/prometheus/tests/rules_test.yml").read_text())
    fired = {
        case["alertname"]
        for test in document["tests"]
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
    known = {"state": {*FINAL}, "outcome": {"scored", "retried", "recalled", "hit", "miss"}, "code": {*TABLE}}
    for name in ("prometheus/rules.yml", "grafana/wavescope.json"):
        text = (root / "deploy" / name).read_text().replace('\\"', '"')
        for label, values in re.findall(r'\b(state|outcome|code)=~?"([a-z_|]+)"', text):
            assert set(values.split("|")) <= known[label], f"{name}: {label}"
