"""The public clients of KServe and Triton, unchanged, over real sockets: their numbers are ours to the bit."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import uvicorn
from skimage import data
from tests.ingress.fakes import IMAGE, FakePlane, make_app, make_explanation
from tests.ingress.others import Servicer
from tests.serving.cluster import Service, png
from tests.venvs import python_of

from wavescope_proto.inference import open_inference_pb2_grpc as pb_grpc

HERE = Path(__file__).parent
MODEL = "efficientnet-lite0"
FIELDS = {"grid_size": 4, "nb_design": 4}
NUMBERS = ("total", "standard_error", "interval_95")
MAPS = ("wcam", "spatial_wcam", "factors")


@pytest.fixture(scope="session")
def python() -> Path:
    return python_of(HERE / "requirements-clients.txt")


@pytest.fixture(scope="module")
def local() -> Iterator[Service]:
    """A data plane that answers at once, behind real sockets."""
    plane = FakePlane(make_explanation())
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def start() -> tuple[uvicorn.Server, asyncio.Task[None], int, grpc.aio.Server, int]:
        server = uvicorn.Server(
            uvicorn.Config(make_app(plane), host="127.0.0.1", port=0, log_level="warning")
        )
        ready = asyncio.Event()
        startup = server.startup

        async def started(sockets: Any = None) -> None:
            await startup(sockets)
            ready.set()

        server.startup = started  # type: ignore[method-assign]
        task = asyncio.create_task(server.serve())
        await ready.wait()
        rpc = grpc.aio.server()
        pb_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(plane), rpc)  # type: ignore[arg-type]
        rpc_port = rpc.add_insecure_port("127.0.0.1:0")
        await rpc.start()
        return server, task, server.servers[0].sockets[0].getsockname()[1], rpc, rpc_port

    async def stop() -> None:
        await rpc.stop(None)
        server.should_exit = True
        await task

    server, task, port, rpc, rpc_port = asyncio.run_coroutine_threadsafe(start(), loop).result(60)
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=url, timeout=60) as http:
            yield Service(url, f"127.0.0.1:{rpc_port}", http)
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)


def ask(python: Path, script: str, service: Service, image: bytes, folder: Path) -> dict[str, Any]:
    """What a script of a public client tells of a running service."""
    path = folder / "image"
    path.write_bytes(image)
    command = [python, HERE / "clients" / script, service.url, service.grpc, path]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=540)
    assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads(ran.stdout.splitlines()[-1])


def ours(service: Service, image: bytes) -> dict[str, Any]:
    """The reply over our own protocol, and the raw outputs."""
    content = {"image": {"base64": base64.b64encode(image).decode("ascii")}, **FIELDS}
    response = service.http.post("/v1/explanations", json=content)
    assert response.status_code == 200, response.text
    return response.json()


def array(told: dict[str, Any]) -> np.ndarray:
    dtype = np.dtype(told["dtype"]).newbyteorder("<")
    return np.frombuffer(base64.b64decode(told["data"]), dtype).reshape(told["shape"])


def assert_same(tensors: dict[str, Any], reply: dict[str, Any]) -> None:
    """Every number is that of our reply, to the bit."""
    assert tensors.keys() >= {*NUMBERS, *MAPS}
    for name in NUMBERS:
        np.testing.assert_array_equal(array(tensors[name])[0], np.array(reply["indices"][name]))
    for name in MAPS:
        np.testing.assert_array_equal(array(tensors[name])[0], array(reply["maps"][name]))


def check_kserve(python: Path, service: Service, image: bytes, folder: Path) -> None:
    told, reply = ask(python, "ask_kserve.py", service, image, folder), ours(service, image)
    first, second, rpc = told["v1"], told["v2"], told["grpc"]
    for part in (first, second, rpc):
        assert (part["live"], part["ready"]) == (True, True)
        assert "'nobody'" in part["refusal"]
    assert rpc["code"] == "unknown_model"
    assert first["explanations"][0]["indices"] == reply["indices"]
    assert first["explanations"][0]["maps"] == reply["maps"]
    for tensors in (second["json"], second["binary"], rpc["binary"]):
        assert_same(tensors, reply)
    outputs = np.array(first["predictions"], dtype=np.float32)
    for part in (second, rpc):
        np.testing.assert_array_equal(array(part["outputs"]["outputs"]), outputs)


def check_triton(python: Path, service: Service, image: bytes, folder: Path) -> None:
    told, reply = ask(python, "ask_triton.py", service, image, folder), ours(service, image)
    for part in (told["http"], told["grpc"]):
        assert (part["live"], part["ready"]) == (True, True)
        assert_same(part["binary"], reply)
        assert json.loads(part["explanation"])["maps"] == reply["maps"]
        assert part["server"]["name"] == "wavescope"
        assert part["model"]["name"] == f"{MODEL}-wcam"
        assert "'nobody'" in part["refusal"]
    assert told["http"]["outputs"] == told["grpc"]["outputs"]


def test_kserves_client_gets_our_numbers(python: Path, local: Service, tmp_path: Path) -> None:
    check_kserve(python, local, IMAGE, tmp_path)


def test_tritons_client_gets_our_numbers(python: Path, local: Service, tmp_path: Path) -> None:
    check_triton(python, local, IMAGE, tmp_path)


def test_kserves_client_calls_the_running_service(python: Path, service: Service, tmp_path: Path) -> None:
    check_kserve(python, service, png(data.cat()), tmp_path)


def test_tritons_client_calls_the_running_service(python: Path, service: Service, tmp_path: Path) -> None:
    check_triton(python, service, png(data.cat()), tmp_path)
