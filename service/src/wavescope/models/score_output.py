"""Choice of the output that has the scores, among all that a model has: one rule for every runtime."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

# As the encoders of transformers and timm name what a classifier's head is given: of the shape of scores, and none.
FEATURES: Final = re.compile(r"pooler|pooled|embed|feature|hidden_state|latent", re.IGNORECASE)
LOGITS: Final = "logits"


@dataclass(frozen=True, slots=True)
class ScoreOutputs:
    """Names of the outputs of a model that can have the scores.

    Attributes:
        able: those that can; a single one has them.
        features: those of the same shape that are named as features are.
    """

    able: tuple[str, ...]
    features: tuple[str, ...] = ()


def choose_scores(shapes: Mapping[str, Sequence[int]], rows: int, named: str | None = None) -> ScoreOutputs:
    """The one output that has the scores, or all that can have them where the names and shapes do not say which.

    An output (n, classes) can, but for axes of one, unless it is named as features are. A single number per image
    beside scores, such as an uncertainty, is not them; beside features alone it may be. Of several the one named
    ``logits`` is taken.

    Args:
        shapes: of the outputs of floats, by their names; parts of a part have names with dots.
        rows: number of the images that they are of.
        named: by the registry: that output or none.

    >>> choose_scores({"scores": (2, 10), "uncertainty": (2, 1), "embedding": (2, 64)}, 2)
    ScoreOutputs(able=('scores',), features=('embedding',))
    """
    counts = {name: count for name, shape in shapes.items() if (count := class_count(shape, rows))}
    if named is not None:
        return ScoreOutputs((named,) if named in counts else ())
    features = tuple(name for name in counts if FEATURES.search(name) and not _is_logits(name))
    able = [name for name in counts if name not in features]
    able = [name for name in able if counts[name] != 1] or able
    logits = [name for name in able if _is_logits(name)]
    if len(logits) == 1:
        return ScoreOutputs(tuple(logits), features)
    if (
        able and features and all(counts[name] == 1 for name in able)
    ):  # an uncertainty, or a binary classifier
        able += features
    return ScoreOutputs(tuple(able), features)


def class_count(shape: Sequence[int], rows: int) -> int | None:
    """Classes of an output of ``rows`` images, (n, classes) but for axes of one; ``None`` of another shape."""
    if len(shape) < 2 or shape[0] != rows:
        return None
    longer = [side for side in shape[1:] if side != 1]
    return None if len(longer) > 1 or 0 in longer else (longer or [1])[0]


def _is_logits(name: str) -> bool:
    return name.rpartition(".")[2] == LOGITS
