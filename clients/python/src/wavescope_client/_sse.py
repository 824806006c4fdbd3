"""Parser of server-sent events, without I/O.

Specification: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """Server-sent event; its type is ``message`` where the stream names none."""

    type: str
    data: str


class Parser:
    """Incremental parser: from the bytes of a stream, however they are cut, to its events.

    An event is complete with the blank line that ends it: one that is cut is never returned. Identifiers and
    reconnection times (``id``, ``retry``) are ignored: nothing here needs them.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []  # pieces of a line that has not ended
        self._after_return = False
        self._first = True
        self._type = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[Event]:
        """Parse a further chunk; return the events that end within it."""
        if chunk and self._after_return:
            chunk = chunk.removeprefix(b"\n")  # the other half of a line end
            self._after_return = False
        if not chunk:
            return []
        self._after_return = chunk.endswith(b"\r")
        events: list[Event] = []
        *ended, rest = _LINE_END.split(chunk)
        for piece in ended:
            line = b"".join((*self._line, piece))
            self._line.clear()
            if self._first:
                line, self._first = line.removeprefix(_BYTE_ORDER_MARK), False
            if line:
                self._read(line.decode("utf-8", errors="replace"))
            else:
                events += self._end()
        self._line.append(rest)
        return events

    def _read(self, line: str) -> None:
        name, _, value = line.partition(":")  # a comment has no name
        value = value.removeprefix(" ")
        if name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)

    def _end(self) -> list[Event]:
        events = [Event(self._type or "message", "\n".join(self._data))] if self._data else []
        self._type, self._data = "", []
        return events
