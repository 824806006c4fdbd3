"""Score cache of a job: chunks that are scored are stored while it runs, so that none is scored twice whatever dies."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from wavescope.core.scores import Column
from wavescope.engine.plan import Plan, Stack
from wavescope.engine.protocols import AnyRows
from wavescope.engine.scoring.scoreboard import Scored
from wavescope.errors import StoreUnavailable
from wavescope.serving.threads import in_store_thread
from wavescope.store.codec import decode, encode
from wavescope.store.protocols import ChunkScores

AGAIN_S = 10.0  # before a store that did not answer is asked again

log = logging.getLogger(__name__)


class ChunkCache:
    """Cached scores of one job. While the store does not answer nothing is cached: scoring again costs time alone.

    Args:
        ledger: where they are stored.
        job_id: of the job.
    """

    def __init__(self, ledger: ChunkScores, job_id: str) -> None:
        self._ledger = ledger
        self._job_id = job_id
        self._paused_until_s = 0.0

    async def load(self, call: str) -> list[tuple[int, Scored]]:
        """(first row, scores) of all cached chunks of a scoring call."""
        if time.monotonic() < self._paused_until_s:
            return []
        try:
            kept = await in_store_thread(self._ledger.load_chunks, self._job_id, call)
        except StoreUnavailable as lost:
            self._pause(lost)
            return []
        found: list[tuple[int, Scored]] = []
        for start, chunk in kept:
            with contextlib.suppress(ValueError):  # of another version of ours: scored again
                found.append((start, decode(chunk, Scored)))
        return found

    async def save(self, call: str, start: int, chunk: Scored) -> None:
        """Caches the scores of rows from ``start``."""
        if time.monotonic() < self._paused_until_s:
            return
        try:
            await in_store_thread(self._ledger.save_chunk, self._job_id, call, start, encode(chunk))
        except StoreUnavailable as lost:
            self._pause(lost)

    def _pause(self, lost: StoreUnavailable) -> None:
        self._paused_until_s = time.monotonic() + AGAIN_S
        log.warning("scores are not kept for a while: %s", lost.message, extra={"job": self._job_id})


def call_key(
    work: Plan | Stack,
    rows: AnyRows | None,
    score: str,
    targets: Sequence[Column],
    revision: str,
) -> str:
    """Digest of all that the scores of a call follow from, and of nothing else: chunks may be of any size."""
    digest = hashlib.sha256()
    _feed(digest, (work.digest, rows, score, tuple(targets), revision))
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    """Adds a value such that no two values add the same bytes."""
    if dataclasses.is_dataclass(value):
        fields = tuple(getattr(value, field.name) for field in dataclasses.fields(value))
        digest.update(f"{type(value).__name__}:".encode())
        _feed(digest, fields)
    elif isinstance(value, tuple):
        digest.update(f"{len(value)}(".encode())
        for item in value:
            _feed(digest, item)
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).data)
    elif value is None or isinstance(value, str | int | float):
        digest.update(f"{value!r};".encode())
    else:
        raise TypeError(f"there is no digest of a {type(value).__name__}")
