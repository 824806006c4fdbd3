"""Settings from the environment, and the registry file."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from wavescope.engine.types import Preprocessing
from wavescope.errors import InvalidRequest, RegistryInvalid
from wavescope.models.labels import IMAGENET
from wavescope.models.remote.options import Header, RemoteOptions, Tls
from wavescope.models.spec import DEFAULT_MODEL, ModelSpec
from wavescope.settings import Settings, build_model_spec, load_registry, load_settings


def registry(folder: Path, text: str) -> tuple[ModelSpec, ...]:
    path = folder / "models.yaml"
    path.write_text(text)
    return load_registry(path)


def model(folder: Path, fields: str) -> ModelSpec:
    """The one model of a registry, from flow-style fields after its name."""
    (spec,) = registry(folder, f"models:\n  - {{name: m, {fields}}}\n")
    return spec


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVESCOPE_MAX_PIXELS", "1000000")
    monkeypatch.setenv("WAVESCOPE_CACHE_DIR", "~/elsewhere")
    monkeypatch.setenv("WAVESCOPE_LOG_LEVEL", "WARNING")
    settings = load_settings()
    assert settings.max_pixels == 1_000_000
    assert settings.cache_dir == Path.home() / "elsewhere"
    assert settings.log_level == "warning"
    assert load_settings(max_pixels=2_000_000).max_pixels == 2_000_000


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_the_password_of_the_store_is_not_shown() -> None:
    settings = Settings(store_url="redis://:hunter2@redis:6379/1")
    for shown in (repr(settings), str(settings), f"{settings}", "%s" % settings):  # noqa: UP031  # as logs do
        assert "hunter2" not in shown
        assert "max_pixels=" in shown
    assert settings.store_url.endswith("/1")


def test_a_wrong_setting_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVESCOPE_MAX_PIXELS", "many")
    with pytest.raises(
        InvalidRequest, match=r"max_pixels \(WAVESCOPE_MAX_PIXELS\): Input should be"
    ) as caught:
        load_settings()
    assert caught.value.field == "max_pixels"


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"max_pixel .*not permitted"):
        load_settings(max_pixel=1)


def test_the_default_limit_refuses_20000_pixels_square() -> None:
    assert Settings().max_pixels < 20_000**2


def test_a_kubernetes_service_link_is_not_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVESCOPE_PORT", "tcp://10.0.0.7:8000")
    assert load_settings().port == 8000


def test_no_registry_is_the_embedded_model() -> None:
    assert load_registry(None) == (DEFAULT_MODEL,)


def test_a_minimal_entry_has_the_defaults_of_a_specification(tmp_path: Path) -> None:
    assert model(tmp_path, "source: 'torchvision:resnet50'") == ModelSpec(
        name="m", source="torchvision:resnet50"
    )


def test_every_field_is_read(tmp_path: Path) -> None:
    (tmp_path / "birds.txt").write_text("wren\nrobin\n")
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    first, second = registry(
        tmp_path,
        f"""
        models:
          - name: birds
            source: onnx:sub/birds.onnx
            outputs: probabilities
            labels: birds.txt
            sha256: {digest}
            preprocessing: {{size: [240, 320], resize: null, mean: [0.5], std: [0.25], interpolation: bicubic}}
            device: cpu
            num_cpus: 1.5
            min_replicas: 2
            max_replicas: 3
            max_ongoing_chunks: 5
            batch_size: 6
            threads: 7
            input_layout: nhwc
            output: scores
          - {{name: r, source: "timm:resnet18", weights: w.safetensors, device: cuda, precision: bfloat16}}
        """,
    )
    assert first == ModelSpec(
        name="birds",
        source=f"onnx:{tmp_path / 'sub' / 'birds.onnx'}",
        outputs="probabilities",
        labels=("wren", "robin"),
        sha256=digest,
        preprocessing=Preprocessing(
            size=(240, 320), resize=None, mean=(0.5,), std=(0.25,), interpolation="bicubic"
        ),
        device="cpu",
        num_cpus=1.5,
        min_replicas=2,
        max_replicas=3,
        max_ongoing_chunks=5,
        batch_size=6,
        threads=7,
        input_layout="nhwc",
        output="scores",
    )
    assert second.weights == str(tmp_path / "w.safetensors")
    assert (second.device, second.precision, second.num_gpus) == ("cuda", "bfloat16", 1.0)


def test_one_number_is_a_square_size(tmp_path: Path) -> None:
    made = model(tmp_path, "source: 'timm:x', preprocessing: {size: 256, resize: 256}").preprocessing
    assert made is not None
    assert made.size == (256, 256)


def test_labels_may_be_imagenet_or_a_list(tmp_path: Path) -> None:
    assert model(tmp_path, "source: 'timm:x', labels: imagenet").labels == IMAGENET
    assert model(tmp_path, "source: 'timm:x', labels: [wren, robin]").labels == ("wren", "robin")


@pytest.mark.parametrize(
    "weights", ["random", "IMAGENET1K_V2", "DEFAULT", "ResNet50_Weights.IMAGENET1K_V2", "https://a.org/w.pth"]
)
def test_the_name_of_weights_is_no_path(tmp_path: Path, weights: str) -> None:
    assert model(tmp_path, f"source: 'torchvision:resnet50', weights: {weights}").weights == weights


def test_absolute_paths_stay(tmp_path: Path) -> None:
    fields = "source: 'onnx:/models/a.onnx', outputs: logits, preprocessing: {}"
    assert model(tmp_path, fields).reference == "/models/a.onnx"


def test_more_replicas_than_one_need_no_maximum(tmp_path: Path) -> None:
    assert model(tmp_path, "source: 'timm:x', min_replicas: 3").max_replicas == 3


def test_a_remote_model_is_read_whole(tmp_path: Path) -> None:
    (made,) = registry(
        tmp_path,
        """
        models:
          - name: birds
            source: oip:grpcs://models.example.org:9000/birds/3
            outputs: logits
            preprocessing: {size: 224, resize: 256}
            batch_size: 16
            remote:
              input: images
              output: logits
              input_layout: nhwc
              timeout_s: 5
              attempts: 2
              concurrency: 8
              tls: {ca_file: ca.pem, cert_file: client.pem, key_file: /keys/client.key}
              headers:
                Authorization: {file: token}
                X-Api-Key: {env: KEY}
                X-Tenant: birds
        """,
    )
    assert made == ModelSpec(
        name="birds",
        source="oip:grpcs://models.example.org:9000/birds/3",
        outputs="logits",
        preprocessing=Preprocessing(),
        batch_size=16,
        num_cpus=0.1,
        remote=RemoteOptions(
            input="images",
            output="logits",
            input_layout="nhwc",
            timeout_s=5,
            attempts=2,
            concurrency=8,
            tls=Tls(str(tmp_path / "ca.pem"), str(tmp_path / "client.pem"), "/keys/client.key"),
            headers=(
                Header("Authorization", file=str(tmp_path / "token")),
                Header("X-Api-Key", env="KEY"),
                Header("X-Tenant", literal="birds"),
            ),
        ),
    )


@pytest.mark.parametrize("kind", ["torchscript", "torch-export"])
def test_a_programs_path_starts_at_the_registry(tmp_path: Path, kind: str) -> None:
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    fields = f"source: '{kind}:sub/a.pt', sha256: {digest}, outputs: logits, preprocessing: {{}}"
    assert model(tmp_path, fields).source == f"{kind}:{tmp_path / 'sub' / 'a.pt'}"


def test_a_local_model_has_two_cores_and_a_remote_one_a_tenth(tmp_path: Path) -> None:
    remote = "source: 'kserve-v1:http://h/v1/models/m', outputs: logits, preprocessing: {}"
    assert model(tmp_path, "source: 'timm:x'").num_cpus == 2
    assert model(tmp_path, remote).num_cpus == 0.1
    assert model(tmp_path, f"{remote}, num_cpus: 1").num_cpus == 1


R = "source: 'oip:https://h/v2/models/m', outputs: logits, preprocessing: {}, remote: "


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        (R + "{inputs: a}", "remote.inputs", "no such key; there are attempts, concurrency, headers, input"),
        (R + "{tls: {ca: a}}", "remote.tls.ca", "there are ca_file, cert_file, key_file"),
        (R + "{tls: {cert_file: a}}", "remote.tls", "cert_file and key_file go together"),
        (R + "{attempts: many}", "remote.attempts", "valid integer"),
        (R + "{attempts: 0}", "remote.attempts", "0 must be 1 to 20"),
        (R + "{input_layout: hwc}", "remote.input_layout", "'nchw' or 'nhwc'"),
        (R + "{headers: {A: {vault: b}}}", "remote.headers.A.vault", "there are env, file, literal"),
        (R + "{headers: {A: {}}}", "remote.headers", "'A' needs a value"),
        (R + "{headers: {Host: b}}", "remote.headers", "'Host' is set by the protocol"),
        ("source: 'oip:https://user@h/v2/models/m'", "source", "holds no user or password"),
        ("source: 'torchscript:a.pt', outputs: logits, preprocessing: {}", "sha256", "it is a program"),
        (
            "source: 'timm:x', output: y",
            "output",
            "is for ONNX files and programs of torch: remove the field",
        ),
        ("source: 'timm:x', input_layout: nchw", "input_layout", "is for ONNX files"),
        ("source: 'onnx:x', input_layout: hwc", "input_layout", "'nchw' or 'nhwc'"),
        ("source: 'timm:x', remote: {}", "remote", "is for oip and kserve-v1"),
        ("sorce: 'timm:x'", "source", "model 'm': source: Field required"),
        ("source: 'timm:x', gpu: 1", "gpu", "no such key; there are batch_size, device, "),
        ("source: 'timm:x', outputs: scores", "outputs", "'logits', 'probabilities' or 'sigmoid'"),
        ("source: 'timm:x', precision: int8", "precision", "'float32', 'bfloat16' or 'float16'"),
        ("source: 'timm:x', num_cpus: many", "num_cpus", "valid number"),
        ("source: 'timm:x', min_replicas: 1.5", "min_replicas", "valid integer"),
        ("source: 'timm:x', sha256: 7", "sha256", "valid string"),
        ("source: 'timm:x', labels: {a: 1}", "labels", "they count from 1 to 1"),
        (
            "source: 'timm:x', labels: [wren, no]",
            "labels",
            "the bare word no on line 2 as the name of class 1",
        ),
        (
            "source: 'timm:x', labels: {0: wren, 1: 1.50}",
            "labels",
            "word 1.50 on line 2 .* number 1.5; write it in qu",
        ),
        ("source: 'timm:x', labels: no", "labels", "holds False: write a list of names"),
        ("source: 'timm:x', labels: 7", "labels", "holds the number 7"),
        ("source: 'timm:x', labels: []", "labels", "at least one class"),
        ("source: 'timm:x', labels: [wren, '\u200b']", "labels", "an empty name as the name of class 1"),
        ("source: 'timm:x', labels: absent.txt", "labels", "cannot be read"),
        ("source: 'keras:x'", "source", "'keras:x' is none of"),
        ("source: 'timm:x', device: tpu", "device", "'tpu' is none of"),
        ("source: 'onnx:a.onnx'", "preprocessing", "is required for an ONNX file"),
        ("source: 'timm:x', preprocessing: {std: [0.2, 0, 0.2]}", "preprocessing.std", "above 0"),
        ("source: 'timm:x', preprocessing: {size: 4}", "preprocessing.size", "8 to 4096"),
        ("source: 'timm:x', preprocessing: {size: [8]}", "preprocessing.size.1", "Field required"),
        ("source: 'timm:x', preprocessing: {mean: [0.5]}", "preprocessing.std", "one per channel"),
        (
            "source: 'timm:x', preprocessing: {crop: 224}",
            "preprocessing.crop",
            "there are interpolation, mean",
        ),
        ("source: 'timm:x', preprocessing: {interpolation: box}", "preprocessing.interpolation", "'nearest'"),
    ],
)
def test_a_wrong_entry_names_model_field_and_what_is_allowed(
    tmp_path: Path, fields: str, field: str, message: str
) -> None:
    with pytest.raises(RegistryInvalid, match=message) as caught:
        model(tmp_path, fields)
    assert "model 'm'" in caught.value.message
    assert caught.value.field == field
    assert caught.value.limits["model"] == "m"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            [True, "no"],
            "has True as the name of class 0, not text .*bare words such as yes, no.*: write the word in quotes",
        ),
        (["wren", None], "has nothing as the name of class 1"),
        (["wren", 1.5], "has the number 1.5 as the name of class 1, not text: write it in quotes"),
        ([datetime.date(2024, 1, 31)], "has the date 2024-01-31 as the name of class 0"),
        ({"0": "wren", "2": "robin"}, "is a map in which 1 is missing"),
    ],
)
def test_an_entry_without_its_file_is_held_to_the_same(labels: Any, message: str) -> None:
    with pytest.raises(RegistryInvalid, match=message) as caught:
        build_model_spec({"name": "m", "source": "timm:x", "labels": labels}, Path())
    assert (caught.value.field, caught.value.limits["model"]) == ("labels", "m")


def test_labels_in_the_registry_may_be_a_map_with_an_editor_s_marks(tmp_path: Path) -> None:
    fields = "source: 'timm:x', labels: {1: \u00a0robin, wren\u200b: 0}"
    with pytest.raises(RegistryInvalid, match="neither are all its keys indices nor all its values"):
        model(tmp_path, fields)
    fields = "source: 'timm:x', labels: {1: '\u00a0robin', 0: 'wren\u200b'}"
    assert model(tmp_path, fields).labels == ("wren", "robin")
    (tmp_path / "marked.yaml").write_text("\ufeffmodels: [{name: m, " + fields + "}]", "utf-8")
    assert load_registry(tmp_path / "marked.yaml")[0].labels == ("wren", "robin")


def test_a_bare_word_is_named_with_its_line(tmp_path: Path) -> None:
    text = (
        "models:\n- {name: a, source: 'timm:x'}\n- name: m\n  source: timm:x\n  labels:\n  - wren\n  - off\n"
    )
    with pytest.raises(
        RegistryInvalid, match="bare word off on line 7 as the name of class 1: YAML reads it as False"
    ):
        registry(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "models: [{name: a, source: 'timm:x', labels: [2024-13-45]}]",
            "is not YAML: '2024-13-45' is no timestamp",
        ),
        ("", "one key 'models'"),
        ("- name: m", "one key 'models'"),
        ("models: []", "at least one model"),
        ("models: {m: 1}", "must be a list"),
        ("models: [1]", "model number 1"),
        ("models: [{name: 3, source: 'timm:x'}]", "model number 1: name: Input should be a valid string"),
        ("models: [", "is not YAML"),
        ("models: !!python/object/apply:os.getcwd []", "is not YAML"),
        ("models: [{name: a, source: 'timm:x', name: b}]", "key 'name' is given twice"),
        (
            "models: [{name: a, source: 'timm:x'}, {name: a, source: 'timm:y'}]",
            "'a': name: is used by two models",
        ),
        ("models: []\nmodel: []", "one key 'models'"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RegistryInvalid, match=message):
        registry(tmp_path, text)


def test_a_missing_registry_is_named(tmp_path: Path) -> None:
    with pytest.raises(RegistryInvalid, match=r"absent\.yaml': cannot be read: No such file"):
        load_registry(tmp_path / "absent.yaml")


def test_reading_settings_loads_no_runtime() -> None:
    script = (
        "import sys, wavescope.settings;"
        "print(*sorted({'torch', 'onnxruntime', 'ray', 'PIL', 'fastapi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("setting", ["cache_dir", "state_dir"])
def test_user_without_a_home_is_told_what_to_set(monkeypatch, tmp_path, setting):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    others = {name: tmp_path for name in ("cache_dir", "state_dir") if name != setting}
    with pytest.raises(
        InvalidRequest, match=rf"{setting} \(WAVESCOPE_{setting.upper()}\) is needed.*HOME"
    ) as told:
        load_settings(**others)
    assert told.value.field == setting
    assert load_settings(cache_dir=tmp_path, state_dir=tmp_path).cache_dir == tmp_path
