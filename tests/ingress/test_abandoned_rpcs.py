"""Streams over gRPC that are opened and left in every way: the work behind them ends, and nothing is held for them."""

from __future__ import annotations

import base64
import socket
import struct
import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest
from tests.fuzz.served import served
from tests.ingress.fakes import FakePlane, make_explanation
from tests.polling import eventually
from tools.faults.slow_kinds import DATA, END_STREAM, NO_WINDOW, RESET, call, frame, hello

from wavescope.engine.events import Progress
from wavescope.ingress.openapi.request_examples import TINY_PNG
from wavescope.ingress.plane import CallContext, Event, ExplainRequest
from wavescope.ingress.ray_proxy.rpc_guard import RpcGuard
from wavescope.ingress.ray_proxy.uploads import UploadLimits, Uploads
from wavescope_proto.v1 import explanation_pb2 as pb

STREAM = b"/wavescope.v1.ExplanationService/ExplainStream"
CLIENTS = 20
DEADLINE_S = 60.0


@dataclass
class Endless(FakePlane):
    """Tells of progress as long as somebody asks; counts what it began and what ended."""

    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    ended: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    async def stream(self, request: ExplainRequest, call: CallContext) -> AsyncGenerator[Event, None]:
        del request, call
        self.begun.release()
        try:
            while True:
                yield Progress(forwards=1, planned=2, elapsed_s=0.1, eta_s=None)
        finally:
            self.ended.release()


def opened(port: int, settings: bytes = b"") -> socket.socket:
    message = pb.ExplainStreamRequest(request=pb.ExplainRequest(image=base64.b64decode(TINY_PNG)))
    content = message.SerializeToString()
    sent = b"\0" + struct.pack(">I", len(content)) + content
    client = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
    client.sendall(hello(settings) + call(1, STREAM) + frame(DATA, END_STREAM, 1, sent))
    return client


@pytest.mark.parametrize("how", ["closed", "reset", "nobody reads", "no room is given"])
def test_a_stream_that_is_left_ends_its_work(how: str) -> None:
    plane = Endless(make_explanation())
    guard = RpcGuard("wavescope", reply_timeout_s=0.3, uploads=Uploads(UploadLimits()))
    with served(guard=guard, plane=plane) as target:
        clients = [
            opened(target.grpc_port, NO_WINDOW if how == "no room is given" else b"") for _ in range(CLIENTS)
        ]
        try:
            for _ in clients:
                assert plane.begun.acquire(timeout=DEADLINE_S)
            for client in clients:
                if how == "closed":
                    client.close()
                elif how == "reset":
                    client.sendall(frame(RESET, 0, 1, struct.pack(">I", 8)))
            for _ in clients:
                assert plane.ended.acquire(timeout=DEADLINE_S)
        finally:
            for client in clients:
                client.close()
        eventually(lambda: (guard.uploads.receiving, guard.uploads.held_bytes) == (0, 0), "nothing is held")
