"""A service on a real socket, which answers with the explanation made by hand of the ingress' tests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from tests.ingress.conftest import explanation, plane, recorder
from tests.ingress.fakes import FakePlane, draw
from tests.polling import DEADLINE_S

from wavescope.ingress.access import Access
from wavescope.ingress.app import build_app
from wavescope.ingress.plane import IngressLimits
from wavescope_client import Client, RetryPolicy

__all__ = ["explanation", "plane", "recorder"]


class Server(uvicorn.Server):
    """Says when it listens, so that nobody has to ask again and again."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@contextmanager
def serving(plane: FakePlane, access: Access | None = None) -> Iterator[str]:
    """The address of a service over this plane."""
    app = build_app(plane, limits=IngressLimits(max_body_bytes=100_000), draw=draw, access=access)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    assert server.listening.wait(timeout=DEADLINE_S)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=DEADLINE_S)
        listener.close()


@pytest.fixture
def url(plane: FakePlane) -> Iterator[str]:
    with serving(plane) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, retry=RetryPolicy(attempts=1)) as client:
        yield client
