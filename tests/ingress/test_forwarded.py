"""Whose bodies are whose where no keys are: addresses, as uvicorn tells them to what stands before the proxy."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.polling import until

from wavescope.ingress.ray_proxy.http_guard import Edge
from wavescope.ingress.ray_proxy.uploads import UploadLimits, Uploads
from wavescope.serving import proxy
from wavescope.settings import Settings

GATEWAY = "127.0.0.1"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def served(edge: Edge) -> Any:
    """What uvicorn calls, of the options that Ray Serve gives it."""
    config = uvicorn.Config(lambda: edge, factory=True, lifespan="off", access_log=False, log_config=None)
    config.load()
    return config.loaded_app


async def status(app: ASGIApp, forwarded: str, *, half: bool = False) -> int | None:
    """Of the reply to a request by way of the gateway; a half-sent body never ends."""
    headers = [(b"host", b"test"), (b"content-length", b"4"), (b"x-forwarded-for", forwarded.encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "client": (GATEWAY, 50000)}
    pieces = [b"ha"] if half else [b"ha", b"lf"]
    told: list[int] = []

    async def receive() -> dict[str, Any]:
        if not pieces:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": pieces.pop(0), "more_body": half or bool(pieces)}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            told.append(message["status"])

    await app(scope, receive, send)
    return told[0] if told else None


def while_one_is_received(edge: Edge, uploads: Uploads, forwarded: str) -> int | None:
    async def run() -> int | None:
        app = served(edge)
        held = asyncio.create_task(status(app, "10.0.0.1", half=True))
        await until(lambda: bool(uploads.receiving))
        found = await status(app, forwarded)
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
        return found

    return asyncio.run(run())


def edge_of(monkeypatch: pytest.MonkeyPatch, trusted: str | None, **settings: Any) -> tuple[Edge, Uploads]:
    """As the proxies' process is set up."""
    monkeypatch.delenv(proxy.FORWARDED, raising=False)
    if trusted is not None:
        monkeypatch.setenv(proxy.FORWARDED, trusted)
    for name, value in proxy.environment().items():
        monkeypatch.setenv(name, value)
    uploads = Uploads(UploadLimits(max_uploads_per_caller=1, max_upload_bytes=8))
    by_address = proxy.knows_addresses(Settings(**settings))
    return Edge(answer, max_body_bytes=10, uploads=uploads, by_address=by_address), uploads


@pytest.mark.parametrize("forwarded", ["10.0.0.1", "10.0.0.2", "10.0.0.2, 10.0.0.3", ""])
def test_nobody_is_another_caller_by_saying_so(monkeypatch: pytest.MonkeyPatch, forwarded: str) -> None:
    edge, uploads = edge_of(monkeypatch, None)
    assert while_one_is_received(edge, uploads, forwarded) == 429


@pytest.mark.parametrize("settings", [{}, {"no_auth": True}])
def test_a_gateway_that_the_operator_names_is_believed(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    edge, uploads = edge_of(monkeypatch, GATEWAY, **settings)
    assert while_one_is_received(edge, uploads, "10.0.0.1") == 429
    assert while_one_is_received(edge, uploads, "10.0.0.2") == 200
    assert while_one_is_received(edge, uploads, "10.0.0.1, 10.0.0.2") == 200, (
        "the last is what the gateway saw"
    )


def test_callers_behind_a_gateway_are_not_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    edge, uploads = edge_of(monkeypatch, None, no_auth=True)
    assert while_one_is_received(edge, uploads, "10.0.0.1") == 200
