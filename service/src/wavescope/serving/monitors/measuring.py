"""Measurement of observations on generators and model replicas, at a bounded share of the model's speed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from wavescope.admission.policy import AdmissionRequest
from wavescope.engine.monitors.config import MonitorConfig
from wavescope.engine.monitors.measure import UNDECODABLE, measure, plan_measurement, undecodable
from wavescope.engine.monitors.observation import Observed
from wavescope.engine.monitors.state import Facts
from wavescope.engine.types import ModelDetails
from wavescope.serving.admission.desk import AdmissionClient
from wavescope.serving.admission.planning import Planning
from wavescope.serving.models.directory import ModelDirectory
from wavescope.serving.runner import RayRunner, Replicas
from wavescope.settings import Settings
from wavescope.telemetry.counters import Counters

IMAGE = ("image",)


class Measurer(Protocol):
    """Measures images for monitors."""

    async def measure(
        self, config: MonitorConfig, image: bytes, facts: Facts, *, profile: bool, owner: str
    ) -> Observed:
        """The measurement of one encoded image.

        Args:
            config: of the monitor.
            image: encoded file.
            facts: about the observation.
            profile: whether a profile is made.
            owner: name of the API key that the forwards are charged to.

        Raises:
            WavescopeError: for another reason than the image: it may be tried again.
        """
        ...

    async def seconds_per_image(self, model: str) -> float | None:
        """Seconds that all replicas of a model together take for an image; ``None`` before it is measured."""
        ...


class RayMeasurer:
    """Measures on the deployments; a :class:`Measurer`.

    Args:
        settings: limits of images.
        directory: of the models.
        admission: client of the desk: observations wait for their turn behind interactive requests.
        counters: of the process.
        find_replicas: deployments to be called for a model.
    """

    def __init__(
        self,
        settings: Settings,
        directory: ModelDirectory,
        admission: AdmissionClient,
        counters: Counters,
        find_replicas: Callable[[str], Awaitable[Replicas]],
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._admission = admission
        self._counters = counters
        self._find_replicas = find_replicas

    async def measure(
        self, config: MonitorConfig, image: bytes, facts: Facts, *, profile: bool, owner: str
    ) -> Observed:
        details = await self._directory.details(config.model)
        if facts.fitted:
            details = _unresized(details)
        planning = Planning(self._admission, owner, "batch", (), forwards=0, patient=True)
        runner = RayRunner(
            (image,), details, await self._find_replicas(config.model), self._counters, planning=planning
        )
        async with self._directory.guard(config.model):
            try:
                await planning.read((image,), IMAGE, self._settings, lambda _: 0)
            except UNDECODABLE as unread:
                return undecodable(runner, config.request, unread)
            planned = await plan_measurement(runner, config.request)
            if isinstance(planned, Observed):
                return planned
            forwards = planned.forwards if profile else 1
            ask = AdmissionRequest(
                id=uuid.uuid4().hex,
                caller=owner,
                priority="batch",
                forwards=forwards,
                seconds=forwards * (await self.seconds_per_image(config.model) or 0.0),
                patient=True,
            )
            async with self._admission.through(ask):
                return await measure(planned, config.request, profile=profile)

    async def seconds_per_image(self, model: str) -> float | None:
        details = await self._directory.details(model)
        if details.seconds_per_image is None:
            return None
        state, _ = await self._directory.describe(model)
        return details.seconds_per_image / max(1, state["replicas"]["running"])


def _unresized(details: ModelDetails) -> ModelDetails:
    """The model as it takes images that are its input already: resized to the size that they have."""
    return replace(details, preprocessing=replace(details.preprocessing, resize=None))


class Throttle:
    """Keeps the work of a monitor below a share of the model's time.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._free_at: dict[str, float] = {}

    def spend(self, monitor: str, forwards: int, seconds_per_image: float, share: float) -> None:
        """Counts forwards that were just scored: none follow for as long as makes them this share of the time.

        Args:
            monitor: its name.
            forwards: images scored.
            seconds_per_image: that the model takes.
            share: of the model's time, above 0, at most 1.
        """
        begun = max(self._clock(), self._free_at.get(monitor, 0.0))
        self._free_at[monitor] = begun + forwards * seconds_per_image * (1 / share - 1)

    def left_s(self, monitor: str) -> float:
        """Seconds until the monitor may go on; 0 where it may now."""
        return max(0.0, self._free_at.get(monitor, 0.0) - self._clock())
