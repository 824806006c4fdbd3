"""Text that comes from outside (class names, model names) made safe to draw."""

from __future__ import annotations

from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font

FONT = "DejaVu Sans"  # shipped with matplotlib, so that a figure is the same on every machine
_MISSING = "□"


def drawable(text: str) -> str:
    """``text`` without what matplotlib would take for a formula or has no glyph for."""
    line = "".join(c if has_glyph(c) else _MISSING for c in " ".join(text.split()))
    return line.replace("$", r"\$")


def has_glyph(character: str) -> bool:
    """Whether the font can draw a character."""
    return ord(character) in _glyphs()


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=FONT))).get_charmap())
