"""docs/protocols.md and docs/architecture.md say what the code does: errors, addresses, RPCs, metrics, layers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

from wavescope._version import __version__
from wavescope.ingress.openapi.document import document
from wavescope.ingress.problems import TABLE
from wavescope.serving.names import DEPLOYMENTS, MODEL_REPLICA
from wavescope.telemetry.metrics import KSERVE_EXPLAIN, METRICS
from wavescope_proto.v1 import explanation_pb2

ROOT = Path(__file__).resolve().parents[2]
PROTOCOLS = (ROOT / "docs" / "protocols.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
NEVER_TOLD = {
    "error",
    "registry_invalid",
    "start_failed",
}  # the base class, and what stops the service from starting
LAYERED = ("CONTRIBUTING.md", "docs/architecture.md")


def rows_below(text: str, heading: str) -> list[list[str]]:
    """The cells of the table whose heading row is given, without its ruling."""
    table = text[text.index(f"\n{heading}\n") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip().strip("`") for cell in row.split("|")[1:-1]] for row in table[2:]]


def test_every_error_stands_there_with_its_statuses() -> None:
    told = {
        code: (status, grpc) for code, status, grpc, _ in rows_below(PROTOCOLS, "| `code` | HTTP | gRPC | |")
    }
    assert told == {
        code: (str(status), grpc.name) for code, (status, grpc) in TABLE.items() if code not in NEVER_TOLD
    }


def test_every_rpc_stands_there() -> None:
    (service,) = explanation_pb2.DESCRIPTOR.services_by_name.values()
    told = {name for cells in rows_below(PROTOCOLS, "| RPC | as |") for name in re.findall(r"\w+", cells[0])}
    assert told == set(service.methods_by_name)


def test_every_deployment_and_metric_stands_there() -> None:
    deployments = [cells[0] for cells in rows_below(ARCHITECTURE, "| deployment | does |")]
    assert sorted(deployments) == sorted((*DEPLOYMENTS, MODEL_REPLICA))
    metrics = rows_below(ARCHITECTURE, "| metric, `wavescope_…` | labels | |")
    told = {
        name if name == KSERVE_EXPLAIN.name else f"wavescope_{name}": tuple(re.findall(r"\w+", labels))
        for name, labels, _ in metrics
    }
    assert told == {metric.name: metric.labels for metric in METRICS}


def test_the_layers_are_those_that_are_held() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    held = [layer.replace(" ", "") for layer in contracts[0]["layers"]]
    for name in LAYERED:
        (line,) = re.findall(r"^    (cli > .+)$", (ROOT / name).read_text("utf-8"), flags=re.MULTILINE)
        assert line.replace(" ", "").split(">") == held, name


def test_every_address_stands_there() -> None:
    described = {
        (method.upper(), path.replace("{name}", "{m}"))
        for path, item in document()["paths"].items()
        for method in item.keys() - {"parameters"}
        if not path.startswith(("/v2", "/docs")) and path not in ("/", "/livez", "/readyz")
    }
    told = {tuple(span.split(" ", 1)) for span in re.findall(r"`([A-Z]+ /[^`]*)`", PROTOCOLS) if " " in span}
    told |= {("POST", f"/v1/models/{{m}}:{verb}") for verb in ("predict", "explain")}
    assert {address for address in described if address not in told} <= {("GET", "/openapi.json")}


def test_everything_that_states_the_version_states_this_one() -> None:
    chart = yaml.safe_load((ROOT / "helm" / "wavescope" / "Chart.yaml").read_text("utf-8"))
    stated = {
        "CITATION.cff": yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"],
        "chart": chart["version"],
        "application of the chart": chart["appVersion"],
    }
    for package in ("clients/python", "clients/proto"):
        project = tomllib.loads((ROOT / package / "pyproject.toml").read_text("utf-8"))["project"]
        stated[package] = project["version"]
    assert stated == dict.fromkeys(stated, __version__)


def test_the_changelog_begins_with_what_is_unreleased_and_then_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d", headings[1])
    sections = set(re.findall(r"^### (.+)$", text, flags=re.MULTILINE))
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
