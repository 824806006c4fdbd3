"""What one caller may have at most."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """A caller's share of the service; ``None`` where it has no limit of its own.

    Attributes:
        max_running: requests that are computed at once.
        max_waiting: requests that wait to be computed.
        forwards_per_minute: images that are scored, averaged over a minute.
        max_jobs: jobs that have not ended.
    """

    max_running: int | None = None
    max_waiting: int | None = None
    forwards_per_minute: int | None = None
    max_jobs: int | None = None
