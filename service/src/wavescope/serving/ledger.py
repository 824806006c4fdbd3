"""Scores of a job that are kept while it runs, so that none is scored twice whatever dies."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from wavescope.core.rows import Moved
from wavescope.engine.plan import Plan, Stack
from wavescope.engine.protocols import Rows
from wavescope.engine.scoreboard import Scored
from wavescope.errors import StoreUnavailable
from wavescope.store.codec import decode, encode
from wavescope.store.protocols import Ledger

log = logging.getLogger(__name__)


class KeptScores:
    """The scores of one job. A store that does not answer is done without: scoring again costs time, and no more.

    Args:
        ledger: where they are kept.
        job_id: of the job.
    """

    def __init__(self, ledger: Ledger, job_id: str) -> None:
        self._ledger = ledger
        self._job_id = job_id
        self._answers = True

    async def recall(self, call: str) -> list[tuple[int, Scored]]:
        """(first row, scores) of all that was kept of a scoring call."""
        if not self._answers:
            return []
        try:
            kept = await asyncio.to_thread(self._ledger.kept, self._job_id, call)
        except StoreUnavailable as lost:
            self._without(lost)
            return []
        found: list[tuple[int, Scored]] = []
        for start, chunk in kept:
            with contextlib.suppress(ValueError):  # of another version of ours: scored again
                found.append((start, decode(chunk, Scored)))
        return found

    async def keep(self, call: str, start: int, chunk: Scored) -> None:
        """Keeps the scores of rows from ``start``."""
        if not self._answers:
            return
        try:
            await asyncio.to_thread(self._ledger.keep, self._job_id, call, start, encode(chunk))
        except StoreUnavailable as lost:
            self._without(lost)

    def _without(self, lost: StoreUnavailable) -> None:
        self._answers = False
        log.warning("scores are not kept any more: %s", lost.message, extra={"job": self._job_id})


def call_key(
    work: Plan | Stack, rows: Rows | Moved | None, score: str, targets: Sequence[int], revision: str
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
