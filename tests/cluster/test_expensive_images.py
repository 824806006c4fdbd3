"""Images that cost much, sent to the running service."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from tests.cluster.service import DEADLINE_S, POLL_S, SMALL, body, eventually, processes
from tests.imaging import expensive

from wavescope.imaging.decode import estimate_decode_cost

MODEL = "efficientnet-lite0"
TOO_MUCH = expensive.jpeg2000(8000, 7999)
CHILD = "wavescope.imaging.decoder_process"


def encoded(image: bytes) -> str:
    return base64.b64encode(image).decode()


def ways(image: bytes) -> dict[str, dict[str, Any]]:
    """A request of every address that decodes images."""
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [encoded(image)]}
    instances = {"instances": [{"b64": encoded(image)}]}
    return {
        "/v1/explanations": body(image, **SMALL),
        "/v1/explanations:estimate": body(image, **SMALL),
        "/v1/jobs": body(image, **SMALL),
        "/v1/predictions": {"images": [{"base64": encoded(image)}], "model": MODEL},
        f"/v1/models/{MODEL}:predict": instances,
        f"/v1/models/{MODEL}:explain": {**instances, "parameters": SMALL},
        f"/v2/models/{MODEL}/infer": {"inputs": [tensor]},
        f"/v2/models/{MODEL}-wcam/infer": {"inputs": [tensor], "parameters": SMALL},
    }


@pytest.mark.parametrize("address", ways(b""))
def test_what_costs_too_much_is_refused_on_every_way_in(service, address):
    reply = service.http.post(address, json=ways(TOO_MUCH)[address])
    assert reply.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE, reply.text
    assert "at most 2 s are spent" in reply.text
    assert "as a baseline JPEG" in reply.text


@pytest.mark.parametrize("address", ["/v1/explanations:estimate", "/v1/predictions"])
def test_an_image_decoded_in_a_process_of_its_own_is_answered(service, address):
    image = expensive.png(4300, 4300)
    assert estimate_decode_cost(image).in_subprocess
    reply = service.http.post(address, json=ways(image)[address])
    assert reply.is_success, reply.text


@pytest.mark.parametrize("address", ["/v1/explanations:estimate", "/v1/explanations", "/v1/predictions"])
def test_a_client_that_leaves_ends_the_process_that_decodes_its_image(service, address):
    """It is halted before, so that it cannot have ended by itself."""
    image = expensive.encoded(Image.new("RGB", (3800, 3800)), "JPEG2000")

    async def run() -> Path:
        async with httpx.AsyncClient(base_url=service.url, timeout=DEADLINE_S) as http:
            asking = asyncio.create_task(http.post(address, json=ways(image)[address]))
            child = await halted()
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
        return child

    child = asyncio.run(run())
    eventually(lambda: not child.exists(), "the process ends")
    eventually(lambda: service.metric("wavescope_planning_running") == 0, "nothing is planned")
    assert service.http.post(
        "/v1/explanations:estimate", json=body(expensive.png(64, 64), **SMALL)
    ).is_success


async def halted() -> Path:
    """The folder in /proc of the process that decodes, which goes no further."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            for folder, command in processes().items():
                if CHILD in command:
                    os.kill(int(folder.name), signal.SIGSTOP)
                    return folder
            await asyncio.sleep(POLL_S / 10)
