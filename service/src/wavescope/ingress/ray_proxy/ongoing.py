"""Limit of the requests that a gateway serves at once. Ray Serve would let one more wait, and the probes behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from wavescope.errors import QueueFull

RETRY_AFTER_S: Final = 2


class Ongoing:
    """Counts the requests of one process, over HTTP and gRPC alike."""

    def __init__(self, most: int) -> None:
        """Begins with none.

        Args:
            most: that are served at once.
        """
        self._most = most
        self._count = 0

    @property
    def count(self) -> int:
        """Requests being served."""
        return self._count

    @contextmanager
    def place(self) -> Iterator[None]:
        """One place among them, until it is left.

        Raises:
            QueueFull: as many as may be are served.
        """
        if self._count >= self._most:
            raise QueueFull(
                f"{self._most} requests are being served; no more are at once",
                max_ongoing=self._most,
                retry_after_s=RETRY_AFTER_S,
            )
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
