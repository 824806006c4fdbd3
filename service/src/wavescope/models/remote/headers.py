"""The headers of requests to a remote model, their secrets read where they are used."""

from __future__ import annotations

import os
from pathlib import Path

from wavescope.models.remote.options import Header, is_header_value


class Headers:
    """Reads the values of headers; a value is never in a message.

    Variables are read once, in the process that sends the requests, so that no specification carries a secret.

    Args:
        headers: of the registry.

    Raises:
        ValueError: a variable is not set, or what it holds cannot be sent.
    """

    def __init__(self, headers: tuple[Header, ...]) -> None:
        self._headers = headers
        self._variables: dict[str, str] = {}
        for header in headers:
            if header.env is not None:
                value = os.environ.get(header.env)
                if value is None:
                    raise ValueError(
                        f"headers.{header.name}: the environment variable {header.env} is not set"
                    )
                self._variables[header.env] = _sendable(header, value)
        self.read()

    def read(self) -> dict[str, str]:
        """Names, in lower case, and values as they are now.

        Raises:
            ValueError: a file cannot be read, or what it holds cannot be sent.
        """
        return {header.name.lower(): self._value(header) for header in self._headers}

    def secrets(self, values: dict[str, str]) -> tuple[str, ...]:
        """Secret parts of what :meth:`read` returned, which must not be shown; the longest first."""
        parts = {part for value in values.values() for part in (value, *value.split())}
        return tuple(sorted((part for part in parts if len(part) >= 6), key=len, reverse=True))

    def _value(self, header: Header) -> str:
        if header.literal is not None:
            return header.literal
        if header.env is not None:
            return self._variables[header.env]
        try:
            return _sendable(header, Path(str(header.file)).read_text("utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"headers.{header.name}: {header.file!r} cannot be read") from error


def _sendable(header: Header, value: str) -> str:
    if not is_header_value(value):
        raise ValueError(f"headers.{header.name}: what it holds is empty or not printable ASCII")
    return value
