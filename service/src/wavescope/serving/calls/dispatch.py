"""Fan-out of chunks over model replicas: bounded window, retries, nothing left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, WorkerCrashedError
from ray.serve.exceptions import ReplicaUnavailableError

from wavescope.errors import ModelUnavailable, WavescopeError
from wavescope.retries import RetryPolicy

log = logging.getLogger(__name__)

# The replica is gone or going, and the chunk with it; Ray Serve does not ask another by itself.
LOST = (ActorDiedError, ActorUnavailableError, WorkerCrashedError, OutOfMemoryError, ReplicaUnavailableError)


def unwrapped(error: WavescopeError) -> WavescopeError:
    """The error that was raised remotely, without Ray's wrapper: a class of both, which cannot be pickled again."""
    return getattr(error, "cause", error)


async def _result(response: Any) -> Any:
    return await response


async def call(
    send: Callable[[], Any],
    *,
    what: str,
    policy: RetryPolicy,
    retried: Callable[[], None] | None = None,
    receive: Callable[[Any], Awaitable[Any]] = _result,
) -> Any:
    """Sends an idempotent call, again when its replica dies, and cancels the remote side when cancelled itself.

    Args:
        send: sends the call, each time anew, and returns its response.
        what: names the call in logs and errors.
        policy: how often it is sent.
        retried: called for every retry.
        receive: waits for a response, for its result alone by default.

    Raises:
        ModelUnavailable: replica after replica died.
        WavescopeError: what was raised there.
    """
    for attempt in range(1, policy.attempts + 1):
        response = send()
        try:
            return await receive(response)
        except WavescopeError as error:
            raise unwrapped(error) from None
        except LOST as lost:
            log.warning("%s lost its replica: %s", what, type(lost).__name__, extra={"attempt": attempt})
            if retried is not None:
                retried()
        except asyncio.CancelledError:
            response.cancel()
            raise
        await asyncio.sleep(policy.delay_s(attempt))
    raise ModelUnavailable(f"{what}: {policy.attempts} replicas in a row died while working on it")


async def fan_out(
    chunks: Iterable[tuple[int, int]],
    score: Callable[[int, int], Any],
    take: Callable[[int, Any], bool],
    *,
    window: int,
) -> None:
    """Keeps ``window`` chunks in flight until all are scored; the first failure cancels the others.

    Cancelled itself, it ends as soon as the chunks in flight are cancelled; no further one is sent.

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
