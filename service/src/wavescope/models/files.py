"""Files that a model is loaded from, and whether they are still the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from wavescope.models.onnx.external_files import referenced_files
from wavescope.models.spec import WEIGHTS_ENTRY, ModelSpec

URL = "://"

# Device, inode, size, and times of the last change of content and of the inode, ns; None where there is no file.
Identity = tuple[int, int, int, int, int] | None


def files_of(spec: ModelSpec, cache_dir: Path) -> tuple[Path, ...]:
    """The files that loading ``spec`` reads, whether or not they are there yet.

    Those beside an ONNX file that hold its weights are among them; headers' are not, which are read for each request.

    Args:
        spec: of the model.
        cache_dir: where the embedded model's exported file is kept.

    Raises:
        ImportError: what runs the model is not installed.
    """
    return spec.source_kind.files_of(spec, cache_dir)


def given_file(spec: ModelSpec) -> Path | None:
    """The file of the whole model, or of its weights, that the registry names; ``None`` where it names none.

    No runtime is imported to know it. Files that Wavescope or a hub keep in caches are not among them: their names say
    what is in them.
    """
    if spec.source_kind.whole_file:
        return Path(spec.reference)
    if spec.weights is None or not is_path(spec.weights):
        return None
    return Path(spec.weights)


def files_beside(spec: ModelSpec) -> Callable[[Path], Sequence[Path]] | None:
    """The function that lists the files that hold the tensors of a given file, whether or not they are there.

    ``None`` for models whose file holds all there is. The function raises ``OSError`` where the file cannot be read.
    """
    return files_beside_onnx if spec.source_kind.runtime == "ONNX Runtime" else None


def files_beside_onnx(path: Path) -> list[Path]:
    """The files below its folder that an ONNX file keeps tensors in; others are refused when it is loaded."""
    folder = os.path.normpath(path.parent)
    return [file for file in referenced_files(path) if os.path.normpath(file).startswith(folder + os.sep)]


def is_path(weights: str) -> bool:
    """Whether ``weights`` of a model is the path of a file rather than the name of an entry."""
    if WEIGHTS_ENTRY.fullmatch(weights) or URL in weights:
        return False
    return bool(Path(weights).suffix) or "/" in weights


def identity(path: Path) -> Identity:
    """Identity of a file, which changes whenever it is written to or replaced, by whatever means."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
