"""The checks and helpers that all backends share; what they implement is ``engine.protocols.Classifier``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from wavescope.engine.types import Outputs
from wavescope.errors import WeightsUnavailable
from wavescope.models.labels import distinct_names
from wavescope.models.spec import ModelSpec

Array = Any
PROBE_ROWS = 2


def in_batches(
    images: Array, batch_size: int, run: Callable[[Array], Array], join: Callable[[list[Array]], Array]
) -> Array:
    """``run`` on at most ``batch_size`` rows of ``images`` at a time, the results joined in order."""
    if images.shape[0] <= batch_size:
        return run(images)
    starts = range(0, images.shape[0], batch_size)
    return join([run(images[start : start + batch_size]) for start in starts])


def check_scores(spec: ModelSpec, outputs: Outputs, scores: Float32[np.ndarray, "n classes"]) -> None:
    """Compare what a model is declared to return with what it returned.

    Args:
        spec: of the model, for messages.
        outputs: what is declared.
        scores: raw outputs of a few images.

    Raises:
        RegistryInvalid: the declaration cannot be right: probabilities that do not sum to one, sigmoids outside
            [0, 1], or logits that do sum to one. (Sigmoid outputs look like small logits: not refused.)
    """
    within = bool(np.all((scores >= -1e-6) & (scores <= 1 + 1e-6)))
    # One class always sums to one after a softmax, and says nothing about the others.
    normalised = within and scores.shape[1] > 1 and bool(np.all(np.abs(scores.sum(axis=1) - 1) < 1e-3))
    if outputs == "probabilities" and not normalised:
        raise spec.invalid("outputs", "declared probabilities, but the outputs do not sum to 1")
    if outputs == "sigmoid" and not within:
        raise spec.invalid("outputs", "declared sigmoid, but outputs lie outside [0, 1]")
    if outputs == "logits" and normalised:
        raise spec.invalid("outputs", "declared logits, but the outputs are probabilities: they sum to 1")


def class_names(spec: ModelSpec, classes: int, own: tuple[str, ...] | None) -> tuple[str, ...]:
    """Names in index order: the spec's, else the weights' ``own``, else ``class 0``, ``class 1`` ….

    Classes of one name get their indices: ``crane (134)``, ``crane (517)``.

    Raises:
        RegistryInvalid: the spec names another number of classes than the model has.
    """
    if spec.labels is not None:
        if len(spec.labels) != classes:
            raise spec.invalid(
                "labels", f"{len(spec.labels)} names for a model of {classes} classes", expected=classes
            )
        return distinct_names(spec.labels)
    if own is not None and len(own) == classes:
        return distinct_names(own)
    return tuple(f"class {index}" for index in range(classes))


def check_file(spec: ModelSpec, path: Path, *, field: str) -> Path:
    """``path``, once it is known to be a readable file of the declared digest.

    Raises:
        WeightsUnavailable: no such file, or it cannot be read.
        RegistryInvalid: its SHA-256 is not the declared one.
    """
    if not path.is_file():
        raise WeightsUnavailable(
            f"model {spec.name!r}: {field}: there is no file {str(path)!r}", field=field, model=spec.name
        )
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest() if spec.sha256 else None
    except OSError as error:
        raise WeightsUnavailable(
            f"model {spec.name!r}: {field}: {str(path)!r} cannot be read: {error.strerror}",
            field=field,
            model=spec.name,
        ) from error
    if digest != spec.sha256:
        raise spec.invalid(
            "sha256",
            f"{str(path)!r} has digest {digest}, the registry expects {spec.sha256}",
            found=digest,
            expected=spec.sha256,
        )
    return path
