"""What stands before the server's own code where that is a proxy we do not write: Ray Serve's.

It obeys headers that any client may send, reads bodies of any length into memory, and tells its own errors in its own
words; here the headers are taken away, bodies are cut at the limit, and its errors are told as ours.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final, Protocol

import grpc
from google.protobuf.message import DecodeError
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wavescope.errors import BodyTooLarge, InvalidRequest, ModelUnavailable, WavescopeError
from wavescope.ingress.calls import choose_request_id, metadata
from wavescope.ingress.middleware import REQUEST_ID_HEADER, send_problem
from wavescope.ingress.problems import grpc_code, http_status, problem
from wavescope.ingress.rich_errors import trailing_metadata
from wavescope.ingress.streams import ahead

# How long the proxy waits, whether it notices that the client left, and which replica it calls.
STRIPPED: Final = (
    "x-request-timeout-seconds",
    "x-request-disconnect-disabled",
    "serve-multiplexed-model-id",
    "x-session-id",
)
# Which application the proxy calls, and which of its replicas.
STRIPPED_METADATA: Final = ("application", "multiplexed_model_id", "session_id")
STRIPPED_PREFIX: Final = "x-serve-router-"
PROXY_PATHS: Final = "/-/"  # the proxy's own health and routes
RETRY_AFTER_S: Final = 1
_LOST: Final = "the process that served this request ended, or none serves yet; send it again"
_UNREADABLE: Final = "the message cannot be read as the one that this RPC takes"
_HIDDEN: Final = (
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.NOT_FOUND,
)
# A context may give either.
_HIDDEN_CODES: Final = frozenset(_HIDDEN) | frozenset(code.value[0] for code in _HIDDEN)
_log = logging.getLogger(__name__)

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


class Unreadable:
    """Stands for a message that its type cannot hold."""


def middlewares(max_body_bytes: int) -> list[Middleware]:
    """What Ray Serve's HTTP proxy is to run around itself."""
    return [Middleware(Edge, max_body_bytes=max_body_bytes)]


class Edge:
    """Takes headers away, cuts bodies at the limit, and tells the proxy's own errors as problems."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = _clean(scope)
        if scope["type"] != "http" or scope["path"].startswith(PROXY_PATHS):
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_body_bytes:
            await _refuse(send, self._too_large(), request_id)
            return
        body = _Body(receive, self._max_body_bytes)
        reply = _Reply(send)
        await self._app(scope, body.receive, reply.send)
        if reply.begun:
            return
        if body.cut:
            await _refuse(send, self._too_large(), request_id)
        elif not body.left:
            _log.warning("the proxy had no answer", extra={"request_id": request_id})
            await _refuse(send, ModelUnavailable(_LOST), request_id)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"the body is larger than {self._max_body_bytes} bytes", max_body_bytes=self._max_body_bytes
        )


class _Body:
    """The messages of a request; the client is said to have left where it sends more than the limit."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._room = limit
        self.cut = False
        self.left = False

    async def receive(self) -> Message:
        message = await self._receive()
        self.left = message["type"] == "http.disconnect"
        self._room -= len(message.get("body", b""))
        if self._room < 0:
            self.cut = True
            return {"type": "http.disconnect"}
        return message


class _Reply:
    """Passes a reply on, unless it is an error in the proxy's words: ours are never plain text."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held_back = False
        self.begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = MutableHeaders(scope=message).get("content-type", "")
            self._held_back = message["status"] >= 400 and kind.startswith("text/plain")
        if not self._held_back:
            self.begun = True
            await self._send(message)


def _clean(scope: Scope) -> str:
    """Takes away the headers that the proxy would obey, and gives the request an id that is fit to be told again."""
    kept = [(name, value) for name, value in scope["headers"] if not _is_stripped(name.decode("latin-1"))]
    offered = Headers(raw=kept).get(REQUEST_ID_HEADER)
    request_id = choose_request_id(offered)
    name = REQUEST_ID_HEADER.lower().encode("ascii")
    kept = [header for header in kept if header[0].lower() != name]
    scope["headers"] = [*kept, (name, request_id.encode("ascii"))]
    return request_id


def _is_stripped(name: str) -> bool:
    name = name.lower().replace("_", "-")  # proxies on the way write one for the other
    return name in STRIPPED or name.startswith(STRIPPED_PREFIX)


async def _refuse(send: Send, error: WavescopeError, request_id: str) -> None:
    status = http_status(error)
    headers = {"connection": "close"} if status == 413 else {"retry_after": str(RETRY_AFTER_S)}
    await send_problem(send, problem(error, request_id), status, x_request_id=request_id, **headers)


def add_guarded(
    add: Callable[[Any, Any], None], servicer: object, server: Server, *, application: str
) -> None:
    """Registers an RPC service with Ray Serve's gRPC proxy, whose own errors are then told without their details.

    Args:
        add: the generated function ``add_…Servicer_to_server``.
        servicer: what Ray Serve gives it.
        server: Ray Serve's.
        application: that answers, whatever a client's metadata may say.
    """
    factory = server.service_handler_factory
    server.service_handler_factory = lambda **options: _guarded(factory(**options), application)
    try:
        add(servicer, _Reading(server))
    finally:
        server.service_handler_factory = factory


class _Reading:
    """A server whose handlers are given :class:`Unreadable` where gRPC would tell the name of an exception."""

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
    """The method, its messages read without an error."""
    read: Callable[[bytes], Any] = method.request_deserializer

    def tried(content: bytes) -> Any:
        try:
            return read(content)
        except DecodeError:
            return Unreadable()

    if method.response_streaming:
        return grpc.unary_stream_rpc_method_handler(method.unary_stream, tried, method.response_serializer)
    return grpc.unary_unary_rpc_method_handler(method.unary_unary, tried, method.response_serializer)


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


def _guarded(handler: Handler, application: str) -> Handler:
    if inspect.isasyncgenfunction(handler):
        stream: Callable[[Any, Any], AsyncGenerator[bytes, None]] = handler

        async def streamed(request: Any, context: Any) -> AsyncGenerator[bytes, None]:
            if isinstance(request, Unreadable):
                _tell(context, InvalidRequest(_UNREADABLE), metadata(context, "x-request-id"))
                return
            async with aclosing(ahead(stream(request, _Context(context, application)))) as messages:
                async for message in messages:
                    yield message
            _hide(context)

        return streamed
    unary: Callable[[Any, Any], Awaitable[bytes]] = handler

    async def answered(request: Any, context: Any) -> bytes:
        if isinstance(request, Unreadable):
            _tell(context, InvalidRequest(_UNREADABLE), metadata(context, "x-request-id"))
            return b""
        reply = await unary(request, _Context(context, application))
        _hide(context)
        return reply

    return answered


def _hide(context: Any) -> None:
    """Replaces an error of the proxy, which may tell addresses, paths and tracebacks; ours carry their code."""
    if context.code() not in _HIDDEN_CODES:
        return
    carried = dict(context.trailing_metadata() or ())
    if "wavescope-code" in carried:
        return
    request_id = carried.get("x-request-id") or carried.get("request_id")
    _log.warning("the proxy had no answer", extra={"request_id": request_id})
    _tell(context, ModelUnavailable(_LOST), request_id)


def _tell(context: Any, error: WavescopeError, offered_id: str | None) -> None:
    """Sets an error on a context."""
    code, told = grpc_code(error), problem(error, choose_request_id(offered_id))
    context.set_code(code)
    context.set_details(error.message)
    context.set_trailing_metadata(tuple(trailing_metadata(code, told, RETRY_AFTER_S)))
