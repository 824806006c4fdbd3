"""Retry policies: how often something that failed for now is tried again, and after how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Policy of retries: their number and delays, which double.

    Attributes:
        attempts: at most so many tries in all.
        first_delay_s: before the second try.
        max_delay_s: no delay is longer.

    Example:
        >>> policy = RetryPolicy(attempts=4, first_delay_s=0.5, max_delay_s=1.5)
        >>> [policy.delay_s(failures) for failures in (1, 2, 3)]
        [0.5, 1.0, 1.5]
    """

    attempts: int
    first_delay_s: float
    max_delay_s: float

    def delay_s(self, failures: int) -> float:
        """Seconds before the next try.

        Args:
            failures: tries that failed in a row, at least 1.
        """
        doubled_s = self.first_delay_s * 2.0 ** min(failures - 1, 64)  # larger powers overflow
        return min(doubled_s, self.max_delay_s)
