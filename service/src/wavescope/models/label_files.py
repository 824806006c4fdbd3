"""Class names from a file."""

from __future__ import annotations

import json
from pathlib import Path

from wavescope.errors import RegistryInvalid


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
