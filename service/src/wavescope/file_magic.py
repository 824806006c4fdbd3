"""Types of files that are neither models nor images nor lists of names, recognised by their first bytes.

Modules that read files say what each type means to them, and what to do about it.
"""

from __future__ import annotations

import re
import string
from typing import Final

HEAD_BYTES: Final = 4096
_PRINTABLE: Final = frozenset(string.printable.encode())
_TEXT_START_BYTES: Final = 200

# Letters alone would also begin a text, so each pattern goes on to what only the format has.
_PATTERNS: Final = {
    "lfs": rb"version https://git-lfs",
    "hdf5": rb"\x89HDF\r\n\x1a\n",
    "gzip": rb"\x1f\x8b\x08",
    "zstd": rb"\x28\xb5\x2f\xfd",
    "xz": rb"\xfd7zXZ\x00",
    "bzip2": rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)",
    "7z": rb"7z\xbc\xaf\x27\x1c",
    "rar": rb"Rar!\x1a\x07",
    "tar": rb".{257}ustar(?:  )?\x00",
    "numpy": rb"\x93NUMPY",
}
_MAGIC: Final = tuple((key, re.compile(pattern, re.DOTALL)) for key, pattern in _PATTERNS.items())
_HTML: Final = re.compile(rb"<!doctype html|<(?:html|head|body)[\s>]")


def recognise_magic(head: bytes) -> str | None:
    """Recognise a type by its magic number: a key, such as ``gzip``; ``None`` where there is none.

    Args:
        head: of the file, at best its first :data:`HEAD_BYTES`.
    """
    return next((key for key, pattern in _MAGIC if pattern.match(head)), None)


def recognise_text(head: bytes) -> str | None:
    """Recognise a kind of text: ``html``, ``xml``, ``json`` or ``text``; ``None`` where it is none."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    start = text[:_TEXT_START_BYTES].lower()
    if _HTML.match(start):
        return "html"
    if start.startswith(b"<?xml"):
        return "xml"
    if not is_text(text):
        return None
    if start.startswith(b"<") and b"<html" in start:  # behind a comment
        return "html"
    return "json" if start.startswith((b"{", b"[")) else "text"


def is_text(head: bytes) -> bool:
    """Whether the beginning of a file is UTF-8 without control characters; its last character may be cut."""
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False
    return is_printable(head, above_ascii=True)


def is_printable(data: bytes, *, above_ascii: bool) -> bool:
    """Whether all bytes are of printable ASCII, or, where asked for, above ASCII."""
    return all(byte in _PRINTABLE or (above_ascii and byte >= 0x80) for byte in data)
