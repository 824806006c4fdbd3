"""torch's errors in sentences; its own text has paths of its sources, and goes to the log alone."""

from __future__ import annotations

import logging
import re

import torch

from wavescope.errors import WavescopeError
from wavescope.models.spec import ModelSpec

log = logging.getLogger(__name__)

_MEMORY = re.compile(r"out of memory|not enough memory|can't allocate memory|bad_?alloc", re.IGNORECASE)
_NO_OPERATOR = re.compile(
    r"Unknown builtin op: ([\w:]+)|_OpNamespace' '(\w+)' object has no attribute '(\w+)'"
)
_VERSION = re.compile(
    r"schema version|version number|Unsupported file format version|newer version", re.IGNORECASE
)
_INPUTS = re.compile(r"missing value for argument|missing \d+ required positional|expected at most")
_PICKLE = re.compile(r"[Uu]npickl|GLOBAL |pickle")


def run_reason(error: Exception, *, model: str) -> str:
    """The reason why a loaded model does not run; logs torch's own text."""
    if _MEMORY.search(_logged(error, model)):
        return "there is not enough memory for a batch; lower its batch_size"
    return "torch cannot compute it; the service's log has the reason in its own words"


def load_reason(error: Exception, *, model: str) -> str:
    """The reason why torch does not load a program, and what to do; logs its own text."""
    text = _logged(error, model)
    if found := _NO_OPERATOR.search(text):
        operator = found[1] or f"{found[2]}::{found[3]}"
        return f"its operator {operator} is none of torch {torch.__version__}, and libraries of others are not loaded"
    if _MEMORY.search(text):
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
    if _MEMORY.search(_logged(error, spec.name)):
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


def _logged(error: Exception, model: str) -> str:
    text = str(error)
    log.warning("model %r: torch says: %s", model, text.strip())
    return text
