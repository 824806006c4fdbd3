"""Docstrings as descriptions in the JSON schema."""

from __future__ import annotations

import re


def as_description(text: str) -> str:
    """A text of a docstring in the words of JSON: no markup, ``null`` for ``None``, a capital at its beginning.

    Example:
        >>> as_description("of ``total``; ``None`` below N = 4.")
        'Of total; null below N = 4.'
    """
    plain = re.sub(r":\w+:`\.?([^`]+)`", r"\1", text).replace("``None``", "null").replace("``", "")
    return plain if text.startswith("``") else plain[:1].upper() + plain[1:]
