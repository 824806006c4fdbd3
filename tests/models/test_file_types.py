"""Files that are something else than the model or the weights they are given as are named, and what to do is said."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.fakes.onnx_graphs import Graph

from wavescope.errors import RegistryInvalid
from wavescope.models.file_types import ONNX, TEXT, recognise
from wavescope.models.load import load
from wavescope.models.spec import ModelSpec

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 102530333\n"
ONNX_BYTES = Graph().model().SerializeToString()


def archive(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name in names:
            file.writestr(name, b"x" * 100)
    return made.getvalue()


def tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as file:
        file.addfile(tarfile.TarInfo("model.onnx"))
    return made.getvalue()


def npz() -> bytes:
    made = io.BytesIO()
    np.savez(made, weights=np.zeros(3))
    return made.getvalue()


def picture(kind: str) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (8, 8)).save(made, kind)
    return made.getvalue()


def safetensors() -> bytes:
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    return struct.pack("<Q", len(header)) + header + bytes(8)


FILES: dict[str, tuple[bytes, str, str]] = {
    "lfs": (LFS, "a Git LFS pointer, not the file itself", "git lfs pull"),
    "html": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "a web page", "download the file itself"),
    "html comment": (b"<!-- \xc3\xa9 --><HTML>", "a web page", "download the file itself"),
    "json": (b'{"error": "Repository not found"}', "a JSON document", "not the answer of an API"),
    "json with a mark": (b'\xef\xbb\xbf{"error": 1}', "a JSON document", "not the answer of an API"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML document", "download"),
    "text": (b"404: Not Found", "a text", "again"),
    "empty": (b"", "an empty file", "again"),
    "cut off": (ONNX_BYTES[:-20], "cut off before its end", "again"),
    "torch": (
        archive("model/data.pkl", "model/version", "model/data/0"),
        "a PyTorch checkpoint",
        "torch.onnx.export",
    ),
    "old torch": (
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M",
        "a PyTorch checkpoint",
        "torch.onnx.export",
    ),
    "torchscript": (
        archive("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"),
        "a TorchScript file",
        "torchscript:",
    ),
    "torch.export": (
        archive("m/archive_format", "m/models/model.json"),
        "a program of torch.export",
        "torch-export:",
    ),
    "cut off torch": (
        archive("model/data.pkl")[:-30],
        "a zip archive, as PyTorch writes, that is cut off",
        "again",
    ),
    "zip": (archive("readme.txt"), "a zip archive of no known kind", "unpack"),
    "keras": (archive("config.json", "metadata.json", "model.weights.h5"), "a Keras model", "tf2onnx"),
    "npz": (npz(), "an archive of NumPy arrays", "safetensors"),
    "pickle": (pickle.dumps({"a": 1}), "a Python pickle, which is never run", "safetensors"),
    "safetensors": (safetensors(), "a safetensors file", "weights of a torchvision or timm model"),
    "cut off safetensors": (safetensors()[:-4], "cut off before its end", "again"),
    "h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file, as Keras writes", "tf2onnx"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(100), "a TensorFlow Lite model", "tf2onnx"),
    "saved_model.pb": (b"\x08\x01\x12\x05abcde", "a TensorFlow SavedModel", "tf2onnx"),
    "gzip": (gzip.compress(ONNX_BYTES), "compressed by gzip", "unpack"),
    "tar": (tar(), "an archive", "unpack"),
    "tensorrt": (b"ptrt" + bytes(100), "an engine of TensorRT", "device: tensorrt"),
    "png": (picture("PNG"), "a picture", "the model's file"),
    "jpeg": (picture("JPEG"), "a picture", "the model's file"),
}


def opened(path: Path) -> object:
    spec = ModelSpec(
        name="toy", source=f"onnx:{path}", preprocessing=Graph().preprocessing, outputs="logits", device="cpu"
    )
    return load(spec, cache_dir=path.parent)


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_onnx_file_is_named_as_what_it_is(tmp_path: Path, name: str) -> None:
    content, phrase, remedy = FILES[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(RegistryInvalid) as caught:
        opened(path)
    said = caught.value.message
    assert said.startswith(f"model 'toy': source: {str(path)!r} is {phrase}")
    assert remedy in said.partition(phrase)[2]
    assert caught.value.limits["found"] == recognise(path).key


@pytest.mark.parametrize("word", ["BZhello", "GGUFoo", "ptrt", "ftrt", "Rar!ely", "abcdTFL3"])
def test_a_text_that_begins_as_a_format_does_is_a_text(tmp_path: Path, word: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_text(f"{word} and other words")
    assert recognise(path) is TEXT


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ((), "is a folder: name the model's file"),
        (("a.onnx", "b.onnx"), r"is a folder: it holds a\.onnx, b\.onnx: name the file"),
        (("saved_model.pb",), "is a TensorFlow SavedModel: convert it to ONNX with tf2onnx"),
    ],
)
def test_a_folder_is_one(tmp_path: Path, inside: tuple[str, ...], message: str) -> None:
    for name in inside:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(RegistryInvalid, match=message):
        opened(tmp_path)


def test_a_pointer_is_named_before_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(LFS)
    with pytest.raises(RegistryInvalid, match="is a Git LFS pointer"):
        load(
            ModelSpec(
                name="a",
                source=f"onnx:{path}",
                preprocessing=Graph().preprocessing,
                outputs="logits",
                sha256="0" * 64,
            ),
            cache_dir=tmp_path,
        )


def test_an_onnx_file_is_one_and_none_that_is_cut_off_is(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(ONNX_BYTES)
    assert recognise(path) is ONNX
    for end in range(1, len(ONNX_BYTES), 7):
        path.write_bytes(ONNX_BYTES[:end])
        assert recognise(path) is not ONNX, end


def written_by_torch(path: Path, what: Callable[..., None]) -> str | None:
    what(path)
    found = recognise(path)
    return None if found is None else found.key


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_what_torch_and_safetensors_write_is_recognised(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    module, state = torch.nn.Linear(3, 2).eval(), {"a": torch.zeros(3)}
    example = (torch.zeros(1, 3),)
    path = tmp_path / "file"
    assert written_by_torch(path, lambda at: torch.save(state, at)) == "torch"
    old = {"_use_new_zipfile_serialization": False}
    assert written_by_torch(path, lambda at: torch.save(state, at, **old)) == "torch"
    assert written_by_torch(path, lambda at: torch.jit.trace(module, example).save(str(at))) == "torchscript"
    program = torch.export.export(module, example)
    exported = tmp_path / "file.pt2"
    assert written_by_torch(exported, lambda at: torch.export.save(program, at)) == "torch-export"
    assert written_by_torch(path, lambda at: save_file(state, at)) == "safetensors"


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_never_an_error_of_its_own(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = tmp_path / "noise.onnx"
    heads = [content[:16] for content, _, _ in FILES.values()]
    for head in (b"", b"\x08", *heads):
        path.write_bytes(head + rng.bytes(int(rng.integers(1, 2000))))
        recognise(path)
