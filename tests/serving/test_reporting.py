"""How the counts of all processes are added up, and what becomes of those that die."""

from __future__ import annotations

import asyncio

import pytest
from ray.exceptions import RayError
from tests.fakes.handles import NEVER, Answers, FakeHandle

from wavescope.errors import ModelUnavailable
from wavescope.serving.reporting import FOLD_S, SILENT_S, MetricsHub, Reporter
from wavescope.telemetry.counters import Counters, Snapshot
from wavescope.telemetry.metrics import FORWARDS, QUEUED_IMAGES


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def counted(forwards: int, queued: int = 0) -> Snapshot:
    counters = Counters()
    counters.add(FORWARDS, forwards, model="m")
    counters.set(QUEUED_IMAGES, queued, model="m")
    return counters.snapshot()


async def told(hub: MetricsHub) -> tuple[float, float]:
    """Forwards and queued images, to a gateway that has none itself."""
    values = dict(
        line.rsplit(" ", 1) for line in (await hub.exposition("gateway", {})).splitlines() if line[0] != "#"
    )
    forwards, queued = (f'{metric.name}{{model="m"}}' for metric in (FORWARDS, QUEUED_IMAGES))
    return float(values.get(forwards, 0)), float(values.get(queued, 0))


def test_a_process_that_died_keeps_its_counts_and_loses_its_gauges() -> None:
    async def story() -> None:
        clock = Clock()
        hub = MetricsHub(clock=clock)
        await hub.push("a", counted(3, queued=2))
        await hub.push("b", counted(4, queued=1))
        assert await told(hub) == (7, 3)
        clock.now = SILENT_S
        await hub.push("b", counted(5, queued=1))
        assert await told(hub) == (8, 1)
        clock.now += FOLD_S + 1
        assert await told(hub) == (8, 0)

    asyncio.run(story())


def test_nothing_is_kept_of_processes_that_are_long_dead_though_nobody_scrapes() -> None:
    async def story() -> None:
        clock = Clock()
        hub = MetricsHub(clock=clock)
        for process in range(1000):
            await hub.push(f"process {process}", counted(1, queued=1))
            clock.now += FOLD_S / 10
        assert len(hub._latest) <= 11
        assert await told(hub) == (1000, 0)

    asyncio.run(story())


@pytest.mark.parametrize("answer", [NEVER, RayError("it is gone")], ids=["silent", "gone"])
def test_a_hub_that_does_not_answer_is_not_waited_for(answer: object) -> None:
    hub = FakeHandle(Answers(answer))
    with pytest.raises(ModelUnavailable, match="the metrics hub does not answer") as caught:
        asyncio.run(Reporter("Gateway", hub=hub, answer_s=0.01).exposition())  # type: ignore[arg-type]
    assert caught.value.retryable
    assert hub.cancelled == (answer is NEVER), "what nobody waits for is not computed"


def test_what_the_hub_says_is_told() -> None:
    hub = FakeHandle(Answers("all"))
    assert asyncio.run(Reporter("Gateway", hub=hub).exposition()) == "all"  # type: ignore[arg-type]
