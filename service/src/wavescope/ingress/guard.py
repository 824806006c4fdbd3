"""What stands around every RPC of every gRPC service: who calls, and how failures are told.

An RPC never raises for a failed request: a raised error would lose its metadata on the way through Ray Serve's proxy,
and show the caller its traceback. Code, message and trailing metadata are set on the context instead, and an empty
reply is returned. The proxy takes what is set on a context from the next message alone, so a stream that fails ends
with one empty message.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

import grpc

from wavescope.errors import WavescopeError
from wavescope.ingress import calls
from wavescope.ingress.calls import admit, request_id_of
from wavescope.ingress.plane import Call, Doorkeeper, IngressLimits
from wavescope.ingress.problems import defect, grpc_code, is_hidden, problem
from wavescope.ingress.rich_errors import shortened, trailing_metadata

Reply = TypeVar("Reply")
_LOG = logging.getLogger(__name__)


class Context(calls.Context, Protocol):
    """The part of a gRPC servicer's context that is used; Ray Serve's own class has it as well."""

    def set_code(self, code: grpc.StatusCode) -> None: ...
    def set_details(self, details: str) -> None: ...
    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, Any]]) -> None: ...


async def answered(
    answer: Callable[[Call], Awaitable[Reply]],
    context: Context,
    *,
    empty: Reply,
    doorkeeper: Doorkeeper,
    limits: IngressLimits,
) -> Reply:
    """The reply of a unary RPC; ``empty`` where it fails.

    Args:
        answer: computes the reply for a call that was let in.
        context: of the RPC.
        empty: a message of the reply's type.
        doorkeeper: knows the keys.
        limits: whether other hosts are served, and when clients may come again.
    """
    request_id = request_id_of(context)
    try:
        reply = await answer(admit(context, doorkeeper, limits, request_id=request_id))
    except Exception as error:  # noqa: BLE001  # the one broad handler of unary RPCs: logs, and hides details
        _refuse(context, error, request_id, limits)
        return empty
    context.set_trailing_metadata([("x-request-id", request_id)])
    return reply


async def streamed(
    answer: Callable[[Call], AsyncGenerator[Reply, None]],
    context: Context,
    *,
    empty: Reply,
    doorkeeper: Doorkeeper,
    limits: IngressLimits,
) -> AsyncGenerator[Reply, None]:
    """The replies of a streaming RPC, then ``empty`` where it fails; arguments as of :func:`answered`.

    Closing it, or cancelling the task that iterates, closes what ``answer`` returned.
    """
    request_id = request_id_of(context)
    context.set_trailing_metadata([("x-request-id", request_id)])  # first, so that any message carries it
    try:
        call = admit(context, doorkeeper, limits, request_id=request_id)
        async with aclosing(answer(call)) as replies:
            async for reply in replies:
                yield reply
    except Exception as error:  # noqa: BLE001  # the one broad handler of streaming RPCs: logs, and hides details
        _refuse(context, error, request_id, limits)
        yield empty


def _refuse(context: Context, error: Exception, request_id: str, limits: IngressLimits) -> None:
    """Set a refusal on the context; defects are logged, and not told."""
    if isinstance(error, WavescopeError):
        if is_hidden(error):
            _LOG.error("RPC failed", exc_info=error, extra={"request_id": request_id})
        code, told = grpc_code(error), problem(error, request_id)
    else:
        _LOG.error("RPC failed", exc_info=error, extra={"request_id": request_id})
        code, told = grpc.StatusCode.INTERNAL, defect(request_id)
    context.set_code(code)
    context.set_details(shortened(told["message"]))
    context.set_trailing_metadata(trailing_metadata(code, told, limits.retry_after_s))
