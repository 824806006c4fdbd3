"""Errors of calls to remote models, which decide about the next attempt; they stay in these modules."""

from __future__ import annotations

import re


class Unavailable(Exception):
    """The server cannot be reached, is starting or overloaded: the same batch may succeed later.

    Args:
        reason: for people.
        after_s: how long the server asks to wait; ``None`` where it does not say.
        alive: it answered, and only asks for less: no reason to leave it alone.
    """

    def __init__(self, reason: str, *, after_s: float | None = None, alive: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_s = after_s
        self.alive = alive


class TooLarge(Exception):
    """The server takes no batch of this size."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Refused(Exception):
    """The server answered that it will not, or cannot, score this: the next attempt would be the same.

    Args:
        reason: for people.
        form: the request may be right in another form, such as JSON for a server without binary data.
    """

    def __init__(self, reason: str, *, form: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.form = form


# Of servers that know no better status: Triton's limits of batches and bodies, proxies' of bodies.
_TOO_LARGE = re.compile(
    r"batch.?size must be|(too|to) large|larger than max|exceeds (the )?(max|limit)|size exceeds",
    re.IGNORECASE,
)
# MLServer answers 400 while it loads a model.
_NOT_READY = re.compile(r"not ready", re.IGNORECASE)
MAX_TEXT = 300


def of_refusal(text: str, reason: str, *, form: bool) -> Exception:
    """The fault that a plain "bad request" stands for, by its words.

    Args:
        text: the server's.
        reason: for people.
        form: as of :class:`Refused`.
    """
    if _TOO_LARGE.search(text):
        return TooLarge(reason)
    if _NOT_READY.search(text):
        return Unavailable(reason)
    return Refused(reason, form=form)


def readable(text: str, secrets: tuple[str, ...]) -> str:
    """A server's words for a message: one short printable line, with none of our secrets in it."""
    for secret in secrets:
        text = text.replace(secret, "…")
    line = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * MAX_TEXT])
    line = " ".join(line.split())
    return line if len(line) <= MAX_TEXT else line[:MAX_TEXT] + "…"
