"""ONNX Runtime, imported so that it reports nothing to its makers and leaves no file of theirs behind.

Since 1.32 its Linux builds send usage events and write a session file to the temporary directory from the moment they
are imported; an environment variable, read at that moment, is the only way to stop it.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

ort_errors: Any = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")  # compiled: no types

__all__ = ["ort", "ort_errors"]
