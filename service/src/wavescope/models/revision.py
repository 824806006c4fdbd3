"""The digest that says which model it is: what it computes, and how its inputs and outputs are meant."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, replace
from pathlib import Path

from wavescope.engine.types import ModelDetails
from wavescope.models.files import sha256_of

LENGTH = 32


def revision(details: ModelDetails, content: str) -> ModelDetails:
    """``details`` with a revision, made of what computes and of how it is used.

    The device and its runtime are no part of it: the same weights are the same model, to float32's last digits.

    Args:
        details: of a loaded model.
        content: digest of its weights and graph.
    """
    parts: tuple[object, ...] = (
        content,
        astuple(details.preprocessing),
        details.outputs,
        details.precision,
        details.labels,
    )
    if details.threshold is not None:
        parts = (*parts, details.threshold)
    return replace(details, revision=hashlib.sha256(repr(parts).encode()).hexdigest()[:LENGTH])


def file_digest(*paths: Path) -> str:
    """SHA-256 over the bytes of files, in order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(bytes.fromhex(sha256_of(path)))
    return digest.hexdigest()
