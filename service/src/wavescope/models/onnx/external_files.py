"""The files beside an ONNX file that hold its tensors, for models beyond two gigabytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from wavescope.models.file_types import LEFT_BY_DOWNLOADS, recognise
from wavescope.models.spec import ModelSpec

BLOCK_BYTES = 2**22

# An entry {key: "location", value: <path>} of TensorProto.external_data as protocol buffers are written, its two fields
# in order as every writer puts them; paths shorter than 128 bytes have one byte of length, longer ones two.
_LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f]|[\x80-\xff][\x01-\x7f])", re.DOTALL)
_LONGEST = 2**14 + 13  # bytes of an entry: key, two bytes of length, and a path that these can say


def onnx_files(spec: ModelSpec, cache_dir: Path) -> tuple[Path, ...]:
    """The ONNX file that ``spec.source`` names, and those beside it that hold its tensors."""
    del cache_dir
    return with_external_files(Path(spec.reference))


def with_external_files(path: Path) -> tuple[Path, ...]:
    """An ONNX file, and those beside it that hold its tensors, where it is there."""
    return (path, *(external_files(path) if path.is_file() else ()))


def external_files(path: Path) -> list[Path]:
    """The files that tensors are kept in, each once, in order; those that are not there are left out.

    That they lie below the model's own folder is ONNX Runtime's check, which refuses other paths and links out of it.

    Args:
        path: of the ONNX file.
    """
    return [file for file in referenced_files(path) if file.is_file()]


def referenced_files(path: Path, *, block_bytes: int = BLOCK_BYTES) -> list[Path]:
    """The files that tensors are said to be kept in, as of :func:`external_files`, whether or not they are there.

    Args:
        path: of the ONNX file. It may be cut off while it is read: it is not mapped into memory, where that would end
            the process.
        block_bytes: read at once.
    """
    found: dict[Path, None] = {}
    for block in _blocks(path, block_bytes):
        for match in _LOCATION.finditer(block):
            length = match[1][0] if len(match[1]) == 1 else (match[1][0] & 0x7F) | match[1][1] << 7
            name = block[match.end() : match.end() + length]
            if b"\0" not in name and len(name) == length:
                found[path.parent / name.decode("utf-8", "replace")] = None
    return sorted(found)


def quantises_batches(path: Path, *, block_bytes: int = BLOCK_BYTES) -> bool:
    """Whether a model quantises its activations by a scale of the whole batch, so that images change each other.

    Args:
        path: path of the ONNX file.
        block_bytes: bytes read at once.
    """
    return any(b"DynamicQuantizeLinear" in block for block in _blocks(path, block_bytes))


def check_external_files(spec: ModelSpec, path: Path, files: Iterable[Path], *, field: str) -> None:
    """Check that the files beside an ONNX file are there, and are what was downloaded.

    Args:
        spec: of the model, for messages.
        path: of the ONNX file.
        files: the files that it names, as of :func:`referenced_files`.
        field: of the specification that names it.

    Raises:
        RegistryInvalid: with the first that is not.
    """
    for file in files:
        # Paths that lead out of the folder are ONNX Runtime's to refuse: nothing is said of what is there.
        if not file.resolve().is_relative_to(path.parent.resolve()):
            continue
        where = f"{str(path)!r} keeps weights in {file.name!r}, which"
        if not file.is_file():
            raise spec.invalid(field, f"{where} is not beside it: put it there, as it was saved")
        try:
            found = recognise(file)
        except OSError as error:
            raise spec.invalid(field, f"{where} cannot be read: {error.strerror}") from error
        if found in LEFT_BY_DOWNLOADS:
            raise spec.invalid(field, f"{where} is {found.name}: {found.remedy}")


def _blocks(path: Path, block_bytes: int) -> Iterator[bytes]:
    """The content of a file in blocks that overlap by the longest entry."""
    carried = b""
    with path.open("rb") as file:
        while block := file.read(block_bytes):
            whole = carried + block
            yield whole
            carried = whole[-_LONGEST:]
