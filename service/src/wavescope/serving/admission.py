"""Admission: the one place where requests of all gateways and jobs of all workers queue up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from wavescope.engine.admission import Admission, Ask, Priority
from wavescope.errors import ModelUnavailable, StoreUnavailable, WavescopeError
from wavescope.serving import names
from wavescope.serving.dispatch import call
from wavescope.serving.logs import configure_logs
from wavescope.serving.reporting import Reporter
from wavescope.settings import Settings, load_quotas
from wavescope.store import open_store
from wavescope.telemetry.metrics import (
    ADMISSION_REFUSED,
    ADMISSION_RUNNING,
    ADMISSION_WAITING,
    JOBS_UNFINISHED,
)

RENEW_S = 5.0
SILENT_S = 6 * RENEW_S

log = logging.getLogger(__name__)


class AdmissionDesk:
    """Lets requests in by turns. What it knows is gone when it dies; whoever is in tells the next one so."""

    def __init__(self, settings: Settings) -> None:
        configure_logs(settings.log_level)
        self._admission = Admission(
            settings.max_running,
            settings.max_waiting,
            settings.max_wait_s,
            time.monotonic,
            load_quotas(settings),
            SILENT_S,
        )
        self._store = open_store(settings.store_url, state_dir=settings.state_dir, result_bytes=0)
        self._turns: dict[str, asyncio.Event] = {}
        self._gone: dict[str, float] = {}  # who left, and when: calls may overtake each other on the way here
        self._reporter = Reporter(names.ADMISSION)

    async def check_health(self) -> None:
        """Answers while the replica's event loop turns; Ray Serve does not notice a blocked one by itself."""
        self._reporter.start_once()
        self._move()
        # Here, as there is one desk: of a gauge that several processes set, the sum would be told.
        with contextlib.suppress(StoreUnavailable):
            unfinished = await asyncio.to_thread(self._store.unfinished)
            self._reporter.counters.set(JOBS_UNFINISHED, unfinished)

    async def enter(self, ask: Ask) -> float:
        """Returns when it is the request's turn: seconds waited.

        Raises:
            QuotaExceeded, QueueFull: at once.
        """
        self._reporter.start_once()
        began = time.monotonic()
        if ask.id in self._gone:
            raise ModelUnavailable("the request has left already")
        try:
            self._admission.offer(ask)
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
        if not self._admission.heard(ask.id):
            raise ModelUnavailable(
                "the request lost its place in the queue: its process was silent; send it again"
            )
        return time.monotonic() - began

    async def charge(self, caller: str, forwards: int) -> None:
        """Takes forwards from a caller's budget for what needs no turn.

        Raises:
            QuotaExceeded: more than the budget allows now.
        """
        try:
            self._admission.charge(caller, forwards)
        except WavescopeError as refused:
            self._reporter.counters.add(ADMISSION_REFUSED, reason=refused.code)
            raise

    async def leave(self, ask_id: str, finished: bool = False) -> None:
        """The request has ended; ``finished`` where it was computed to its end."""
        self._gone[ask_id] = time.monotonic()
        self._admission.leave(ask_id, finished=finished)
        self._turns.pop(ask_id, None)
        self._move()

    async def renew(self, running: list[Ask], waiting: list[str]) -> None:
        """What one process has running and waiting."""
        for ask in running:
            if ask.id not in self._gone:
                self._admission.offer(ask, running=True)
        for ask_id in waiting:
            self._admission.heard(ask_id)
        self._move()

    async def wait_s(self, priority: Priority) -> float:
        """Seconds that a request would be expected to wait now."""
        return self._admission.wait_s(priority)

    def _move(self) -> None:
        oldest = time.monotonic() - SILENT_S
        while self._gone and (first := next(iter(self._gone))) and self._gone[first] < oldest:
            del self._gone[first]
        for ask_id in self._admission.forget_silent():
            log.warning("a request's process says nothing any more", extra={"ask": ask_id})
            if (turn := self._turns.pop(ask_id, None)) is not None:
                turn.set()  # if it waits after all, it is told so
        for ask_id in self._admission.begin():
            if ask_id in self._turns:
                self._turns[ask_id].set()
        self._reporter.counters.set(ADMISSION_WAITING, self._admission.waiting)
        self._reporter.counters.set(ADMISSION_RUNNING, self._admission.running)


class Door:
    """One process' way past the desk: keeps its places while it lives.

    Args:
        desk: the deployment.
    """

    def __init__(self, desk: DeploymentHandle) -> None:
        self._desk = desk
        self._running: dict[str, Ask] = {}
        self._waiting: set[str] = set()
        self._renewing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def through(self, ask: Ask) -> AsyncIterator[float]:
        """The body runs when it is the request's turn; told the seconds waited.

        Raises:
            QuotaExceeded, QueueFull: at once.
        """
        if self._renewing is None:
            self._renewing = asyncio.get_running_loop().create_task(self._renew_for_ever())
        self._waiting.add(ask.id)
        try:
            waited_s = await call(
                lambda: self._desk.enter.remote(ask), what="admission", retried=lambda: None
            )
        except BaseException:
            self._desk.leave.remote(ask.id)  # it may have been let in just now
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
            self._desk.leave.remote(ask.id, finished)  # not awaited: a lost one lapses

    async def charge(self, caller: str, forwards: int) -> None:
        """Takes forwards from a caller's budget for what needs no turn.

        Raises:
            QuotaExceeded: more than the budget allows now.
        """
        await call(lambda: self._desk.charge.remote(caller, forwards), what="admission", retried=lambda: None)

    async def wait_s(self, priority: Priority) -> float:
        """Seconds that a request would be expected to wait now."""
        return await call(lambda: self._desk.wait_s.remote(priority), what="admission", retried=lambda: None)

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            if not self._running and not self._waiting:
                continue
            with contextlib.suppress(RayError, RayServeException, TimeoutError):
                async with asyncio.timeout(RENEW_S):
                    await self._desk.renew.remote(list(self._running.values()), list(self._waiting))
