"""The time a request may take, shared out among its images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace


class TimeOver(Exception):
    """A step was not begun, or was left off, because the time was over; never seen by callers."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """Deadline of a request.

    Attributes:
        at: reading of the clock; infinite for no deadline.
        clock: seconds, monotonic.
    """

    at: float
    clock: Callable[[], float]

    @property
    def given(self) -> bool:
        """Whether there is one."""
        return math.isfinite(self.at)

    @property
    def over(self) -> bool:
        """Whether it has passed."""
        return self.given and self.clock() >= self.at

    def share(self, parts: int) -> Deadline:
        """Deadline of the first of so many parts, which share the time left equally."""
        if parts == 1 or not self.given:
            return self
        now = self.clock()
        return replace(self, at=now + (self.at - now) / parts)
