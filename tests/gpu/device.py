"""Where the tests of this folder run: on a GPU, or with ``WAVESCOPE_GPU_TESTS=cpu`` the same code on CPU tensors."""

from __future__ import annotations

import os

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

DEVICE = os.environ.get("WAVESCOPE_GPU_TESTS", "cuda")
MARKS = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="no CUDA device"),
]
only_cuda = pytest.mark.skipif(DEVICE != "cuda", reason="a CPU has no streams, graphs or memory of its own")
