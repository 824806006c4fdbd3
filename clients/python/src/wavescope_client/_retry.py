"""The one retry policy."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to try again, and after how long.

    A request is repeated after a refusal for now (429, 503) and after a lost or refused connection. Both are
    safe: the same request has the same numbers, and a job is submitted with a key that makes it the same job. One
    that ran out of time is not repeated: it would again.

    Attributes:
        attempts: at most so many tries in all; 1 never repeats.
        first_delay_s: before the second try; doubles with each further one.
        max_delay_s: no wait is longer. When the service asks for a longer one, its refusal is raised instead.
        jitter: each wait is shortened by up to this share, so that clients do not come back all at once.
        total_s: no try begins later than this after the first one.
    """

    attempts: int = 4
    first_delay_s: float = 0.5
    max_delay_s: float = 30.0
    jitter: float = 0.5
    total_s: float = 300.0

    def patient(self, within_s: float | None = None) -> Self:
        """As many tries as fit into ``total_s`` and ``within_s``, unless nothing is ever to be repeated.

        For asking after a job, which outlives a restart of the service.
        """
        return replace(
            self,
            attempts=1 if self.attempts == 1 else sys.maxsize,
            total_s=self.total_s if within_s is None else min(self.total_s, within_s),
        )

    def next_delay_s(
        self,
        attempt: int,
        status: int | None,
        headers: Mapping[str, str],
        *,
        chance: float,
        elapsed_s: float,
    ) -> float | None:
        """Seconds to wait before the next try; ``None`` for no further try.

        Args:
            attempt: how many tries there were, from 1.
            status: of the reply, ``None`` for a failed connection.
            headers: of the reply, names in lower case.
            chance: uniform in [0, 1): where in the jitter's range the wait falls.
            elapsed_s: since the first try began.
        """
        if attempt >= self.attempts or status not in (None, 429, 503):
            return None
        doubled_s = self.first_delay_s * 2.0 ** min(attempt - 1, 64)  # larger powers overflow
        delay_s = min(self.max_delay_s, doubled_s) * (1 - self.jitter * chance)
        asked_s = _seconds(headers.get("retry-after"))
        if asked_s is not None:
            if asked_s > self.max_delay_s:
                return None
            delay_s = max(delay_s, asked_s)
        return delay_s if elapsed_s + delay_s <= self.total_s else None


def _seconds(retry_after: str | None) -> float | None:
    """``Retry-After`` in its form of seconds; the form of a date is not sent by the service."""
    return float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else None
