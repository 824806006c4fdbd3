"""The desk and the door over a handle that calls in this process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from wavescope.engine.admission import Ask
from wavescope.errors import ModelUnavailable, QueueFull
from wavescope.serving.admission import AdmissionDesk, Door
from wavescope.serving.reporting import Reporter
from wavescope.settings import Settings

WAIT_S = 20.0


class Response:
    """Of a call, as Ray Serve's: awaited or cancelled."""

    def __init__(self, call: Any) -> None:
        self._task = asyncio.ensure_future(call)

    def __await__(self):
        return self._task.__await__()

    def cancel(self) -> None:
        self._task.cancel()


class Handle:
    """Calls the desk's methods; a dead one fails every call, and those that wait."""

    def __init__(self, desk: AdmissionDesk) -> None:
        self.desk = desk
        self.waiting: list[asyncio.Task[Any]] = []

    def __getattr__(self, method: str) -> Any:
        handle = self

        class Method:
            def remote(self, *args: Any) -> Response:
                return Response(handle.call(method, *args))

        return Method()

    async def call(self, method: str, *args: Any) -> Any:
        task = asyncio.ensure_future(getattr(self.desk, method)(*args))
        self.waiting.append(task)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise ActorDiedError from None
            task.cancel()
            raise

    def replace(self, desk: AdmissionDesk) -> None:
        self.desk = desk
        for task in self.waiting:
            task.cancel()


@pytest.fixture(autouse=True)
def nobody_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no hub to push counts to."""
    monkeypatch.setattr(Reporter, "start_once", lambda self: None)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path, max_running=1, max_waiting=1)


def ask(name: str) -> Ask:
    return Ask(name, "", "interactive", 100, 1.0)


def timed(coroutine: Any) -> Any:
    async def run() -> Any:
        async with asyncio.timeout(WAIT_S):
            return await coroutine

    return asyncio.run(run())


def test_who_waits_enters_when_another_leaves(settings: Settings) -> None:
    async def run() -> list[str]:
        door, order, first_in = Door(Handle(AdmissionDesk(settings))), [], asyncio.Event()

        async def first() -> None:
            async with door.through(ask("first")):
                first_in.set()
                while not order:
                    await asyncio.sleep(0)
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
        door = Door(Handle(AdmissionDesk(settings)))

        async def enter(name: str) -> None:
            async with door.through(ask(name)):
                pass

        async with door.through(ask("inside")):
            waiting = asyncio.create_task(enter("waiting"))
            while await door.wait_s("interactive") < 1.5:
                await asyncio.sleep(0)
            with pytest.raises(QueueFull, match="at most 1 may"):
                await enter("refused")
            waiting.cancel()
            await asyncio.wait((waiting,))
            another = asyncio.create_task(enter("another"))
            while await door.wait_s("interactive") < 1.5:
                await asyncio.sleep(0)
        await another

    timed(run())


def test_a_new_desk_learns_who_is_in_and_who_waits_asks_it_again(settings: Settings) -> None:
    async def run() -> None:
        handle = Handle(AdmissionDesk(settings))
        door, entered = Door(handle), []

        async def enter() -> None:
            async with door.through(ask("waiting")):
                entered.append("waiting")

        async with door.through(ask("inside")):
            waiting = asyncio.create_task(enter())
            while await door.wait_s("interactive") < 1.5:
                await asyncio.sleep(0)
            fresh = AdmissionDesk(settings)
            await fresh.renew([ask("inside")], [])
            handle.replace(fresh)
            while await door.wait_s("interactive") < 1.5:  # half of what runs, all of what waits
                await asyncio.sleep(0.01)
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
