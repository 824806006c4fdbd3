"""Fan-out of chunks over model replicas: bounded window, retries, nothing left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, WorkerCrashedError
from ray.serve.exceptions import ReplicaUnavailableError

from wavescope.errors import ModelUnavailable, WavescopeError

log = logging.getLogger(__name__)

ATTEMPTS = 8
FIRST_DELAY_S = 0.1
MAX_DELAY_S = 3.0

# The replica is gone or going, and the chunk with it; Ray Serve does not ask another by itself.
LOST = (ActorDiedError, ActorUnavailableError, WorkerCrashedError, OutOfMemoryError, ReplicaUnavailableError)


def unwrapped(error: WavescopeError) -> WavescopeError:
    """What was raised there, without Ray's envelope: a class made of both, which nothing else can make again."""
    return getattr(error, "cause", error)


async def _result(response: Any) -> Any:
    return await response


async def call(
    send: Callable[[], Any],
    *,
    what: str,
    retried: Callable[[], None],
    receive: Callable[[Any], Awaitable[Any]] = _result,
) -> Any:
    """Sends an idempotent call, again when its replica dies, and cancels the remote side when cancelled itself.

    Args:
        send: sends the call, each time anew, and returns its response.
        what: names the call in logs and errors.
        retried: called for every retry.
        receive: waits for a response, for its result alone unless told otherwise.

    Raises:
        ModelUnavailable: replica after replica died.
        WavescopeError: what was raised there.
    """
    for attempt in range(ATTEMPTS):
        response = send()
        try:
            return await receive(response)
        except WavescopeError as error:
            raise unwrapped(error) from None
        except LOST as lost:
            log.warning("%s lost its replica: %s", what, type(lost).__name__, extra={"attempt": attempt + 1})
            retried()
        except asyncio.CancelledError:
            response.cancel()
            raise
        await asyncio.sleep(min(FIRST_DELAY_S * 2**attempt, MAX_DELAY_S))
    raise ModelUnavailable(f"{what}: {ATTEMPTS} replicas in a row died while working on it")


async def fan_out(
    chunks: Iterable[tuple[int, int]],
    score: Callable[[int, int], Any],
    take: Callable[[int, Any], bool],
    *,
    window: int,
) -> None:
    """Keeps ``window`` chunks in flight until all are scored; the first failure cancels the others.

    Cancelled itself, it ends as soon as the chunks in flight were told so; no further one is sent.

    Args:
        chunks: row ranges.
        score: coroutine function of (start, stop) that returns the chunk's scores.
        take: called with (start, scores) as chunks arrive, in any order. Where it answers ``False``, no further chunk
            is sent; those in flight are waited for.
        window: chunks in flight.
    """
    waiting = iter(chunks)
    wanted = True

    async def work() -> None:
        nonlocal wanted
        while wanted and (chunk := next(waiting, None)) is not None:
            scored = await score(*chunk)
            if not take(chunk[0], scored):
                wanted = False

    try:
        # A task group cancels what is left when one fails, which in turn cancels the remote side.
        async with asyncio.TaskGroup() as group:
            for _ in range(window):
                group.create_task(work())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None  # callers know single errors, not groups
