"""Models on a CUDA device: recorded batches, rendering beside them, results fetched later. Needs torch, no Ray."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.gpu.device import DEVICE, MARKS, only_cuda, torch

from wavescope.core.partition import partition
from wavescope.core.rendering.renderer import Finish, Renderer
from wavescope.core.rendering.wavelet import WaveletSynthesis
from wavescope.core.sobol.design import sobol
from wavescope.core.wavelets import analyse
from wavescope.engine.types import Preprocessing
from wavescope.models.load import load
from wavescope.models.sources import LoadOptions
from wavescope.models.spec import ModelSpec
from wavescope.models.torch.backend import TorchBackend
from wavescope.models.torch.device import fixed_batch, record_compiled
from wavescope.models.torch.zoos import load_torchvision

pytestmark = MARKS

SIDE = 64
BATCH = 8
PREPROCESSING = Preprocessing(size=(SIDE, SIDE), resize=SIDE)
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.05, "float16": 0.01}
PRECISIONS = ["float32", "bfloat16", "float16"] if DEVICE == "cuda" else ["float32", "bfloat16"]


def backend(**fields: Any) -> TorchBackend:
    given = {
        "weights": "random",
        "device": DEVICE,
        "batch_size": BATCH,
        "preprocessing": PREPROCESSING,
    } | fields
    spec = ModelSpec(name="m", source="torchvision:resnet18", **given)
    return load_torchvision(spec, LoadOptions(Path("unused")))


def images(rows: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, 3, SIDE, SIDE), dtype=np.float32)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_scores_are_those_of_a_cpu_in_float32(precision: str) -> None:
    exact, model = backend(device="cpu"), backend(precision=precision)
    expected = exact.forward(exact.to_device(images(11))).numpy()
    found = model.forward(model.to_device(images(11)))
    assert found.dtype == torch.float32
    bound = TOLERANCES[precision] * float(np.abs(expected).max())
    np.testing.assert_allclose(found.cpu().numpy(), expected, rtol=0, atol=bound)


@only_cuda
@pytest.mark.parametrize("precision", PRECISIONS)
def test_scores_have_the_same_bits_whatever_the_batch(precision: str) -> None:
    model = backend(precision=precision)
    assert model.details.runtime == f"torch {torch.__version__}, CUDA graph"
    given = model.to_device(images(BATCH))
    whole = model.forward(given)
    for rows in (1, 3, BATCH):
        assert torch.equal(model.forward(given[:rows]), whole[:rows])


@only_cuda
def test_a_module_that_asks_the_host_is_not_captured_and_runs_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def asks(given: Any) -> Any:
        return given.flatten(1) * float(given[0, 0, 0, 0].item() > 0)

    given = torch.zeros(BATCH, 3, 2, 2, device=DEVICE)
    with caplog.at_level(logging.WARNING):
        found = fixed_batch(asks, given, torch.inference_mode, name="m")
    assert found is None or found[0] == "compiled"
    (line,) = caplog.records
    assert "CUDA graph: " in line.getMessage()
    assert asks(torch.ones(2, 3, 2, 2, device=DEVICE)).sum().item() == 24


@only_cuda
@pytest.mark.slow
def test_what_is_compiled_gives_the_same_scores() -> None:
    model = (
        torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten()).to(DEVICE).eval()
    )
    given = torch.zeros(BATCH, 3, SIDE, SIDE, device=DEVICE)
    records = {"compiled": record_compiled}
    found = fixed_batch(model, given, torch.inference_mode, name="m", records=records)
    assert found is not None
    moved = torch.from_numpy(images(5)).to(DEVICE)
    with torch.inference_mode():
        expected = model(moved)
    torch.testing.assert_close(found[1](moved), expected, rtol=1e-3, atol=1e-3)


def renderer(model: TorchBackend) -> Renderer:
    coefficients = analyse(np.random.default_rng(0).random((3, SIDE, SIDE)), "haar", 3)
    made = partition("grid", SIDE, SIDE, 3, grid_size=8, approximation="perturb")
    mean, std = (model.to_device(np.full((3, 1, 1), value, np.float32)) for value in (0.45, 0.25))
    synthesis = WaveletSynthesis(coefficients, (SIDE, SIDE), "haar", 3, made, mean)
    return Renderer(synthesis, made.n_factors, Finish("clip", mean, std), batched=True)


def test_rendering_beside_the_model_into_one_buffer_gives_the_numbers_of_one_after_the_other() -> None:
    """All batches of a design launched before the first result is read; against waiting after every step."""
    model, design = backend(), sobol(64, 4, 0)
    buffer = model.to_device(np.zeros((BATCH, 3, SIDE, SIDE), np.float32))
    with model.rendering():
        render = renderer(model)
    pending: list[Callable[[], np.ndarray]] = []
    for start in range(0, 4 * 66, BATCH):
        with model.rendering():
            given = render.rows(design, start, start + BATCH, out=buffer)
        pending.append(model.fetch(model.forward(given)))
    found = np.concatenate([wait() for wait in pending])

    alone = renderer(model)
    expected = []
    for start in range(0, 4 * 66, BATCH):
        given = alone.rows(design, start, start + BATCH)
        expected.append(model.forward(given).cpu().numpy())
    assert (found == np.concatenate(expected)).all()


def test_an_onnx_model_takes_what_torch_rendered(tmp_path: Path) -> None:
    """By the embedded model, whose file is exported once; on a GPU its images never leave it."""
    ort = pytest.importorskip("onnxruntime")
    if DEVICE == "cuda" and "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA")
    source = "embedded:efficientnet-lite0"
    here, there = (
        load(ModelSpec(name="m", source=source, device=device), cache_dir=tmp_path)
        for device in ("cpu", DEVICE)
    )
    given = np.random.default_rng(0).standard_normal((3, 3, 224, 224), dtype=np.float32)
    found = there.forward(there.to_device(given))
    if DEVICE == "cuda":
        assert found.device.type == "cuda"
        found = found.cpu()
    np.testing.assert_allclose(np.asarray(found), here.forward(given), rtol=0, atol=1e-2)
