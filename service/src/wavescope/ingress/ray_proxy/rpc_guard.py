"""Guard around the RPCs of Ray Serve's gRPC proxy: access, limits of messages, and errors."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol

import grpc
from google.protobuf.message import DecodeError

from wavescope.errors import InvalidRequest, ModelUnavailable, WavescopeError
from wavescope.ingress.call_context import admit, choose_request_id, metadata
from wavescope.ingress.grpc.status import trailing_metadata
from wavescope.ingress.plane import Authenticator, IngressLimits, NullAuthenticator
from wavescope.ingress.problems import grpc_code, problem
from wavescope.ingress.ray_proxy.http_guard import LOST
from wavescope.ingress.ray_proxy.uploads import NOBODY, Upload, UploadLimits, Uploads
from wavescope.ingress.streams import ahead

# Which application the proxy calls, and which of its replicas.
STRIPPED_METADATA: Final = ("application", "multiplexed_model_id", "session_id")
RETRY_AFTER_S: Final = 1
_UNREADABLE: Final = "the message cannot be read as the one that this RPC takes"
_HIDDEN: Final = (
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.NOT_FOUND,
)
# A context may give either.
_HIDDEN_CODES: Final = frozenset(_HIDDEN) | frozenset(code.value[0] for code in _HIDDEN)
log = logging.getLogger(__name__)

Handler = Callable[[Any, Any], Any]
HandlerFactory = Callable[..., Handler]
Methods = dict[str, Any]  # of gRPC's own handlers, by the name of the RPC


class Registering(Protocol):
    """The part of a gRPC server that generated functions meet."""

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[Any]) -> None: ...
    def add_registered_method_handlers(self, service_name: str, method_handlers: Methods) -> None: ...


class Server(Registering, Protocol):
    """The part of Ray Serve's gRPC server that servicer functions meet."""

    service_handler_factory: HandlerFactory


@dataclass(frozen=True, slots=True)
class RpcGuard:
    """Checks of every RPC before it reaches the proxy.

    Attributes:
        application: that answers, whatever a client's metadata may say.
        authenticator: knows the keys.
        loopback_only: whether RPCs from other hosts are refused.
        uploads: counts the messages that are received.
        reply_timeout_s: that a client may let a message of a stream wait; then the RPC is cut off.
        probes: RPCs that need no place among the messages that are received, by their full names.
        local_replies: replies of RPCs that need nobody else, nor their message, by the same.
        by_address: whether callers without a key are distinguished by their addresses.
    """

    application: str
    authenticator: Authenticator = field(default_factory=NullAuthenticator)
    loopback_only: bool = False
    uploads: Uploads = field(default_factory=lambda: Uploads(UploadLimits()))
    reply_timeout_s: float = 60.0
    probes: frozenset[str] = frozenset()
    local_replies: Mapping[str, bytes] = field(default_factory=dict)
    by_address: bool = True


class Unreadable:
    """Stands for a message that its type cannot hold."""


def add_guarded(
    add: Callable[[Any, Any], None], servicer: object, server: Server, *, guard: RpcGuard
) -> None:
    """Registers an RPC service with Ray Serve's gRPC proxy, whose own errors are then sent without their details.

    Args:
        add: the generated function ``add_…Servicer_to_server``.
        servicer: what Ray Serve gives it.
        server: Ray Serve's.
        guard: what RPCs are held to.
    """
    factory = server.service_handler_factory

    def guarded(**options: Any) -> Handler:
        name = options.get("service_method", "")
        if name in guard.local_replies:
            return _local_reply(guard.local_replies[name], guard)
        return _guarded(factory(**_with_whole_request(options)), guard, probe=name in guard.probes)

    server.service_handler_factory = guarded
    try:
        add(servicer, _Reading(server))
    finally:
        server.service_handler_factory = factory


def _with_whole_request(options: dict[str, Any]) -> dict[str, Any]:
    """Options of Ray Serve's factory for the handler that takes one message, whatever ours is registered as."""
    kind: Enum | None = options.get("streaming_type")
    if kind is None:
        return options
    name = f"UNARY_{kind.name.rpartition('_')[2]}"
    return options | {"streaming_type": type(kind).__members__[name]}


class _Reading:
    """A server whose handlers take the one message of an RPC as it comes, so that its time can be bounded.

    A handler that is given the whole message is called only when it is here. To the client it is the same.
    """

    def __init__(self, server: Registering) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[Any]) -> None:
        """Does nothing: they come again, by name."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: Methods) -> None:
        """Registers both ways that gRPC has, as generated functions do."""
        methods = {name: _reading(method) for name, method in method_handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service_name, methods),))
        self._server.add_registered_method_handlers(service_name, methods)


def _reading(method: Any) -> Any:
    """The method, its messages read as they come, and without an error where they cannot be."""
    read: Callable[[bytes], Any] = method.request_deserializer

    def tried(content: bytes) -> Any:
        try:
            return read(content)
        except DecodeError:
            # :class:`Unreadable` where gRPC would send the name of an exception.
            return Unreadable()

    if method.response_streaming:
        return grpc.stream_stream_rpc_method_handler(method.unary_stream, tried, method.response_serializer)
    return grpc.stream_unary_rpc_method_handler(method.unary_unary, tried, method.response_serializer)


class _Context:
    """The context of an RPC without the metadata that the proxy would obey.

    It knows its peer from the start: Ray Serve's proxy asks for it after the RPC, for its log, and gRPC's own answer is
    then read from a connection that may be freed (grpc/grpc#29069). A client that left would take the proxy with it.
    """

    def __init__(self, context: Any, application: str) -> None:
        self._context = context
        self._peer: str = context.peer()
        kept = [entry for entry in context.invocation_metadata() if entry[0] not in STRIPPED_METADATA]
        self._metadata = (*kept, ("application", application))

    def invocation_metadata(self) -> tuple[Any, ...]:
        return self._metadata

    def peer(self) -> str:
        return self._peer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def _local_reply(reply: bytes, guard: RpcGuard) -> Handler:
    """Answers whoever may call."""

    async def answered(requests: Any, context: Any) -> bytes:
        del requests
        try:
            _let_in(context, guard)
        except WavescopeError as refused:
            _refuse(context, refused)
            return b""
        return reply

    return answered


def _guarded(handler: Handler, guard: RpcGuard, *, probe: bool) -> Handler:
    if inspect.isasyncgenfunction(handler):
        stream: Callable[[Any, Any], AsyncGenerator[bytes, None]] = handler

        async def streamed(requests: Any, context: Any) -> AsyncGenerator[bytes, None]:
            with guard.uploads.of(_peer(context, guard), unseen=True) as upload:
                request = await _received(requests, context, guard, None if probe else upload)
                if request is None:
                    return
                async with aclosing(ahead(stream(request, _Context(context, guard.application)))) as messages:
                    async for message in messages:
                        upload.release()
                        with _cut_off(guard.reply_timeout_s):
                            yield message
            _hide(context)

        return streamed
    unary: Callable[[Any, Any], Awaitable[bytes]] = handler

    async def answered(requests: Any, context: Any) -> bytes:
        with guard.uploads.of(_peer(context, guard), unseen=True) as upload:
            request = await _received(requests, context, guard, None if probe else upload)
            if request is None:
                return b""
            reply = await unary(request, _Context(context, guard.application))
        _hide(context)
        return reply

    return answered


@contextmanager
def _cut_off(timeout_s: float) -> Iterator[None]:
    """Ends the RPC that this task serves unless the block ends in time.

    Its client gives no room for the message, though it may answer pings: gRPC would wait with it for ever.
    """
    task = asyncio.current_task()
    assert task is not None
    timer = asyncio.get_running_loop().call_later(timeout_s, task.cancel)
    try:
        yield
    finally:
        timer.cancel()


async def _received(
    requests: AsyncIterator[Any], context: Any, guard: RpcGuard, upload: Upload | None
) -> Any | None:
    """The message of an RPC that may be made; ``None`` where it may not, or none comes; the caller then gets the error.

    Without an ``upload`` it is not counted.
    """
    try:
        caller = _let_in(context, guard)
        if upload is None:
            async with guard.uploads.time():
                request = await anext(aiter(requests), None)
        else:
            upload.caller = caller or upload.caller
            async with guard.uploads.place(upload):
                request = await anext(aiter(requests), None)
        if request is None or isinstance(request, Unreadable):
            raise InvalidRequest(_UNREADABLE)
        if upload is not None:
            upload.add(request.ByteSize())
    except WavescopeError as refused:
        _refuse(context, refused)
        return None
    return request


def _let_in(context: Any, guard: RpcGuard) -> str:
    """The caller of an RPC that may be made; raises as :func:`admit`."""
    limits = IngressLimits(loopback_only=guard.loopback_only)
    return admit(context, guard.authenticator, limits, request_id="").caller


def _refuse(context: Any, refused: WavescopeError) -> None:
    request_id = choose_request_id(metadata(context, "x-request-id"))
    log.info("refused: %s", refused.message, extra={"request_id": request_id})
    _send_error(context, refused, request_id)


def _peer(context: Any, guard: RpcGuard) -> str:
    """The address that an RPC comes from, without its port, where callers are distinguished by it."""
    if not guard.by_address:
        return NOBODY
    return str(context.peer()).rpartition(":")[0]


def _hide(context: Any) -> None:
    """Replaces an error of the proxy, which may reveal addresses, paths and tracebacks; ours carry their code."""
    if context.code() not in _HIDDEN_CODES:
        return
    carried = dict(context.trailing_metadata() or ())
    if "wavescope-code" in carried:
        return
    request_id = carried.get("x-request-id") or carried.get("request_id")
    log.warning("the proxy had no answer", extra={"request_id": request_id})
    _send_error(context, ModelUnavailable(LOST), request_id)


def _send_error(context: Any, error: WavescopeError, offered_id: str | None) -> None:
    """Sets an error on a context."""
    code, content = grpc_code(error), problem(error, choose_request_id(offered_id))
    context.set_code(code)
    context.set_details(error.message)
    context.set_trailing_metadata(tuple(trailing_metadata(code, content, RETRY_AFTER_S)))
