"""Handles of what lives in this process answer as Ray Serve's do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from tests.polling import DEADLINE_S, until

from wavescope.errors import InvalidRequest
from wavescope.serving.calls.dispatch import call
from wavescope.serving.calls.local_handle import LocalHandle
from wavescope.serving.calls.retries import ADMISSION


class Part:
    """Answers, fails, waits, and tells one by one."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.began = asyncio.Event()

    async def double(self, number: int) -> int:
        return 2 * number

    async def fail(self) -> None:
        raise InvalidRequest("no", field="image")

    async def wait(self) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.append("wait")

    async def count(self, most: int) -> AsyncGenerator[int, None]:
        try:
            for number in range(most):
                yield number
            self.began.set()
            await asyncio.Event().wait()
        finally:
            self.ended.append("count")


def run(test):
    return asyncio.run(asyncio.wait_for(test(), DEADLINE_S))


def test_call_is_answered_as_often_as_it_is_awaited():
    async def test():
        response = LocalHandle(Part()).double.remote(4)
        assert await response == 8
        assert await response == 8

    run(test)


def test_error_is_the_one_that_was_raised():
    async def test():
        with pytest.raises(InvalidRequest, match="no") as raised:
            await call(LocalHandle(Part()).fail.remote, what="it", policy=ADMISSION)
        assert raised.value.field == "image"

    run(test)


def test_call_that_nobody_awaits_is_carried_out():
    async def test():
        part = Part()
        LocalHandle(part).wait.remote()
        await part.began.wait()

    run(test)


def test_cancelled_caller_stops_the_work():
    async def test():
        part = Part()
        asking = asyncio.create_task(call(LocalHandle(part).wait.remote, what="it", policy=ADMISSION))
        await part.began.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: bool(part.ended))

    run(test)


def test_who_stops_waiting_without_a_word_stops_nothing():
    async def test():
        part = Part()
        response = LocalHandle(part).wait.remote()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await response
        assert not part.ended
        response.cancel()

    run(test)


@pytest.mark.parametrize("waiting", [True, False])
def test_cancelled_stream_stops_the_work_wherever_it_is(waiting):
    async def test():
        part = Part()
        stream = LocalHandle(part).options(stream=True).count.remote(2)
        assert [await anext(stream), await anext(stream)] == [0, 1]
        last = asyncio.create_task(anext(stream, None))
        if waiting:
            await part.began.wait()
        else:
            last.cancel()
        stream.cancel()
        await until(lambda: bool(part.ended))
        await asyncio.wait((last,))
        assert part.ended == ["count"]

    run(test)


def test_private_names_are_no_methods():
    with pytest.raises(AttributeError, match="_task"):
        _ = LocalHandle(Part())._task
