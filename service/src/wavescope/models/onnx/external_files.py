"""The files beside an ONNX file that hold its tensors, for models beyond two gigabytes."""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wavescope.models.spec import ModelSpec

# An entry {key: "location", value: <path>} of TensorProto.external_data as protocol buffers are written, its two fields
# in order as every writer puts them; paths shorter than 128 bytes have one byte of length, longer ones two.
_LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f]|[\x80-\xff][\x01-\x7f])", re.DOTALL)


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
    if path.stat().st_size == 0:
        return []
    found: dict[Path, None] = {}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for match in _LOCATION.finditer(content):
            length = match[1][0] if len(match[1]) == 1 else (match[1][0] & 0x7F) | match[1][1] << 7
            name = bytes(content[match.end() : match.end() + length])
            if b"\0" not in name:
                found[path.parent / name.decode("utf-8", "replace")] = None
    return sorted(file for file in found if file.is_file())
