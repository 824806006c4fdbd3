"""What tests of the running service share."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import ray
from PIL import Image
from ray import serve
from tests import polling
from tests.polling import DEADLINE_S as DEADLINE_S

SMALL = {"grid_size": 4, "nb_design": 4}
SMALL_FORWARDS = 4 * (16 + 2)
POLL_S = 0.2


@dataclass(frozen=True)
class Service:
    """Where the running service is."""

    url: str
    grpc: str
    http: httpx.Client

    def metric(self, sample: str) -> float:
        """The sum of all samples whose text starts so."""
        reply = self.http.get("/metrics")
        while reply.status_code == httpx.codes.SERVICE_UNAVAILABLE:  # what adds them up is being restarted
            reply = self.http.get("/metrics")
        lines = reply.text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(sample))


def processes() -> dict[Path, str]:
    """Command lines of all processes, by their folder in /proc."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended while we looked
            found[folder] = (folder / "cmdline").read_text(errors="replace").replace("\0", " ")
    return found


def kill_replicas(deployment: str) -> None:
    """Kills every replica of a deployment of this cluster, without a word."""
    for actor in ray.util.list_named_actors(all_namespaces=True):
        if f"#{deployment}#" in actor["name"]:
            ray.kill(ray.get_actor(actor["name"], namespace="serve"))


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Polls what is asked of the service until it holds."""
    polling.eventually(condition, what, poll_s=POLL_S)


def running_replicas() -> int:
    """Model replicas that can score now."""
    deployment = serve.status().applications["model-efficientnet-lite0"].deployments["ModelReplica"]
    return deployment.replica_states.get("RUNNING", 0)


def settled(service: Service, sample: str) -> float:
    """The sample once it stands still: processes send their counts once a second, after the work."""
    readings = [service.metric(sample)]
    same_s = 2.0

    def still() -> bool:
        readings.append(service.metric(sample))
        return len(readings) > same_s / POLL_S and len(set(readings[-int(same_s / POLL_S) :])) == 1

    eventually(still, f"{sample} stands still")
    return readings[-1]


def png(image: np.ndarray | Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def body(image: bytes, **fields: Any) -> dict[str, Any]:
    return {"image": {"base64": base64.b64encode(image).decode()}, **fields}


def array(tensor: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(tensor["data"]), np.dtype(tensor["dtype"])).reshape(tensor["shape"])
