"""Path prefixes of gateways in front of the service, such as ``/wavescope``."""

from __future__ import annotations

import re
from typing import Final

MAX_PREFIX_CHARS: Final = 256
# One or more segments; no two slashes in a row, which browsers take for another host. A prefix that begins like a path
# of the service could not be distinguished from one.
_SEGMENTS: Final = re.compile(r"(?!/(?:v1|v2|docs|-)(?:/|$))(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")


def clean_prefix(text: str) -> str | None:
    """A prefix without a slash at its end, empty for none; ``None`` for what can be no prefix.

    Example:
        >>> clean_prefix("/wavescope/"), clean_prefix("/"), clean_prefix("//example.org"), clean_prefix("/v1")
        ('/wavescope', '', None, None)
    """
    text = text.removesuffix("/")
    if text and (len(text) > MAX_PREFIX_CHARS or not _SEGMENTS.fullmatch(text)):
        return None
    return text
