"""``wavescope serve`` as an operator runs it: started, asked, stopped, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from skimage import data
from tests.serving.cluster import SMALL, body, eventually, free_port, png, processes

WAVESCOPE = Path(sys.executable).with_name("wavescope")
MODEL = "  - {{name: {name}, source: 'embedded:efficientnet-lite0', num_cpus: 1}}\n"


@contextmanager
def served(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A service of its own, with its temporary files in ``folder``."""
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [WAVESCOPE, "serve", "--port", str(port), "--grpc-port", "0", *options],
            stdout=log,
            stderr=log,
            env={**os.environ, "TMPDIR": str(folder), "WAVESCOPE_LOG_LEVEL": "info"},
            start_new_session=True,
        )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def model_ready(url: str, name: str) -> bool:
    reply = httpx.get(f"{url}/v1/models/{name}", timeout=10)
    return reply.status_code == 200 and reply.json()["ready"]


def processes_using(folder: Path) -> list[str]:
    """Command lines that name the folder: Ray's processes all do."""
    return [command for command in processes().values() if str(folder) in command]


def test_two_services_run_side_by_side_and_leave_nothing_behind(tmp_path):
    models = tmp_path / "models.yaml"
    models.write_text("models:\n" + MODEL.format(name="efficientnet-lite0"))
    # Not pytest's folder: the paths of Ray's sockets must stay short.
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        folders = (Path(one), Path(two))
        with (
            served(folders[0], "--models", str(models)) as (first, first_url),
            served(folders[1]) as (second, second_url),
        ):
            eventually(lambda: ready(first_url) and ready(second_url), "both services ready")
            replies = [
                httpx.post(f"{url}/v1/explanations", json=body(png(data.chelsea()), **SMALL), timeout=120)
                for url in (first_url, second_url)
            ]
            assert [reply.status_code for reply in replies] == [200, 200]
            assert replies[0].json()["indices"] == replies[1].json()["indices"]
            models.write_text(models.read_text() + MODEL.format(name="second"))
            first.send_signal(signal.SIGHUP)
            eventually(lambda: model_ready(first_url, "second"), "the model that was added is ready")
            first.send_signal(signal.SIGTERM)
            assert first.wait(timeout=60) == 0
            assert httpx.get(f"{second_url}/readyz", timeout=10).status_code == 200
            second.send_signal(signal.SIGINT)
            assert second.wait(timeout=60) == 0
        for folder in folders:
            eventually(lambda folder=folder: not processes_using(folder), "every process of the cluster gone")
            assert [path.name for path in folder.iterdir()] == ["log"]
            lines = (folder / "log").read_text().splitlines()
            logged = [json.loads(line) for line in lines if line.startswith("{")]
            assert {entry["message"] for entry in logged} >= {"serving", "stopping"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "0.0.0.0"], "there are no API keys"),
        (["--models", "missing.yaml"], "missing.yaml"),
        (["--port", "70000"], "port"),
    ],
)
def test_what_cannot_be_served_is_refused_at_once(options, message):
    result = subprocess.run(
        [WAVESCOPE, "serve", *options], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_taken_port_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = subprocess.run(
            [WAVESCOPE, "serve", "--port", str(port)], capture_output=True, text=True, timeout=60, check=False
        )
    assert result.returncode == 2
    assert f"port {port} is taken" in result.stderr
