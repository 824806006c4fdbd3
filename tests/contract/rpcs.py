"""The gRPC service over a data plane, called as Ray Serve calls it and over a real channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc
from tests.ingress.fakes import FakeContext, FakePlane
from tests.polling import DEADLINE_S

from wavescope.ingress.grpc.servicer import ExplanationServicer
from wavescope.ingress.grpc.status import STATUS_KEY
from wavescope.ingress.plane import IngressLimits, NullAuthenticator, NullRecorder
from wavescope.ingress.ray_proxy.ongoing import Ongoing
from wavescope.ingress.stream_limits import OpenStreams
from wavescope_proto.v1 import explanation_pb2 as pb
from wavescope_proto.v1 import explanation_pb2_grpc as pb_grpc

T = TypeVar("T")


class Service(ExplanationServicer):
    """The service over a data plane."""

    def __init__(self, plane: FakePlane, **options: Any) -> None:
        self._plane = plane
        self._limits = options.get("limits", IngressLimits())
        self._authenticator = options.get("authenticator", NullAuthenticator())
        self._recorder = options.get("recorder", NullRecorder())
        self._ongoing = Ongoing(self._limits.max_ongoing)
        self._streams = options.get("streams") or OpenStreams(self._limits)


def call(plane: FakePlane, message: pb.ExplainRequest, context: FakeContext, **options: Any) -> Any:
    """The reply of ``Explain``."""
    return ask(plane, "Explain", message, context, **options)


def ask(plane: FakePlane, name: str, message: Any, context: FakeContext, **options: Any) -> Any:
    """The reply of an RPC, or the list of its replies."""
    answer = getattr(Service(plane, **options), name)(message, context)

    async def answered() -> Any:
        if isinstance(answer, AsyncGenerator):
            return [reply async for reply in answer]
        return await answer

    return asyncio.run(asyncio.wait_for(answered(), DEADLINE_S))


def told(context: FakeContext) -> dict[str, str]:
    """The trailing metadata, but for the binary entry that says the same."""
    return {name: value for name, value in context.trailing.items() if name != STATUS_KEY}


def over_a_channel(
    plane: FakePlane, use: Callable[[pb_grpc.ExplanationServiceStub], Awaitable[T]], **options: Any
) -> T:
    """What ``use`` returns of a stub that is connected to a real server."""

    async def run() -> T:
        async with _served(plane, **options) as address, grpc.aio.insecure_channel(address) as channel:
            return await use(pb_grpc.ExplanationServiceStub(channel))

    return asyncio.run(asyncio.wait_for(run(), DEADLINE_S))


@asynccontextmanager
async def _served(plane: FakePlane, **options: Any) -> AsyncGenerator[str, None]:
    server = grpc.aio.server()
    pb_grpc.add_ExplanationServiceServicer_to_server(Service(plane, **options), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(grace=None)
