"""Reporting of the counts of every process to the one place that adds them up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from wavescope.errors import ModelUnavailable
from wavescope.serving import names
from wavescope.serving.calls.background import start_in_background
from wavescope.serving.calls.dispatch import call
from wavescope.serving.calls.local_handle import LocalHandle
from wavescope.serving.calls.retries import METRICS
from wavescope.telemetry.counters import Counters, Snapshot, exposition, is_gauge, total
from wavescope.telemetry.metrics import REPLICAS

PUSH_S = 1.0
HEARTBEAT_S = 5.0
SILENT_S = 20.0  # a process that said nothing for four heartbeats is taken for dead
FOLD_S = 3600.0  # long enough that a stalled process is not folded, and then counted a second time

if TYPE_CHECKING:
    from wavescope.settings import Settings

log = logging.getLogger(__name__)


def hub_deployment(settings: Settings) -> str:
    """The deployment that holds the hub: one of its own, or the gateway where all share a process."""
    return names.GATEWAY if settings.one_process else names.HUB


class MetricsHub:
    """Holds the latest snapshot of every process; the sum of them is the application's metrics.

    To these it adds what the store has, as metrics of monitors: read by the hub alone, they are in no sum.

    When the hub itself dies, live processes send everything again within a heartbeat; what dead ones had counted is
    lost, which Prometheus sees as a counter reset.

    Args:
        settings: of the service, where the hub has a process of its own.
        read_store: reads samples of the store; ``None`` for one that opens the store of ``settings``.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        read_store: Callable[[], Awaitable[Snapshot]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if settings is not None:  # of a process of its own
            # With what the controller has no use for.
            from wavescope.serving.monitors.metrics import store_reader
            from wavescope.serving.process import prepare_process

            prepare_process(settings)
            read_store = read_store or store_reader(settings)
        self._read_store = read_store
        self._clock = clock
        self._latest: dict[str, tuple[float, Snapshot]] = {}
        self._folded: Snapshot = {}

    async def push(self, process: str, snapshot: Snapshot) -> None:
        """Replaces the counts of one process."""
        self._latest[process] = (self._clock(), snapshot)
        self._fold()

    async def exposition(self, process: str, snapshot: Snapshot) -> str:
        """The whole application in Prometheus' text format, the asking process counted up to now."""
        await self.push(process, snapshot)
        now = self._clock()
        alive = (
            latest if now - seen < SILENT_S else _counted(latest) for seen, latest in self._latest.values()
        )
        counted = total([self._folded, *alive])
        stored = {} if self._read_store is None else await self._read_store()
        return exposition(counted | stored)

    def _fold(self) -> None:
        """Adds up the counts of processes that are long dead: nothing is kept of each."""
        now = self._clock()
        for process, (seen, latest) in list(self._latest.items()):
            if now - seen > FOLD_S:
                self._folded = total([self._folded, _counted(latest)])
                del self._latest[process]


def _counted(snapshot: Snapshot) -> Snapshot:
    """A snapshot without the gauges, which only live processes have."""
    return {key: value for key, value in snapshot.items() if not is_gauge(key)}


class Reporter:
    """Pushes this process' counts to the hub once a second when they changed, and as a heartbeat.

    Args:
        deployment: of this replica.
        model: served by this replica, empty where it serves none.
        hub: where to push; looked up by its name when ``None``.
        hub_name: of the deployment that holds it.
        answer_s: how long an answer of the hub is waited for.
    """

    def __init__(
        self,
        deployment: str,
        model: str = "",
        *,
        hub: DeploymentHandle | LocalHandle | None = None,
        hub_name: str = names.HUB,
        answer_s: float = HEARTBEAT_S,
    ) -> None:
        self.counters = Counters()
        self.counters.set(REPLICAS, 1, deployment=deployment, model=model)
        self._process = uuid.uuid4().hex
        self._hub = hub
        self._hub_name = hub_name
        self._answer_s = answer_s
        self._task: asyncio.Task[None] | None = None

    def start_once(self) -> None:
        """Starts pushing, on the running loop; constructors of replicas have none."""
        if self._task is None:
            self._task = start_in_background(self._push_for_ever())

    async def exposition(self) -> str:
        """The whole application's metrics.

        Raises:
            ModelUnavailable: the hub does not answer, as while it is being restarted: what this process alone has
                counted would read as if counters had fallen.
        """
        try:
            async with asyncio.timeout(self._answer_s):
                return await call(
                    lambda: self._handle().exposition.remote(self._process, self.counters.snapshot()),
                    what="the metrics hub",
                    policy=METRICS,
                )
        except (RayError, RayServeException, TimeoutError) as away:
            raise ModelUnavailable("the metrics hub does not answer; ask again") from away

    def _handle(self) -> DeploymentHandle | LocalHandle:
        if self._hub is None:
            # It looks after itself from then on: a handle follows the deployment wherever its process is.
            self._hub = serve.get_deployment_handle(self._hub_name, app_name=names.APPLICATION)
        return self._hub

    async def _push_for_ever(self) -> None:
        sent: Snapshot = {}
        sent_at = -HEARTBEAT_S
        while True:
            snapshot = self.counters.snapshot()
            if snapshot != sent or time.monotonic() - sent_at >= HEARTBEAT_S:
                # The hub may start after this process, or be restarting; the next push carries everything again.
                with contextlib.suppress(RayError, RayServeException, TimeoutError):
                    async with asyncio.timeout(self._answer_s):
                        await self._handle().push.remote(self._process, snapshot)
                    sent, sent_at = snapshot, time.monotonic()
            await asyncio.sleep(PUSH_S)
