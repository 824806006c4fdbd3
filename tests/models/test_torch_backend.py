"""torchvision and timm by name: preprocessing from the weights' metadata, weights from files."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from wavescope.engine.protocols import Classifier
from wavescope.engine.types import Preprocessing
from wavescope.errors import RegistryInvalid, WeightsUnavailable
from wavescope.models.labels import IMAGENET
from wavescope.models.load import load
from wavescope.models.sources import LoadOptions
from wavescope.models.spec import ModelSpec
from wavescope.models.torch.zoos import load_torchvision

SMALL = Preprocessing(size=(64, 64), resize=64)


def backend(source: str, **fields: Any) -> Classifier:
    fields = {"weights": "random", "device": "cpu"} | fields
    return load(ModelSpec(name="m", source=source, **fields), cache_dir=Path("unused"), threads=2)


def images(side: int = 64, rows: int = 3) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, 3, side, side), dtype=np.float32)


@pytest.fixture(scope="module")
def resnet() -> torch.nn.Module:
    torch.manual_seed(7)
    return torchvision.models.resnet18(weights=None).eval()


def test_torchvision_preprocessing_is_that_of_its_weights() -> None:
    details = backend("torchvision:resnet18").details
    assert details.preprocessing == Preprocessing(
        size=(224, 224),
        resize=256,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        interpolation="bilinear",
    )
    assert details.labels == IMAGENET
    assert (details.outputs, details.device, details.precision) == ("logits", "cpu", "float32")
    assert details.runtime == f"torch {torch.__version__}"


def test_timm_preprocessing_is_that_of_its_weights() -> None:
    details = backend("timm:resnet18").details
    # crop_pct 0.95 of the tag a1_in1k
    assert details.preprocessing.resize == int(224 / 0.95)
    assert details.preprocessing.interpolation == "bicubic"
    assert details.labels == IMAGENET


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("source", ["torchvision:resnet18", "timm:resnet18"])
def test_weights_come_back_from_a_file(
    resnet: torch.nn.Module, tmp_path: Path, suffix: str, source: str
) -> None:
    module = resnet if source.startswith("torchvision") else timm.create_model("resnet18").eval()
    path = tmp_path / f"weights{suffix}"
    state = {name: value.contiguous() for name, value in module.state_dict().items()}
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(
            {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, path
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    model = backend(source, weights=str(path), preprocessing=SMALL, sha256=digest)
    with torch.inference_mode():
        expected = module(torch.from_numpy(images()))
    found = model.forward(model.to_device(images()))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_labels_decide_the_number_of_classes_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "birds.pth"
    torch.save(torchvision.models.resnet18(weights=None, num_classes=2).state_dict(), path)
    fields: dict[str, Any] = {"weights": str(path), "preprocessing": SMALL}
    model = backend("torchvision:resnet18", labels=("wren", "robin"), **fields)
    assert model.forward(model.to_device(images())).shape == (3, 2)
    with pytest.raises(
        RegistryInvalid, match="for a classifier of another number of classes, give its labels"
    ):
        backend("torchvision:resnet18", **fields)


def test_random_weights_are_the_same_every_time_and_leave_the_global_state() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second = (backend("torchvision:resnet18", preprocessing=SMALL) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    given = first.to_device(images())
    assert torch.equal(first.forward(given), second.forward(given))


def test_batches_larger_than_the_device_batch_are_split() -> None:
    model = backend("torchvision:resnet18", preprocessing=SMALL, batch_size=2)
    given = model.to_device(images(rows=5))
    parts = torch.cat([model.forward(given[start : start + 2]) for start in (0, 2, 4)])
    assert torch.equal(model.forward(given), parts)


@pytest.mark.filterwarnings("error")
def test_to_device_keeps_the_dtype_and_takes_read_only_arrays() -> None:
    model = backend("torchvision:resnet18", preprocessing=SMALL)
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    array.flags.writeable = False
    tensor = model.to_device(array)
    assert (tensor.dtype, tuple(tensor.shape)) == (torch.int32, (2, 3))


def test_bfloat16_is_close_to_float32_and_returns_float32() -> None:
    exact = backend("torchvision:resnet18", preprocessing=SMALL)
    reduced = backend("torchvision:resnet18", preprocessing=SMALL, precision="bfloat16")
    given = exact.to_device(images())
    found, expected = reduced.forward(given), exact.forward(given)
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < 0.05 * expected.abs().max()


def test_results_are_fetched_and_images_rendered_as_a_device_wants_it() -> None:
    spec = ModelSpec(
        name="m", source="torchvision:resnet18", weights="random", device="cpu", preprocessing=SMALL
    )
    model = load_torchvision(spec, LoadOptions(Path("unused"), threads=2))
    with model.rendering():
        given = model.to_device(images())
    found = model.forward(given)
    assert (model.fetch(found)() == found.numpy()).all()


def test_float16_on_a_cpu_is_refused() -> None:
    with pytest.raises(RegistryInvalid, match="float16 is not supported on cpu: float32, bfloat16"):
        backend("torchvision:resnet18", precision="float16")


def test_a_gpu_that_cannot_be_had_is_refused() -> None:
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(RegistryInvalid, match=f"'{absent}' cannot be had"):
        backend("torchvision:resnet18", device=absent)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("torchvision:resnet19", r"no classifier 'resnet19'; close: \['resnet18'"),
        ("torchvision:fasterrcnn_resnet50_fpn", "no classifier"),
        ("timm:resnet19", "no model 'resnet19'; close: "),
    ],
)
def test_an_unknown_name_is_refused_with_close_ones(source: str, message: str) -> None:
    with pytest.raises(RegistryInvalid, match=message):
        backend(source)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """No network, where a pause before a retry is noted, in seconds, and left out."""
    # Nothing listens on the port of a proxy on loopback: as offline as a machine can be.
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


@pytest.mark.parametrize("source", ["torchvision:resnet18", "timm:resnet18"])
def test_weights_that_cannot_be_had_are_an_error_at_once(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: list[float]
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsUnavailable, match=r"not cached, .*; give weights: <path") as caught:
        backend(source, weights=None)
    assert caught.value.field == "weights"
    assert not offline, "the hub's client would retry for most of a minute"


def test_torchvision_weights_in_the_cache_need_no_network(
    resnet: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    entry = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    (tmp_path / "checkpoints").mkdir()
    torch.save(resnet.state_dict(), tmp_path / "checkpoints" / Path(entry.url).name)
    # torchvision verifies the digest of what it downloads, not of what is cached.
    model = backend("torchvision:resnet18", weights="IMAGENET1K_V1", preprocessing=SMALL)
    with torch.inference_mode():
        expected = resnet(torch.from_numpy(images()))
    torch.testing.assert_close(model.forward(model.to_device(images())), expected, rtol=1e-4, atol=1e-4)


def test_timm_weights_in_the_cache_need_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: list[float]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--timm--resnet18.a1_in1k"
    snapshot = repository / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0")
    torch.manual_seed(5)
    module = timm.create_model("resnet18").eval()
    save_file(module.state_dict(), snapshot / "model.safetensors")
    model = backend("timm:resnet18", weights=None, preprocessing=SMALL)
    assert not offline, "the hub's client would retry for most of a minute"
    with torch.inference_mode():
        expected = module(torch.from_numpy(images()))
    torch.testing.assert_close(model.forward(model.to_device(images())), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ("absent.pth", WeightsUnavailable, "there is no file"),
        ("IMAGENET1K_V9", RegistryInvalid, "is none of IMAGENET1K_V1, DEFAULT, random, <path>"),
    ],
)
def test_weights_that_do_not_exist_are_named(weights: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        backend("torchvision:resnet18", weights=weights)


@pytest.mark.parametrize("name", ["noise.pth", "noise.safetensors"])
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(np.random.default_rng(0).bytes(500))
    with pytest.raises(RegistryInvalid, match="is not a weights file"):
        backend("torchvision:resnet18", weights=str(path))


def test_weights_of_another_model_are_refused(tmp_path: Path, resnet: torch.nn.Module) -> None:
    path = tmp_path / "resnet.safetensors"
    save_file(resnet.state_dict(), path)
    with pytest.raises(RegistryInvalid, match=r"none of its 122 tensors .* has a name of the model's"):
        backend("torchvision:alexnet", weights=str(path))


def test_a_size_the_model_cannot_run_on_is_refused() -> None:
    with pytest.raises(
        RegistryInvalid,
        match=r"does not run on images of \(3, 64, 64\): its weights are for 224 x 224: give size: \[224, 224\]",
    ):
        backend("torchvision:vit_b_16", preprocessing=SMALL)
    with pytest.raises(
        RegistryInvalid,
        match=r"images of \(3, 64, 64\): its weights are for 224 x 224: give size: \[224, 224\]",
    ):
        backend("timm:vit_tiny_patch16_224", preprocessing=SMALL)


def test_channels_that_the_model_does_not_take_are_named() -> None:
    grey = Preprocessing(size=(64, 64), resize=64, mean=(0.5,), std=(0.5,))
    with pytest.raises(
        RegistryInvalid, match="first layer takes 3 channels: mean and std need 3 numbers each"
    ):
        backend("torchvision:resnet18", preprocessing=grey)


def test_probabilities_cannot_be_claimed_for_logits() -> None:
    with pytest.raises(RegistryInvalid, match="do not sum to 1"):
        backend("torchvision:resnet18", preprocessing=SMALL, outputs="probabilities")
