"""Docstrings of dataclasses as data: the one source of help texts, of schemas and of the client's documentation."""

from __future__ import annotations

import inspect
import re
from functools import cache

_ENTRY = re.compile(r"^    (\w+(?:, \w+)*): (.+(?:\n {8}.+)*)$", flags=re.MULTILINE)


@cache
def attribute_texts(cls: type) -> dict[str, str]:
    """The text of each attribute in a class's docstring, by name, on one line.

    Empty under ``python -OO``, which strips docstrings.

    Example:
        >>> from wavescope.engine.types import Round
        >>> attribute_texts(Round)["resolved"]
        'factors perturbed by themselves so far.'
    """
    return {
        name: " ".join(text.split())
        for names, text in _ENTRY.findall(inspect.getdoc(cls) or "")
        for name in names.split(", ")
    }


def summary(cls: type) -> str:
    """The docstring of a class up to its attributes, as paragraphs.

    Example:
        >>> from wavescope.engine.types import Round
        >>> summary(Round)
        'State of an adaptive plan after a round.'
    """
    return (inspect.getdoc(cls) or "").split("\n\nAttributes:\n")[0]
