"""Jobs: what is kept of them, and the workers that carry them out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from wavescope import __version__
from wavescope.engine.events import Deaf
from wavescope.engine.types import Explanation, ExplanationRequest
from wavescope.errors import DeadlineExceeded, InternalError, StoreUnavailable, WavescopeError
from wavescope.serving.dispatch import unwrapped
from wavescope.settings import Settings
from wavescope.store.codec import decode, encode
from wavescope.store.keys import result_key
from wavescope.store.protocols import Job, Store

IDLE_S = 0.5  # between looks at an empty queue
BEAT_S = 1.0  # a cancelled job ends within this
PURGE_S = 60.0  # between looks for jobs that ended long ago
RETRY_S = 5.0  # before a job that lacked something is tried again, unless the error says

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """A valid request as it is kept with its job.

    Attributes:
        images: encoded, those to be explained, then what ``compare`` compares with.
        names: what the caller calls each image.
        targets: per image, classes; ``None`` for the predicted one.
        identities: of the explanations.
        batch: whether the reply is a list.
        fresh: computed anew even where the result is kept.
    """

    model: str
    images: tuple[bytes, ...]
    names: tuple[str, ...]
    targets: tuple[tuple[int | str | None, ...], ...]
    identities: tuple[str, ...]
    request: ExplanationRequest
    batch: bool
    fresh: bool

    def key(self, revision: str) -> str:
        """What the result is kept under, as the model computes it in that revision."""
        parameters = self.request.parameters()
        return result_key(self.images, self.model, revision, parameters, self.targets, __version__)


@dataclass(frozen=True, slots=True)
class Done:
    """What a job came to."""

    explanations: tuple[Explanation, ...]
    batch: bool


class Tally(Deaf):
    """Counts the forwards of a job."""

    def __init__(self, forwards: int = 0, in_all: int = 0) -> None:
        self.forwards = forwards
        self.in_all = in_all

    def planned(self, forwards: int) -> None:
        self.in_all = forwards

    def scored(self, images: int) -> None:
        self.forwards += images


Carry = Callable[[Job, Work, Tally], Awaitable[tuple[Explanation, ...]]]


class Workers:
    """Claims jobs and carries them out, several at once, for as long as the process lives.

    A job whose worker dies is claimed by another once its lease has lapsed, and goes on from the scores it has.

    Args:
        store: of the jobs.
        settings: number of workers, leases, attempts.
        carry: computes what a job asks for.
        ended: told the state of every job that ends here.
    """

    def __init__(
        self, store: Store, settings: Settings, carry: Carry, *, ended: Callable[[str], None]
    ) -> None:
        self._store = store
        self._settings = settings
        self._carry = carry
        self._ended = ended
        self._tasks: list[asyncio.Task[None]] = []

    def start_once(self) -> None:
        """Starts the workers, on the running loop; constructors of replicas have none."""
        if self._tasks:
            return
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._work_for_ever(uuid.uuid4().hex)) for _ in range(self._settings.job_workers)
        ]
        self._tasks.append(loop.create_task(self._purge_for_ever()))

    async def stop(self) -> None:
        """Gives every job back that is in hand."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work_for_ever(self, worker: str) -> None:
        while True:
            try:
                claimed = await asyncio.to_thread(self._store.claim, worker, self._settings.job_lease_s)
                if claimed is None:
                    await asyncio.sleep(IDLE_S)
                    continue
                await self._work(worker, *claimed)
            except StoreUnavailable as silent:
                log.warning("the store of jobs does not answer: %s", silent.message)
                await asyncio.sleep(BEAT_S)
            except Exception:  # a worker must not end: the job's lease lapses, and it is tried again
                log.exception("a worker failed")
                await asyncio.sleep(BEAT_S)

    async def _purge_for_ever(self) -> None:
        while True:
            try:
                await asyncio.to_thread(
                    self._store.purge,
                    finished_before=time.time() - self._settings.job_retention_s,
                    max_bytes=self._settings.max_job_bytes,
                )
            except StoreUnavailable as silent:
                log.warning("old jobs are not forgotten: %s", silent.message)
            except Exception:
                log.exception("old jobs are not forgotten")
            await asyncio.sleep(PURGE_S)

    async def _work(self, worker: str, job: Job, payload: bytes) -> None:
        if job.attempts > self._settings.job_attempts:
            failed = InternalError(f"gave up after {self._settings.job_attempts} attempts")
            await self._finish(worker, job, Tally(job.forwards, job.planned), failed)
            return
        log.info("job begins", extra={"job": job.id, "attempt": job.attempts})
        tally = Tally()
        carrying = asyncio.create_task(self._carried(job, payload, tally))
        beating = asyncio.create_task(self._beat(worker, job, tally))
        try:
            await asyncio.wait((carrying, beating), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # This process is leaving: another need not wait for the lease to lapse.
            carrying.cancel()
            await asyncio.to_thread(self._store.release, job.id, worker)
            raise
        finally:
            beating.cancel()
        if not carrying.done():
            carrying.cancel()
            await asyncio.wait((carrying,))
            log.info("job is another's now, or cancelled", extra={"job": job.id})
            return
        result = carrying.result()
        # Something is not there: a model, a place, a share of the caller's quota. Another job may go first meanwhile.
        # A deadline is not met by trying again.
        late = isinstance(result, DeadlineExceeded)
        if isinstance(result, WavescopeError) and result.retryable and not late:
            log.warning("job waits: %s", result.message, extra={"job": job.id})
            after_s = float(result.limits.get("retry_after_s", RETRY_S))
            await asyncio.to_thread(self._store.release, job.id, worker, after_s=after_s)
        else:
            await self._finish(worker, job, tally, result)

    async def _carried(self, job: Job, payload: bytes, tally: Tally) -> WavescopeError | bytes:
        """The encoded result, or what went wrong."""
        timeout_s = self._settings.job_timeout_s
        begun = job.started_at or time.time()
        try:
            work = await asyncio.to_thread(decode, payload, Work)
            async with asyncio.timeout(max(0.0, begun + timeout_s - time.time())):
                explanations = await self._carry(job, work, tally)
            return await asyncio.to_thread(encode, Done(explanations, work.batch))
        except TimeoutError:
            return DeadlineExceeded(f"the job took more than {timeout_s:g} s", job_timeout_s=timeout_s)
        except WavescopeError as error:
            return unwrapped(error)
        except Exception:  # a defect ends its job, not the worker
            log.exception("job failed", extra={"job": job.id})
            return InternalError("internal error; see the log for the job's id")

    async def _beat(self, worker: str, job: Job, tally: Tally) -> None:
        """Renews the lease until the job is not ours any more."""
        while True:
            # While the store is silent another may have claimed it; finishing tells.
            with contextlib.suppress(StoreUnavailable):
                if not await self._told(worker, job, tally):
                    return
            await asyncio.sleep(min(BEAT_S, self._settings.job_lease_s / 3))

    async def _told(self, worker: str, job: Job, tally: Tally) -> bool:
        """Tells the store how far a job has come; whether it is still ours."""
        return await asyncio.to_thread(
            self._store.beat,
            job.id,
            worker,
            self._settings.job_lease_s,
            forwards=tally.forwards,
            planned=tally.in_all,
        )

    async def _finish(self, worker: str, job: Job, tally: Tally, result: WavescopeError | bytes) -> None:
        """Tells the store, again and again while it is silent: the work is done, and must not be lost."""
        told = result if isinstance(result, bytes) else as_problem(result)
        while True:
            try:
                if await self._told(worker, job, tally) and await asyncio.to_thread(
                    self._store.finish, job.id, worker, told
                ):
                    state = "succeeded" if isinstance(result, bytes) else "failed"
                    self._ended(state)
                    log.info("job ends", extra={"job": job.id, "state": state})
                return
            except StoreUnavailable as silent:
                log.warning("the store of jobs does not answer: %s", silent.message)
                await asyncio.sleep(BEAT_S)


def as_problem(error: WavescopeError) -> dict[str, Any]:
    """An error as it is kept with its job."""
    return {"code": error.code, "message": error.message, "field": error.field, "limits": error.limits}
