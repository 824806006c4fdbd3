"""Waiting for what other threads and processes do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

DEADLINE_S = 120.0
POLL_S = 0.01


def eventually(condition: Callable[[], bool], what: str = "", *, poll_s: float = POLL_S) -> None:
    """Polls until the condition holds; the deadline only bounds a failure."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what or condition}"
        time.sleep(poll_s)


async def until(condition: Callable[[], bool], what: str = "", *, poll_s: float = POLL_S) -> None:
    """Polls until the condition holds, while the event loop goes on; the deadline only bounds a failure."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what or condition}"
        await asyncio.sleep(poll_s)
