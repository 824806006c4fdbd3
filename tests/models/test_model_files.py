"""Which files a model is loaded from, and one that changes in that very moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from tests.fakes.onnx_models import OnnxToy

from wavescope.engine.types import Preprocessing
from wavescope.errors import WeightsUnavailable
from wavescope.models.files import files_beside_onnx, given_file
from wavescope.models.load import load
from wavescope.models.onnx import backend, external_files
from wavescope.models.sources import SOURCES, LoadOptions
from wavescope.models.spec import ModelSpec
from wavescope.settings import list_label_files

PREPROCESSING = Preprocessing(size=(16, 16))
DECLARED: dict[str, Any] = {"preprocessing": PREPROCESSING, "outputs": "logits"}


def in_two_files(folder: Path, seed: int) -> ModelSpec:
    """A model whose weights are in a file beside it."""
    spec = OnnxToy("toy", PREPROCESSING, seed).write(folder)
    path = Path(spec.reference)
    onnx.save(
        onnx.load(path), path, save_as_external_data=True, location=f"toy-{seed}.data", size_threshold=0
    )
    return spec


@pytest.mark.parametrize(
    ("source", "fields", "file"),
    [
        ("embedded:efficientnet-lite0", {}, None),
        ("embedded:efficientnet-lite0", {"weights": "/m/a.onnx"}, "/m/a.onnx"),
        ("timm:resnet50", {"weights": "random"}, None),
        ("torchvision:resnet50", {"weights": "IMAGENET1K_V2"}, None),
        ("torchvision:resnet50", {"weights": "/m/weights"}, "/m/weights"),
        ("timm:resnet50", {"weights": "a.safetensors"}, "a.safetensors"),
        *(
            (f"{kind.name}:/m/a", DECLARED | {"sha256": "0" * 64}, "/m/a")
            for kind in SOURCES.values()
            if kind.whole_file
        ),
        ("kserve-v1:http://localhost/v1/models/a", DECLARED, None),
    ],
)
def test_the_file_is_the_one_that_the_registry_names(
    source: str, fields: dict[str, Any], file: str | None
) -> None:
    found = given_file(ModelSpec(name="a", source=source, **fields))
    assert found == (None if file is None else Path(file))


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_names_across_blocks_are_found(tmp_path: Path, block: int) -> None:
    path = Path(in_two_files(tmp_path, 0).reference)
    assert external_files.referenced_files(path, block_bytes=block) == [tmp_path / "toy-0.data"]
    (tmp_path / "toy-0.data").unlink()
    assert external_files.referenced_files(path, block_bytes=block) == [tmp_path / "toy-0.data"]
    assert external_files.external_files(path) == []


def test_files_of_other_folders_are_not_looked_at(tmp_path: Path) -> None:
    """ONNX Runtime refuses them; the process that watches models reads none of them either."""
    (folder := tmp_path / "models").mkdir()
    names = ("../secret", "/etc/passwd", "sub/../../secret", "sub/a.data", "a/../b.data", ".")
    tensors = [
        onnx.TensorProto(external_data=[onnx.StringStringEntryProto(key="location", value=name)])
        for name in names
    ]
    path = folder / "a.onnx"
    path.write_bytes(onnx.ModelProto(graph=onnx.GraphProto(initializer=tensors)).SerializeToString())
    assert files_beside_onnx(path) == [folder / "a/../b.data", folder / "sub/a.data"]


@pytest.mark.parametrize("length", [127, 128, 250])
def test_long_names_are_found(tmp_path: Path, length: int) -> None:
    name = "x" * length
    entry = onnx.StringStringEntryProto(key="location", value=name)
    tensor = onnx.TensorProto(external_data=[entry])
    path = tmp_path / "a.onnx"
    path.write_bytes(onnx.ModelProto(graph=onnx.GraphProto(initializer=[tensor])).SerializeToString())
    assert external_files.referenced_files(path) == [tmp_path / name]


@pytest.mark.parametrize("which", ["toy.onnx", "toy-0.data"])
def test_a_file_that_is_replaced_while_it_is_loaded_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """Its scores would be of one content, and its revision of another."""
    spec = in_two_files(tmp_path, 0)
    loads: Callable[..., Any] = backend.load_onnx

    def replaced_meanwhile(spec: ModelSpec, options: LoadOptions) -> Any:
        model = loads(spec, options)
        fresh = tmp_path / "fresh"
        fresh.write_bytes((tmp_path / which).read_bytes())
        fresh.replace(tmp_path / which)
        return model

    monkeypatch.setattr(backend, "load_onnx", replaced_meanwhile)
    with pytest.raises(WeightsUnavailable, match=f"'{which}' was replaced or written to while it was loaded"):
        load(spec, cache_dir=tmp_path)
    monkeypatch.undo()
    first = load(spec, cache_dir=tmp_path)
    assert load(spec, cache_dir=tmp_path).details.revision == first.details.revision
    assert load(in_two_files(tmp_path, 1), cache_dir=tmp_path).details.revision != first.details.revision


def test_label_files_are_those_that_entries_name(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(
        "models: [{labels: birds.txt}, {labels: imagenet}, {labels: [a, b]}, {labels: /l/c.json}, {}, 3]"
    )
    assert list_label_files(file) == (tmp_path / "birds.txt", Path("/l/c.json"))
    file.write_text("models: [")
    assert list_label_files(file) == ()
