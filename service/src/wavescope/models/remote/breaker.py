"""A circuit breaker: a server that does not answer is left alone for a while, and asked by one call at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FAILURES = 5
OPEN_S = 10.0


class Open(Exception):
    """Error of an open breaker: nothing was sent. Args: seconds until it may be."""

    def __init__(self, after_s: float) -> None:
        super().__init__(f"open for {after_s:.1f} s")
        self.after_s = after_s


class Breaker:
    """Closed, it lets every call through. After ``failures`` in a row it is open: none for ``open_s`` seconds.

    Then one call is let through: it closes the breaker if it reaches the server, and opens it anew if not.

    Args:
        failures: in a row that open it.
        open_s: for which it stays open.
        clock: seconds, monotonic.
    """

    def __init__(
        self, *, failures: int = FAILURES, open_s: float = OPEN_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._failures = failures
        self._open_s = open_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = 0
        self._opened_at: float | None = None
        self._probing = False

    def admit(self) -> None:
        """Admit a call, which then has to be recorded.

        Raises:
            Open: it may not be made now.
        """
        with self._lock:
            if self._opened_at is None:
                return
            left = self._opened_at + self._open_s - self._clock()
            if left > 0 or self._probing:
                raise Open(max(left, 1.0))
            self._probing = True

    def record(self, *, reached: bool) -> None:
        """Record whether a call reached the server."""
        with self._lock:
            self._probing = False
            if reached:
                self._failed, self._opened_at = 0, None
                return
            self._failed += 1
            if self._failed >= self._failures:
                self._opened_at = self._clock()
