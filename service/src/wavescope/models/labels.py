"""Class names: ImageNet's, those of a file, and the class that a request means by a number or a name."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Final

from wavescope.errors import RegistryInvalid, UnknownTarget

# The categories torchvision's ImageNet-1k weights carry, one per line, in index order.
IMAGENET: Final[tuple[str, ...]] = tuple(
    resources.files("wavescope.models").joinpath("data/imagenet_1k.txt").read_text("utf-8").splitlines()
)

MAX_SUGGESTIONS = 5


def find_class(target: int | str, labels: Sequence[str]) -> int:
    """The index of the class that a request names.

    Args:
        target: an index in 0..len(labels) - 1, a name, or an index written as text. A name in the exact case wins;
            otherwise case and surrounding blanks do not matter.
        labels: class names in index order.

    Raises:
        UnknownTarget: out of range (limits ``minimum``, ``maximum``), no such name (limit ``suggestions``), or a
            name of several classes (limit ``indices``).
    """
    if isinstance(target, bool) or not isinstance(target, int | str):
        raise UnknownTarget(
            f"target must be a class index or name, not {type(target).__name__}", field="target"
        )
    if isinstance(target, int):
        return _checked_index(target, labels)
    name = target.strip()
    matches = [index for index, label in enumerate(labels) if label == name]
    if not matches:
        folded = name.casefold()
        matches = [index for index, label in enumerate(labels) if label.casefold() == folded]
    if len(matches) > 1:
        listed = ", ".join(f"{index} ({labels[index]})" for index in matches)
        raise UnknownTarget(
            f"target {name!r} names several classes: {listed}; give the index",
            field="target",
            indices=matches,
        )
    if matches:
        return matches[0]
    if re.fullmatch(r"[+-]?\d{1,9}", name):
        return _checked_index(int(name), labels)
    suggestions = _close_names(name, labels)
    hint = f"; close names: {', '.join(suggestions)}" if suggestions else ""
    raise UnknownTarget(
        f"the model has no class {name[:80]!r}{hint}", field="target", suggestions=suggestions
    )


def find_target(target: int | str | None, labels: Sequence[str]) -> int | None:
    """Find a class as :func:`find_class`; ``None``, for the predicted class, stays."""
    return None if target is None else find_class(target, labels)


def _checked_index(index: int, labels: Sequence[str]) -> int:
    if not 0 <= index < len(labels):
        raise UnknownTarget(
            f"target {index} is outside 0..{len(labels) - 1}",
            field="target",
            minimum=0,
            maximum=len(labels) - 1,
        )
    return index


def _close_names(name: str, labels: Sequence[str]) -> list[str]:
    """At most five names: first those that hold every word asked for, then those spelt alike."""
    folded = name.casefold()[:80]
    words = folded.split()
    originals = {label.casefold(): label for label in labels}
    holding = [label for label in originals if words and all(word in label.split() for word in words)]
    alike = difflib.get_close_matches(folded, originals, n=MAX_SUGGESTIONS)
    names = list(dict.fromkeys([*holding, *alike]))[:MAX_SUGGESTIONS]
    return [originals[label] for label in names]


def read_labels(path: Path) -> tuple[str, ...]:
    """Class names in index order, from a file.

    Args:
        path: UTF-8 text with one name per line (blank lines at the end are ignored), or ``.json`` holding a list.

    Raises:
        RegistryInvalid: the file is missing, unreadable, empty, or holds something else.
    """

    def invalid(reason: str) -> RegistryInvalid:
        return RegistryInvalid(f"labels: {str(path)!r} {reason}", field="labels")

    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise invalid(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise invalid("is not UTF-8 text") from error
    if path.suffix.lower() != ".json":
        names = [line.strip() for line in text.rstrip().splitlines()]
    else:
        try:
            names = json.loads(text)
        except json.JSONDecodeError as error:
            raise invalid(f"is not JSON: {error}") from error
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise invalid("must be a list of names, in index order")
    if not names or not all(names):
        raise invalid("names no class, or has an empty name between others")
    return tuple(names)
