"""torch's errors in sentences; its own text has paths of its sources, and goes to the log alone."""

from __future__ import annotations

import pickle
import re
import struct
import zipfile

import torch
from safetensors import SafetensorError

from wavescope.errors import WavescopeError
from wavescope.models.faults import lacks_memory, logged_text
from wavescope.models.spec import ModelSpec

RUNTIME = "torch"
# What its loaders raise for files that are damaged or something else, for they check little themselves.
LOAD_ERRORS = (
    SafetensorError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    AssertionError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    OSError,
    OverflowError,
)

_NO_OPERATOR = re.compile(
    r"Unknown builtin op: ([\w:]+)|_OpNamespace' '(\w+)' object has no attribute '(\w+)'"
)
_VERSION = re.compile(
    r"schema version|version number|Unsupported file format version|newer version", re.IGNORECASE
)
_INPUTS = re.compile(r"missing value for argument|missing \d+ required positional|expected at most")
_PICKLE = re.compile(r"[Uu]npickl|GLOBAL |pickle")


def load_reason(error: Exception, *, model: str) -> str:
    """The reason why torch does not load a program, and what to do; logs its own text."""
    text = logged_text(error, runtime=RUNTIME, model=model)
    if found := _NO_OPERATOR.search(text):
        operator = found[1] or f"{found[2]}::{found[3]}"
        return f"its operator {operator} is none of torch {torch.__version__}, and libraries of others are not loaded"
    if lacks_memory(text):
        return "there is not enough memory for it"
    if _PICKLE.search(text):
        return "it holds pickled objects, which are never unpickled: export it again"
    if _VERSION.search(text):
        return f"it was not written for torch {torch.__version__}: export it again with that version"
    return f"it is damaged, or was not written for torch {torch.__version__}: export it again"


def probe_refusal(
    spec: ModelSpec,
    module: torch.nn.Module,
    shape: tuple[int, int, int],
    size: tuple[int, int] | None,
    error: Exception,
) -> WavescopeError:
    """The error that says why a model does not run on images as preprocessing makes them, and what to do.

    Args:
        spec: of the model.
        module: that was run.
        shape: of an image: (channels, height, width).
        size: (height, width) that the weights are for, where it is known.
        error: of torch, whose text is logged.
    """
    if lacks_memory(logged_text(error, runtime=RUNTIME, model=spec.name)):
        return spec.invalid("batch_size", "there is not enough memory for a batch: give a smaller batch_size")
    if _INPUTS.search(str(error)):
        return spec.invalid("source", "a classifier has one input, the images: this model has others")
    where = f"the model does not run on images of {shape}"
    parameters = list(module.parameters())
    dtype = next((each.dtype for each in parameters if each.is_floating_point()), torch.float32)
    if dtype != torch.float32:
        name = str(dtype).removeprefix("torch.")
        return spec.invalid(
            "source", f"{where}: its weights are {name}, images are float32: save it after model.float()"
        )
    channels = next((each.shape[1] for each in parameters if each.ndim == 4), shape[0])
    if channels not in (1, shape[0]):  # 1 is a convolution of each channel by itself, too
        return spec.invalid(
            "preprocessing",
            f"{where}: its first layer takes {channels} channels: mean and std need {channels} numbers each",
        )
    if size is not None and size != shape[1:]:
        return spec.invalid(
            "preprocessing", f"{where}: its weights are for {size[0]} x {size[1]}: give size: {list(size)}"
        )
    return spec.invalid(
        "preprocessing",
        f"{where}: give the size, and as many numbers of mean and std, as it was trained with",
    )
