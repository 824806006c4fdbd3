"""Renaming of images in errors: an error about an image names the place that it has in the caller's protocol."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from wavescope.errors import WavescopeError

_FIRST_WORD = re.compile(r"[^\s:]+")


@contextmanager
def renamed_errors(names: Mapping[str, str]) -> Iterator[None]:
    """Raise errors from within with the images' names as the caller has them.

    Args:
        names: by the name in our own requests: ``image``, ``images[1]``, ``other``.
    """
    try:
        yield
    except WavescopeError as error:
        renamed = _renamed(error, names)
        if renamed is None:
            raise
        raise renamed from error


def _renamed(error: WavescopeError, names: Mapping[str, str]) -> WavescopeError | None:
    """The error with other names; ``None`` where it names no image."""
    # Messages begin with the name: "images[1]: the image is damaged", "images[1] is empty".
    first = _FIRST_WORD.match(error.message)
    message = error.message
    if first is not None and first.group() in names:
        message = names[first.group()] + message[first.end() :]
    field = names.get(error.field or "", error.field)
    if (message, field) == (error.message, error.field):
        return None
    return type(error)(message, field=field, **error.limits)
