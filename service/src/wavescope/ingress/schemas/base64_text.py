"""Base64 as it is written in practice."""

from __future__ import annotations

import binascii
import re
from typing import Final

from wavescope.errors import InvalidRequest

_URL_SAFE = str.maketrans("-_", "+/")
# Blanks of other scripts, byte order marks, and marks of no width that copying leaves.
_INVISIBLE = re.compile("[\x85\xa0\u1680\u2000-\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]+")
_GAP = re.compile(r"\s+")
_LINE_ENDS = "\n\r\t\v\f"
_TO_PLUS = str.maketrans(" ", "+", _LINE_ENDS)
_JOINED = str.maketrans("", "", _LINE_ENDS + " ")
_MIN_LINE_CHARS: Final = 16  # lines of base64 have 60 to 76 characters


def decode_base64(text: str, name: str, *, key: str = ".base64") -> bytes:
    """The bytes behind base64 as it is written in practice.

    Line breaks are allowed, since tools wrap their lines; so are the alphabet of URLs, absent padding, a byte order
    mark, and a browser's ``data:…;base64,`` before it. Blanks in place of ``+``, as forms decode it, are restored
    where the length leaves no other reading.

    Args:
        text: of the field ``base64``.
        name: of the object that holds it.
        key: what the field is called there, with its dot; empty where ``name`` is the field itself.

    Raises:
        InvalidRequest: it is empty, a data URL of something else, not base64, or has blanks that can be read in two
            ways.
    """
    field = f"{name}{key}"
    if not text.isascii():
        text = _INVISIBLE.sub("", text)
    text = text.lstrip()
    if text[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not comma or not head.rstrip().lower().endswith(";base64"):
            raise InvalidRequest(f"{field} is a data: URL without ';base64,'", field=field)
    text = _without_blanks(text, field)
    if ("-" in text or "_" in text) and "+" not in text and "/" not in text:
        text = text.translate(_URL_SAFE)
    if len(text) % 4 in (2, 3) and not text.endswith("="):
        text += "=" * (-len(text) % 4)
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:  # ValueError: characters beyond ASCII
        raise InvalidRequest(f"{field} is not base64: {str(error)[:120]}", field=field) from error
    if not data:
        raise InvalidRequest(f"{field} is empty", field=field)
    return data


def _without_blanks(text: str, field: str) -> str:
    """The text without its line breaks, and with ``+`` for the blanks that a form made of it.

    Raises:
        InvalidRequest: the blanks may be either, or are neither.
    """
    if not text.isascii() or not any(space in text for space in _LINE_ENDS + " "):
        return text
    joined = text.translate(_JOINED)
    inner = text.strip(_LINE_ENDS)
    if " " not in inner or any(mark in joined for mark in "+-_") or not joined:
        return joined  # a form leaves no plus, and the alphabet of URLs has none
    restored = inner.translate(_TO_PLUS)
    if _has_lines(inner) and (_is_padded(joined) or (inner.count(" ") > 1 and _has_base64_length(joined))):
        return joined
    if _is_padded(joined) and not _has_base64_length(restored):
        return joined
    if _has_base64_length(restored) and not _is_padded(joined):
        return restored
    raise InvalidRequest(
        f"{field} has blanks where base64 has none; if they were '+', which forms decode to blanks, write %2B there, "
        "or send the file as a part of multipart/form-data",
        field=field,
    )


def _has_lines(text: str) -> bool:
    """Whether blanks and line breaks stand where lines end: after every same number of characters."""
    text = text.rstrip()
    line = lines = gaps = 0
    for gap in _GAP.finditer(text):
        lines += 1
        chars = gap.start() - gaps
        line = line or chars
        is_break = gap.group() == " " or "\n" in gap.group() or "\r" in gap.group()
        if not is_break or line < _MIN_LINE_CHARS or line % 4 or chars != lines * line:
            return False
        gaps += len(gap.group())
    return len(text) - gaps <= (lines + 1) * line or not lines


def _is_padded(text: str) -> bool:
    """Whether the text has the length of whole base64."""
    return len(text) % 4 == 0


def _has_base64_length(text: str) -> bool:
    """Whether the text has the length of base64, with its padding or without."""
    return _is_padded(text) or (len(text) % 4 != 1 and not text.endswith("="))
