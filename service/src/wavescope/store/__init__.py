"""Store of jobs, of the scores of unfinished jobs, of cached results and of monitors: SQLite or Redis."""

from __future__ import annotations

from pathlib import Path

from wavescope.errors import InvalidRequest
from wavescope.store.protocols import Store
from wavescope.store.sqlite import SqliteStore

__all__ = ["open_store"]

FILE = "wavescope.db"


def open_store(
    url: str, *, state_dir: Path, result_bytes: int, timeout_s: float = 5.0, results_timeout_s: float = 0.5
) -> Store:
    """Open the store that the settings name; it connects at its first call.

    Args:
        url: ``redis://…`` or ``rediss://…``; empty for a file in ``state_dir``.
        state_dir: folder of the file; made if it is missing.
        result_bytes: largest size of all cached results with their keys, in bytes.
        timeout_s: longest wait of a call for a lock or a reply, in seconds.
        results_timeout_s: the same for calls about cached results.

    Raises:
        InvalidRequest: the URL is not one of Redis or cannot be parsed, or the package redis is not installed.
    """
    if not url:
        return SqliteStore(
            state_dir / FILE, result_bytes=result_bytes, busy_s=timeout_s, results_busy_s=results_timeout_s
        )
    if not url.startswith(("redis://", "rediss://")):
        # Without the URL: it may hold a password.
        raise InvalidRequest(
            "store_url must be redis://… or rediss://…, or empty for a file in state_dir",
            field="store_url",
            supported=["redis://", "rediss://", ""],
        )
    try:
        from wavescope.store.redis import RedisStore
    except ImportError as error:
        raise InvalidRequest(
            "store_url names a Redis server, for which the package redis is missing: install wavescope[redis]",
            field="store_url",
        ) from error
    return RedisStore(
        url, result_bytes=result_bytes, timeout_s=timeout_s, results_timeout_s=results_timeout_s
    )
