"""Guard in front of Ray Serve's HTTP proxy: headers, access, bodies and errors.

It obeys headers that any client may send, hands a request on before its body has come, reads bodies of any length into
memory, and answers with errors of its own. Here the headers are taken away, strangers are refused before they send a
body, bodies are received whole, within their limits, before anything else is taken up by them, and the proxy's errors
are replaced by ours. :mod:`.rpc_guard` does the same for gRPC.
"""

from __future__ import annotations

import json
import logging
from io import BytesIO
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wavescope.errors import BodyTooLarge, ModelUnavailable, WavescopeError
from wavescope.ingress.access import Access, check
from wavescope.ingress.call_context import choose_request_id
from wavescope.ingress.prefix import Prefix, route_path
from wavescope.ingress.ray_proxy.uploads import NOBODY, Upload, UploadLimits, Uploads
from wavescope.ingress.rest.middleware import REQUEST_ID_HEADER, SAFE, send_refusal

# How long the proxy waits, whether it notices that the client left, and which replica it calls.
STRIPPED: Final = (
    "x-request-timeout-seconds",
    "x-request-disconnect-disabled",
    "serve-multiplexed-model-id",
    "x-session-id",
)
STRIPPED_PREFIX: Final = "x-serve-router-"
PROXY_PATHS: Final = "/-/"  # the proxy's own health and routes
# Whether the process that holds the connections lives is known without asking another.
LIVE: Final = {"/livez": {"status": "live"}, "/v2/health/live": {"live": True}}
LOST: Final = "the process that served this request ended, or none serves yet; send it again"
log = logging.getLogger(__name__)


def middlewares(
    max_body_bytes: int,
    access: Access,
    uploads: Uploads,
    *,
    by_address: bool = True,
    prefix: Prefix | None = None,
) -> list[Middleware]:
    """Middlewares for Ray Serve's HTTP proxy; arguments as of :class:`Edge`."""
    options = {"access": access, "uploads": uploads, "by_address": by_address, "prefix": prefix}
    return [Middleware(Edge, max_body_bytes=max_body_bytes, **options)]


class Edge:
    """Middleware in front of Ray Serve's HTTP proxy: headers, access, bodies, and its errors as problems."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        access: Access | None = None,
        uploads: Uploads | None = None,
        by_address: bool = True,
        prefix: Prefix | None = None,
    ) -> None:
        """Wraps a proxy.

        Args:
            app: the proxy.
            max_body_bytes: of one body.
            access: who may come in; ``None`` for everybody.
            uploads: counts the bodies of this process.
            by_address: whether callers without a key are distinguished by their addresses.
            prefix: how the path prefix of a gateway in front is known; ``None`` for none.
        """
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._access = access or Access()
        self._uploads = uploads or Uploads(UploadLimits())
        self._by_address = by_address
        self._prefix = prefix or Prefix()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = _clean(scope)
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._prefix.apply(scope)
        path = route_path(scope)
        reply = _Reply(send, own_words=path.startswith(PROXY_PATHS))
        has_body = _has_body(scope)
        # What is left of a body would be taken for the next request, or be read to no end.
        closing = {"connection": "close"} if has_body else {}
        try:
            caller, _ = check(scope, self._access)
            if path in LIVE and scope["method"] in ("GET", "HEAD"):
                await _send_json(send, LIVE[path], request_id, closing)
            elif has_body:
                await self._with_body(scope, receive, reply, caller or self._address(scope))
            else:
                left = _Left(receive)
                await self._app(scope, left.receive, reply.send)
                reply.expect(client_left=left.seen)
        except WavescopeError as refused:
            if not reply.begun:
                log.info("refused: %s", refused.message, extra={"request_id": request_id})
                await send_refusal(send, refused, request_id, x_request_id=request_id, **closing)

    async def _with_body(self, scope: Scope, receive: Receive, reply: _Reply, caller: str) -> None:
        """Passes a request on once its body is here."""
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > self._max_body_bytes:
            raise self._too_large()
        with self._uploads.of(caller) as upload:
            async with self._uploads.place(upload):
                body = await self._received(receive, upload)
            if body is None:
                return  # the client left
            reply.on_begin = upload.release
            whole = _Whole(body, receive)
            del body
            await self._app(scope, whole.receive, reply.send)
            reply.expect(client_left=whole.left)

    async def _received(self, receive: Receive, upload: Upload) -> bytes | None:
        """The body; ``None`` where the client leaves meanwhile."""
        # It hands out what it holds without a copy, of which bodies would be in memory twice.
        body = BytesIO()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            piece = message.get("body", b"")
            if body.tell() + len(piece) > self._max_body_bytes:
                raise self._too_large()
            upload.add(len(piece))
            body.write(piece)
            if not message.get("more_body", False):
                return body.getvalue()

    def _address(self, scope: Scope) -> str:
        client = scope.get("client") if self._by_address else None
        return str(client[0]) if client else NOBODY

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"the body is larger than {self._max_body_bytes} bytes", max_body_bytes=self._max_body_bytes
        )


class _Left:
    """The messages of a client, and whether it has left."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.seen = False

    async def receive(self) -> Message:
        message = await self._receive()
        self.seen = message["type"] == "http.disconnect"
        return message


class _Whole:
    """The messages of a client whose body is here already."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive
        self.left = False

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        message = await self._receive()
        self.left = message["type"] == "http.disconnect"
        return message


class _Reply:
    """Passes a reply on, unless it is an error in the proxy's words: ours are never plain text."""

    def __init__(self, send: Send, *, own_words: bool = False) -> None:
        self._send = send
        self._own_words = own_words
        self._held_back = False
        self.begun = False
        self.on_begin = lambda: None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = MutableHeaders(scope=message).get("content-type", "")
            wordy = message["status"] >= 400 and kind.startswith("text/plain")
            self._held_back = wordy and not self._own_words
            self.on_begin()
        if not self._held_back:
            self.begun = True
            await self._send(message)

    def expect(self, *, client_left: bool) -> None:
        """Raises ModelUnavailable where nothing was sent to a client that is still there."""
        if not self.begun and not client_left:
            raise ModelUnavailable(LOST)


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


async def _send_json(send: Send, content: dict[str, Any], request_id: str, headers: dict[str, str]) -> None:
    body = json.dumps(content, separators=(",", ":")).encode("ascii")
    head = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        REQUEST_ID_HEADER.lower(): request_id,
        **SAFE,
        **headers,
    }
    encoded = [(name.encode("ascii"), value.encode("ascii")) for name, value in head.items()]
    await send({"type": "http.response.start", "status": 200, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def _clean(scope: Scope) -> str:
    """Takes away the headers that the proxy would obey, and gives the request an id that is safe to send back."""
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
