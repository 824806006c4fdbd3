"""What stands before the server's own code, with a proxy that does what Ray Serve's does."""

from __future__ import annotations

import asyncio
import json
import threading
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
import pytest
from starlette.types import Receive, Scope, Send
from tests.fuzz.served import served
from tests.ingress.fakes import chunks
from tests.polling import DEADLINE_S, eventually, until
from tools.fuzz.rpcs import channel_to

from wavescope.auth.api_keys import ApiKey, KeySet, digest
from wavescope.ingress.access import Access
from wavescope.ingress.ray_proxy.http_guard import Edge
from wavescope.ingress.ray_proxy.rpc_guard import RpcGuard, add_guarded
from wavescope.ingress.ray_proxy.uploads import UploadLimits, Uploads
from wavescope_proto.inference import open_inference_pb2

LIMIT = 10_000
ALICE = "wsk_" + "a" * 43
KEYS = KeySet([ApiKey("alice", digest(ALICE))])


@dataclass
class Proxy:
    """Reads the whole body, then replies; keeps what it saw."""

    status: int | None = 200
    kind: str = "application/json"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    received: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers = scope["headers"]
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            self.received += len(message.get("body", b""))
            more = message.get("more_body", False)
        if self.status is None:
            return
        start = {"status": self.status, "headers": [(b"content-type", self.kind.encode())]}
        await send({"type": "http.response.start", **start})
        await send({"type": "http.response.body", "body": b"an ", "more_body": True})
        await send({"type": "http.response.body", "body": b"answer"})


def send(
    proxy: Any, path: str = "/v1/explanations", access: Access | None = None, **options: Any
) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(Edge(proxy, max_body_bytes=LIMIT, access=access))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post(path, **options)

    return asyncio.run(run())


@pytest.mark.parametrize(
    "name",
    [
        "x-request-timeout-seconds",
        "X-Request-Timeout-Seconds",
        "x_request_timeout_seconds",
        "x-request-disconnect-disabled",
        "serve_multiplexed_model_id",
        "serve-multiplexed-model-id",
        "x-session-id",
        "x_session_id",
        "x-serve-router-anything",
    ],
)
def test_headers_that_the_proxy_would_obey_are_taken_away(name):
    proxy = Proxy()
    send(proxy, headers={name: "0", "x-api-key": "kept"})
    names = {header for header, _ in proxy.headers}
    assert names >= {b"x-api-key", b"host", b"x-request-id"}
    assert name.lower().encode() not in names


@pytest.mark.parametrize(
    ("offered", "kept"), [("mine", True), ("x" * 129, False), (b"\xff", False), ("", False), (None, False)]
)
def test_the_proxy_is_given_one_id_that_can_be_told_again(offered, kept):
    proxy = Proxy()
    send(proxy, headers={} if offered is None else {"X-Request-ID": offered})
    (request_id,) = [value.decode("ascii") for name, value in proxy.headers if name == b"x-request-id"]
    assert 1 <= len(request_id) <= 128
    assert (request_id == offered) is kept


@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413)])
def test_declared_bodies_are_taken_up_to_the_limit(size, status):
    proxy = Proxy()
    reply = send(proxy, content=b"x" * size)
    assert reply.status_code == status
    assert proxy.received == (size if status == 200 else 0)


@pytest.mark.parametrize(("count", "status"), [(10, 200), (11, 413), (10_000, 413)])
def test_bodies_without_a_length_are_cut_at_the_limit(count, status):
    sent: list[int] = []
    proxy = Proxy()
    reply = send(proxy, content=chunks(count, LIMIT // 10, sent))
    assert reply.status_code == status
    assert proxy.received <= LIMIT
    assert len(sent) <= 12
    if status == 413:
        assert reply.json()["limits"] == {"max_body_bytes": LIMIT}
        assert reply.headers["connection"] == "close"
        assert reply.headers["x-request-id"] == reply.json()["request_id"]


@pytest.mark.parametrize(
    "proxy",
    [
        Proxy(None),
        Proxy(500, "text/plain; charset=utf-8"),
        Proxy(404, "text/plain"),
        Proxy(408, "text/plain"),
    ],
)
def test_errors_in_the_words_of_the_proxy_are_told_as_ours(proxy):
    reply = send(proxy)
    assert reply.status_code == 503
    assert reply.headers["retry-after"] == "1"
    assert reply.json()["code"] == "model_unavailable"
    assert "answer" not in reply.text


@pytest.mark.parametrize(
    "proxy",
    [
        Proxy(200, "text/plain"),
        Proxy(200, "text/event-stream"),
        Proxy(422, "application/problem+json"),
        Proxy(404),
    ],
)
def test_all_other_replies_pass_as_they_are(proxy):
    reply = send(proxy)
    assert (reply.status_code, reply.headers["content-type"]) == (proxy.status, proxy.kind)
    assert reply.text == "an answer"


def test_the_health_of_the_proxy_is_told_by_itself():
    assert send(Proxy(503, "text/plain"), "/-/healthz").text == "an answer"


@pytest.mark.parametrize("path", ["/-/healthz", "/-/routes"])
def test_the_paths_of_the_proxy_are_answered_to_whom_all_others_are(path):
    local, keyed = Access(local_names_only=True), Access(authenticator=KEYS)
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        assert send(Proxy(), path, access=local, headers=headers).status_code == 403
    assert send(Proxy(), path, access=local, headers={"Host": "127.0.0.1:8000"}).status_code == 200
    assert send(Proxy(), path, access=keyed).status_code == (200 if path == "/-/healthz" else 401)


@pytest.mark.parametrize(
    ("path", "told"), [("/livez", {"status": "live"}), ("/v2/health/live", {"live": True})]
)
def test_whether_it_lives_is_told_without_anybody_else(path, told):
    proxy = Proxy()
    exchange = Exchange(proxy, path=path, method="GET")
    exchange.run()
    assert (exchange.status, exchange.json(), proxy.headers) == (200, told, [])
    assert exchange.headers["x-request-id"]


def test_a_request_is_passed_on_when_its_body_is_whole():
    proxy = Proxy()
    exchange = Exchange(proxy, [b"a" * 600, b"", b"b" * 400])
    seen: list[int] = []
    exchange.on_receive = lambda: seen.append(len(proxy.headers))
    exchange.run()
    assert (exchange.status, proxy.received) == (200, 1000)
    assert seen == [0, 0, 0], "nothing had been heard of it before"


def test_a_client_that_leaves_is_seen_before_and_after_its_body():
    proxy = Proxy()
    exchange = Exchange(proxy, [b"half"], leaves=True)
    exchange.run()
    assert (exchange.status, proxy.headers) == (None, [])

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["body"] == b"whole"
        assert (await receive())["type"] == "http.disconnect"

    exchange = Exchange(waits, [b"whole"])
    exchange.run()
    assert exchange.status is None, "nobody is there to be told"


@pytest.mark.parametrize("begun", [[], [b"half"]])
def test_a_body_that_does_not_come_is_told_so(begun):
    proxy = Proxy()
    limits = UploadLimits(body_timeout_s=0.01)
    exchange = Exchange(proxy, begun, stalls=True, uploads=Uploads(limits))
    exchange.run()
    assert (exchange.status, exchange.json()["code"]) == (408, "body_timeout")
    assert exchange.headers["connection"] == "close"
    assert proxy.headers == []


def test_a_stranger_is_refused_before_the_body_is_read():
    exchange = Exchange(Proxy(), [b"x"], access=Access(authenticator=KEYS))
    exchange.on_receive = lambda: pytest.fail("the body was asked for")
    exchange.run()
    assert (exchange.status, exchange.headers["www-authenticate"]) == (401, "Bearer")
    assert exchange.headers["connection"] == "close", "what is left of the body is no request"


def test_a_caller_has_a_share_of_the_bodies():
    uploads = Uploads(UploadLimits(max_uploads_per_caller=1))
    key = [(b"x-api-key", ALICE.encode())]
    options = {"access": Access(authenticator=KEYS), "uploads": uploads}

    async def run() -> None:
        first = Exchange(Proxy(), [b"half"], stalls=True, headers=key, **options)
        held = asyncio.create_task(first())
        await until(lambda: bool(uploads.receiving))
        second = Exchange(Proxy(), [b"whole"], headers=key, **options)
        await second()
        assert (second.status, second.json()["code"]) == (429, "quota_exceeded")
        assert (second.headers["retry-after"], second.headers["connection"]) == ("1", "close")
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
        third = Exchange(Proxy(), [b"whole"], headers=key, **options)
        await third()
        assert third.status == 200

    asyncio.run(run())


def test_a_body_is_counted_until_its_reply_begins():
    uploads = Uploads(UploadLimits(max_upload_bytes=20))
    held: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        held.append(uploads.held_bytes)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        held.append(uploads.held_bytes)
        await send({"type": "http.response.body", "body": b""})

    Exchange(app, [b"x" * 10], uploads=uploads).run()
    assert held == [10, 0]
    refused = Exchange(app, [b"x" * 11], uploads=uploads)
    refused.run()
    assert (refused.status, refused.json()["limits"]["max_upload_bytes"]) == (429, 20)
    assert uploads.held_bytes == 0


def test_a_body_is_in_memory_once():
    piece, count = bytes(64 * 1024), 256
    sizes: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        sizes.append(len((await receive())["body"]))

    async def run() -> int:
        left = count

        async def receive() -> dict[str, Any]:
            nonlocal left
            left -= 1
            return {"type": "http.request", "body": piece, "more_body": left > 0}

        async def send(message: Any) -> None:
            del message

        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        scope["headers"] = [(b"host", b"test"), (b"transfer-encoding", b"chunked")]
        edge = Edge(app, max_body_bytes=count * len(piece))
        tracemalloc.start()
        try:
            await edge(scope, receive, send)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak = asyncio.run(run())
    assert sizes == [count * len(piece)]
    assert peak < 1.3 * count * len(piece)


class Exchange:
    """One request to an edge, its body piece by piece; what came of it."""

    def __init__(
        self,
        app: Any,
        pieces: list[bytes] | None = None,
        *,
        path: str = "/v1/explanations",
        method: str = "POST",
        headers: list[tuple[bytes, bytes]] | None = None,
        stalls: bool = False,
        leaves: bool = False,
        **options: Any,
    ) -> None:
        self._edge = Edge(app, max_body_bytes=LIMIT, **options)
        kept = [(b"host", b"test"), *(headers or [])]
        if pieces is not None:
            kept.append((b"transfer-encoding", b"chunked"))
        self._scope = {"type": "http", "method": method, "path": path, "headers": kept}
        self._scope["client"] = ("127.0.0.1", 50000)
        self._pieces = list(pieces or [])
        self._stalls, self._leaves = stalls, leaves
        self.on_receive: Any = lambda: None
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self._body = b""

    def run(self) -> None:
        asyncio.run(self())

    async def __call__(self) -> None:
        await self._edge(self._scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        self.on_receive()
        if self._pieces:
            piece = self._pieces.pop(0)
            more = bool(self._pieces) or self._stalls or self._leaves
            return {"type": "http.request", "body": piece, "more_body": more}
        if self._stalls:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        self._body += message.get("body", b"")

    def json(self) -> Any:
        return json.loads(self._body)


@dataclass
class Context:
    """Of a gRPC server."""

    status: Any = 0
    told: str = ""
    trailing: tuple[tuple[str, Any], ...] = ()
    metadata: tuple[tuple[str, Any], ...] = ()
    ended: bool = False

    def peer(self) -> str:
        assert not self.ended, "gRPC reads it from memory that is freed"
        return "ipv4:127.0.0.1:50000"

    def invocation_metadata(self) -> tuple[tuple[str, Any], ...]:
        return self.metadata

    def code(self) -> Any:
        return self.status

    def set_code(self, code: grpc.StatusCode) -> None:
        self.status = code

    def set_details(self, details: str) -> None:
        self.told = details

    def trailing_metadata(self) -> tuple[tuple[str, Any], ...]:
        return self.trailing

    def set_trailing_metadata(self, metadata: tuple[tuple[str, Any], ...]) -> None:
        self.trailing = metadata


class Server:
    """Makes handlers as Ray Serve's does: they set an error of the proxy, or what the service has set."""

    def __init__(self, status: Any, trailing: tuple[tuple[str, Any], ...] = ()) -> None:
        self.answer = (status, "actor 7 at 10.0.0.1 died", trailing)
        self.service_handler_factory = self.make
        self.handlers: list[Any] = []
        self.heard: dict[str, Any] = {}
        self.logged = ""

    def make(self, *, stream: bool) -> Any:
        def end(context: Any) -> None:
            self.heard = dict(context.invocation_metadata())
            self.logged = context.peer()
            status, told, trailing = self.answer
            context.set_code(status)
            context.set_details(told)
            context.set_trailing_metadata(trailing)

        async def unary(request: Message, context: Context) -> bytes:
            end(context)
            return request.content

        async def streamed(request: Message, context: Context) -> AsyncIterator[bytes]:
            yield request.content
            yield request.content
            end(context)

        return streamed if stream else unary


@dataclass(frozen=True)
class Message:
    """One that a client sends."""

    content: bytes

    def ByteSize(self) -> int:  # noqa: N802 - its name in protobuf
        return len(self.content)


async def one(message: Message) -> AsyncIterator[Message]:
    yield message


def call(
    server: Server,
    *,
    stream: bool,
    metadata: tuple[tuple[str, Any], ...] = (),
    context: Context | None = None,
) -> tuple[list[bytes], Context]:
    made = server.service_handler_factory

    def add(servicer: object, registering: object) -> None:
        del servicer, registering
        server.handlers.append(server.service_handler_factory(stream=stream))

    add_guarded(add, object(), server, guard=RpcGuard("ours"))
    assert server.service_handler_factory == made, "other services are left alone"
    context = context or Context(metadata=metadata)

    async def run() -> list[bytes]:
        answered = server.handlers[0](one(Message(b"a")), context)
        return [message async for message in answered] if stream else [await answered]

    return asyncio.run(run()), context


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "status", [grpc.StatusCode.INTERNAL, 13, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE]
)
def test_rpc_errors_of_the_proxy_are_told_without_their_details(status, stream):
    replies, context = call(Server(status, (("request_id", "mine"),)), stream=stream)
    assert replies == [b"a"] * (2 if stream else 1)
    assert context.status is grpc.StatusCode.UNAVAILABLE
    assert "send it again" in context.told
    assert dict(context.trailing)["wavescope-code"] == "model_unavailable"
    assert dict(context.trailing)["x-request-id"] == "mine"
    assert "10.0.0.1" not in repr(context)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "trailing"),
    [
        (grpc.StatusCode.INTERNAL, (("wavescope-code", "internal"),)),
        (grpc.StatusCode.NOT_FOUND, (("wavescope-code", "unknown_model"),)),
        (grpc.StatusCode.CANCELLED, ()),
        (0, ()),
    ],
)
def test_all_other_rpcs_end_as_they_do(status, trailing, stream):
    _, context = call(Server(status, trailing), stream=stream)
    assert (context.status, context.trailing) == (status, trailing)


@pytest.mark.parametrize("name", ["Explain", "ExplainStream", "ModelInfer"])
@pytest.mark.parametrize("content", [b"\xff", b"\x0a\x05a"])
def test_bytes_that_are_no_message_are_refused_as_a_bad_request(name: str, content: bytes) -> None:
    service = "inference.GRPCInferenceService" if name == "ModelInfer" else "wavescope.v1.ExplanationService"
    with served() as target, channel_to(target) as channel:
        make = channel.unary_stream if name == "ExplainStream" else channel.unary_unary
        with pytest.raises(grpc.RpcError, match="cannot be read") as caught:
            list(make(f"/{service}/{name}")(content, timeout=DEADLINE_S, metadata=[("x-request-id", "mine")]))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    trailing = dict(caught.value.trailing_metadata())
    assert (trailing["wavescope-code"], trailing["x-request-id"]) == ("invalid_request", "mine")


@pytest.mark.parametrize("stream", [False, True])
def test_no_metadata_of_a_client_chooses_what_answers(stream):
    server = Server(0)
    metadata = (("application", "another"), ("session_id", "mine"), ("x-request-id", "kept"))
    call(server, stream=stream, metadata=metadata)
    assert server.heard == {"application": "ours", "x-request-id": "kept"}


@pytest.mark.parametrize("stream", [False, True])
def test_the_peer_is_not_asked_for_once_the_client_may_be_gone(stream):
    server = Server(0)
    context = Context()
    make = server.make

    def made(*, stream: bool) -> Any:
        handler = make(stream=stream)

        async def unary(request: bytes, inner: Any) -> bytes:
            context.ended = True
            return await handler(request, inner)

        async def streamed(request: bytes, inner: Any) -> AsyncIterator[bytes]:
            context.ended = True
            async for message in handler(request, inner):
                yield message

        return streamed if stream else unary

    server.service_handler_factory = made
    call(server, stream=stream, context=context)
    assert server.logged == "ipv4:127.0.0.1:50000"


def never() -> Iterator[bytes]:
    """Messages that do not come, until the RPC has ended."""
    threading.Event().wait(DEADLINE_S)
    yield b""


@pytest.mark.parametrize("name", ["Explain", "ExplainStream"])
def test_the_message_of_an_rpc_has_its_time(name: str) -> None:
    guard = RpcGuard("wavescope", uploads=Uploads(UploadLimits(body_timeout_s=0.2)))
    with served(guard=guard) as target, channel_to(target) as channel:
        make = channel.stream_stream if name == "ExplainStream" else channel.stream_unary
        with pytest.raises(grpc.RpcError, match="did not come within") as caught:
            list(make(f"/wavescope.v1.ExplanationService/{name}")(never(), timeout=DEADLINE_S))
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert dict(caught.value.trailing_metadata())["wavescope-code"] == "body_timeout"
    assert (guard.uploads.receiving, guard.uploads.held_bytes) == (0, 0)


def test_an_rpc_is_let_in_before_its_message_comes() -> None:
    guard = RpcGuard("wavescope", KEYS, uploads=Uploads(UploadLimits(max_uploads_per_caller=1)))
    with served(guard=guard) as target, channel_to(target) as channel:
        call = channel.stream_unary("/wavescope.v1.ExplanationService/Explain")
        with pytest.raises(grpc.RpcError, match="an API key is needed") as caught:
            call(never(), timeout=DEADLINE_S)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        key = [("x-api-key", ALICE)]
        held = call.future(never(), timeout=DEADLINE_S, metadata=key)
        eventually(lambda: bool(guard.uploads.receiving))
        with pytest.raises(grpc.RpcError, match="1 bodies of this caller") as caught:
            call(never(), timeout=DEADLINE_S, metadata=key)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        held.cancel()
        eventually(lambda: not guard.uploads.receiving)


@pytest.mark.parametrize("by_address", [False, True])
def test_rpcs_of_one_address_have_a_share_where_addresses_tell_callers_apart(by_address: bool) -> None:
    uploads = Uploads(UploadLimits(max_uploads_per_caller=1))
    guard = RpcGuard("wavescope", uploads=uploads, by_address=by_address)
    with served(guard=guard) as target, channel_to(target) as channel:
        call = channel.stream_unary("/wavescope.v1.ExplanationService/Explain")
        held = call.future(never(), timeout=DEADLINE_S)
        eventually(lambda: bool(uploads.receiving))
        with pytest.raises(grpc.RpcError, match="bodies of this caller" if by_address else "cannot be read"):
            channel.unary_unary("/wavescope.v1.ExplanationService/Explain")(b"\xff", timeout=DEADLINE_S)
        held.cancel()


def test_probes_over_grpc_need_no_place() -> None:
    live = open_inference_pb2.ServerLiveResponse(live=True).SerializeToString()
    service = "/inference.GRPCInferenceService"
    guard = RpcGuard(
        "wavescope",
        uploads=Uploads(UploadLimits(max_uploads_per_caller=1)),
        probes=frozenset((f"{service}/ServerReady",)),
        local_replies={f"{service}/ServerLive": live},
    )
    with served(guard=guard) as target, channel_to(target) as channel:
        held = channel.stream_unary("/wavescope.v1.ExplanationService/Explain").future(
            never(), timeout=DEADLINE_S
        )
        eventually(lambda: bool(guard.uploads.receiving))
        assert channel.unary_unary(f"{service}/ServerLive")(b"", timeout=DEADLINE_S) == live
        assert channel.unary_unary(f"{service}/ServerReady")(b"", timeout=DEADLINE_S)
        with pytest.raises(grpc.RpcError, match="bodies of this caller"):
            channel.unary_unary(f"{service}/ServerMetadata")(b"", timeout=DEADLINE_S)
        held.cancel()
