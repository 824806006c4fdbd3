"""Real servers of the public protocols, each in an environment of its own, with a model that runs here too."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.fakes.onnx_models import WIDE
from tests.venvs import python_of

from wavescope.engine.types import Preprocessing
from wavescope.models.onnx.embedded import exported
from wavescope.models.spec import ModelSpec
from wavescope.settings import Settings

HERE = Path(__file__).parent
HOST = "127.0.0.1"
# Of gRPC messages: one image of 224 x 224 in colour and not two.
MESSAGE_BYTES = 2**20
VERSION = "7"


@dataclass(frozen=True)
class Server:
    """A running server."""

    http: str
    grpc: str


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """A small classifier in an ONNX file, run in this process; the servers have it as ``toy``."""
    return WIDE.write(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def mlserver(toy: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """MLServer, with the toy and the real default model."""
    python = python_of(HERE / "requirements-mlserver.txt")
    folder = tmp_path_factory.mktemp("mlserver")
    http, grpc = free_ports(2)
    settings = {
        "debug": False,
        "host": HOST,
        "http_port": http,
        "grpc_port": grpc,
        "grpc_max_message_length": MESSAGE_BYTES,
        "parallel_workers": 0,
        "metrics_endpoint": None,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    wide, lite0 = (toy.preprocessing, toy.reference), (Preprocessing(), exported(Settings().cache_dir))
    for name, (preprocessing, path) in {"toy": wide, "lite0": lite0}.items():
        (folder / name).mkdir()
        model = {
            "name": name,
            "implementation": "mlserver_model.OnnxModel",
            "parameters": {"uri": str(path), "version": VERSION},
            "inputs": [{"name": "images", "datatype": "FP32", "shape": [-1, *preprocessing.shape]}],
            "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, -1]}],
        }
        (folder / name / "model-settings.json").write_text(json.dumps(model))
    command = [python.parent / "mlserver", "start", folder]
    marks = ("Uvicorn running on", "gRPC server running on", "Loaded model 'toy'", "Loaded model 'lite0'")
    with running(command, marks, folder):
        yield Server(f"http://{HOST}:{http}", f"grpc://{HOST}:{grpc}")


@pytest.fixture(scope="session")
def kserve(toy: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """KServe's own model server, with the toy."""
    python = python_of(HERE / "requirements-kserve.txt")
    http, grpc = free_ports(2)
    command = [python, HERE / "kserve_model.py", "toy", toy.reference, str(http), str(grpc)]
    marks = ("Uvicorn running on", "Starting gRPC server")
    with running(command, marks, tmp_path_factory.mktemp("kserve")):
        yield Server(f"http://{HOST}:{http}", f"grpc://{HOST}:{grpc}")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def running(command: Sequence[object], marks: Sequence[str], folder: Path) -> Iterator[None]:
    """A process, once it has written all of ``marks``."""
    environment = {**os.environ, "PYTHONPATH": str(HERE), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        written: list[str] = []
        missing = set(marks)
        for line in process.stdout:
            written.append(line)
            missing = {mark for mark in missing if mark not in line}
            if not missing:
                break
        assert not missing, f"the server ended before {missing}:\n{''.join(written[-40:])}"
        # What it goes on to write must not fill the pipe.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
