"""Calls and tasks that belong to no request.

Ray Serve cancels whatever was sent while a request was handled when that request is cancelled, as it is when its client
leaves, and a task started meanwhile counts as sent then for as long as it runs. It knows them by a context variable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

Result = TypeVar("Result")


def start_in_background(work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
    """Starts a task that goes on whatever becomes of the request in which it is started.

    Args:
        work: what it runs; the running loop's.

    Example:
        >>> async def run() -> int:
        ...     return await start_in_background(asyncio.sleep(0, result=3))
        >>> asyncio.run(run())
        3
    """
    return asyncio.get_running_loop().create_task(work, context=Context())


def send_in_background(send: Callable[[], Result]) -> Result:
    """Sends a call that is carried out whatever becomes of the request in which it is sent.

    Args:
        send: makes the call and waits for nothing.

    Example:
        >>> send_in_background(lambda: "sent")
        'sent'
    """
    return Context().run(send)
