"""The real default model, exported once into the user's own cache, and photographs for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from wavescope.engine.types import Preprocessing
from wavescope.imaging.decode import decode
from wavescope.models.load import load
from wavescope.models.onnx.backend import OnnxBackend
from wavescope.models.onnx.embedded import exported
from wavescope.models.spec import DEFAULT_MODEL
from wavescope.settings import Settings


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    return Settings().cache_dir


@pytest.fixture(scope="session")
def exported_model(cache_dir: Path) -> Path:
    return exported(cache_dir)


@pytest.fixture(scope="session")
def default_model(cache_dir: Path) -> OnnxBackend:
    backend = load(DEFAULT_MODEL, cache_dir=cache_dir, threads=2)
    assert isinstance(backend, OnnxBackend)
    return backend


@pytest.fixture(scope="session")
def photograph() -> Callable[[str], bytes]:
    """Bytes of one of scikit-image's photographs, by file name."""
    return lambda name: (Path(skimage.data.__file__).parent / name).read_bytes()


@pytest.fixture(scope="session")
def normalised(photograph: Callable[[str], bytes]) -> Callable[[str, Preprocessing], np.ndarray]:
    """(1, c, h, w): a photograph as a model takes it."""

    def make(name: str, preprocessing: Preprocessing) -> np.ndarray:
        mean = np.array(preprocessing.mean, np.float32)[:, None, None]
        std = np.array(preprocessing.std, np.float32)[:, None, None]
        return ((decode(photograph(name), preprocessing).pixels - mean) / std)[None]

    return make
