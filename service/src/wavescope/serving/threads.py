"""Threads of one process: those that compute, and those that wait for the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from wavescope.errors import StoreUnavailable

STORE_THREADS: Final = 8
COMPUTING_THREADS: Final = (
    32  # as Python has by itself; Ray Serve gives five to what no core is set aside for
)
QUEUED_S: Final = 5.0

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_computing = ThreadPoolExecutor(COMPUTING_THREADS, thread_name_prefix="compute")


class StoreThreads:
    """Threads kept for calls of the store: a silent store must not hold those that compute.

    Args:
        queued_s: longest wait of a call for a thread.
    """

    def __init__(self, queued_s: float = QUEUED_S) -> None:
        self._queued_s = queued_s
        self._threads = ThreadPoolExecutor(STORE_THREADS, thread_name_prefix="store")

    async def run(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Runs a call of the store in one of the threads.

        Args:
            work: the call, which waits for the store no longer than ``store_timeout_s``.
            *args, **named: of the call.

        Raises:
            StoreUnavailable: that of the call; or as many calls as may wait for a silent store already.
        """
        call = self._threads.submit(partial(work, *args, **named))
        answer = asyncio.wrap_future(call)
        try:
            done, _ = await asyncio.wait((answer,), timeout=self._queued_s)
        except asyncio.CancelledError:
            answer.cancel()  # one that has not begun does not begin any more
            raise
        if not done and call.cancel():
            raise StoreUnavailable(
                f"{STORE_THREADS} calls wait for the store already; it is slow or silent: try again",
                retry_after_s=self._queued_s,
            )
        return await answer


in_store_thread = StoreThreads().run  # those of this process


def enough_threads() -> None:
    """Gives the running loop enough threads for all that shares this process."""
    loop: Any = asyncio.get_running_loop()
    loop.set_default_executor(_computing)
