"""Errors of ONNX Runtime and of torch, as far as both are alike: their own text goes to the log, sentences to users."""

from __future__ import annotations

import logging
import re

log = logging.getLogger(__name__)

_MEMORY = re.compile(
    r"failed to allocate memory|out of memory|not enough memory|can't allocate memory|bad_?alloc|bad allocation"
    r"|CUDA failure 2\b",
    re.IGNORECASE,
)


def logged_text(error: Exception, *, runtime: str, model: str) -> str:
    """The text of an error of ``runtime``, which is written to the log."""
    text = str(error)
    log.warning("model %r: %s says: %s", model, runtime, text.strip())
    return text


def lacks_memory(text: str) -> bool:
    """Whether an error's text says that memory was wanting, of the host or of a GPU."""
    return _MEMORY.search(text) is not None


def run_reason(error: Exception, *, runtime: str, model: str) -> str:
    """The reason why a loaded model does not run; logs the runtime's own text."""
    if lacks_memory(logged_text(error, runtime=runtime, model=model)):
        return "there is not enough memory for a batch; lower its batch_size"
    return f"{runtime} cannot compute it; the service's log has the reason in its own words"
