"""Bodies that are being received, and those that wait in this process: bounded in time, number and bytes.

Whoever sends slowly holds a place. Where none is free, the slowest of those that are slow loses its own to the next, so
that half-sent bodies keep nobody out for longer than ``GRACE_S``. How much has come of an RPC's message is not seen: it
counts as slow after that time, but loses its place only where no body is seen to be slow, the oldest first.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from wavescope.errors import QueueFull, QuotaExceeded
from wavescope.ingress.problems import BodyTimeout

GRACE_S: Final = 1.0  # that nobody is called slow
SLOW_BYTES_PER_S: Final = 16 * 1024
RETRY_AFTER_S: Final = 1
NOBODY: Final = ""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Limits that come from the settings.

    Attributes:
        body_timeout_s: for the whole of a body to come, s.
        max_uploads: bodies that are received at once.
        max_uploads_per_caller: of these, those of one caller.
        max_upload_bytes: of bodies in memory, from their first byte to the beginning of their reply; half of it of one
            caller.
    """

    body_timeout_s: float = 60.0
    max_uploads: int = 128
    max_uploads_per_caller: int = 32
    max_upload_bytes: int = 512 * 2**20


class Uploads:
    """Counts the bodies of one process, over HTTP and gRPC alike. For one event loop."""

    def __init__(self, limits: UploadLimits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._receiving: dict[Upload, None] = {}  # in order of their beginning
        self._bytes: Counter[str] = Counter()

    @property
    def receiving(self) -> int:
        """Bodies that are being received."""
        return len(self._receiving)

    @property
    def held_bytes(self) -> int:
        """Bytes of all bodies that are in memory."""
        return self._bytes.total()

    @contextmanager
    def of(self, caller: str, *, unseen: bool = False) -> Iterator[Upload]:
        """The body of one request; its bytes are forgotten when the block is left, if not before.

        Args:
            caller: name of the API key, or an address; ``NOBODY`` where callers cannot be distinguished: then there is
                no share, only what all may have together.
            unseen: whether none of its bytes is seen before it is whole.
        """
        upload = Upload(self, caller, unseen=unseen)
        try:
            yield upload
        finally:
            upload.release()

    @asynccontextmanager
    async def place(self, upload: Upload) -> AsyncGenerator[None, None]:
        """A place among the bodies that are received.

        Raises:
            QueueFull: as many as may be are received, none of them slowly.
            QuotaExceeded: as many as may be of this caller.
            BodyTimeout: it took longer than it may, or was slow while others waited for its place.
        """
        self._make_room(upload.caller)
        upload.began = self._clock()
        self._receiving[upload] = None
        try:
            async with asyncio.timeout(self._limits.body_timeout_s) as upload.deadline:
                yield
        except TimeoutError as error:
            raise self._too_slow(upload) from error
        finally:
            self._receiving.pop(upload, None)

    @asynccontextmanager
    async def time(self) -> AsyncGenerator[None, None]:
        """The time of a body that needs no place.

        Raises:
            BodyTimeout: it was over.
        """
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                yield
        except TimeoutError as error:
            raise self._late() from error

    def _make_room(self, caller: str) -> None:
        limits = self._limits
        mine = [upload for upload in self._receiving if upload.caller == caller]
        shared = caller != NOBODY
        if shared and len(mine) >= limits.max_uploads_per_caller and not self._dismiss_slowest(mine):
            raise QuotaExceeded(
                f"{limits.max_uploads_per_caller} bodies of this caller are being received; no more are at once",
                max_uploads_per_caller=limits.max_uploads_per_caller,
                retry_after_s=RETRY_AFTER_S,
            )
        if len(self._receiving) >= limits.max_uploads and not self._dismiss_slowest(list(self._receiving)):
            raise QueueFull(
                f"{limits.max_uploads} bodies are being received; no more are at once",
                max_uploads=limits.max_uploads,
                retry_after_s=RETRY_AFTER_S,
            )

    def _dismiss_slowest(self, uploads: list[Upload]) -> bool:
        """Ends one of them; ``False`` where none is slow."""
        now = self._clock()
        slow = [upload for upload in uploads if upload.is_slow(now)]
        if not slow:
            return False
        # What is seen to be slow goes first; of the others nothing is known but how long they have taken.
        slowest = min(slow, key=lambda upload: (upload.unseen, upload.rate(now), upload.began))
        del self._receiving[slowest]
        slowest.dismiss()
        return True

    def _too_slow(self, upload: Upload) -> BodyTimeout:
        if upload.dismissed:
            return BodyTimeout(
                f"the body came at less than {SLOW_BYTES_PER_S} bytes a second while others waited to send theirs",
                min_bytes_per_s=SLOW_BYTES_PER_S,
            )
        return self._late()

    def _late(self) -> BodyTimeout:
        timeout_s = self._limits.body_timeout_s
        return BodyTimeout(f"the body did not come within {timeout_s:g} s", body_timeout_s=timeout_s)

    def keep(self, caller: str, count: int) -> None:
        """Counts bytes of a body, or raises QueueFull or QuotaExceeded as the docstring of the limits says."""
        most = self._limits.max_upload_bytes
        if caller != NOBODY and self._bytes[caller] + count > most // 2:
            raise QuotaExceeded(
                f"bodies of this caller hold {most // 2} bytes until they are answered; no more are taken",
                max_upload_bytes=most,
                retry_after_s=RETRY_AFTER_S,
            )
        if self._bytes.total() + count > most:
            self._dismiss_slowest(list(self._receiving))
            raise QueueFull(
                f"bodies hold {most} bytes until they are answered; no more are taken",
                max_upload_bytes=most,
                retry_after_s=RETRY_AFTER_S,
            )
        self._bytes[caller] += count

    def forget(self, caller: str, count: int) -> None:
        """Counts bytes of a body no more."""
        self._bytes[caller] -= count
        if not self._bytes[caller]:
            del self._bytes[caller]


class Upload:
    """The body of one request."""

    def __init__(self, uploads: Uploads, caller: str, *, unseen: bool = False) -> None:
        self._uploads = uploads
        self.caller = caller
        self.unseen = unseen
        self.began = 0.0
        self.received = 0  # bytes
        self.dismissed = False
        self.deadline: asyncio.Timeout | None = None
        self._kept = 0

    def add(self, count: int) -> None:
        """Counts bytes that came.

        Raises:
            QueueFull: bodies hold as many bytes as they may.
            QuotaExceeded: those of this caller do.
        """
        self._uploads.keep(self.caller, count)
        self.received += count
        self._kept += count

    def release(self) -> None:
        """Release the bytes: they are in memory no more."""
        kept, self._kept = self._kept, 0
        if kept:
            self._uploads.forget(self.caller, kept)

    def rate(self, now: float) -> float:
        """Bytes a second since it began."""
        return self.received / max(now - self.began, 1e-9)

    def is_slow(self, now: float) -> bool:
        """Whether others may have its place."""
        return now - self.began > GRACE_S and self.rate(now) < SLOW_BYTES_PER_S

    def dismiss(self) -> None:
        """Ends it."""
        self.dismissed = True
        if self.deadline is not None and not self.deadline.expired():
            self.deadline.reschedule(asyncio.get_running_loop().time())
