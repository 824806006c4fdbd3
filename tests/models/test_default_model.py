"""The embedded EfficientNet-Lite0: real weights, real photographs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from wavescope.engine.types import Preprocessing
from wavescope.errors import RegistryInvalid, WeightsUnavailable
from wavescope.models.load import load
from wavescope.models.onnx import embedded, export
from wavescope.models.onnx.backend import OnnxBackend
from wavescope.models.spec import DEFAULT_MODEL, ModelSpec

Normalised = Callable[[str, Preprocessing], np.ndarray]

CATS = {"tabby", "tiger cat", "Egyptian cat"}
MAX_RESIDENT_MB = 400


def probabilities(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def noise(rows: int) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, 3, 224, 224), dtype=np.float32)


def test_chelsea_is_a_cat(default_model: OnnxBackend, normalised: Normalised) -> None:
    details = default_model.details
    scores = default_model.forward(normalised("chelsea.png", details.preprocessing))
    (found,) = probabilities(scores)
    ranked = [details.labels[index] for index in np.argsort(-found)]
    assert set(ranked[:3]) == CATS
    assert found.max() > 0.3
    assert sum(found[details.labels.index(cat)] for cat in CATS) > 0.8


@pytest.mark.parametrize(
    ("name", "label", "at_least"), [("coffee.png", "espresso", 0.8), ("rocket.jpg", "missile", 0.3)]
)
def test_photographs_are_recognised(
    default_model: OnnxBackend, normalised: Normalised, name: str, label: str, at_least: float
) -> None:
    details = default_model.details
    (found,) = probabilities(default_model.forward(normalised(name, details.preprocessing)))
    assert details.labels[int(found.argmax())] == label
    assert found.max() > at_least


def test_details_state_what_runs(default_model: OnnxBackend) -> None:
    details = default_model.details
    assert details.preprocessing.shape == (3, 224, 224)
    assert (details.outputs, details.precision, details.device) == ("logits", "float32", "cpu")
    assert details.runtime.startswith("onnxruntime ")
    assert len(details.labels) == 1000
    assert 4 <= details.batch_size <= 8


def test_onnx_agrees_with_torch(default_model: OnnxBackend, normalised: Normalised) -> None:
    images = normalised("chelsea.png", default_model.details.preprocessing)
    with torch.inference_mode():
        expected = export.build()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(default_model.forward(images), expected, atol=1e-4)


def test_an_image_has_the_same_bits_whatever_the_batch_and_the_threads(
    default_model: OnnxBackend, cache_dir: Path
) -> None:
    images = noise(13)
    alone = np.concatenate([default_model.forward(images[row : row + 1]) for row in range(13)])
    for rows in (2, 3, 7, 8, 13):
        together = [default_model.forward(images[start : start + rows]) for start in range(0, 13, rows)]
        np.testing.assert_array_equal(np.concatenate(together), alone)
    for threads in (1, 3):
        other = load(DEFAULT_MODEL, cache_dir=cache_dir, threads=threads)
        np.testing.assert_array_equal(other.forward(images), alone)


def test_read_only_and_strided_images_are_taken(default_model: OnnxBackend) -> None:
    images = noise(4)
    images.flags.writeable = False
    expected = default_model.forward(images[::2].copy())
    np.testing.assert_array_equal(default_model.forward(images[::2]), expected)


def test_serving_never_imports_torch_and_stays_small(exported_model: Path) -> None:
    script = """
import sys
from pathlib import Path
import numpy as np
from wavescope.models.load import load
from wavescope.models.spec import DEFAULT_MODEL
model = load(DEFAULT_MODEL, cache_dir=Path(sys.argv[1]), threads=2)
images = np.zeros((8, 3, 224, 224), np.float32)
for rows in (8, 8, 5, 8, 1, 8):
    model.forward(images[:rows])
status = Path("/proc/self/status").read_text().splitlines()
peak_kb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(peak_kb // 1024, *sorted({"torch", "timm", "onnx", "onnxscript", "PIL", "ray"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", script, str(exported_model.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak_mb, *imported = done.stdout.split()
    assert imported == []
    assert int(peak_mb) <= MAX_RESIDENT_MB


def test_a_cached_export_is_not_made_again(
    exported_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    assert embedded.exported(exported_model.parent) == exported_model


def test_callers_at_once_export_once(
    exported_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stand-in for the interpreter: it copies what was exported before, counts its runs, and is slow enough to race.
    runs = tmp_path / "runs"
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\necho run >> "{runs}"\ncp "{exported_model}" "$4"\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    cache = tmp_path / "cache"
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(embedded.exported, [cache] * 4))
    assert paths == {embedded.cached_path(cache)}
    assert runs.read_text().split() == ["run"]
    assert sorted(path.suffix for path in cache.iterdir()) == [".lock", ".onnx"]


def test_a_failed_export_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text('#!/bin/sh\necho half > "$4"\necho "no space left" >&2\nexit 1\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    with pytest.raises(WeightsUnavailable, match="no space left"):
        embedded.exported(tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_an_unusable_cache_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsUnavailable, match="WAVESCOPE_CACHE_DIR") as caught:
        embedded.exported(tmp_path / "file" / "cache")
    assert caught.value.field == "cache_dir"


def test_an_exported_file_can_be_given(
    exported_model: Path, tmp_path: Path, default_model: OnnxBackend
) -> None:
    spec = ModelSpec(name="lite", source=DEFAULT_MODEL.source, weights=str(exported_model))
    given = load(spec, cache_dir=tmp_path / "absent")
    images = noise(2)
    np.testing.assert_array_equal(given.forward(images), default_model.forward(images))
    assert not (tmp_path / "absent").exists()


def test_an_unknown_embedded_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryInvalid, match="no embedded model 'resnet'"):
        load(ModelSpec(name="m", source="embedded:resnet"), cache_dir=tmp_path)
