"""Class names: ImageNet's, and the class that a request means by a number or a text."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import Final

from wavescope.engine.class_names import distinct_names
from wavescope.engine.values import shown_number
from wavescope.errors import UnknownTarget

# The categories torchvision's ImageNet-1k weights carry, one per line, in index order.
IMAGENET: Final[tuple[str, ...]] = tuple(
    resources.files("wavescope.models").joinpath("data/imagenet_1k.txt").read_text("utf-8").splitlines()
)

MAX_SUGGESTIONS = 5
MAX_LISTED = 10
BY_INDEX, BY_NAME = "index:", "name:"

# Byte order mark, zero width space, word joiner.
_INVISIBLE = str.maketrans("", "", "\ufeff\u200b\u2060")
# Blanks of every kind; joiners, marks of direction, soft hyphens and the end mark of DOS.
_AROUND = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\u00a0\u1680\u2028\u2029\u202f\u205f\u3000"
    + "".join(map(chr, range(0x2000, 0x2010)))
    + "\u00ad\x1a"
)
_DIGITS = re.compile(r"[+-]?[0-9]{1,9}")


def clean_name(text: str) -> str:
    """A name without the characters that nobody sees: marks anywhere, blanks and the like around it."""
    if not text.isascii():
        text = text.translate(_INVISIBLE)
    return text.strip(_AROUND)


def find_class(target: int | str, labels: Sequence[str], field: str = "target") -> int:
    """The index of the class that a request means, whatever way it came.

    Args:
        target: an index in 0..len(labels) - 1, or text. Text is a name as it is written; else ``index:N`` or
            ``name:TEXT``, which say how they are meant; else a name without regard to case and blanks; else digits,
            which are an index.
        labels: class names in index order.
        field: of the request that it is, for errors.

    Raises:
        UnknownTarget: out of range (limits ``minimum``, ``maximum``), no such name (limit ``suggestions``), a name of
            several classes, or the name of one class and the index of another (limit ``indices``).
    """
    if isinstance(target, bool) or not isinstance(target, int | str):
        raise UnknownTarget(
            f"{field} must be a class index or name, not {type(target).__name__}", field=field
        )
    if isinstance(target, int):
        return _checked_index(target, labels, field)
    names = _names(tuple(labels))
    text = clean_name(target)
    found = names.exact(text)
    if not found and text.startswith(BY_INDEX):
        return _explicit_index(text, labels, field)
    if not found and text.startswith(BY_NAME):
        text = clean_name(text.removeprefix(BY_NAME))
        return _only(text, names.exact(text) or names.alike(text), labels, field)
    found = found or names.alike(text)
    if not _DIGITS.fullmatch(text):
        return _only(text, found, labels, field)
    index = int(text)
    if not found:
        return _checked_index(index, labels, field)
    if len(found) == 1 and found != [index] and 0 <= index < len(labels):
        raise UnknownTarget(
            f"{field} {text!r} is the name of class {found[0]} and the index of class {index} ({labels[index]!r}): "
            f"write {BY_INDEX}{index} or {BY_NAME}{text}",
            field=field,
            indices=[found[0], index],
        )
    return _only(text, found, labels, field)


def find_target(target: int | str | None, labels: Sequence[str], field: str = "target") -> int | None:
    """Find a class as :func:`find_class`; ``None``, for the predicted class or the runner-up, stays."""
    return None if target is None else find_class(target, labels, field)


class _Names:
    """The classes by name: as they are shown, and as they were called before their names were made distinct."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._exact: dict[str, list[int]] = {}
        self._alike: dict[str, list[int]] = {}
        shown = distinct_names(labels)
        self._shown = {name: index for index, name in enumerate(shown)}
        shared = [_without_index(name, index) for index, name in enumerate(shown)]
        counts = Counter(shared)
        for index, (label, name, short) in enumerate(zip(labels, shown, shared, strict=True)):
            spellings = {label, name} | ({short} if short is not None and counts[short] > 1 else set())
            for spelling in spellings:
                self._exact.setdefault(spelling, []).append(index)
            for folded in {_fold(spelling) for spelling in spellings}:
                self._alike.setdefault(folded, []).append(index)

    def exact(self, text: str) -> list[int]:
        """The class that is shown by that very name, else the classes that have it."""
        shown = self._shown.get(text)
        return self._exact.get(text, []) if shown is None else [shown]

    def alike(self, text: str) -> list[int]:
        """The classes of that name, without regard to case, blanks, and how accents are encoded."""
        return self._alike.get(_fold(text), [])


@lru_cache(maxsize=16)
def _names(labels: tuple[str, ...]) -> _Names:
    return _Names(labels)


def _fold(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", clean_name(name)).casefold().split())


def _without_index(name: str, index: int) -> str | None:
    """The part of a name before the class's own index in parentheses."""
    suffix = f" ({index})"
    return name.removesuffix(suffix) if name.endswith(suffix) else None


def _only(text: str, found: list[int], labels: Sequence[str], field: str) -> int:
    """The one class that was found."""
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"{index} ({labels[index]!r})" for index in found[:MAX_LISTED])
        more = f" and {len(found) - MAX_LISTED} more" if len(found) > MAX_LISTED else ""
        raise UnknownTarget(
            f"{field} {text!r} names several classes: {listed}{more}; give the index",
            field=field,
            indices=found,
        )
    suggestions = _close_names(text, labels)
    hint = f"; close names: {', '.join(suggestions)}" if suggestions else ""
    raise UnknownTarget(f"the model has no class {text[:80]!r}{hint}", field=field, suggestions=suggestions)


def _explicit_index(text: str, labels: Sequence[str], field: str) -> int:
    digits = text.removeprefix(BY_INDEX).strip()
    if not _DIGITS.fullmatch(digits):
        raise UnknownTarget(
            f"{field} {text[:80]!r}: {BY_INDEX} is followed by a number, 0 to {len(labels) - 1}",
            field=field,
            minimum=0,
            maximum=len(labels) - 1,
        )
    return _checked_index(int(digits), labels, field)


def _checked_index(index: int, labels: Sequence[str], field: str) -> int:
    if not 0 <= index < len(labels):
        raise UnknownTarget(
            f"{field} {shown_number(index)} is outside 0..{len(labels) - 1}",
            field=field,
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
