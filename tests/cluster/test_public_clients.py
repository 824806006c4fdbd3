"""The public clients of KServe and Triton, unchanged, against the running service: its numbers to the bit."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage import data
from tests.cluster.service import Service, png
from tests.venvs import python_of

CLIENTS = Path(__file__).parent / "public_clients"
MODEL = "efficientnet-lite0"
IMAGE = png(data.cat())
FIELDS = {"grid_size": 4, "nb_design": 4}
NUMBERS = ("total", "standard_error", "interval_95")
MAPS = ("wcam", "spatial_wcam", "factors")


@pytest.fixture(scope="session")
def python() -> Path:
    return python_of(CLIENTS / "requirements.txt")


def ask(python: Path, script: str, service: Service, image: bytes, folder: Path) -> dict[str, Any]:
    """What a script of a public client tells of a running service."""
    path = folder / "image"
    path.write_bytes(image)
    command = [python, CLIENTS / script, service.url, service.grpc, path]
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


def test_kserves_client_gets_our_numbers(python: Path, service: Service, tmp_path: Path) -> None:
    told, reply = ask(python, "ask_kserve.py", service, IMAGE, tmp_path), ours(service, IMAGE)
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


def test_tritons_client_gets_our_numbers(python: Path, service: Service, tmp_path: Path) -> None:
    told, reply = ask(python, "ask_triton.py", service, IMAGE, tmp_path), ours(service, IMAGE)
    for part in (told["http"], told["grpc"]):
        assert (part["live"], part["ready"]) == (True, True)
        assert_same(part["binary"], reply)
        assert json.loads(part["explanation"])["maps"] == reply["maps"]
        assert part["server"]["name"] == "wavescope"
        assert part["model"]["name"] == f"{MODEL}-wcam"
        assert "'nobody'" in part["refusal"]
    assert told["http"]["outputs"] == told["grpc"]["outputs"]
