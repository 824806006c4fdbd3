"""A server of the Open Inference Protocol over HTTP that can be told to misbehave."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

CLASSES = 4
SIDE = 8
LENGTH = "Inference-Header-Content-Length"
INPUT = {"name": "images", "datatype": "FP32", "shape": [-1, 3, SIDE, SIDE]}
OUTPUT = {"name": "logits", "datatype": "FP32", "shape": [-1, CLASSES]}
METADATA = {"name": "toy", "versions": ["1"], "platform": "fake", "inputs": [INPUT], "outputs": [OUTPUT]}
WEIGHTS = np.random.default_rng(0).standard_normal((3 * SIDE * SIDE, CLASSES)).astype(np.float32)


def scores(images: np.ndarray) -> np.ndarray:
    """What the server's model computes: image by image, so that batches do not matter."""
    return np.stack([image.ravel() @ WEIGHTS for image in images.astype(np.float32)])


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The JSON of a tensor request."""
        length = self.headers.get(LENGTH.lower())
        return json.loads(self.body[: int(length)] if length else self.body)

    @property
    def images(self) -> np.ndarray:
        """The images of a request with binary data."""
        shape = self.document["inputs"][0]["shape"]
        raw = self.body[int(self.headers[LENGTH.lower()]) :]
        return np.frombuffer(raw, np.float32).reshape(shape)


@dataclass(frozen=True)
class Answer:
    """A reply to be sent."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def answer(document: Any, status: int = 200, **headers: str) -> Answer:
    """A reply of JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(document).encode(), {"Content-Type": "application/json", **named})


def binary(values: np.ndarray, *, version: str = "1", datatype: str = "FP32", name: str = "logits") -> Answer:
    """A reply with one binary tensor."""
    output = {
        "name": name,
        "datatype": datatype,
        "shape": list(values.shape),
        "parameters": {"binary_data_size": values.nbytes},
    }
    head = json.dumps({"model_name": "toy", "model_version": version, "outputs": [output]}).encode()
    return Answer(200, head + values.tobytes(), {LENGTH: str(len(head))})


def well(asked: Asked) -> Answer:
    """What a server that works answers."""
    if asked.method == "GET":
        known = {"/v2": {"name": "fake", "extensions": ["binary_tensor_data"]}, "/v2/models/toy": METADATA}
        found = known.get(asked.path)
        return answer(found) if found else answer({"error": "no such thing"}, 404)
    return binary(scores(asked.images))


@dataclass
class FakeServer:
    """Answers by ``behave``, which a test may replace; keeps what it was asked."""

    port: int = 0
    behave: Callable[[Asked], Answer] = well
    asked: list[Asked] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/v2/models/toy"

    @property
    def batches(self) -> list[int]:
        """Images of each request for scores, in order of arrival."""
        return [len(asked.images) for asked in self.asked if asked.path.endswith("/infer")]


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[FakeServer]:
    """A running server on loopback, with TLS by ``context``."""
    fake = FakeServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: else each reply waits 40 ms for an acknowledgement

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, body)
            fake.asked.append(asked)
            reply = fake.behave(asked)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    fake.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
