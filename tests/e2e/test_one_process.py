"""The service in one process, as ``wavescope serve`` runs it on a small host: it answers the same and loses nothing."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import grpc
import httpx
import pytest
from skimage import data
from tests.cluster.service import body, eventually, png
from tests.e2e.command import ready, served
from tests.ports import free_port

from wavescope.serving import names
from wavescope.serving.command.lifetime import descendants
from wavescope_proto.v1 import explanation_pb2, explanation_pb2_grpc

TINY = {"grid_size": 4, "nb_design": 4, "plan": "full", "seed": 7}
LONG = {"grid_size": 8, "nb_design": 4, "plan": "full", "seed": 7}  # 264 forwards


@pytest.fixture
def image() -> bytes:
    return png(data.chelsea())


def gateway(root: int) -> int:
    """The process that all parts of the service share."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_text(errors="replace") for pid in descendants(root)}
    (found,) = [pid for pid, command in commands.items() if f":{names.GATEWAY}" in command]
    return found


def test_every_way_in_answers_alike_and_a_job_survives_the_death_of_the_process(image):
    grpc_port = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder), grpc_port=grpc_port, one_process=True) as (process, url),
        httpx.Client(base_url=url, timeout=120) as http,
    ):
        eventually(lambda: ready(url), "the service is ready")
        first = http.post("/v1/explanations", json=body(image, **TINY)).json()
        assert not first["cached"]
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            stub = explanation_pb2_grpc.ExplanationServiceStub(channel)
            request = explanation_pb2.ExplainRequest(
                image=image, grid_size=4, nb_design=4, plan="full", seed=7
            )
            assert stub.Explain(request).cached, "it is kept from the first one"
        with http.stream(
            "POST",
            "/v1/explanations",
            json=body(image, **TINY),
            headers={"Accept": "text/event-stream", "Cache-Control": "no-cache"},
        ) as stream:
            events = [
                line.removeprefix("event: ") for line in stream.iter_lines() if line.startswith("event")
            ]
        assert events[-1] == "result"
        metrics = http.get("/metrics").text
        for part in (*names.DEPLOYMENTS, names.MODEL_REPLICA):
            if part == names.HUB:
                continue  # it counts, and is not counted
            assert f'deployment="{part}"' in metrics

        def count(what: str) -> float:
            lines = http.get("/metrics").text.splitlines()
            return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(what))

        eventually(lambda: count("wavescope_forwards_total") > 0, "the replica's counts arrive")
        job = http.post("/v1/jobs", json=body(image, **LONG)).json()["id"]
        eventually(lambda: http.get(f"/v1/jobs/{job}").json()["forwards"] > 0, "the job is being computed")
        os.kill(gateway(process.pid), signal.SIGKILL)

        def ended() -> bool:
            reply = http.get(f"/v1/jobs/{job}")
            return reply.status_code == 200 and reply.json()["state"] == "succeeded"

        eventually(ended, "the job ends, in another process")
        result = http.get(f"/v1/jobs/{job}/result").json()
        again = http.post(
            "/v1/explanations", json=body(image, **LONG), headers={"Cache-Control": "no-cache"}
        ).json()
        assert result["indices"] == again["indices"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert "never awaited" not in (Path(folder) / "log").read_text()
