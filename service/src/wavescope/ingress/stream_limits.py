"""Limit of the event streams that are open at once: each holds one of the requests that a gateway serves at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from wavescope.errors import QueueFull, QuotaExceeded
from wavescope.ingress.plane import IngressLimits

RETRY_AFTER_S: Final = 5  # streams end when their work does: sooner would only ask again


class OpenStreams:
    """Counts the streams of one process, over HTTP and gRPC alike."""

    def __init__(self, limits: IngressLimits) -> None:
        self._most = limits.max_streams
        self._most_of_one = limits.max_streams_per_caller
        self._open = 0
        self._of: Counter[str] = Counter()

    @contextmanager
    def place(self, caller: str) -> Iterator[None]:
        """One place among the open streams, until it is left.

        Args:
            caller: name of the API key; empty where none are configured, when the whole alone is limited.

        Raises:
            QueueFull: as many as may be are open.
            QuotaExceeded: as many as may be of this key are open.
        """
        if self._open >= self._most:
            raise QueueFull(
                f"{self._most} event streams are open; no more are at once",
                max_streams=self._most,
                retry_after_s=RETRY_AFTER_S,
            )
        if caller and self._of[caller] >= self._most_of_one:
            raise QuotaExceeded(
                f"{self._most_of_one} event streams of this key are open; no more are at once",
                max_streams_per_caller=self._most_of_one,
                retry_after_s=RETRY_AFTER_S,
            )
        self._open += 1
        self._of[caller] += 1
        try:
            yield
        finally:
            self._open -= 1
            self._of[caller] -= 1
            if not self._of[caller]:
                del self._of[caller]
