"""Distinct names for the classes of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def distinct_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names, those of several classes with their index: ``crane (134)`` and ``crane (517)``.

    Example:
        >>> distinct_names(("crane", "owl", "crane"))
        ('crane (0)', 'owl', 'crane (2)')
    """
    found = tuple(names)
    while len(set(found)) < len(found):  # again, where a name with its index is the name of another class
        counts = Counter(found)
        found = tuple(name if counts[name] == 1 else f"{name} ({index})" for index, name in enumerate(found))
    return found
