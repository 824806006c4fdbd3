"""Job workers: they claim jobs by leases, execute them and store their results."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from wavescope.engine.events import NullListener
from wavescope.engine.types import Explanation
from wavescope.errors import (
    DeadlineExceeded,
    InternalError,
    StoreUnavailable,
    UnknownModel,
    WavescopeError,
)
from wavescope.ingress.plane import ExplainRequest
from wavescope.serving.calls.background import start_in_background
from wavescope.serving.calls.dispatch import unwrapped
from wavescope.serving.threads import in_store_thread
from wavescope.settings import Settings
from wavescope.store.codec import decode, encode
from wavescope.store.protocols import Job, Store

CHECK_SHARE = 0.01  # of the time, at most, for looks whether the store is sound

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """Result of a job, or of a cached request."""

    explanations: tuple[Explanation, ...]
    batch: bool


class Tally(NullListener):
    """Counts the forwards of a job."""

    def __init__(self, forwards: int = 0, in_all: int = 0) -> None:
        self.forwards = forwards
        self.in_all = in_all

    def planned(self, forwards: int) -> None:
        self.in_all = forwards

    def scored(self, image_count: int) -> None:
        self.forwards += image_count


Execute = Callable[[Job, ExplainRequest, Tally], Awaitable[tuple[Explanation, ...]]]


@dataclass(frozen=True, slots=True)
class WorkerTimes:
    """Times of job workers, in seconds.

    Attributes:
        idle_s: between looks at an empty queue.
        heartbeat_s: between heartbeats; a cancelled job ends within this.
        retry_s: before a job that lacked something is tried again, unless the error says.
        elsewhere_s: for another service on the same store, or a new registry, to have a job's model.
        purge_s: between looks for jobs that ended long ago.
        check_s: between looks whether the store is sound, and more where they take long.
    """

    idle_s: float = 0.5
    heartbeat_s: float = 1.0
    retry_s: float = 5.0
    elsewhere_s: float = 600.0
    purge_s: float = 60.0
    check_s: float = 5.0


TIMES = WorkerTimes()


class Workers:
    """Claims jobs and carries them out, several at once, for as long as the process lives.

    A job whose worker dies is claimed by another once its lease has expired, and goes on from its cached scores.

    Args:
        store: of the jobs.
        settings: number of workers, leases, attempts.
        execute: computes the explanations of a job.
        ended: called with the state of every job that ends here.
        times: of pauses and patience.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        execute: Execute,
        *,
        ended: Callable[[str], None],
        times: WorkerTimes = TIMES,
    ) -> None:
        self._store = store
        self._settings = settings
        self._execute = execute
        self._count = ended
        self._times = times
        self._tasks: list[asyncio.Task[None]] = []
        self._claiming = asyncio.Lock()  # one idle worker asks the store for all of them
        self._lacks: list[str] = []
        self._since_1970_s = time.time() - time.monotonic()

    def start_once(self) -> None:
        """Starts the workers, on the running loop; constructors of replicas have none."""
        if self._tasks:
            return
        self._tasks = [
            start_in_background(self._work_for_ever(uuid.uuid4().hex))
            for _ in range(self._settings.job_workers)
        ]
        self._tasks.append(start_in_background(self._look_after_store_for_ever()))

    async def stop(self) -> None:
        """Releases the leases of all running jobs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work_for_ever(self, worker: str) -> None:
        while True:
            try:
                await self._work_or_release(worker, *await self._claim(worker))
            except StoreUnavailable as silent:
                log.warning("the store of jobs does not answer: %s", silent.message)
                await asyncio.sleep(self._times.heartbeat_s)
            except Exception:  # a worker must not end: the job's lease lapses, and it is tried again
                log.exception("a worker failed")
                await asyncio.sleep(self._times.heartbeat_s)

    async def _claim(self, worker: str) -> tuple[Job, bytes]:
        """The next job, once there is one."""
        async with self._claiming:
            while True:
                if (claimed := await self._claim_once(worker)) is not None:
                    return claimed
                await asyncio.sleep(self._times.idle_s)

    async def _claim_once(self, worker: str) -> tuple[Job, bytes] | None:
        """A queued job, or ``None``; a worker that is stopped meanwhile gives back what the store hands over."""
        claiming = asyncio.create_task(in_store_thread(self._store.claim, worker, self._settings.job_lease_s))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            with contextlib.suppress(StoreUnavailable):
                if (late := await claiming) is not None:
                    await self._release_lease(worker, late[0])
            raise

    async def _look_after_store_for_ever(self) -> None:
        purge_at_s = 0.0
        while True:
            began_s = time.monotonic()
            try:
                await in_store_thread(self._check)
                if time.monotonic() >= purge_at_s:
                    await in_store_thread(self._purge)
                    purge_at_s = time.monotonic() + self._times.purge_s
            except WavescopeError as error:
                log.warning("the store cannot be used as it is: %s", error.message)
            except Exception:
                log.exception("old jobs are not forgotten")
            took_s = time.monotonic() - began_s
            await asyncio.sleep(min(self._times.purge_s, max(self._times.check_s, took_s / CHECK_SHARE)))

    def _check(self) -> None:
        """Logs each shortcoming of the store once."""
        lacks = self._store.check()
        for lack in lacks:
            if lack not in self._lacks:
                log.warning("%s", lack)
        self._lacks = lacks

    def _purge(self) -> None:
        # Where the clock was set forward, what ended just now is not old by that of this process.
        now_s = min(time.time(), self._since_1970_s + time.monotonic())
        self._store.purge(
            finished_before=now_s - self._settings.job_retention_s, max_bytes=self._settings.max_job_bytes
        )

    async def _work_or_release(self, worker: str, job: Job, payload: bytes) -> None:
        """Carries a job out; a worker that is stopped at any point of it releases the lease."""
        try:
            await self._work(worker, job, payload)
        except asyncio.CancelledError:
            await self._release_lease(worker, job)
            raise

    async def _release_lease(self, worker: str, job: Job) -> None:
        """Hands back a job as this process leaves: another need not wait for the lease to lapse."""
        with contextlib.suppress(StoreUnavailable):  # then it does
            await in_store_thread(self._store.release, job.id, worker)

    async def _work(self, worker: str, job: Job, payload: bytes) -> None:
        if job.attempts > self._settings.job_attempts:
            failed = InternalError(f"gave up after {self._settings.job_attempts} attempts")
            await self._finish(worker, job, Tally(job.forwards, job.planned), failed)
            return
        log.info("job begins", extra={"job": job.id, "attempt": job.attempts})
        tally = Tally()
        running = asyncio.create_task(self._run_job(job, payload, tally))
        beating = asyncio.create_task(self._send_heartbeats(worker, job, tally))
        try:
            await asyncio.wait((running, beating), return_when=asyncio.FIRST_COMPLETED)
        finally:  # nothing becomes of cancelling what is done
            running.cancel()
            beating.cancel()
        if not running.done():
            await asyncio.wait((running,))
            log.info("job is another's now, or cancelled", extra={"job": job.id})
            return
        result = running.result()
        # Something is not there: a model, a place, a share of the caller's quota. Another job may go first meanwhile.
        # A deadline is not met by trying again.
        late = isinstance(result, DeadlineExceeded)
        foreign = (
            isinstance(result, UnknownModel) and 0 <= time.time() - job.created_at < self._times.elsewhere_s
        )
        if isinstance(result, WavescopeError) and (result.retryable or foreign) and not late:
            log.warning("job waits: %s", result.message, extra={"job": job.id})
            after_s = float(result.limits.get("retry_after_s", self._times.retry_s))
            await in_store_thread(self._store.release, job.id, worker, after_s=after_s)
        else:
            await self._finish(worker, job, tally, result)

    async def _run_job(self, job: Job, payload: bytes, tally: Tally) -> WavescopeError | bytes:
        """Executes a job: its encoded result, or its error."""
        timeout_s = self._settings.job_timeout_s
        begun = job.started_at or time.time()
        try:
            request = await asyncio.to_thread(decode, payload, ExplainRequest)
            async with asyncio.timeout(max(0.0, begun + timeout_s - time.time())):
                explanations = await self._execute(job, request, tally)
            return await asyncio.to_thread(encode, Done(explanations, request.batch))
        except TimeoutError:
            return DeadlineExceeded(f"the job took more than {timeout_s:g} s", job_timeout_s=timeout_s)
        except WavescopeError as error:
            return unwrapped(error)
        except Exception:  # a defect ends its job, not the worker
            log.exception("job failed", extra={"job": job.id})
            return InternalError("internal error; see the log for the job's id")

    async def _send_heartbeats(self, worker: str, job: Job, tally: Tally) -> None:
        """Renews the lease until the job is of another worker, or cancelled."""
        while True:
            # While the store is silent another may have claimed it; finishing shows it.
            with contextlib.suppress(StoreUnavailable):
                if not await self._send_heartbeat(worker, job, tally):
                    return
            await asyncio.sleep(min(self._times.heartbeat_s, self._settings.job_lease_s / 3))

    async def _send_heartbeat(self, worker: str, job: Job, tally: Tally) -> bool:
        """Renews the lease, with progress; whether the job is still of this worker."""
        return await in_store_thread(
            self._store.heartbeat,
            job.id,
            worker,
            self._settings.job_lease_s,
            forwards=tally.forwards,
            planned=tally.in_all,
        )

    async def _finish(self, worker: str, job: Job, tally: Tally, result: WavescopeError | bytes) -> None:
        """Stores the result, with retries while the store does not answer: a result must not be lost."""
        outcome = result if isinstance(result, bytes) else as_problem(result)
        while True:
            try:
                if await self._send_heartbeat(worker, job, tally) and await in_store_thread(
                    self._store.finish, job.id, worker, outcome
                ):
                    state = "succeeded" if isinstance(result, bytes) else "failed"
                    self._count(state)
                    log.info("job ends", extra={"job": job.id, "state": state})
                return
            except StoreUnavailable as silent:
                log.warning("the store of jobs does not answer: %s", silent.message)
                await asyncio.sleep(self._times.heartbeat_s)


def as_problem(error: WavescopeError) -> dict[str, Any]:
    """An error as it is stored with its job."""
    return {"code": error.code, "message": error.message, "field": error.field, "limits": error.limits}
