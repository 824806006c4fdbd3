"""Files that a model is loaded from, and whether they are still the same."""

from __future__ import annotations

from pathlib import Path

from wavescope.models.spec import ModelSpec

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


def identity(path: Path) -> Identity:
    """Identity of a file, which changes whenever it is written to or replaced, by whatever means."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
