"""Monitors on a real store, with measurements that follow from the bytes of an image."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fastapi import FastAPI
from tests import polling
from tests.ingress.fakes import FakePlane, make_explanation

from wavescope.engine.monitors.config import MonitorConfig, ReferencePlan, Sampling
from wavescope.engine.monitors.observation import Observed
from wavescope.engine.monitors.state import Facts, MonitorState
from wavescope.engine.types import ModelDetails, Preprocessing
from wavescope.errors import UnknownModel, WavescopeError
from wavescope.ingress.app import build_app
from wavescope.ingress.plane import CallContext, IngressLimits, Observation
from wavescope.serving.monitors.effects import AlarmEffects
from wavescope.serving.monitors.plane import StoredMonitors
from wavescope.serving.monitors.worker import MonitorWorkers, WorkerTimes
from wavescope.serving.names import GATEWAY
from wavescope.serving.reporting import Reporter
from wavescope.settings import Settings
from wavescope.store.codec import decode
from wavescope.store.protocols import Store

MODEL = "m"
CALL = CallContext("request")
HURRIED = WorkerTimes(idle_s=0.01, wake_s=0.05, retry_s=0.01, entries=8)
CONFIG = MonitorConfig(
    model=MODEL,
    sample=Sampling(profile_rate=0.5, max_share_of_model=1.0),
    reference=ReferencePlan(fit=30, calibrate=100, source="stream"),
)
DETAILS = ModelDetails(
    MODEL, Preprocessing(), "logits", ("cat", "dog"), "cpu", "float32", "onnx", 4, "revision"
)


def images(count: int, kind: str = "clean", *, start: int = 0) -> list[bytes]:
    """Images in name only, all different."""
    return [f"{kind} {start + at}".encode() for at in range(count)]


def measured(image: bytes, *, profile: bool, revision: str = "r") -> Observed:
    """The measurement of such an image: the same for the same bytes."""
    kind = image.split(b" ")[0]
    rng = np.random.default_rng(list(hashlib.sha256(image).digest()))
    if kind == b"broken":
        return Observed("undecodable", revision, profiled=True, reason="the file cannot be decoded")
    shift = 3.0 if kind == b"blurred" else 0.0
    energies = np.exp(rng.normal(shift, 0.3, 10))
    shares = rng.dirichlet(np.full(10, 5.0))
    black = kind == b"black"
    return Observed(
        "constant_score" if black and profile else "observed",
        revision,
        profiled=profile,
        energies=np.zeros(10) if black else energies,
        confidence=float(rng.beta(5, 2)),
        predicted=0,
        shares=shares if profile and not black else None,
        forwards=49 if profile else 1,
    )


@dataclass
class FakeMeasurer:
    """Measures by :func:`measured`; fails, waits or answers by another revision as it is set to."""

    error: WavescopeError | None = None
    revision: str = "r"
    pause: Callable[[], Any] | None = None
    profiles: list[tuple[bytes, bool]] = field(default_factory=list)
    seconds: float | None = None

    async def measure(
        self, config: MonitorConfig, image: bytes, facts: Facts, *, profile: bool, owner: str
    ) -> Observed:
        if self.pause is not None:
            await self.pause()
        if self.error is not None:
            raise self.error
        self.profiles.append((image, profile))
        return measured(image, profile=profile, revision=self.revision)

    async def seconds_per_image(self, model: str) -> float | None:
        return self.seconds


class FakeDirectory:
    """Knows one model."""

    def spec(self, name: str) -> str:
        if name != MODEL:
            raise UnknownModel.among(name, (MODEL,))
        return name

    async def details(self, name: str) -> ModelDetails:
        self.spec(name)
        return DETAILS


class MonitoredPlane(StoredMonitors, FakePlane):
    """The real monitors of a store, beside a plane that answers for the rest."""

    def __init__(self, store: Store, **settings: Any) -> None:
        FakePlane.__init__(self, make_explanation())
        self._settings = Settings(**settings)
        self._directory = FakeDirectory()  # type: ignore[assignment]  # as much of it as is asked
        self._store = store
        self._reporter = Reporter(GATEWAY)

    @property
    def settings(self) -> Settings:
        return self._settings

    def app(self) -> FastAPI:
        return build_app(self, limits=IngressLimits(), draw=lambda _: b"", draw_report=lambda _: b"\x89PNG")


def make_workers(
    store: Store,
    measurer: FakeMeasurer,
    settings: Settings,
    *,
    times: WorkerTimes = HURRIED,
    webhook_clock: Callable[[], float] = time.time,
    **options: Any,
) -> MonitorWorkers:
    """Workers as an aggregator has them."""
    effects = AlarmEffects(store, settings, clock=webhook_clock)
    return MonitorWorkers(
        store, settings, measurer, effects, folded=lambda name, delay_s: None, times=times, **options
    )


async def drain(
    plane: MonitoredPlane, store: Store, measurer: FakeMeasurer | None = None, name: str = "m"
) -> None:
    """Works until the whole log of a monitor is folded."""
    workers = make_workers(store, measurer or FakeMeasurer(), plane.settings)

    def folded() -> bool:
        record = store.get_monitor(name)
        return record.folded == record.last_seq

    workers.start_once()
    try:
        await polling.until(folded)
    finally:
        await workers.stop()


async def send(
    plane: MonitoredPlane, files: Sequence[bytes], name: str = "m", **fields: Any
) -> tuple[str, ...]:
    """Observations of images, whose bytes are their identities."""
    found: list[str] = []
    for image in files:
        key = f"id:{image.decode()}"
        found += await plane.observe(name, [Observation(image=image, key=key, **fields)], CALL)
    return tuple(found)


def state_of(store: Store, name: str = "m") -> MonitorState:
    """The state that was saved last."""
    _, checkpoint, _ = store.load_checkpoint(name)
    assert checkpoint is not None
    return decode(checkpoint, MonitorState)


def run(work: Any) -> Any:
    """The result of a coroutine."""
    return asyncio.run(work)
