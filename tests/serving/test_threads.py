"""A silent store holds none of the threads that compute, and nobody for long."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.polling import DEADLINE_S

from wavescope.errors import StoreUnavailable
from wavescope.serving import threads


def test_calls_beyond_the_store_threads_are_refused_after_a_while():
    store_threads = threads.StoreThreads(queued_s=0.05)
    answered, carried_out = threading.Event(), []

    def silent(number: int) -> int:
        carried_out.append(number)
        answered.wait(DEADLINE_S)
        return number

    async def test() -> None:
        calls = [
            asyncio.ensure_future(store_threads.run(silent, number))
            for number in range(threads.STORE_THREADS + 3)
        ]
        refused = await asyncio.gather(*calls[-3:], return_exceptions=True)
        assert all(isinstance(error, StoreUnavailable) for error in refused)
        assert await asyncio.to_thread(lambda: "computed") == "computed"
        answered.set()
        assert await asyncio.gather(*calls[:-3]) == list(range(threads.STORE_THREADS))

    asyncio.run(test())
    assert sorted(carried_out) == list(range(threads.STORE_THREADS)), (
        "a refused call is not carried out later"
    )


def test_error_of_a_call_is_its_own():
    def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        asyncio.run(threads.in_store_thread(fails))


def test_cancelled_call_that_waits_for_a_thread_is_not_carried_out():
    answered, carried_out = threading.Event(), []

    async def test() -> None:
        busy = [
            asyncio.ensure_future(threads.in_store_thread(answered.wait, DEADLINE_S))
            for _ in range(threads.STORE_THREADS)
        ]
        waiting = asyncio.ensure_future(threads.in_store_thread(carried_out.append, 1))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait((waiting,))
        answered.set()
        await asyncio.gather(*busy)

    asyncio.run(test())
    assert not carried_out


def test_shared_process_has_threads_for_all_its_parts():
    async def test() -> None:
        threads.enough_threads()
        gate = threading.Barrier(12)  # more than the five that Ray Serve gives
        await asyncio.wait_for(
            asyncio.gather(*(asyncio.to_thread(gate.wait, DEADLINE_S) for _ in range(12))), DEADLINE_S
        )

    asyncio.run(test())
