"""Quotas of callers, and their budgets of forwards per minute."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from wavescope.errors import QuotaExceeded


@dataclass(frozen=True, slots=True)
class Quota:
    """Quota of a caller; each limit may be ``None`` for none.

    Attributes:
        max_running: largest number of requests that run at once.
        max_waiting: largest number of requests in the queue.
        forwards_per_minute: largest number of images scored, with the forwards charged for planning, per minute.
        max_jobs: largest number of jobs that have not ended.
    """

    max_running: int | None = None
    max_waiting: int | None = None
    forwards_per_minute: int | None = None
    max_jobs: int | None = None


@dataclass(slots=True)
class _Bucket:
    """Token bucket of a caller: forwards left at a time; negative after a request larger than a minute's quota."""

    level: float
    at_s: float


@dataclass(slots=True)
class Budgets:
    """Budgets of forwards: a token bucket per caller, refilled at the rate of its quota.

    Attributes:
        quota: gives the quota of a caller.
        clock: reads a monotonic clock, in seconds.
    """

    quota: Callable[[str], Quota]
    clock: Callable[[], float]
    _buckets: dict[str, _Bucket] = field(default_factory=dict[str, _Bucket])

    def check(self, caller: str, forwards: int, *, charged: int = 0) -> None:
        """Check that the budget of a caller allows so many forwards now.

        Args:
            caller: name of the caller.
            forwards: forwards that are not charged yet.
            charged: forwards that were charged for the same request before; they do not count against it.

        Raises:
            QuotaExceeded: the budget does not allow so many now.
        """
        rate = self.quota(caller).forwards_per_minute
        if rate is None or not forwards:
            return
        # A request of more than a minute's forwards needs a full bucket, and leaves a debt.
        needed, level = min(forwards + charged, rate), self._level(caller, rate)
        if level + charged < needed:
            raise QuotaExceeded(
                f"{forwards} forwards are more than this key's quota of {rate} a minute allows now",
                forwards_per_minute=rate,
                forwards=forwards,
                # A retry is planned, and charged for planning, again.
                retry_after_s=math.ceil((needed - level) * 60 / rate),
            )

    def charge(self, caller: str, forwards: int) -> None:
        """Charge a caller for forwards; the budget may become negative."""
        rate = self.quota(caller).forwards_per_minute
        if rate is not None:
            self._buckets[caller] = _Bucket(self._level(caller, rate) - forwards, self.clock())

    def _level(self, caller: str, rate: int) -> float:
        bucket = self._buckets.get(caller)
        return rate if bucket is None else min(rate, bucket.level + (self.clock() - bucket.at_s) * rate / 60)
