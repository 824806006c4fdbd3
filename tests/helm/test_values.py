"""Values that cannot work are refused before anything is applied, and the message says which and why."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from helm_python.chart import Chart
from helm_python.errors import HelmRenderError, HelmValuesError

from wavescope.engine.types import Preprocessing
from wavescope.models import spec
from wavescope.models.layouts import LAYOUTS
from wavescope.models.remote.options import RemoteOptions, Tls
from wavescope.models.sources import SOURCES, SourceKind
from wavescope.models.spec import ModelSpec
from wavescope.settings import Settings

MODEL = {"name": "a", "source": "torchvision:resnet50"}
STORE = {"urlSecret": {"name": "store"}}
DECLARED = {"outputs": "logits", "preprocessing": {"size": 32}}
REMOTE = {"name": "a", "source": "oip:http://models.example/v2/models/a", **DECLARED}
ONNX = {"name": "a", "source": "onnx:/a.onnx", **DECLARED}
WORKER = {"minReplicas": 1, "maxReplicas": 1, "cpu": 4, "memory": "8Gi"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gateway": {"replicas": 1}}, "at '/gateway/replicas': minimum: got 1, want 2"),
        ({"gatewey": {}}, "additional properties 'gatewey' not allowed"),
        ({"models": []}, "at '/models': minItems: got 0, want 1"),
        ({"models": [{"name": "a"}]}, "at '/models/0': missing property 'source'"),
        ({"models": [{**MODEL, "name": "A b"}]}, "at '/models/0/name'"),
        ({"models": [{**MODEL, "source": "resnet50"}]}, "at '/models/0/source'"),
        ({"models": [{**MODEL, "outputs": "softmax"}]}, "at '/models/0/outputs'"),
        ({"models": [{**MODEL, "device": "gpu"}]}, "at '/models/0/device'"),
        ({"models": [{**MODEL, "num_gpu": 1}]}, "additional properties 'num_gpu' not allowed"),
        ({"models": [{**MODEL, "sha256": "abc"}]}, "at '/models/0/sha256'"),
        (
            {"models": [{"name": "a", "source": "onnx:/a.onnx", "outputs": "logits"}]},
            "missing property 'preprocessing'",
        ),
        (
            {"models": [{"name": "a", "source": "torch-export:/a.pt2", **DECLARED}]},
            "missing property 'sha256'",
        ),
        ({"models": [{"name": "a", "source": "oip:http://a/v2/models/a"}]}, "missing properties"),
        ({"models": [{**MODEL, "remote": {"attempts": 2}}]}, "at '/models/0'"),
        ({"models": [{**REMOTE, "remote": {"retries": 2}}]}, "additional properties 'retries' not allowed"),
        ({"models": [{**REMOTE, "sha256": "a" * 64}]}, "at '/models/0'"),
        ({"models": [{**ONNX, "input_layout": "hwc"}]}, "at '/models/0/input_layout'"),
        ({"models": [{**ONNX, "labels": ["wren", False]}]}, "at '/models/0/labels"),
        ({"models": [{**ONNX, "labels": {}}]}, "at '/models/0/labels"),
        ({"models": [{**REMOTE, "input_layout": "nhwc"}]}, "at '/models/0"),
        ({"models": [{**MODEL, "output": "logits"}]}, "at '/models/0"),
        ({"models": [{**MODEL, "min_replicas": -1}]}, "at '/models/0/min_replicas'"),
        ({"workers": {"cpu": {"memory": 8}}}, "at '/workers/cpu/memory': got number, want string"),
        ({"workers": {"gpu": {"gpu": 1}}}, "missing properties"),
        ({"settings": {"max_forward": 1}}, "at '/settings': additional properties 'max_forward' not allowed"),
        ({"settings": {"max_forwards": "many"}}, "at '/settings/max_forwards': got string, want integer"),
        ({"settings": {"surge_percent": 101}}, "at '/settings/surge_percent': maximum: got 101, want 100"),
        ({"settings": {"remote_hosts": "a.example"}}, "at '/settings/remote_hosts': got string, want array"),
        ({"settings": {"remote_hosts": ["a.example,b.example"]}}, "at '/settings/remote_hosts/0'"),
        ({"settings": {"max_body_bytes": 2**29}}, "at '/settings/max_body_bytes': maximum"),
        ({"store": {"url": "redis://:password@redis:6379/1"}}, "at '/store/url'"),
        ({"store": {"url": "postgres://db/1"}}, "at '/store/url'"),
        ({"keysSecret": {"keys": []}}, "additional properties 'keys' not allowed"),
        ({"admissionDesk": {"numCpus": 0}}, "at '/admissionDesk/numCpus'"),
        ({"auth": {"mode": "none"}}, "at '/auth/mode'"),
        ({"http": {"port": 80}}, "at '/http/port': minimum: got 80, want 1,024"),
        ({"http": {"port": 12000}}, "at '/http/port'"),
        ({"redis": {"address": "redis"}}, "at '/redis/address'"),
        ({"upgradeStrategy": "Rolling"}, "at '/upgradeStrategy'"),
        ({"podSecurityContext": {"runAsNonRoot": False}}, "at '/podSecurityContext/runAsNonRoot'"),
        ({"securityContext": {"privileged": True}}, "at '/securityContext/privileged'"),
        ({"extraEnv": [{"name": "RAY_AUTH_MODE", "value": "x"}]}, "at '/extraEnv/0/name'"),
        ({"extraEnv": [{"name": "WAVESCOPE_NO_AUTH", "value": "true"}]}, "at '/extraEnv/0/name'"),
        ({"monitoring": {"interval": "often"}}, "at '/monitoring/interval'"),
        ({"objectStoreBytes": 1000}, "at '/objectStoreBytes'"),
    ],
)
def test_schema_refuses(chart_path: Path, values: dict[str, Any], message: str) -> None:
    with Chart.load(chart_path) as chart, pytest.raises(HelmValuesError) as raised:
        chart.validate_schema(chart.merge_values(values))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"models": [MODEL, MODEL]}, 'models: the name "a" is given twice'),
        ({"models": [{**MODEL, "num_gpus": 1}]}, '"a" wants 1 GPUs, and no worker group has a gpu'),
        ({"models": [{**MODEL, "device": "cuda"}]}, '"a" wants 1 GPUs, and no worker group has a gpu'),
        ({"models": [{**MODEL, "num_cpus": 8}]}, '"a" wants num_cpus 8, and the largest worker has 4'),
        (
            {"models": [{**MODEL, "min_replicas": 2, "max_replicas": 1}]},
            '"a": min_replicas 2 is over max_replicas',
        ),
        ({"models": [REMOTE]}, '"a" is served elsewhere, and settings.remote_hosts lists no host'),
        (
            {"workers": {"cpu": {**WORKER, "minReplicas": 2}}},
            "workers.cpu: minReplicas 2 is over maxReplicas 1",
        ),
        ({"gateway": {"replicas": 5}}, "gateway.replicas 5 cannot be placed: 4 workers at most"),
        ({"noAuth": True}, "keysSecret.name and noAuth: true contradict each other"),
        ({"store": {**STORE, "url": "redis://r:6379/1"}}, "store.url and store.urlSecret.name contradict"),
        (
            {"settings": {"metrics_need_key": True}, "monitoring": {"enabled": True}},
            "Prometheus needs a key too, in monitoring.keySecret.name",
        ),
        (
            {"settings": {"metrics_need_key": True}, "keysSecret": {"name": ""}, "noAuth": True},
            "there are no keys",
        ),
    ],
)
def test_template_refuses_what_a_schema_cannot_say(
    chart_path: Path, said: dict[str, Any], values: dict[str, Any], message: str
) -> None:
    assert message in refusal(chart_path, {**said, **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "who may call? Name a Secret with API keys in keysSecret.name"),
        ({"store": STORE}, "or set noAuth: true to serve whoever reaches the service"),
        ({"noAuth": True}, "where are jobs kept? Gateways on different nodes need one Redis"),
        ({"keysSecret": {"name": "k"}}, "store.urlSecret.name, or set store.url"),
    ],
)
def test_callers_and_store_have_no_default(chart_path: Path, values: dict[str, Any], message: str) -> None:
    assert message in refusal(chart_path, values)


def refusal(chart_path: Path, values: dict[str, Any]) -> str:
    """What the templates say against values that the schema accepts."""
    with Chart.load(chart_path) as chart:
        chart.validate_schema(chart.merge_values(values))
        with pytest.raises(HelmRenderError) as raised:
            chart.render(values)
    return str(raised.value)


@pytest.mark.parametrize(
    "values",
    [
        {"models": [{**MODEL, "num_gpus": 0.5}], "workers": {"gpu": {**WORKER, "gpu": 1}}},
        {"models": [{**MODEL, "min_replicas": 0}]},
        {"models": [{**ONNX, "input_layout": "nhwc", "output": "logits"}]},
        {"models": [{**ONNX, "labels": {"0": "wren", "1": "robin"}}]},
        {"models": [{**MODEL, "min_replicas": 3}]},
        {"models": [REMOTE], "settings": {"remote_hosts": ["models.example"]}},
        {"store": {"url": "rediss://redis.example:6380/3"}},
    ],
)
def test_chart_takes(chart_path: Path, said: dict[str, Any], values: dict[str, Any]) -> None:
    given = {"keysSecret": said["keysSecret"], "store": STORE, **values}
    with Chart.load(chart_path) as chart:
        chart.validate_schema(chart.merge_values(given))
        assert chart.render(given)


def test_every_default_is_declared_in_the_schema(chart_path: Path) -> None:
    schema = json.loads((chart_path / "values.schema.json").read_text())
    with Chart.load(chart_path) as chart:
        assert set(chart.values) <= set(schema["properties"])
        chart.validate_schema({})


def test_models_take_the_keys_and_choices_of_the_registry(chart_path: Path) -> None:
    schema = json.loads((chart_path / "values.schema.json").read_text())
    definitions = schema["definitions"]
    model, preprocessing = definitions["model"]["properties"], definitions["preprocessing"]["properties"]
    assert set(model) == {field.name for field in fields(ModelSpec)}
    assert set(preprocessing) == {field.name for field in fields(Preprocessing)}
    assert set(model["outputs"]["enum"]) == set(spec.OUTPUTS)
    assert set(model["precision"]["enum"]) == set(spec.PRECISIONS)
    assert set(preprocessing["interpolation"]["enum"]) == set(spec.INTERPOLATIONS)
    remote = definitions["remote"]["properties"]
    assert set(remote) == {field.name for field in fields(RemoteOptions)}
    assert set(remote["input_layout"]["enum"]) == set(model["input_layout"]["enum"]) == set(LAYOUTS)
    assert set(remote["tls"]["properties"]) == {field.name for field in fields(Tls)}


def test_models_take_the_sources_of_the_registry(chart_path: Path) -> None:
    """By the records of the kinds of sources: what each has to declare, and what it may not."""
    model = json.loads((chart_path / "values.schema.json").read_text())["definitions"]["model"]
    kinds = list(SOURCES.values())

    def beginning(chosen: Callable[[SourceKind], bool]) -> str:
        return f"^({'|'.join(kind.name for kind in kinds if chosen(kind))}):"

    source = model["properties"]["source"]
    assert source["pattern"] == beginning(lambda kind: True) + ".+$"
    listed = [f"{kind.name}:{kind.reference}" for kind in kinds]
    assert source["description"] == f"{', '.join(listed[:-1])} or {listed[-1]}"
    declared, digest, remote, layout, output = (
        rule["if"]["properties"]["source"]["pattern"] for rule in model["allOf"]
    )
    assert declared == beginning(lambda kind: not kind.describes_itself)
    assert digest == beginning(lambda kind: kind.program)
    assert remote == beginning(lambda kind: kind.remote)
    assert layout == "^onnx:"
    assert output == beginning(lambda kind: kind.whole_file)
    devices = dict.fromkeys(device for kind in kinds for device in kind.devices)
    for device in devices:
        assert re.match(model["properties"]["device"]["pattern"], device)


def test_settings_take_what_the_chart_does_not_set_itself(chart_path: Path) -> None:
    schema = json.loads((chart_path / "values.schema.json").read_text())
    local = {
        "host",
        "port",
        "grpc_port",
        "cache_dir",
        "state_dir",
        "one_process",
        "allowed_hosts",
    }  # of one machine
    values = {"no_auth", "api_keys_file", "store_url", "log_level", "autoscaler_timeout_s"}  # of the chart
    replicas = {"gateway_replicas", "generator_replicas", "aggregator_replicas"}
    properties = schema["properties"]["settings"]["properties"]
    assert set(properties) == set(Settings.model_fields) - local - values - replicas
    for name, allowed in properties.items():
        bounds = Settings.model_json_schema()["properties"][name]
        for bound in ("minimum", "exclusiveMinimum", "maximum"):
            if bound in bounds:
                assert allowed.get(bound) == bounds[bound], f"{name}: {bound}"
