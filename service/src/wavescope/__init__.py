"""Explanations of image classifiers in the scale domain.

``wavescope.explain(image, model=...)`` runs the whole product in this process; see :func:`wavescope.api.explain`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from wavescope._version import __version__

if TYPE_CHECKING:
    from wavescope.api import explain, explain_batch, keep_models, load_model, watch
    from wavescope.engine.types import Explanation, ExplanationRequest
    from wavescope.figures.draw import draw_png


__all__ = [
    "Explanation",
    "ExplanationRequest",
    "__version__",
    "draw_png",
    "explain",
    "explain_batch",
    "keep_models",
    "load_model",
    "watch",
]

_EXPORTS = {
    "draw_png": "wavescope.figures.draw",
    "explain": "wavescope.api",
    "explain_batch": "wavescope.api",
    "keep_models": "wavescope.api",
    "load_model": "wavescope.api",
    "watch": "wavescope.api",
    "Explanation": "wavescope.engine.types",
    "ExplanationRequest": "wavescope.engine.types",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that a process that only needs the version or the errors loads nothing else.
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'wavescope' has no attribute {name!r}")
