"""What stands before the server's own code, with a proxy that does what Ray Serve's does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
import pytest
from starlette.types import Receive, Scope, Send
from tests.fuzz.served import served
from tests.ingress.fakes import chunks
from tools.fuzz.rpcs import channel_to

from wavescope.ingress.edge import Edge, add_guarded

LIMIT = 10_000


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


def send(proxy: Any, path: str = "/v1/explanations", **options: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(Edge(proxy, max_body_bytes=LIMIT))
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

        async def unary(request: bytes, context: Context) -> bytes:
            end(context)
            return request

        async def streamed(request: bytes, context: Context) -> AsyncIterator[bytes]:
            yield request
            yield request
            end(context)

        return streamed if stream else unary


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

    add_guarded(add, object(), server, application="ours")
    assert server.service_handler_factory == made, "other services are left alone"
    context = context or Context(metadata=metadata)

    async def run() -> list[bytes]:
        answered = server.handlers[0](b"a", context)
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
            list(make(f"/{service}/{name}")(content, timeout=30, metadata=[("x-request-id", "mine")]))
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
