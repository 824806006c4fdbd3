"""What a model specification refuses."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from wavescope.engine.types import Preprocessing
from wavescope.errors import RegistryInvalid
from wavescope.models.remote.options import Header, RemoteOptions, Tls
from wavescope.models.spec import DEFAULT_MODEL, ModelSpec

REMOTE = {
    "source": "oip:https://models.example.org/v2/models/birds",
    "preprocessing": Preprocessing(),
    "outputs": "logits",
}
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec(**({"name": "m", "source": "torchvision:resnet18"} | fields))


def test_a_specification_is_frozen_and_crosses_processes() -> None:
    with pytest.raises(FrozenInstanceError):
        DEFAULT_MODEL.name = "other"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(DEFAULT_MODEL)) == DEFAULT_MODEL


def test_kind_and_reference_split_the_source_at_its_first_colon() -> None:
    made = spec(source="onnx:/models/a:b.onnx", preprocessing=Preprocessing(), outputs="logits")
    assert (made.kind, made.reference) == ("onnx", "/models/a:b.onnx")


@pytest.mark.parametrize(
    ("fields", "given", "threads"),
    [
        ({}, None, 2),
        ({"num_cpus": 0.5}, None, 1),
        ({"num_cpus": 2.5}, None, 3),
        ({"num_cpus": 8, "threads": 3}, None, 3),
        ({"threads": 3}, 5, 5),
    ],
)
def test_threads_follow_the_caller_then_the_spec_then_its_cores(
    fields: dict[str, Any], given: int | None, threads: int
) -> None:
    assert spec(**fields).cpu_threads(given) == threads


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"name": ""}, "name", "1 to 63"),
        ({"name": "a/b"}, "name", "1 to 63"),
        ({"name": "-a"}, "name", "1 to 63"),
        ({"name": "a" * 64}, "name", "1 to 63"),
        ({"name": "a\n"}, "name", "1 to 63"),
        ({"source": "resnet18"}, "source", "is none of embedded:…, torchvision:…, timm:…, onnx:…"),
        ({"source": "keras:resnet18"}, "source", "is none of"),
        ({"source": "timm:"}, "source", "is none of"),
        ({"device": "gpu"}, "device", "'gpu' is none of auto, cpu, cuda"),
        ({"device": "cuda:"}, "device", "is none of"),
        ({"precision": "int8"}, "precision", "'int8' is none of float32, bfloat16, float16"),
        ({"outputs": "scores"}, "outputs", "'scores' is none of logits, probabilities, sigmoid"),
        ({"sha256": "abc"}, "sha256", "64 lower-case hexadecimal"),
        ({"labels": ()}, "labels", "at least one class"),
        ({"labels": ("a", "")}, "labels", "empty name"),
        ({"num_cpus": 0}, "num_cpus", "above 0"),
        ({"num_cpus": float("nan")}, "num_cpus", "above 0"),
        ({"num_gpus": -1}, "num_gpus", "at least 0"),
        ({"min_replicas": -1}, "min_replicas", "at least 0"),
        ({"min_replicas": 0, "max_replicas": 0}, "max_replicas", "at least 1"),
        ({"min_replicas": 3, "max_replicas": 2}, "max_replicas", "at least min_replicas, 3"),
        ({"max_ongoing_chunks": 0}, "max_ongoing_chunks", "at least 1"),
        ({"batch_size": 0}, "batch_size", "at least 1"),
        ({"threads": 0}, "threads", "at least 1"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(RegistryInvalid, match=message) as caught:
        spec(**fields)
    assert caught.value.field == field
    assert caught.value.limits["model"] == fields.get("name", "m")


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"size": (7, 224)}, "size", "each 8 to 4096 px"),
        ({"size": (224, 5000)}, "size", "each 8 to 4096 px"),
        ({"size": (320, 240), "resize": 319}, "resize", "at least the larger side of size, 320"),
        ({"resize": 5000}, "resize", "at most 4096"),
        ({"mean": (), "std": ()}, "mean", "1 to 16"),
        ({"mean": (0.5,) * 17, "std": (0.5,) * 17}, "mean", "1 to 16"),
        ({"mean": (float("nan"),), "std": (0.5,)}, "mean", "finite"),
        ({"mean": (0.5,)}, "std", "has 3 numbers where mean has 1"),
        ({"std": (0.2, 0.0, 0.2)}, "std", "above 0"),
    ],
)
def test_wrong_preprocessing_is_named(fields: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(RegistryInvalid, match=message) as caught:
        spec(preprocessing=replace(Preprocessing(), **fields))
    assert caught.value.field == f"preprocessing.{field}"


@pytest.mark.parametrize(
    ("fields", "field"), [({"precision": "float16"}, "precision"), ({"weights": "a.pth"}, "weights")]
)
def test_an_onnx_file_brings_its_own_precision_and_weights(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(RegistryInvalid, match=r"brings its own|holds its own") as caught:
        spec(source="onnx:a.onnx", preprocessing=Preprocessing(), outputs="logits", **fields)
    assert caught.value.field == field


@pytest.mark.parametrize("kind", ["torchscript", "torch-export"])
def test_a_program_is_loaded_by_its_digest_alone(kind: str) -> None:
    fields = {"source": f"{kind}:a.pt", "preprocessing": Preprocessing(), "outputs": "logits"}
    assert spec(**fields, sha256=DIGEST).reference == "a.pt"
    with pytest.raises(RegistryInvalid, match=r"is required for .*: it is a program") as caught:
        spec(**fields)
    assert caught.value.field == "sha256"


@pytest.mark.parametrize("kind", ["onnx", "torchscript", "torch-export", "oip", "kserve-v1"])
@pytest.mark.parametrize("field", ["preprocessing", "outputs"])
def test_what_comes_with_no_model_must_be_declared(kind: str, field: str) -> None:
    reference = {"oip": "grpc://h:1/m", "kserve-v1": "http://h/v1/models/m"}.get(kind, "a.file")
    fields = {"preprocessing": Preprocessing(), "outputs": "logits", field: None}
    if kind.startswith("torch"):
        fields["sha256"] = DIGEST
    with pytest.raises(RegistryInvalid, match=f"{field}: is required for an? ") as caught:
        spec(source=f"{kind}:{reference}", **fields)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"device": "cuda"}, "device", "the server's affair"),
        ({"precision": "bfloat16"}, "precision", "the server's affair"),
        ({"weights": "a.pth"}, "weights", "the server's affair"),
        ({"sha256": DIGEST}, "sha256", "the server's affair"),
        ({"source": "oip:http://h/m"}, "source", "is not of the form"),
        (
            {"source": "oip:http://h/v2/models/m", "remote": RemoteOptions(tls=Tls())},
            "remote.tls",
            "for https and grpcs",
        ),
        ({"source": "timm:resnet18", "remote": RemoteOptions()}, "remote", "is for oip and kserve-v1"),
        ({"input_layout": "nhwc"}, "input_layout", r"here it is remote\.input_layout"),
        ({"output": "logits"}, "output", r"here it is remote\.output"),
    ],
)
def test_a_remote_models_fields_are_those_of_its_server(
    fields: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(RegistryInvalid, match=message) as caught:
        spec(**REMOTE | fields)
    assert caught.value.field == field


def test_a_remote_specification_crosses_processes_and_shows_no_secret() -> None:
    headers = (Header("Authorization", literal="Bearer secret"), Header("X-Key", env="KEY"))
    made = spec(**REMOTE, remote=RemoteOptions(headers=headers))
    assert pickle.loads(pickle.dumps(made)) == made
    assert "secret" not in repr(made)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RemoteOptions(timeout_s=0), "timeout_s: 0 must be above 0"),
        (lambda: RemoteOptions(timeout_s=float("inf")), "timeout_s: inf must be above 0"),
        (lambda: RemoteOptions(attempts=0), "attempts: 0 must be 1 to 20"),
        (lambda: RemoteOptions(concurrency=65), "concurrency: 65 must be 1 to 64"),
        (lambda: RemoteOptions(input=""), "input: must not be empty"),
        (lambda: RemoteOptions(input_layout="hwcn"), "input_layout: 'hwcn' is none of nchw, nhwc"),
        (lambda: RemoteOptions(headers=(Header("A", "x"), Header("a", "y"))), "headers: .* twice"),
        (lambda: Tls(cert_file="a"), "tls: cert_file and key_file go together"),
        (lambda: Header("A"), "headers: 'A' needs a value"),
        (lambda: Header("A", literal="x", env="Y"), "headers: 'A' needs a value"),
        (lambda: Header("A b", literal="x"), "headers: 'A b' is no name"),
        (lambda: Header("grpc-timeout", literal="x"), "headers: .* is no name of a header"),
        (lambda: Header("token-bin", literal="x"), "headers: .* is no name of a header"),
        (lambda: Header("Host", literal="x"), "headers: 'Host' is set by the protocol"),
        (lambda: Header("A", literal="x\r\nB: y"), "headers: the value of 'A' must be printable"),
        (lambda: Header("A", literal=""), "headers: the value of 'A' must be printable"),
    ],
)
def test_wrong_options_of_a_remote_model_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        make()
