"""Admission desk: the one queue of requests of all gateways and jobs of all workers, and its client."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from wavescope.admission.policy import Admission, AdmissionRequest, Lane
from wavescope.admission.quotas import Budgets, Quota
from wavescope.admission.wait_estimate import Priority
from wavescope.auth import load_quotas
from wavescope.errors import ModelUnavailable, StoreUnavailable, WavescopeError
from wavescope.retries import RetryPolicy
from wavescope.serving import names
from wavescope.serving.calls.background import send_in_background, start_in_background
from wavescope.serving.calls.dispatch import call
from wavescope.serving.calls.local_handle import LocalHandle
from wavescope.serving.calls.retries import ADMISSION
from wavescope.serving.process import prepare_process
from wavescope.serving.reporting import Reporter
from wavescope.serving.threads import in_store_thread
from wavescope.settings import Settings
from wavescope.store import open_store
from wavescope.telemetry.metrics import (
    ADMISSION_REFUSED,
    ADMISSION_RUNNING,
    ADMISSION_WAITING,
    JOBS_UNFINISHED,
    PLANNING_RUNNING,
    PLANNING_WAITING,
    Metric,
)

RENEW_S = 5.0
COUNTED_S = 10.0  # between two looks at how many jobs wait
SILENT_S = 6 * RENEW_S
# Of the requests that run and that wait.
GAUGES: dict[Lane, tuple[Metric, Metric]] = {
    "planning": (PLANNING_RUNNING, PLANNING_WAITING),
    "computing": (ADMISSION_RUNNING, ADMISSION_WAITING),
}

log = logging.getLogger(__name__)


class AdmissionDesk:
    """Admits requests by turns. When it dies its state is lost; the clients re-register with the next one."""

    def __init__(self, settings: Settings, *, hub: LocalHandle | None = None) -> None:
        prepare_process(settings)
        self._lanes = _lanes(settings)
        self._store = open_store(
            settings.store_url,
            state_dir=settings.state_dir,
            result_bytes=settings.result_cache_bytes,
            timeout_s=settings.store_timeout_s,
        )
        self._turns: dict[str, asyncio.Event] = {}
        self._gone: dict[str, float] = {}  # who left, and when: calls may overtake each other on the way here
        self._reporter = Reporter(names.ADMISSION, hub=hub)
        self._counting: asyncio.Task[None] | None = None

    async def check_health(self) -> None:
        """Answers while the replica's event loop turns; Ray Serve does not notice a blocked one by itself."""
        self._reporter.start_once()
        self._move()
        if self._counting is None:
            self._counting = start_in_background(self._count_jobs_for_ever())

    async def _count_jobs_for_ever(self) -> None:
        """Exports the number of unfinished jobs: here, as there is one desk, and several processes would be summed."""
        while True:
            with contextlib.suppress(StoreUnavailable):
                self._reporter.counters.set(
                    JOBS_UNFINISHED, await in_store_thread(self._store.count_unfinished)
                )
            await asyncio.sleep(COUNTED_S)

    async def enter(self, ask: AdmissionRequest) -> float:
        """Returns when it is the request's turn: seconds waited.

        Raises:
            QuotaExceeded, QueueFull: at once.
        """
        self._reporter.start_once()
        began = time.monotonic()
        if ask.id in self._gone:
            raise ModelUnavailable("the request has left already")
        try:
            self._lanes[ask.lane].offer(ask)
        except WavescopeError as refused:
            self._reporter.counters.add(ADMISSION_REFUSED, reason=refused.code)
            raise
        turn = self._turns.setdefault(ask.id, asyncio.Event())
        self._move()
        try:
            await turn.wait()
        except asyncio.CancelledError:
            await self.leave(ask.id)
            raise
        if not self._lanes[ask.lane].heartbeat(ask.id):
            raise ModelUnavailable(
                "the request lost its place in the queue: its process was silent; send it again"
            )
        return time.monotonic() - began

    async def leave(self, ask_id: str, finished: bool = False) -> None:
        """The request has ended; ``finished`` where it was computed to its end."""
        self._gone[ask_id] = time.monotonic()
        for lane in self._lanes.values():
            lane.leave(ask_id, finished=finished)
        self._turns.pop(ask_id, None)
        self._move()

    async def renew(self, running: list[AdmissionRequest], waiting: list[str]) -> None:
        """Renew the requests that one process has running and waiting."""
        for ask in running:
            if ask.id not in self._gone:
                self._lanes[ask.lane].offer(ask, running=True)
        for lane in self._lanes.values():
            for ask_id in waiting:
                lane.heartbeat(ask_id)
        self._move()

    async def wait_s(self, priority: Priority) -> float:
        """Seconds that a request would be expected to wait now, for being planned and for being computed."""
        return sum(lane.wait_s(priority) for lane in self._lanes.values())

    def _move(self) -> None:
        oldest = time.monotonic() - SILENT_S
        while self._gone and (first := next(iter(self._gone))) and self._gone[first] < oldest:
            del self._gone[first]
        for lane in self._lanes.values():
            for ask_id in lane.evict_silent():
                log.warning("a request's process says nothing any more", extra={"ask": ask_id})
                if (turn := self._turns.pop(ask_id, None)) is not None:
                    turn.set()  # if it waits after all, it is refused
            for ask_id in lane.begin():
                if ask_id in self._turns:
                    self._turns[ask_id].set()
        for name, (running, waiting) in GAUGES.items():
            self._reporter.counters.set(running, self._lanes[name].running)
            self._reporter.counters.set(waiting, self._lanes[name].waiting)


def _lanes(settings: Settings) -> dict[Lane, Admission]:
    """Queues that requests pass one after the other; both charge the same budgets."""
    quota = load_quotas(settings)
    budgets = Budgets(quota, time.monotonic)

    def roomy(caller: str) -> Quota:
        # Who may run and wait later may wait here: nobody is refused a plan for want of room who has room behind it.
        found = quota(caller)
        if found.max_waiting is None:
            return found
        return replace(found, max_waiting=found.max_waiting + (found.max_running or settings.max_running))

    return {
        "planning": Admission(
            settings.max_planning * settings.generator_replicas,
            settings.max_waiting + settings.max_running,
            settings.max_wait_s,
            time.monotonic,
            roomy,
            SILENT_S,
            budgets,
        ),
        "computing": Admission(
            settings.max_running,
            settings.max_waiting,
            settings.max_wait_s,
            time.monotonic,
            quota,
            SILENT_S,
            budgets,
        ),
    }


class AdmissionClient:
    """Client of the desk in one process: enters and leaves, and renews its places by heartbeats.

    Args:
        desk: the deployment.
        retries: of calls whose desk dies.
    """

    def __init__(self, desk: DeploymentHandle | LocalHandle, *, retries: RetryPolicy = ADMISSION) -> None:
        self._desk = desk
        self._retries = retries
        self._running: dict[str, AdmissionRequest] = {}
        self._waiting: set[str] = set()
        self._renewing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def through(self, ask: AdmissionRequest) -> AsyncIterator[float]:
        """Runs the body when it is the request's turn, with the seconds waited.

        Raises:
            QuotaExceeded, QueueFull: at once.
        """
        if self._renewing is None:
            self._renewing = start_in_background(self._renew_for_ever())
        self._waiting.add(ask.id)
        try:
            waited_s = await call(
                lambda: self._desk.enter.remote(ask), what="admission", policy=self._retries
            )
        except BaseException:
            self._leave(ask, finished=False)  # it may have been let in just now
            raise
        finally:
            self._waiting.discard(ask.id)
        self._running[ask.id] = ask
        finished = False
        try:
            yield waited_s
            finished = True
        finally:
            del self._running[ask.id]
            self._leave(ask, finished=finished)

    def _leave(self, ask: AdmissionRequest, *, finished: bool) -> None:
        # Not awaited: a lost one lapses.
        send_in_background(lambda: self._desk.leave.remote(ask.id, finished))

    async def wait_s(self, priority: Priority) -> float:
        """Seconds that a request would be expected to wait now."""
        return await call(lambda: self._desk.wait_s.remote(priority), what="admission", policy=self._retries)

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            if not self._running and not self._waiting:
                continue
            with contextlib.suppress(RayError, RayServeException, TimeoutError):
                async with asyncio.timeout(RENEW_S):
                    await self._desk.renew.remote(list(self._running.values()), list(self._waiting))
