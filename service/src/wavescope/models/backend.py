"""The checks and helpers that all backends share; what they implement is ``engine.protocols.Classifier``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from wavescope.core.arrays import like, namespace
from wavescope.engine.types import Outputs, Preprocessing
from wavescope.errors import WeightsUnavailable
from wavescope.models.files import sha256_of
from wavescope.models.spec import DEFAULT_THRESHOLD, ModelSpec

Array = Any
PROBE_ROWS = 4
# Numbers in [0, 1] alone, from which logits are no longer believed.
_FEW_NUMBERS = 8
# Far above what other kernels make of another number of rows, far below dropout: of the spread of an image's scores, or
# of the largest score, where that is rounded more coarsely.
SAME_SCORES = 0.01
ROUNDING = 1e-5
MIN_SCALE = 1e-8
_LABELS_OF_BINARY = ("negative", "positive")


def in_batches(
    images: Array, batch_size: int, run: Callable[[Array], Array], join: Callable[[list[Array]], Array]
) -> Array:
    """``run`` on at most ``batch_size`` rows of ``images`` at a time, the results joined in order."""
    if images.shape[0] <= batch_size:
        return run(images)
    starts = range(0, images.shape[0], batch_size)
    return join([run(images[start : start + batch_size]) for start in starts])


def probe_images(preprocessing: Preprocessing) -> Float32[np.ndarray, "n c h w"]:
    """Images by which a model is tried when it is loaded: two of noise, a black and a white one, normalised."""
    shape = preprocessing.shape
    noise = np.random.default_rng(0).standard_normal((PROBE_ROWS - 2, *shape), dtype=np.float32)
    mean = np.asarray(preprocessing.mean, np.float32)[:, None, None]
    std = np.asarray(preprocessing.std, np.float32)[:, None, None]
    plain = [np.broadcast_to((value - mean) / std, shape) for value in (np.float32(0), np.float32(1))]
    return np.concatenate([noise, np.stack(plain)])


def check_scores(
    spec: ModelSpec, outputs: Outputs, scores: Float32[np.ndarray, "n classes"]
) -> tuple[str, ...]:
    """Compare what a model is declared to return with what it returned; return warnings, in sentences.

    Args:
        spec: of the model, for messages.
        outputs: what is declared.
        scores: raw outputs of :func:`probe_images`, or of as many of them as the model takes.

    Raises:
        RegistryInvalid: the declaration cannot be right: outputs that are not finite, probabilities that do not sum to
            one, sigmoids outside [0, 1] or of a softmax, logits in [0, 1], or a threshold of a model that is
            not binary.
    """
    if not np.isfinite(scores).all():
        raise spec.invalid("source", "it returned numbers that are not finite for plain and noisy images")
    classes = scores.shape[1]
    if spec.threshold is not None and classes != 1:
        raise spec.invalid(
            "threshold", f"is for models of one output, and this one has {classes}: remove the field"
        )
    within = bool(np.all((scores >= -1e-6) & (scores <= 1 + 1e-6)))
    # One output says nothing about the others.
    normalised = within and classes > 1 and bool(np.all(np.abs(scores.sum(axis=1) - 1) < 1e-3))
    if classes > 1 and bool(
        np.all((scores >= -1e-4) & (np.abs(scores.sum(axis=1, keepdims=True) - 100) < 0.1))
    ):
        raise spec.invalid(
            "outputs",
            "the outputs are percentages: they sum to 100. Divide them by 100, and declare probabilities",
        )
    if outputs == "probabilities" and not (normalised or (classes == 1 and within)):
        remedy = "sigmoid" if within else "logits"
        raise spec.invalid(
            "outputs", f"declared probabilities, but the outputs do not sum to 1: declare {remedy}"
        )
    if outputs == "sigmoid" and not within:
        raise spec.invalid("outputs", "declared sigmoid, but outputs lie outside [0, 1]: declare logits")
    if outputs == "sigmoid" and normalised and classes > 2:
        raise spec.invalid("outputs", "declared sigmoid, but the outputs sum to 1: declare probabilities")
    if outputs == "logits" and normalised:
        raise spec.invalid(
            "outputs",
            "declared logits, but the outputs are probabilities: they sum to 1: declare probabilities",
        )
    if outputs == "logits" and within and classes > 1 and scores.size >= _FEW_NUMBERS:
        raise spec.invalid(
            "outputs",
            f"declared logits, but all {scores.size} outputs for plain and noisy images lie in [0, 1], as those of a "
            "sigmoid do: declare sigmoid",
        )
    return tuple(_doubts(outputs, scores, within=within))


def _doubts(outputs: Outputs, scores: Float32[np.ndarray, "n classes"], *, within: bool) -> Iterator[str]:
    if outputs == "logits" and within and scores.shape[1] == 1:
        yield (
            "the model's one output is declared as a logit, but lay in [0, 1] for every image that it was tried with, "
            "as that of a sigmoid does: if it is a probability, declare outputs: sigmoid"
        )
    if len(scores) > 1 and bool(np.all(scores == scores[0])):
        yield (
            "the model returned the same outputs for images of noise, black and white: its weights or its "
            "preprocessing are probably wrong"
        )


def check_mode(
    spec: ModelSpec,
    run: Callable[[Float32[np.ndarray, "n c h w"]], Float32[np.ndarray, "n classes"]],
    images: Float32[np.ndarray, "n c h w"],
    scores: Float32[np.ndarray, "n classes"],
) -> None:
    """Refuse a model that was saved in training mode, whose scores are of chance or of a whole batch.

    Args:
        spec: of the model, for messages.
        run: scores images.
        images: two or more.
        scores: of the images, of an earlier run.

    Raises:
        RegistryInvalid: another run, or the first or the last image alone, gives other scores.
    """
    # Of what the scores of an image differ by: an offset of all of them changes no probability.
    spread = float(np.ptp(scores, axis=1 if scores.shape[1] > 1 else 0).max())
    allowed = max(SAME_SCORES * spread, ROUNDING * float(np.abs(scores).max()), MIN_SCALE)
    if float(np.abs(run(images) - scores).max()) > allowed:
        raise spec.invalid(
            "source",
            "its scores differ from run to run, as in training mode: save it anew after model.eval()",
        )
    alone = np.concatenate([run(images[:1]), run(images[-1:])])
    if float(np.abs(alone - scores[[0, -1]]).max()) > allowed:
        raise spec.invalid(
            "source",
            "its scores depend on the other images of a batch, as in training mode, or where a batch is quantised by "
            "one scale: save it anew after model.eval(), or for batches of one image",
        )


def as_classes(scores: Array, outputs: Outputs) -> Array:
    """Outputs of two classes, negative and positive, from the one output of a binary model; others as they are.

    Args:
        scores: (n, classes) of NumPy or torch.
        outputs: what they are: a logit z becomes (-z/2, z/2), whose softmax is its sigmoid; a probability p becomes
            (1 - p, p).

    Returns:
        (n, 2) for one output, else ``scores``.
    """
    if scores.shape[1] != 1:
        return scores
    negative, positive = (-scores / 2, scores / 2) if outputs == "logits" else (1 - scores, scores)
    return namespace(scores).concat([negative, positive], axis=1)


def outputs_of(outputs: Outputs, count: int) -> Outputs:
    """Kind of a model's outputs, declared as ``outputs``: a single probability is that of a sigmoid, and has log-odds.

    Example:
        >>> outputs_of("probabilities", 1), outputs_of("probabilities", 2)
        ('sigmoid', 'probabilities')
    """
    return "sigmoid" if outputs == "probabilities" and count == 1 else outputs


def of_classes(weights: Array, outputs: Outputs) -> Array:
    """Weights of the one output of a binary model, from those of its two classes; the transpose of :func:`as_classes`.

    Args:
        weights: (n, 2) of NumPy or torch, of the negative and the positive class.
        outputs: what the output is.

    Returns:
        (n, 1).
    """
    found = weights[:, 1:] - weights[:, :1]
    return found / 2 if outputs == "logits" else found


def by_pixels(gradients: Array, preprocessing: Preprocessing) -> Array:
    """Derivatives by pixels in [0, 1], from those by normalised ones.

    Args:
        gradients: (n, c, h, w) of NumPy or torch.
        preprocessing: whose std normalised them.
    """
    std = like(np.asarray(preprocessing.std), gradients)
    return gradients / std[:, None, None]


def class_names(spec: ModelSpec, outputs: int, own: tuple[str, ...] | None) -> tuple[str, ...]:
    """Names in index order: the spec's, else the weights' ``own``, else ``class 0``, ``class 1`` ….

    Args:
        spec: of the model.
        outputs: number of its outputs; a model of one has two classes, ``negative`` and ``positive``.
        own: names that the weights are known to have.

    Raises:
        RegistryInvalid: the spec names another number of classes than the model has.
    """
    classes = max(outputs, 2)
    if spec.labels is not None:
        if len(spec.labels) != classes:
            binary = (
                ", which has one output: name its negative, then its positive class" if outputs == 1 else ""
            )
            raise spec.invalid(
                "labels",
                f"{len(spec.labels)} names for a model of {classes} classes{binary}",
                expected=classes,
            )
        return spec.labels
    if outputs == 1:
        return _LABELS_OF_BINARY
    if own is not None and len(own) == classes:
        return own
    return tuple(f"class {index}" for index in range(classes))


def threshold_of(spec: ModelSpec, outputs: int) -> float | None:
    """Threshold of a model of one output, 0.5 where the spec names none; ``None`` for others."""
    if outputs != 1:
        return None
    return DEFAULT_THRESHOLD if spec.threshold is None else spec.threshold


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
        path.open("rb").close()
        digest = sha256_of(path) if spec.sha256 else None
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
