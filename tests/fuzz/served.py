"""The ingress over a data plane that answers at once, on real sockets, behind what stands before Ray Serve."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import uvicorn
from tests.ingress.fakes import FakePlane, make_app, make_explanation
from tests.ingress.others import Servicer
from tests.polling import DEADLINE_S
from tools.fuzz.target import Target

from wavescope.ingress.plane import IngressLimits
from wavescope.ingress.ray_proxy.connections import Bounded
from wavescope.ingress.ray_proxy.http_guard import Edge
from wavescope.ingress.ray_proxy.rpc_guard import RpcGuard, add_guarded
from wavescope_proto.inference.open_inference_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from wavescope_proto.v1.explanation_pb2_grpc import add_ExplanationServiceServicer_to_server

LIMITS = {"max_body_bytes": 256 * 1024, "max_images": 4, "max_targets": 4}


@contextmanager
def served(
    error: Exception | None = None, guard: RpcGuard | None = None, plane: FakePlane | None = None
) -> Iterator[Target]:
    """Serves until the block ends; the plane raises ``error`` where one is given, RPCs are held to ``guard``."""
    plane = plane or FakePlane(make_explanation(), error)
    app = Edge(make_app(plane, **LIMITS), max_body_bytes=LIMITS["max_body_bytes"])
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=Bounded, log_level="critical", lifespan="off"))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(DEADLINE_S)

    serving = asyncio.run_coroutine_threadsafe(server.serve([listener]), loop)
    rpcs, port = run(_rpcs(Servicer(plane, IngressLimits(**LIMITS)), guard or RpcGuard("wavescope")))
    try:
        yield Target(listener.getsockname()[1], port)
    finally:
        run(rpcs.stop(grace=None))
        server.should_exit = True
        serving.result(DEADLINE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE_S)
        loop.close()


class Proxy:
    """Registers handlers as Ray Serve's proxy does: made by a factory, and answering with bytes."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server
        self.service_handler_factory = self._make

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Any) -> None:
        """Nothing: they come again, by name."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: dict[str, Any]) -> None:
        methods = {}
        for name, method in method_handlers.items():
            handler = self.service_handler_factory(method=method, service_method=f"/{service_name}/{name}")
            make = (
                grpc.stream_stream_rpc_method_handler
                if method.response_streaming
                else grpc.stream_unary_rpc_method_handler
            )
            methods[name] = make(handler, method.request_deserializer)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service_name, methods),))

    def _make(self, method: Any, service_method: str) -> Any:
        del service_method

        async def unary(request: Any, context: Any) -> bytes:
            return (await method.stream_unary(request, context)).SerializeToString()

        async def streamed(request: Any, context: Any) -> AsyncGenerator[bytes, None]:
            async for message in method.stream_stream(request, context):
                yield message.SerializeToString()

        return streamed if method.response_streaming else unary


async def _rpcs(servicer: Servicer, guard: RpcGuard) -> tuple[grpc.aio.Server, int]:
    server = grpc.aio.server()
    for add in (add_ExplanationServiceServicer_to_server, add_GRPCInferenceServiceServicer_to_server):
        add_guarded(add, servicer, Proxy(server), guard=guard)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port
