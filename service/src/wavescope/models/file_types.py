"""Types of files by their first bytes, for files that are not the model or the weights they are given as.

Only the beginning of a file is read, and lists of what it holds; nothing is loaded.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from wavescope.file_magic import HEAD_BYTES, recognise_magic, recognise_text
from wavescope.models.spec import ModelSpec

MAX_SAFETENSORS_HEADER_BYTES: Final = 100_000_000
_AS_WEIGHTS = "give it as weights of a torchvision or timm model"
_AGAIN = "fetch or copy it again"


@dataclass(frozen=True, slots=True)
class FileType:
    """A type of files, with what to do about one.

    Attributes:
        key: a word for the type.
        name: a noun phrase, with its article.
        remedy: what to do where another file was meant.
    """

    key: str
    name: str
    remedy: str


_TO_ONNX = "convert it to ONNX with tf2onnx"
ONNX = FileType("onnx", "an ONNX file", "give it as source: onnx:PATH")
TORCH = FileType(
    "torch", "a PyTorch checkpoint", f"{_AS_WEIGHTS}, or export the model with torch.onnx.export"
)
TORCHSCRIPT = FileType("torchscript", "a TorchScript file", "give it as source: torchscript:PATH")
TORCH_EXPORT = FileType("torch-export", "a program of torch.export", "give it as source: torch-export:PATH")
SAFETENSORS = FileType("safetensors", "a safetensors file, which holds weights without a model", _AS_WEIGHTS)
EMPTY = FileType("empty", "an empty file", _AGAIN)
LFS_POINTER = FileType("lfs", "a Git LFS pointer, not the file itself", "fetch the file with 'git lfs pull'")
HTML = FileType("html", "a web page", "download the file itself, not the page that shows it")
JSON = FileType("json", "a JSON document", "download the file itself, not the answer of an API")
XML = FileType("xml", "an XML document", "download the file itself; OpenVINO models are not read")
TEXT = FileType("text", "a text", _AGAIN)
CUT_OFF = FileType("cut-off", "cut off before its end", _AGAIN)
ARCHIVE = FileType("archive", "an archive", "unpack it and name the file within")
ZIP = FileType("zip", "a zip archive of no known kind", "unpack it and name the file within")
NUMPY = FileType("numpy", "an archive of NumPy arrays", "save the weights as .safetensors")
PICKLE = FileType("pickle", "a Python pickle, which is never run", "save the weights as .safetensors")
HDF5 = FileType("hdf5", "an HDF5 file, as Keras writes (.h5)", _TO_ONNX)
KERAS = FileType("keras", "a Keras model", _TO_ONNX)
SAVED_MODEL = FileType("saved-model", "a TensorFlow SavedModel", _TO_ONNX)
TFLITE = FileType("tflite", "a TensorFlow Lite model", _TO_ONNX)
TENSORRT = FileType(
    "tensorrt", "an engine of TensorRT", "give the ONNX file that it was built from, with device: tensorrt"
)
GGUF = FileType("gguf", "a GGUF file of a language model", "give an image classifier")
PICTURE = FileType("picture", "a picture", "name the model's file")

# By the keys of file_magic.
_COMMON: Final = {
    "lfs": LFS_POINTER,
    "hdf5": HDF5,
    "gzip": FileType("gzip", "compressed by gzip", "unpack it"),
    "zstd": FileType("zstd", "compressed by zstd", "unpack it"),
    "xz": FileType("xz", "compressed by xz", "unpack it"),
    "bzip2": FileType("bzip2", "compressed by bzip2", "unpack it"),
    "7z": ARCHIVE,
    "rar": ARCHIVE,
    "tar": ARCHIVE,
    "numpy": FileType("numpy", "a NumPy array", "save the weights as .safetensors"),
    "html": HTML,
    "xml": XML,
    "json": JSON,
    "text": TEXT,
}
_MAGIC: Final[tuple[tuple[re.Pattern[bytes], FileType], ...]] = (
    (re.compile(rb"GGUF(?:[\x01-\x0f]\x00\x00\x00|\x00\x00\x00[\x01-\x0f])"), GGUF),
    (re.compile(rb"[pf]trt[^ -~\s]"), TENSORRT),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), PICTURE),
    (re.compile(rb"\xff\xd8\xff"), PICTURE),
    # What torch.save wrote before 1.6 begins with its own number, pickled.
    (re.compile(rb"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\."), TORCH),
    # saved_model_schema_version = 1, then the first graph; the field's number is that of ONNX's ir_version, which
    # has been 3 or more in every file.
    (re.compile(rb"\x08\x01\x12"), SAVED_MODEL),
    (re.compile(rb"..\x00\x00TFL3", re.DOTALL), TFLITE),
)


def recognise(path: Path) -> FileType | None:
    """Recognise the type of the file or folder at ``path``; ``None`` where it cannot be said.

    Args:
        path: of something that is there and can be read.

    Raises:
        OSError: it cannot.
    """
    if path.is_dir():
        return _recognise_folder(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if not head:
            return EMPTY
        # Before all others: it begins with a number, which may look like the mark of any of them.
        if head[8:9] == b"{" and 2 <= _little_endian(head[:8]) <= MAX_SAFETENSORS_HEADER_BYTES:
            return _recognise_safetensors(file, size)
        common = recognise_magic(head)
        if common is not None:
            return _COMMON[common]
        for magic, found in _MAGIC:
            if magic.match(head):
                return found
        if head.startswith(b"PK\x03\x04"):
            return _recognise_zip(path)
        if head[0] == 0x80 and len(head) > 1 and 2 <= head[1] <= 5:
            return PICKLE
        if head[0] == 0x08:
            return _recognise_protobuf(file, size)
    kind = recognise_text(head)
    return (
        None if kind is None else XML if kind == "text" and head.lstrip().startswith(b"<") else _COMMON[kind]
    )


# What downloads leave where any bytes may stand, as in files of raw tensors.
LEFT_BY_DOWNLOADS: Final = frozenset((LFS_POINTER, HTML, EMPTY))


def check_type(spec: ModelSpec, path: Path, *, field: str, expected: Collection[FileType]) -> None:
    """Refuse a file that is recognised as of another type than those expected; a missing file passes.

    Args:
        spec: of the model, for messages.
        path: of the file.
        field: of the specification that names it.
        expected: what it may be, where it can be said.

    Raises:
        RegistryInvalid: names what it is, and what to do.
    """
    try:
        found = recognise(path)
    except OSError:
        return  # whoever reads it says so
    if found is not None and found not in expected:
        raise spec.invalid(field, f"{str(path)!r} is {found.name}: {found.remedy}", found=found.key)


def _recognise_folder(path: Path) -> FileType:
    if (path / "saved_model.pb").is_file():
        return SAVED_MODEL
    within = sorted(file.name for file in path.glob("*.onnx"))
    remedy = f"it holds {', '.join(within[:3])}: name the file" if within else "name the model's file"
    return FileType("folder", "a folder", remedy)


def _recognise_zip(path: Path) -> FileType:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return FileType("cut-off", "a zip archive, as PyTorch writes, that is cut off or damaged", _AGAIN)
    last = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in last and any("/code/" in f"/{name}" for name in names):
        return TORCHSCRIPT
    if "serialized_exported_program.json" in last or "archive_format" in last:
        return TORCH_EXPORT
    if "data.pkl" in last:
        return TORCH
    if {"config.json", "model.weights.h5"} <= last:
        return KERAS
    if names and all(name.endswith(".npy") for name in names):
        return NUMPY
    return ZIP


def _recognise_safetensors(file: BinaryIO, size: int) -> FileType:
    file.seek(0)
    length = _little_endian(file.read(8))
    header = file.read(length)
    try:
        entries = json.loads(header)
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
        complete = len(header) == length and 8 + length + max(ends, default=0) <= size
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        complete = len(header) == length
    return SAFETENSORS if complete else CUT_OFF


def _recognise_protobuf(file: BinaryIO, size: int) -> FileType | None:
    """An ONNX file by the fields of its outermost message, of which only tags and lengths are read."""
    fields: set[int] = set()
    try:
        for number, end in _fields(file):
            if end > size:
                return CUT_OFF
            fields.add(number)
    except EOFError:
        return CUT_OFF
    except ValueError:
        return None
    if {1, 7} <= fields:  # ir_version and graph
        return ONNX
    # Serialisers write fields in order, so that the graph is missing where the end is.
    return None


def _fields(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """(number, where it ends) of each field of a protocol buffer.

    Raises:
        EOFError: the file ends within a tag, a length or a number.
        ValueError: this is no protocol buffer.
    """
    file.seek(0)
    while (tag := _varint(file, end_allowed=True)) is not None:
        kind = tag & 7
        if tag >> 3 == 0:
            raise ValueError("no field has the number 0")
        if kind == 0:
            _varint(file)
        elif kind in (1, 5):
            file.seek(8 if kind == 1 else 4, 1)
        elif kind == 2:
            length = _varint(file)
            assert length is not None
            file.seek(length, 1)
        else:
            raise ValueError("no ONNX file has such a field")
        yield tag >> 3, file.tell()


def _varint(file: BinaryIO, *, end_allowed: bool = False) -> int | None:
    value = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)
        if not byte:
            if end_allowed and shift == 0:
                return None
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            # Longer than any file; seeking there would fail.
            return min(value, 2**62)
    raise ValueError("too long for a number")


def _little_endian(raw: bytes) -> int:
    return int.from_bytes(raw, "little")
