"""Interceptor of every RPC of every gRPC service: authenticates callers, and sends errors.

An RPC never raises for a failed request: a raised error would lose its metadata on the way through Ray Serve's proxy,
and show the caller its traceback. Code, message and trailing metadata are set on the context instead, and an empty
reply is returned. The proxy takes what is set on a context from the next message alone, so a stream that fails ends
with one empty message.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, nullcontext
from typing import Any, Protocol, TypeVar

import grpc

from wavescope.errors import WavescopeError
from wavescope.ingress import call_context
from wavescope.ingress.call_context import admit, request_id_of
from wavescope.ingress.grpc.status import shortened, trailing_metadata
from wavescope.ingress.plane import Authenticator, CallContext, DataPlane, IngressLimits, RequestRecorder
from wavescope.ingress.problems import defect, grpc_code, is_hidden, problem
from wavescope.ingress.ray_proxy.ongoing import Ongoing
from wavescope.ingress.stream_limits import OpenStreams

log = logging.getLogger(__name__)


class Context(call_context.Context, Protocol):
    """The part of a gRPC servicer's context that is used; Ray Serve's own class has it as well."""

    def set_code(self, code: grpc.StatusCode) -> None: ...
    def set_details(self, details: str) -> None: ...
    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, Any]]) -> None: ...


class Servicer:
    """Methods of a gRPC service, for a class that holds the data plane and what stands before it."""

    _plane: DataPlane
    _limits: IngressLimits
    _authenticator: Authenticator
    _recorder: RequestRecorder
    _streams: OpenStreams
    _ongoing: Ongoing


Service = TypeVar("Service", bound=Servicer)
Message = TypeVar("Message")
Reply = TypeVar("Reply")


def unary(
    empty: Callable[[], Reply], *, probe: bool = False
) -> Callable[
    [Callable[[Service, Message, CallContext], Awaitable[Reply]]],
    Callable[[Service, Message, Context], Awaitable[Reply]],
]:
    """Makes a unary RPC of a method that answers a call which was let in.

    The RPC takes the message and, under the name by which Ray Serve passes it, the context. It returns an empty
    reply where it fails.

    Args:
        empty: makes a reply without content: its class.
        probe: the RPC needs no place among the requests that are served at once.
    """

    def decorate(
        answer: Callable[[Service, Message, CallContext], Awaitable[Reply]],
    ) -> Callable[[Service, Message, Context], Awaitable[Reply]]:
        async def rpc(self: Service, message: Message, grpc_context: Context) -> Reply:
            request_id = request_id_of(grpc_context)
            try:
                call = admit(grpc_context, self._authenticator, self._limits, request_id=request_id)
                with nullcontext() if probe else self._ongoing.place():
                    reply = await answer(self, message, call)
            except Exception as error:  # noqa: BLE001  # the one broad handler of unary RPCs: logs, and hides details
                _refuse(grpc_context, error, request_id, self._limits)
                return empty()
            grpc_context.set_trailing_metadata([("x-request-id", request_id)])
            return reply

        return _named(rpc, answer)

    return decorate


def streaming(
    empty: Callable[[], Reply],
) -> Callable[
    [Callable[[Service, Message, CallContext], AsyncGenerator[Reply, None]]],
    Callable[[Service, Message, Context], AsyncGenerator[Reply, None]],
]:
    """Makes a streaming RPC of a method that answers with several replies; the last one is empty where it fails.

    Closing the RPC, or cancelling the task that iterates, closes what the method returned.
    """

    def decorate(
        answer: Callable[[Service, Message, CallContext], AsyncGenerator[Reply, None]],
    ) -> Callable[[Service, Message, Context], AsyncGenerator[Reply, None]]:
        async def rpc(self: Service, message: Message, grpc_context: Context) -> AsyncGenerator[Reply, None]:
            request_id = request_id_of(grpc_context)
            # First, so that any message carries it.
            grpc_context.set_trailing_metadata([("x-request-id", request_id)])
            try:
                call = admit(grpc_context, self._authenticator, self._limits, request_id=request_id)
                with self._ongoing.place():
                    async with aclosing(answer(self, message, call)) as replies:
                        async for reply in replies:
                            yield reply
            except Exception as error:  # noqa: BLE001  # the one broad handler of streaming RPCs: logs, and hides details
                _refuse(grpc_context, error, request_id, self._limits)
                yield empty()

        return _named(rpc, answer)

    return decorate


def _named(rpc: Any, answer: Callable[..., Any]) -> Any:
    # Not functools.wraps: Ray Serve passes the context to methods whose signature, unwrapped, names it.
    rpc.__name__, rpc.__qualname__, rpc.__doc__ = answer.__name__, answer.__qualname__, answer.__doc__
    return rpc


def _refuse(context: Context, error: Exception, request_id: str, limits: IngressLimits) -> None:
    """Set a refusal on the context; defects are logged, and their details are not sent."""
    if isinstance(error, WavescopeError):
        if is_hidden(error):
            log.error("RPC failed", exc_info=error, extra={"request_id": request_id})
        code, content = grpc_code(error), problem(error, request_id)
    else:
        log.error("RPC failed", exc_info=error, extra={"request_id": request_id})
        code, content = grpc.StatusCode.INTERNAL, defect(request_id)
    context.set_code(code)
    context.set_details(shortened(content["message"]))
    context.set_trailing_metadata(trailing_metadata(code, content, limits.retry_after_s))
