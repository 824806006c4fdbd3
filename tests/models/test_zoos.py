"""Names of models and of weights as people write them, and models that are no classifiers."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from safetensors.torch import save_file

from wavescope.engine.protocols import Classifier
from wavescope.engine.types import Preprocessing
from wavescope.errors import RegistryInvalid, WeightsUnavailable
from wavescope.models.files import files_of
from wavescope.models.labels import IMAGENET
from wavescope.models.load import load
from wavescope.models.spec import ModelSpec

SMALL = Preprocessing(size=(64, 64), resize=64)
SQUEEZENET = torchvision.models.SqueezeNet1_1_Weights
IMAGENET_NORMALISATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# A model of timm that takes a tenth of a second to make.
TINY = "test_resnet"


def spec(source: str, **fields: Any) -> ModelSpec:
    return ModelSpec(name="m", source=source, **{"device": "cpu"} | fields)


def backend(source: str, **fields: Any) -> Classifier:
    return load(spec(source, **fields), cache_dir=Path("unused"), threads=1)


def scores(model: Classifier, side: int = 64) -> torch.Tensor:
    images = np.random.default_rng(0).standard_normal((2, 3, side, side), dtype=np.float32)
    return model.forward(model.to_device(images))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """No network, where a pause before a retry is noted, in seconds, and left out."""
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


@pytest.fixture
def torch_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of torchvision's SqueezeNet in torch's cache, of seeded weights."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    torch.manual_seed(1)
    path = tmp_path / "checkpoints" / Path(SQUEEZENET.DEFAULT.url).name
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), path)
    return path


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def cached(cache: Path, repository: str, **files: bytes) -> Path:
    """A repository in the cache of the hub."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0")
    for name, content in files.items():
        (snapshot / name.replace("__", ".")).write_bytes(content)
    return snapshot


def config(**changes: Any) -> bytes:
    """A description as timm pushes one to the hub."""
    return json.dumps(
        {
            "architecture": TINY,
            "num_classes": 3,
            "label_names": ["wren", "robin", "owl"],
            "pretrained_cfg": {
                "input_size": [3, 96, 96],
                "interpolation": "bilinear",
                "crop_pct": 1.0,
                "mean": [0.5, 0.5, 0.5],
                "std": [0.25, 0.25, 0.25],
                "first_conv": "conv1.0",
                "classifier": "fc",
            },
            **changes,
        }
    ).encode()


@pytest.mark.parametrize(
    "weights",
    [
        None,
        "DEFAULT",
        "IMAGENET1K_V1",
        "SqueezeNet1_1_Weights.DEFAULT",
        "SqueezeNet1_1_Weights.IMAGENET1K_V1",
        "torchvision.models.SqueezeNet1_1_Weights.DEFAULT",
    ],
)
def test_an_entry_of_torchvision_is_named_as_in_python(torch_cache: Path, weights: str | None) -> None:
    asked = spec("torchvision:squeezenet1_1", weights=weights, preprocessing=SMALL)
    assert files_of(asked, Path("unused")) == (torch_cache,)
    module = torchvision.models.squeezenet1_1(weights=None).eval()
    module.load_state_dict(torch.load(torch_cache))
    images = np.random.default_rng(0).standard_normal((2, 3, 64, 64), dtype=np.float32)
    with torch.inference_mode():
        expected = module(torch.from_numpy(images))
    found = scores(load(asked, cache_dir=Path("unused"), threads=1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_file_of_an_entry_gives_the_scores_of_the_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GoogLeNet's entry makes the model transform its input, which its file does not say."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    path = tmp_path / "checkpoints" / Path(torchvision.models.GoogLeNet_Weights.DEFAULT.url).name
    torch.manual_seed(1)
    torch.save(torchvision.models.googlenet(weights=None, init_weights=False).state_dict(), path)
    entry = scores(backend("torchvision:googlenet"))
    assert torch.equal(scores(backend("torchvision:googlenet", weights=str(path))), entry)
    # (x - 0.5) / 0.5 is what the model makes of images that are normalised as for the entry.
    tensorflow = Preprocessing(size=(224, 224), resize=256, mean=(0.5,) * 3, std=(0.5,) * 3)
    own = backend("torchvision:googlenet", weights=str(path), preprocessing=tensorflow)
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values)[:, None, None] for values in IMAGENET_NORMALISATION)
    with_entry = backend("torchvision:googlenet").forward((pixels - mean) / std)
    torch.testing.assert_close(own.forward((pixels - 0.5) / 0.5), with_entry, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "weights", ["ResNet50_Weights.DEFAULT", "SqueezeNet1_1_Weights.IMAGENET1K_V9", "ResNet_Weights.X"]
)
def test_an_entry_of_another_model_is_refused_with_those_there_are(weights: str) -> None:
    expected = (
        f"'{weights}' is none of those of squeezenet1_1: SqueezeNet1_1_Weights.IMAGENET1K_V1,"
        " SqueezeNet1_1_Weights.DEFAULT"
    )
    asked = spec("torchvision:squeezenet1_1", weights=weights)
    with pytest.raises(RegistryInvalid, match=expected):
        load(asked, cache_dir=Path("unused"))
    assert files_of(asked, Path("unused")) == ()


WORD = "word"  # apart from the address, which would look like a secret


def test_the_address_of_weights_is_no_path() -> None:
    with pytest.raises(
        RegistryInvalid, match="weights: is the address of a file: download it, and give its path"
    ):
        backend("torchvision:squeezenet1_1", weights=f"https://user:{WORD}@example.org/w.pth")


@pytest.mark.parametrize("weights", ["DEFAULT", "ResNet50_Weights.DEFAULT", "a1_in1k"])
def test_an_entry_of_torchvision_is_none_of_timm(weights: str) -> None:
    with pytest.raises(
        RegistryInvalid, match=r"is none of random, <path>; timm's own are named in the source"
    ):
        backend(f"timm:{TINY}", weights=weights)


def test_weights_of_features_alone_are_refused() -> None:
    with pytest.raises(RegistryInvalid, match=r"features alone, without a classifier: IMAGENET1K_V1"):
        backend("torchvision:vgg16", weights="VGG16_Weights.IMAGENET1K_FEATURES")


@pytest.mark.parametrize(
    "source",
    ["timm:resnet18.a1_in1k", "timm:hf-hub:timm/resnet18.a1_in1k", "timm:hf_hub:timm/resnet18.a1_in1k"],
)
def test_a_name_of_timm_may_have_a_tag_and_the_prefix_of_the_hub(source: str) -> None:
    details = backend(source, weights="random", preprocessing=SMALL).details
    assert details.labels == IMAGENET


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("timm:ResNet18", r"timm has no model 'ResNet18'; close: \['resnet18'"),
        ("timm:resnet18.nope", r"timm has no weights 'nope' of resnet18: .*resnet18\.a1_in1k"),
        ("torchvision:ResNet18", r"no classifier 'ResNet18'; close: \['resnet18'"),
        ("timm:hf-hub:resnet", "names no repository: timm:hf-hub:OWNER/NAME"),
        ("timm:vit_small_patch14_dinov2", "have no classifier; give weights with a classifier by path"),
        ("timm:resnet50_clip.openai", "have an embedding of 1024 numbers, no classes"),
    ],
)
def test_a_name_that_is_no_classifier_is_explained(source: str, expected: str) -> None:
    with pytest.raises(RegistryInvalid, match=expected) as caught:
        backend(source, weights="random")
    assert caught.value.field == "source"


def test_a_model_of_21_thousand_classes_is_loaded() -> None:
    details = backend("timm:mobilenetv3_large_100.miil_in21k", weights="random", preprocessing=SMALL).details
    assert (len(details.labels), details.labels[-1]) == (11221, "class 11220")


def test_a_repository_of_the_hub_is_loaded_from_its_cache(hub_cache: Path, offline: list[float]) -> None:
    torch.manual_seed(3)
    module = timm.create_model(TINY, num_classes=3).eval()
    snapshot = cached(hub_cache, "me/birds", config__json=config())
    save_file(module.state_dict(), snapshot / "model.safetensors")
    asked = spec("timm:hf-hub:me/birds")
    model = load(asked, cache_dir=Path("unused"), threads=1)
    assert not offline
    assert files_of(asked, Path("unused")) == (snapshot / "model.safetensors",)
    details = model.details
    assert details.labels == ("wren", "robin", "owl")
    assert details.preprocessing == Preprocessing(
        size=(96, 96), resize=96, mean=(0.5,) * 3, std=(0.25,) * 3, interpolation="bilinear"
    )
    images = np.random.default_rng(0).standard_normal((2, 3, 96, 96), dtype=np.float32)
    with torch.inference_mode():
        expected = module(torch.from_numpy(images))
    torch.testing.assert_close(scores(model, 96), expected, rtol=1e-4, atol=1e-4)


def test_a_repository_may_have_its_weights_in_a_file_of_ones_own(hub_cache: Path, tmp_path: Path) -> None:
    cached(hub_cache, "me/birds", config__json=config())
    path = tmp_path / "w.pth"
    torch.save({"model": timm.create_model(TINY, num_classes=3).state_dict()}, path)
    details = backend("timm:hf_hub:me/birds", weights=str(path)).details
    assert details.labels == ("wren", "robin", "owl")
    assert details.preprocessing.size == (96, 96)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (config(architecture="nope"), "is a 'nope', which timm .* has not"),
        (
            b'{"architectures": ["ViTForImageClassification"], "model_type": "vit"}',
            "it is one of transformers",
        ),
        (b'{"a": 1}', "names no architecture"),
        (b"{", "is damaged: delete"),
        (config(num_classes=0), "have no classifier"),
        (config(num_classes="ten"), r"num_classes in the config\.json .* is not a number of classes"),
        (config(num_classes=True), "is not a number of classes"),
        (config(pretrained_cfg=None), r"pretrained_cfg in the config\.json .* is not an object"),
        (config(pretrained_cfg=["a"]), "is not an object"),
        (config(pretrained_cfg={"input_size": 96}), r"input_size .* is not \[channels, height, width\]"),
        (config(pretrained_cfg={"mean": [0.5, "x"]}), "mean .* is not a list of numbers"),
        (config(pretrained_cfg={"crop_pct": 0}), "crop_pct .* is not a number above 0"),
        (config(model_args=[1]), r"model_args in the config\.json .* is not an object"),
        (config(model_args={"nope": 1}), "model_args name an argument or a value that the architecture does"),
        (config(model_args={"in_chans": "x"}), "model_args name an argument or a value"),
    ],
)
def test_a_repository_that_is_no_classifier_of_timm_is_refused(
    hub_cache: Path, content: bytes, expected: str
) -> None:
    snapshot = cached(hub_cache, "me/birds", config__json=content)
    save_file(timm.create_model(TINY, num_classes=3).state_dict(), snapshot / "model.safetensors")
    for weights in ("random", None):
        with pytest.raises(RegistryInvalid, match=expected):
            backend("timm:hf-hub:me/birds", weights=weights)


@pytest.mark.parametrize(
    "source", ["timm:hf-hub:me/birds", "timm:hf_hub:me/birds@v1", f"timm:{TINY}.r160_in1k"]
)
def test_a_hub_that_does_not_answer_is_an_error_at_once(
    source: str, hub_cache: Path, offline: list[float]
) -> None:
    with pytest.raises(
        WeightsUnavailable, match=r"not cached, and https://\S+ does not answer; give weights"
    ):
        backend(source)
    assert not offline, "the hub's client would retry for most of a minute"


def test_a_description_without_its_weights_is_no_answer_of_the_hub(
    hub_cache: Path, offline: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in no cache may be in the repository all the same, which nobody was asked for."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    cached(hub_cache, "me/birds", config__json=config())
    with pytest.raises(
        WeightsUnavailable, match=r"not cached, and the hub was not asked .* HF_HUB_OFFLINE is"
    ):
        backend("timm:hf-hub:me/birds")
    assert not offline


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does for files, of which there are those in ``files``."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        content = self.files.get(self.path)
        self.send_response(200 if content is not None else 404)
        if content is None:
            known = any(path.startswith("/me/birds/") for path in self.files) and "/me/birds/" in self.path
            self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
            content = b""
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def hub(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """The files of a hub on loopback, by their paths, which the client of the hub asks."""
    monkeypatch.setattr(Hub, "files", {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Hub.files
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_repository_is_fetched_and_then_cached(hub: dict[str, bytes], name: str) -> None:
    torch.manual_seed(3)
    state = timm.create_model(TINY, num_classes=3).state_dict()
    content = io.BytesIO()
    torch.save(state, content)
    hub["/me/birds/resolve/main/config.json"] = config()
    hub[f"/me/birds/resolve/main/{name}"] = (
        safetensors.torch.save(state) if name.endswith("s") else content.getvalue()
    )
    first = backend("timm:hf-hub:me/birds")
    assert first.details.labels == ("wren", "robin", "owl")
    hub.clear()
    second = backend("timm:hf-hub:me/birds")
    assert second.details.revision == first.details.revision
    assert torch.equal(scores(first, 96), scores(second, 96))


def test_a_repository_without_weights_or_that_is_not_there_is_named(hub: dict[str, bytes]) -> None:
    hub["/me/birds/resolve/main/config.json"] = config()
    with pytest.raises(
        RegistryInvalid, match=r"has no weights that are read: model\.safetensors or pytorch_model"
    ):
        backend("timm:hf-hub:me/birds")
    with pytest.raises(
        WeightsUnavailable,
        match=r"config\.json answers 404: there is no such file, or it is not public; give",
    ):
        backend("timm:hf-hub:you/cats")


def test_cached_weights_that_are_damaged_are_named(torch_cache: Path, hub_cache: Path) -> None:
    torch_cache.write_bytes(torch_cache.read_bytes()[:1000])
    with pytest.raises(RegistryInvalid, match=r"the cached file .* cut off or damaged: delete it"):
        backend("torchvision:squeezenet1_1")
    torch_cache.write_bytes(b"<!DOCTYPE html><html></html>")
    with pytest.raises(RegistryInvalid, match=r"is a web page: delete it, so that it is fetched again"):
        backend("torchvision:squeezenet1_1")
    snapshot = cached(hub_cache, "me/birds", config__json=config(), model__safetensors=b"")
    with pytest.raises(RegistryInvalid, match=r"model\.safetensors' is an empty file: delete it"):
        backend("timm:hf-hub:me/birds")
    save_file(timm.create_model(TINY, num_classes=5).state_dict(), snapshot / "model.safetensors")
    with pytest.raises(RegistryInvalid, match=r"is not those of this model, or damaged: delete it"):
        backend("timm:hf-hub:me/birds")


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.path,)


def test_a_pickle_in_a_cache_does_not_run(torch_cache: Path, hub_cache: Path, tmp_path: Path) -> None:
    """torchvision's own loader runs it, which is seen first."""
    sprung = tmp_path / "sprung"
    torch.save({"x": Trap(sprung)}, torch_cache)
    with pytest.raises(RuntimeError):
        torchvision.models.squeezenet1_1(weights=SQUEEZENET.DEFAULT, progress=False)
    assert sprung.exists()
    sprung.rmdir()
    with pytest.raises(RegistryInvalid, match="delete it, so that it is fetched again"):
        backend("torchvision:squeezenet1_1")
    cached(hub_cache, "me/birds", config__json=config(), pytorch_model__bin=torch_cache.read_bytes())
    with pytest.raises(RegistryInvalid, match="delete it, so that it is fetched again"):
        backend("timm:hf-hub:me/birds")
    assert not sprung.exists()
