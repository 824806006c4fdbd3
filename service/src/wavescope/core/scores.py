"""The scalar that is explained, from a classifier's raw output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from wavescope.core.arrays import Array, namespace
from wavescope.errors import InvalidRequest

SCORES = ("probability", "logit", "log_probability", "margin")
# What is scored of an image: a class; a pair of them for the difference of their logits; or with a word, whether one of
# these logits is a bound alone (1), since what the model returned has no finite one, or is known (0).
Column = int | tuple[int, int] | tuple[int, int, Literal["bounded"]]
# A class that is ruled out has -inf, of which there are no differences: it counts as so far below the largest logit, or
# as the lowest finite one where that is lower still.
RULED_OUT = -700.0
# The score of a request that names none, or this: what it stands for follows from what the model returns.
AUTO = "auto"
AUTO_SCORES: Mapping[str, str] = MappingProxyType(
    {"logits": "logit", "probabilities": "log_probability", "sigmoid": "logit"}
)
# Models return float32. What underflows there lies just below the smallest probability, and what is rounded to 1 within
# half a step of it: 1 - p is not known below this, and p is not read below it, so that log-odds mirror each other.
LEAST_PROBABILITY = float(np.finfo(np.float32).tiny)
LEAST_ODDS = 2.0**-25


def resolve_score(score: str, outputs: str) -> str:
    """Score that is explained: the one asked for, or for ``auto`` the one that suits the model's outputs.

    Args:
        score: of the request.
        outputs: what the model returns: logits, probabilities (softmax) or sigmoid.

    Example:
        >>> resolve_score("auto", "logits"), resolve_score("auto", "probabilities"), resolve_score("margin", "sigmoid")
        ('logit', 'log_probability', 'margin')
    """
    return AUTO_SCORES[outputs] if score == AUTO else score


def check_score(score: str, outputs: str, *, classes: int) -> None:
    """Refuses a score that the model's output cannot give.

    Raises:
        InvalidRequest: logits asked of a model that only returns softmax probabilities, or a margin of one that has no
            other class.
    """
    if score == "margin" and classes < 2:
        raise InvalidRequest("score is 'margin', but this model has a single class", field="score")
    if outputs == "probabilities" and score == "logit":
        raise InvalidRequest(
            "score is 'logit', but this model returns probabilities; ask for probability, log_probability or margin",
            field="score",
            supported=["probability", "log_probability", "margin"],
        )


def possible_scores(outputs: str, *, classes: int) -> tuple[str, ...]:
    """Scores that a model's output can give: those that :func:`check_score` accepts.

    Example:
        >>> possible_scores("probabilities", classes=3)
        ('probability', 'log_probability', 'margin')
    """
    lacking = {"logit"} if outputs == "probabilities" else set[str]()
    return tuple(name for name in SCORES if name not in lacking and (classes > 1 or name != "margin"))


def is_mirrored(score: str, outputs: str, *, classes: int, binary: bool) -> bool:
    """Whether the scores of a model's two classes mirror each other, so that both have the same indices.

    Args:
        score: that is explained.
        outputs: what the model returns.
        classes: number of its classes.
        binary: whether both are made of one output.

    Example:
        >>> is_mirrored("probability", "logits", classes=2, binary=False)  # p and 1 - p
        True
    """
    if classes != 2:
        return False
    return score == "margin" or (
        score in ("probability", "logit") if binary else score == "probability" and outputs != "sigmoid"
    )


def is_contrast(score: str, *, classes: int, binary: bool) -> bool:
    """Whether the contrast of a class with the runner-up is said by its score already.

    A model of one output has one logit, which is the difference of those of its two classes; with two classes the
    margin is that difference.

    Args:
        score: that is explained.
        classes: number of classes of the model.
        binary: whether both are made of one output.

    Example:
        >>> is_contrast("margin", classes=2, binary=False), is_contrast("margin", classes=3, binary=False)
        (True, False)
    """
    return binary or (classes == 2 and score == "margin")


def _log_probabilities(outputs: Float[Array, "n c"], kind: str) -> Float[Array, "n c"]:
    xp = namespace(outputs)
    if kind == "logits":
        shifted = outputs - xp.max(outputs, axis=-1, keepdims=True)
        return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
    return xp.log(xp.clip(outputs, LEAST_PROBABILITY, None))


def probabilities(outputs: Float[Array, "n c"], kind: str) -> Float[Array, "n c"]:
    """Class probabilities; ``kind`` is what ``outputs`` holds: logits, probabilities (softmax) or sigmoid."""
    return namespace(outputs).exp(_log_probabilities(outputs, kind)) if kind == "logits" else outputs


def predicted_classes(
    outputs: Float[Array, "n c"], kind: str, threshold: float | None = None
) -> Int[Array, " n"]:
    """Index of the predicted class of every image.

    Args:
        outputs: (n, classes) of the model.
        kind: what ``outputs`` holds: logits, probabilities (softmax) or sigmoid.
        threshold: of a binary model: class 1 is predicted where its probability is at least this; ``None`` for the
            class of the largest output.
    """
    xp = namespace(outputs)
    if threshold is None:
        return xp.argmax(outputs, axis=-1)
    return xp.astype(probabilities(outputs, kind)[:, 1] >= threshold, xp.int64)


def confidence(outputs: Float[Array, "n c"], kind: str, threshold: float | None = None) -> Float[Array, " n"]:
    """Probability of the predicted class of every image; arguments as of :func:`predicted_classes`."""
    xp = namespace(outputs)
    likely = probabilities(outputs, kind)
    if threshold is None:
        return xp.max(likely, axis=-1)
    return xp.where(likely[:, 1] >= threshold, likely[:, 1], likely[:, 0])


def _logits(outputs: Float[Array, "n c"], kind: str) -> Float[Array, "n c"]:
    """Logits up to a constant per image, which no margin depends on."""
    xp = namespace(outputs)
    if kind == "logits":
        return outputs
    if kind == "probabilities":
        return _log_probabilities(outputs, kind)
    return xp.log(xp.clip(outputs, LEAST_ODDS, None)) - xp.log(xp.clip(1 - outputs, LEAST_ODDS, None))


def scores(
    outputs: Float[Array, "n c"],
    kind: str,
    score: str,
    targets: Sequence[Column],
    *,
    binary: bool = False,
) -> Float[Array, "n t"]:
    """Scores of the target classes, and differences of logits.

    Args:
        outputs: (n, classes) of the model, float64 for exact sums.
        kind: ``logits``, ``probabilities`` (softmax) or ``sigmoid`` (independent probabilities).
        score: ``probability``, ``logit``, ``log_probability``, or ``margin``: target logit − largest other, per image;
            resolved, not ``auto``.
        targets: class indices; a pair (target, against) is z_target − z_against, whatever the score: log-odds of
            softmax probabilities too, whose logits are known up to a constant per image. With ``"bounded"`` behind the
            pair it is 1 where one of both logits is known as a bound alone (-inf, or a probability that is rounded to 0
            or 1), so that the difference may be larger than it is, and 0 elsewhere.
        binary: whether both classes are made of one output: (-z/2, z/2) of a logit z, (1 - p, p) of its sigmoid p.
            ``logit`` and ``margin`` are then z of the positive class and -z of the negative one, in either case.

    Returns:
        (n, len(targets)).

    Raises:
        InvalidRequest: see :func:`check_score`; or the score is none of these.

    Example:
        >>> scores(np.array([[3.0, 1.0, 0.5]]), "logits", "logit", [0, (0, 2)]).tolist()
        [[3.0, 2.5]]
        >>> scores(np.array([[-1.5, 1.5]]), "logits", "logit", [0, 1], binary=True).tolist()
        [[-3.0, 3.0]]
    """
    if score not in SCORES:
        raise InvalidRequest(
            f"score {score!r} cannot be computed; these can: {', '.join(SCORES)}",
            field="score",
            supported=list(SCORES),
        )
    check_score(score, kind, classes=outputs.shape[-1])
    xp = namespace(outputs)
    if score == "probability":
        values = probabilities(outputs, kind)
    elif score == "log_probability":
        values = _log_probabilities(outputs, kind)
    else:
        values = _logits(outputs, kind) * _unit(kind, score, binary=binary)
    columns: list[Array] = []
    for target in targets:
        if isinstance(target, tuple):
            of_pair = _bounded if len(target) == 3 else _difference
            columns.append(of_pair(outputs, kind, *target[:2]))
        elif score == "margin" and not (binary and kind == "sigmoid"):
            columns.append(values[:, target] - _largest_other(values, target))
        else:
            columns.append(values[:, target])
    return xp.stack(columns, axis=-1)


def _unit(kind: str, score: str, *, binary: bool) -> float:
    """By what logits of the classes are multiplied: those of a logit z that both are made of are -z/2 and z/2."""
    return 2.0 if binary and kind == "logits" and score == "logit" else 1.0


def has_fixed_direction(kind: str, score: str) -> bool:
    """Whether a class's score moves with its own output alone, so that its gradient's direction is known beforehand.

    Args:
        kind: what outputs hold: logits, probabilities (softmax) or sigmoid.
        score: resolved, not ``auto``.

    Example:
        >>> has_fixed_direction("logits", "logit"), has_fixed_direction("logits", "probability")
        (True, False)
    """
    return score == "logit" if kind == "logits" else score != "margin"


def score_gradients(
    outputs: Float[Array, "n c"], kind: str, score: str, target: int, *, binary: bool = False
) -> Float[Array, "n c"]:
    """Derivatives of a class's score by every output of the model.

    They are those of :func:`scores`, piece by piece: 0 where a probability is clipped, and of a margin those of the
    largest other class, the first of equals.

    Args:
        outputs: (n, classes) of the model, float64.
        kind: ``logits``, ``probabilities`` (softmax) or ``sigmoid``.
        score: ``probability``, ``logit``, ``log_probability`` or ``margin``; one that the outputs can give.
        target: index of the class.
        binary: as of :func:`scores`.

    Returns:
        (n, classes).

    Example:
        >>> score_gradients(np.array([[3.0, 1.0, 0.5]]), "logits", "margin", 0).tolist()
        [[1.0, -1.0, 0.0]]
    """
    xp = namespace(outputs)
    classes = xp.arange(outputs.shape[-1], device=outputs.device)[None, :]
    own = xp.astype(classes == target, outputs.dtype) * xp.ones_like(outputs)
    if score in ("probability", "log_probability"):
        if kind == "logits":
            likely = probabilities(outputs, kind)
            found = own - likely
            return found * likely[:, target, None] if score == "probability" else found
        return own if score == "probability" else own * _log_slopes(outputs)
    slopes = _logit_slopes(outputs, kind)
    if score == "logit" or (binary and kind == "sigmoid"):
        return own * slopes * _unit(kind, score, binary=binary)
    others = xp.where(own > 0, -xp.inf * xp.ones_like(outputs), _logits(outputs, kind))
    largest = xp.argmax(others, axis=-1)
    return (own - xp.astype(classes == largest[:, None], outputs.dtype)) * slopes


def _log_slopes(likely: Float[Array, "n c"]) -> Float[Array, "n c"]:
    """Derivatives of logarithms of probabilities as far as these are read; 0 below."""
    xp = namespace(likely)
    return xp.where(likely >= LEAST_PROBABILITY, 1 / xp.clip(likely, LEAST_PROBABILITY, None), 0.0)


def _logit_slopes(outputs: Float[Array, "n c"], kind: str) -> Float[Array, "n c"]:
    """Derivatives of every logit by its own output."""
    xp = namespace(outputs)
    if kind == "logits":
        return xp.ones_like(outputs)
    if kind == "probabilities":
        return _log_slopes(outputs)
    return sum(
        xp.where(odds >= LEAST_ODDS, 1 / xp.clip(odds, LEAST_ODDS, None), 0.0)
        for odds in (outputs, 1 - outputs)
    )


def _difference(outputs: Float[Array, "n c"], kind: str, target: int, against: int) -> Float[Array, " n"]:
    """z_target − z_against; finite wherever probabilities are, and exact wherever both logits are finite."""
    xp = namespace(outputs)
    logits = _logits(outputs, kind)
    if kind != "logits":
        return logits[:, target] - logits[:, against]
    lowest = xp.min(xp.where(xp.isfinite(logits), logits, xp.inf * xp.ones_like(logits)), axis=-1)
    floor = xp.minimum(lowest, xp.max(logits, axis=-1) + RULED_OUT)
    own, other = (xp.where(logits[:, one] == -xp.inf, floor, logits[:, one]) for one in (target, against))
    return own - other


def _bounded(outputs: Float[Array, "n c"], kind: str, target: int, against: int) -> Float[Array, " n"]:
    """1 where a logit of the pair is known as a bound alone, else 0."""
    xp = namespace(outputs)
    pair = xp.stack([outputs[:, target], outputs[:, against]], axis=-1)
    if kind == "logits":
        bounded = pair == -xp.inf
    elif kind == "probabilities":
        bounded = pair < LEAST_PROBABILITY
    else:
        bounded = (pair < LEAST_ODDS) | (1 - pair < LEAST_ODDS)
    return xp.astype(xp.any(bounded, axis=-1), outputs.dtype)


def _largest_other(values: Float[Array, "n c"], target: int) -> Float[Array, " n"]:
    xp = namespace(values)
    return xp.max(xp.concat([values[:, :target], values[:, target + 1 :]], axis=-1), axis=-1)
