"""How many requests a gateway serves at once: more are told so, and probes are let in all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from tests.ingress.fakes import FakeContext, FakePlane, make_app, make_explanation
from tests.ingress.others import Servicer
from tests.polling import until

from wavescope.errors import QueueFull
from wavescope.ingress.ray_proxy.ongoing import Ongoing
from wavescope_proto.inference import open_inference_pb2
from wavescope_proto.v1 import explanation_pb2

PROBES = ["/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"]


class Slow(FakePlane):
    """Tells of its models once it may."""

    def __init__(self) -> None:
        super().__init__(make_explanation())
        self.may = asyncio.Event()
        self.asked = 0

    async def models(self) -> Any:
        self.asked += 1
        await self.may.wait()
        return await super().models()


def full(test: Callable[[Slow, httpx.AsyncClient], Awaitable[None]]) -> None:
    """Runs a test against an application that serves as many requests as it may: one."""

    async def run() -> None:
        plane = Slow()
        app = make_app(plane, max_ongoing=1)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            held = asyncio.create_task(client.get("/v1/models"))
            await until(lambda: plane.asked > 0)
            await test(plane, client)
            plane.may.set()
            assert (await held).status_code == 200
            assert (await client.get("/v1/models")).status_code == 200, "its place is free again"

    asyncio.run(run())


def test_one_more_request_is_told_to_come_again() -> None:
    async def test(plane: Slow, client: httpx.AsyncClient) -> None:
        reply = await client.get("/v1/models")
        assert (reply.status_code, reply.json()["code"]) == (429, "queue_full")
        assert reply.json()["limits"] == {"max_ongoing": 1, "retry_after_s": 2}
        assert reply.headers["retry-after"] == "2"
        assert plane.asked == 1

    full(test)


@pytest.mark.parametrize("path", PROBES)
def test_probes_and_metrics_need_no_place(path: str) -> None:
    async def test(plane: Slow, client: httpx.AsyncClient) -> None:
        del plane
        assert (await client.get(path)).status_code == 200

    full(test)


def test_rpcs_and_requests_share_the_places() -> None:
    ongoing = Ongoing(1)
    servicer = Servicer(FakePlane(make_explanation()), _ongoing=ongoing)
    listed, ready = explanation_pb2.ListModelsRequest(), open_inference_pb2.ServerReadyRequest()

    async def run() -> None:
        with ongoing.place():
            context = FakeContext()
            await servicer.ListModels(listed, context)
            assert context.trailing["wavescope-code"] == "queue_full"
            assert (await servicer.ServerReady(ready, FakeContext())).ready
        assert (await servicer.ListModels(listed, FakeContext())).models

    asyncio.run(run())
    assert ongoing.count == 0


def test_a_place_is_left_whatever_happens() -> None:
    ongoing = Ongoing(1)
    with ongoing.place(), pytest.raises(QueueFull, match="1 requests are being served"), ongoing.place():
        pass
    with pytest.raises(KeyError), ongoing.place():
        raise KeyError
    assert ongoing.count == 0
