"""What came of one input."""

from __future__ import annotations

from dataclasses import dataclass

HANG_S = 60.0  # the service itself gives up earlier
# Parts of the service's inside that no caller may see.
SECRETS = (b"Traceback (most recent call last)", b"/site-packages/", b"ray.exceptions", b"<class '")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one input.

    Attributes:
        outcome: such as ``422``.
        complaint: why it should not have come; ``None`` where all is well.
    """

    outcome: str
    complaint: str | None = None


def hung(hang_s: float = HANG_S) -> Verdict:
    """No answer came in time."""
    return Verdict("hang", f"no answer within {hang_s:g} s")


def leaks(content: bytes) -> str | None:
    """Parts of the service's inside that a caller was sent."""
    return next((secret.decode() for secret in SECRETS if secret in content), None)
