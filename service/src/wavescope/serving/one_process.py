"""The service in one process, for small machines: what every process costs is in docs/architecture.md."""

from __future__ import annotations

from wavescope.serving.admission.desk import AdmissionDesk
from wavescope.serving.aggregator import EstimatorAggregator
from wavescope.serving.calls.local_handle import LocalHandle
from wavescope.serving.gateway import Gateway
from wavescope.serving.generator import PerturbationGenerator
from wavescope.serving.models.registry_file import RegistryFile
from wavescope.serving.monitors.metrics import store_reader
from wavescope.serving.reporting import MetricsHub
from wavescope.serving.threads import enough_threads
from wavescope.settings import Settings
from wavescope.telemetry.counters import Snapshot


class OneProcess(Gateway):
    """Gateway, aggregator, generator, admission desk and metrics hub; deployed under the gateway's name."""

    def __init__(self, settings: Settings, registry: RegistryFile, *, loopback_only: bool) -> None:
        self._hub = MetricsHub(read_store=store_reader(settings))
        hub = LocalHandle(self._hub)
        self._desk = AdmissionDesk(settings, hub=hub)
        self._generator = PerturbationGenerator(settings, hub=hub)
        self._aggregator = EstimatorAggregator(
            settings, registry, LocalHandle(self._generator), LocalHandle(self._desk), hub=hub
        )
        super().__init__(settings, registry, LocalHandle(self._aggregator), hub, loopback_only=loopback_only)

    async def check_health(self) -> None:
        """Answers while the replica's event loop turns; Ray Serve does not notice a blocked one by itself."""
        enough_threads()
        for part in (self._desk, self._generator, self._aggregator, super()):
            await part.check_health()

    async def __del__(self) -> None:  # Ray Serve's way to say that the replica is to leave; it awaits it
        await self._aggregator.leave()

    async def push(self, process: str, snapshot: Snapshot) -> None:
        """Replaces the counts of one process, a model replica, in the hub."""
        await self._hub.push(process, snapshot)
