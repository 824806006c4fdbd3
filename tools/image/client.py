"""Sent into a container by ``run.py``: asks the service there for one small explanation, over HTTP and over gRPC."""

from __future__ import annotations

import base64
import http.client
import io
import json
import time

import grpc
import numpy as np
from PIL import Image

from wavescope_proto.v1 import explanation_pb2, explanation_pb2_grpc

SERVICE = "127.0.0.1"
GRID_SIZE, NB_DESIGN = 8, 4
DEADLINE_S = 300


def picture() -> bytes:
    """A PNG of a bright disc on a gradient: something to look at, the same at every run."""
    y, x = np.mgrid[0:256, 0:256]
    disc = (x - 150) ** 2 + (y - 110) ** 2 < 60**2
    pixels = np.stack([x, y, np.where(disc, 255, 40)], axis=-1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def ask(path: str, body: dict[str, object] | None = None, accept: str = "application/json") -> bytes:
    """The body of a reply over HTTP; an error status ends the run."""
    connection = http.client.HTTPConnection(SERVICE, 8000, timeout=DEADLINE_S)
    method, text = ("GET", None) if body is None else ("POST", json.dumps(body))
    connection.request(method, path, text, {"Content-Type": "application/json", "Accept": accept})
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    if reply.status != http.client.OK:
        raise SystemExit(f"{method} {path}: {reply.status} {content[:500]!r}")
    return content


def main() -> None:
    """Prints what the service answered as one line of JSON."""
    image = picture()
    encoded = {"base64": base64.b64encode(image).decode()}
    body: dict[str, object] = {"grid_size": GRID_SIZE, "nb_design": NB_DESIGN, "image": encoded}
    started_s = time.monotonic()
    explanation = json.loads(ask("/v1/explanations", body))
    explanation_s = time.monotonic() - started_s
    figure = ask("/v1/explanations", body, accept="image/png")
    with grpc.insecure_channel(f"{SERVICE}:9000") as channel:
        stub = explanation_pb2_grpc.ExplanationServiceStub(channel)
        request = explanation_pb2.ExplainRequest(image=image, grid_size=GRID_SIZE, nb_design=NB_DESIGN)
        reply = stub.Explain(request, timeout=DEADLINE_S, metadata=(("application", "wavescope"),))
    metrics = ask("/metrics").decode()
    answer = {
        "label": explanation["target"]["label"],
        "forwards": explanation["forwards"],
        "explanation_s": round(explanation_s, 1),
        "figure_bytes": len(figure),
    }
    if not figure.startswith(b"\x89PNG") or explanation["outcome"] != "explained":
        raise SystemExit(f"unexpected answer: {answer}")
    if reply.target.label != answer["label"]:
        raise SystemExit(f"gRPC says {reply.target.label!r}, HTTP {answer['label']!r}")
    if "wavescope_requests_total" not in metrics:
        raise SystemExit("GET /metrics does not count requests")
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
