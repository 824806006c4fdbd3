"""Retry policy of the clients."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Retry policy: when a request is sent again, and after how long.

    A request is sent again after a temporary refusal (429, 503) and after a lost or refused connection. Both are
    safe: the same request has the same numbers, and a job is submitted with an idempotency key. A request that timed
    out is not sent again: it would time out again.

    Example:
        >>> policy = RetryPolicy(attempts=3, first_delay_s=1.0, jitter=0.0)
        >>> [policy.next_delay_s(attempt, 503, {}, chance=0.0, elapsed_s=0.0) for attempt in (1, 2, 3)]
        [1.0, 2.0, None]

    Attributes:
        attempts: largest number of tries; 1 for no retry.
        first_delay_s: seconds before the second try; doubled before each further one.
        max_delay_s: longest wait. When the service asks for a longer one, its refusal is raised instead.
        jitter: each wait is shortened by up to this share, so that clients do not come back all at once.
        total_s: seconds after the first try, after which no further try begins.
    """

    attempts: int = 4
    first_delay_s: float = 0.5
    max_delay_s: float = 30.0
    jitter: float = 0.5
    total_s: float = 300.0

    def patient(self, within_s: float | None = None) -> Self:
        """Policy for polling a job, which outlives a restart of the service.

        Args:
            within_s: a further limit of the seconds after the first try.

        Returns:
            Policy of as many tries as fit into ``total_s`` and ``within_s``; of one try if this policy has no retries.

        Example:
            >>> RetryPolicy(total_s=60).patient(within_s=10).total_s
            10
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
        """Compute the delay before the next try.

        Args:
            attempt: number of tries so far, from 1.
            status: HTTP status of the reply, ``None`` for a failed connection.
            headers: headers of the reply, names in lower case.
            chance: uniform in [0, 1): where in the jitter's range the wait falls.
            elapsed_s: seconds since the first try began.

        Returns:
            Seconds to wait; ``None`` for no further try.

        Example:
            >>> RetryPolicy().next_delay_s(1, 429, {"retry-after": "7"}, chance=0.0, elapsed_s=0.0)
            7.0
        """
        if attempt >= self.attempts or status not in (None, 429, 503):
            return None
        doubled_s = self.first_delay_s * 2.0 ** min(attempt - 1, 64)  # larger powers overflow
        delay_s = min(self.max_delay_s, doubled_s) * (1 - self.jitter * chance)
        requested_s = _seconds(headers.get("retry-after"))
        if requested_s is not None:
            if requested_s > self.max_delay_s:
                return None
            delay_s = max(delay_s, requested_s)
        return delay_s if elapsed_s + delay_s <= self.total_s else None


def _seconds(retry_after: str | None) -> float | None:
    """Parse ``Retry-After`` in seconds; the service never sends a date."""
    return float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else None
