"""Jobs, the scores they have so far, and the results of earlier requests: in SQLite or in Redis."""

from __future__ import annotations

from pathlib import Path

from wavescope.errors import InvalidRequest
from wavescope.store.protocols import Store
from wavescope.store.sqlite import SqliteStore

__all__ = ["open_store"]

FILE = "wavescope.db"


def open_store(url: str, *, state_dir: Path, result_bytes: int) -> Store:
    """The store that the settings name.

    Args:
        url: ``redis://…`` or ``rediss://…``; empty for a file in ``state_dir``.
        state_dir: made where it is missing.
        result_bytes: bound of the results of earlier requests.

    Raises:
        InvalidRequest: the URL is of another kind, or cannot be read; the package for it is not installed.
        StoreUnavailable: the file cannot be opened. A Redis server is first asked by the first call.
    """
    if not url:
        return SqliteStore(state_dir / FILE, result_bytes=result_bytes)
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
    return RedisStore(url, result_bytes=result_bytes)
