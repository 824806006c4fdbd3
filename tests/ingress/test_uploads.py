"""Bodies that are received, counted with a clock that is handed in."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.polling import until

from wavescope.errors import QueueFull, QuotaExceeded
from wavescope.ingress.problems import BodyTimeout
from wavescope.ingress.ray_proxy.uploads import (
    GRACE_S,
    NOBODY,
    SLOW_BYTES_PER_S,
    Upload,
    UploadLimits,
    Uploads,
)

LIMITS = UploadLimits(
    body_timeout_s=60.0, max_uploads=4, max_uploads_per_caller=2, max_upload_bytes=1000 * SLOW_BYTES_PER_S
)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Held:
    """Bodies that stay until the end of a test."""

    def __init__(self, limits: UploadLimits = LIMITS) -> None:
        self.clock = Clock()
        self.uploads = Uploads(limits, clock=self.clock)
        self.ended: dict[str, BaseException] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self, name: str, caller: str, count: int = 0, *, unseen: bool = False) -> None:
        """A body of which that many bytes come, and then nothing."""
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def receive() -> None:
            with self.uploads.of(caller, unseen=unseen) as upload:
                async with self.uploads.place(upload):
                    upload.add(count)
                    begun.set_result(None)
                    await asyncio.Event().wait()

        async def told() -> None:
            try:
                await receive()
            except Exception as error:  # noqa: BLE001 - whatever ended it is looked at
                self.ended[name] = error
                if not begun.done():
                    begun.set_exception(error)

        self._tasks.append(asyncio.create_task(told()))
        await begun

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def run(test: Any, limits: UploadLimits = LIMITS) -> None:
    async def whole() -> None:
        held = Held(limits)
        try:
            await test(held)
        finally:
            await held.close()
        assert (held.uploads.receiving, held.uploads.held_bytes) == (0, 0), "nothing is left behind"

    asyncio.run(whole())


def test_one_caller_has_a_share_and_all_together_a_limit() -> None:
    async def test(held: Held) -> None:
        for number, caller in enumerate(["a", "a", "b", "c"]):
            await held.begin(f"{number}", caller)
        with pytest.raises(QuotaExceeded, match="2 bodies of this caller") as own:
            await held.begin("more", "a")
        with pytest.raises(QueueFull, match="4 bodies") as all_:
            await held.begin("more", "d")
        assert own.value.limits == {"max_uploads_per_caller": 2, "retry_after_s": 1}
        assert all_.value.limits == {"max_uploads": 4, "retry_after_s": 1}

    run(test)


@pytest.mark.parametrize("caller", ["a", "new"])
def test_the_slowest_loses_its_place_to_the_next(caller: str) -> None:
    async def test(held: Held) -> None:
        for name, whose, count in [("fast", "a", 3), ("slow", "a", 2), ("b", "b", 9), ("c", "c", 9)]:
            await held.begin(name, whose, round(count * SLOW_BYTES_PER_S))
        held.clock.now += 4 * GRACE_S  # 3/4 and 2/4 of what is not slow; the others are not
        await held.begin("next", caller)
        await until(lambda: bool(held.ended))
        assert list(held.ended) == ["slow"]
        with pytest.raises(BodyTimeout, match="while others waited"):
            raise held.ended["slow"]
        assert held.uploads.receiving == 4

    run(test)


def test_what_is_seen_to_be_slow_goes_before_what_is_not_seen() -> None:
    async def test(held: Held) -> None:
        await held.begin("older", "a", unseen=True)
        held.clock.now += 1
        await held.begin("newer", "b", unseen=True)
        await held.begin("slow", "c", SLOW_BYTES_PER_S)
        await held.begin("fast", "d", 100 * SLOW_BYTES_PER_S)
        held.clock.now += 4 * GRACE_S
        for number in (1, 2, 3):
            await held.begin(f"{number}", f"{number}", 100 * SLOW_BYTES_PER_S)
            await until(lambda number=number: len(held.ended) == number)
            assert list(held.ended) == ["slow", "older", "newer"][:number]
        with pytest.raises(QueueFull, match="4 bodies"):
            await held.begin("4", "4")

    run(test)


def test_callers_that_cannot_be_told_apart_have_no_share_but_the_limit_of_all() -> None:
    async def test(held: Held) -> None:
        for number in range(4):
            await held.begin(f"{number}", NOBODY, 250 * SLOW_BYTES_PER_S)
        with pytest.raises(QueueFull, match="4 bodies"):
            await held.begin("more", NOBODY)
        with held.uploads.of(NOBODY) as upload, pytest.raises(QueueFull, match="no more are taken"):
            upload.add(1)

    run(test)


def test_nobody_is_slow_at_once() -> None:
    async def test(held: Held) -> None:
        await held.begin("1", "a")
        await held.begin("2", "a")
        held.clock.now += GRACE_S
        with pytest.raises(QuotaExceeded, match="no more"):
            await held.begin("3", "a")

    run(test)


def test_a_body_has_its_time() -> None:
    async def test(held: Held) -> None:
        await held.begin("late", "a")
        await until(lambda: "late" in held.ended)
        with pytest.raises(BodyTimeout, match=r"within 0\.01 s") as caught:
            raise held.ended["late"]
        assert caught.value.limits == {"body_timeout_s": 0.01}

    run(test, UploadLimits(body_timeout_s=0.01))


def test_bytes_are_counted_until_they_are_released() -> None:
    async def test(held: Held) -> None:
        uploads = Uploads(UploadLimits(max_upload_bytes=100))
        with uploads.of("a") as one, uploads.of("b") as other, uploads.of("c") as third:
            one.add(50)
            with pytest.raises(QuotaExceeded, match="bodies of this caller hold 50 bytes"):
                one.add(1)
            other.add(50)
            with pytest.raises(QueueFull, match="bodies hold 100 bytes"):
                third.add(1)
            one.release()
            one.release()
            third.add(1)
            assert uploads.held_bytes == 51
        assert uploads.held_bytes == 0

    run(test)


def test_a_cancelled_body_leaves_nothing_behind() -> None:
    async def test(held: Held) -> None:
        async with AsyncExitStack() as stack:
            upload = stack.enter_context(held.uploads.of("a"))
            await stack.enter_async_context(held.uploads.place(upload))
            upload.add(7)
            assert isinstance(upload, Upload)
            assert (held.uploads.receiving, held.uploads.held_bytes) == (1, 7)

    run(test)
