"""The desk and the door over a handle that calls in this process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.handles import AT_ONCE, FakeHandle
from tests.polling import until

from wavescope.admission.policy import AdmissionRequest
from wavescope.errors import ModelUnavailable, QueueFull
from wavescope.serving.admission.desk import AdmissionClient, AdmissionDesk
from wavescope.serving.reporting import Reporter
from wavescope.settings import Settings

HANG_S = 120.0


@pytest.fixture(autouse=True)
def nobody_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no hub to push counts to."""
    monkeypatch.setattr(Reporter, "start_once", lambda self: None)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path, max_running=1, max_waiting=1)


def ask(name: str) -> AdmissionRequest:
    return AdmissionRequest(name, "", "interactive", 100, 1.0)


def client(handle: FakeHandle) -> AdmissionClient:
    return AdmissionClient(handle, retries=AT_ONCE)  # type: ignore[arg-type]


def counts(desk: AdmissionDesk) -> tuple[int, int]:
    """How many requests run, and how many wait."""
    lane = desk._lanes["computing"]
    return lane.running, lane.waiting


def timed(coroutine: Any) -> Any:
    async def run() -> Any:
        async with asyncio.timeout(HANG_S):
            return await coroutine

    return asyncio.run(run())


def test_who_waits_enters_when_another_leaves(settings: Settings) -> None:
    async def run() -> list[str]:
        desk, order, first_in = AdmissionDesk(settings), list[str](), asyncio.Event()
        door = client(FakeHandle(desk))

        async def first() -> None:
            async with door.through(ask("first")):
                first_in.set()
                await until(lambda: counts(desk) == (1, 1))
                order.append("first leaves")

        async def second() -> None:
            await first_in.wait()
            order.append("second asks")
            async with door.through(ask("second")):
                order.append("second is in")

        await asyncio.gather(first(), second())
        return order

    assert timed(run()) == ["second asks", "first leaves", "second is in"]


def test_who_leaves_while_waiting_frees_the_place_in_the_queue(settings: Settings) -> None:
    async def run() -> None:
        desk = AdmissionDesk(settings)
        door = client(FakeHandle(desk))

        async def enter(name: str) -> None:
            async with door.through(ask(name)):
                pass

        async with door.through(ask("inside")):
            waiting = asyncio.create_task(enter("waiting"))
            await until(lambda: counts(desk) == (1, 1))
            with pytest.raises(QueueFull, match="at most 1 may"):
                await enter("refused")
            waiting.cancel()
            await asyncio.wait((waiting,))
            another = asyncio.create_task(enter("another"))
            await until(lambda: counts(desk) == (1, 1))
        await another

    timed(run())


def test_a_new_desk_learns_who_is_in_and_who_waits_asks_it_again(settings: Settings) -> None:
    async def run() -> None:
        desk, fresh, entered = AdmissionDesk(settings), AdmissionDesk(settings), list[str]()
        handle = FakeHandle(desk)
        door = client(handle)

        async def enter() -> None:
            async with door.through(ask("waiting")):
                entered.append("waiting")

        async with door.through(ask("inside")):
            waiting = asyncio.create_task(enter())
            await until(lambda: counts(desk) == (1, 1))
            await fresh.renew([ask("inside")], [])
            handle.die(fresh)
            await until(lambda: counts(fresh) == (1, 1))
            assert entered == []
        await waiting
        assert entered == ["waiting"]

    timed(run())


def test_who_has_left_is_not_let_in_by_calls_that_were_overtaken(settings: Settings) -> None:
    async def run() -> None:
        desk = AdmissionDesk(settings)
        await desk.leave("gone")
        with pytest.raises(ModelUnavailable, match="has left already"):
            await desk.enter(ask("gone"))
        await desk.renew([ask("gone")], [])
        assert await desk.wait_s("interactive") == 0
        await desk.enter(ask("another"))

    timed(run())
