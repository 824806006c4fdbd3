"""``wavescope serve`` as an operator runs it: started, asked, stopped, nothing left behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import tempfile
from pathlib import Path

import httpx
import pytest
from skimage import data
from tests.cluster.service import DEADLINE_S, SMALL, body, eventually, png, processes
from tests.e2e.command import WAVESCOPE, ready, served
from tests.ports import free_port
from tests.programs import do_without
from tools.faults.listeners import listeners, outside, send_killing_message

from wavescope.cli import EXIT_INTERRUPTED
from wavescope.serving.command.lifetime import EXIT_DIED, descendants
from wavescope.settings import load_settings

MODEL = "  - {{name: {name}, source: 'embedded:efficientnet-lite0', num_cpus: 1}}\n"
TOO_LARGE = "  - {name: huge, source: 'embedded:efficientnet-lite0', num_cpus: 9999}\n"


def model_ready(url: str, name: str) -> bool:
    reply = httpx.get(f"{url}/v1/models/{name}", timeout=60)
    return reply.status_code == 200 and reply.json()["ready"]


def processes_using(folder: Path) -> list[str]:
    """Command lines that name the folder: Ray's processes all do."""
    return [command for command in processes().values() if str(folder) in command]


def cmdline(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize("one_process", [True, False])
def test_nothing_listens_beyond_loopback_and_a_dead_cluster_ends_the_command(one_process):
    with tempfile.TemporaryDirectory() as folder:
        with served(Path(folder), grpc_port=free_port(), one_process=one_process) as (process, url):
            eventually(lambda: ready(url), "the service is ready")
            found = listeners((process.pid, *descendants(process.pid)))
            assert len(found) >= 5, "HTTP, gRPC, Ray's head, its node and its workers listen"
            assert not outside(found)
            (ours,) = Path(folder).glob("wavescope-*")
            assert stat.S_IMODE(ours.stat().st_mode) == 0o700
            below = descendants(process.pid)
            (head,) = [listener for listener in found if "gcs_server" in listener.command]
            send_killing_message(head.port)
            assert process.wait(timeout=60) == EXIT_DIED
            assert not ready(url)
        eventually(
            lambda: not [pid for pid in below if Path(f"/proc/{pid}").exists()], "every process is gone"
        )
        assert not list(Path(folder).glob("wavescope-*"))
        last = (Path(folder) / "log").read_text().splitlines()[-1]
        assert last == "wavescope: error: Ray's gcs_server has died, and the service with it; start it again"


def test_a_cluster_that_dies_while_models_load_ends_the_command():
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with served(Path(folder)) as (process, _):
            eventually(lambda: "waiting for" in log.read_text(), "a model is being loaded")
            (head,) = [pid for pid in descendants(process.pid) if b"gcs_server" in cmdline(pid)]
            os.kill(head, signal.SIGKILL)
            assert process.wait(timeout=60) == EXIT_DIED, log.read_text()
        assert log.read_text().splitlines()[-1].startswith("wavescope: error: Ray's gcs_server has died")
        assert not list(Path(folder).glob("wavescope-*"))


@pytest.mark.parametrize("step", ["starting Ray", "starting the service", "waiting for"])
def test_interrupt_while_it_starts_ends_it_with_nothing_left(step):
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with served(Path(folder)) as (process, _):
            eventually(lambda: step in log.read_text(), f"the start is at {step!r}")
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
            assert process.wait(timeout=60) == EXIT_INTERRUPTED
        eventually(lambda: not processes_using(Path(folder)), "every process of the cluster gone")
        assert [path.name for path in Path(folder).iterdir()] == ["log"]
        assert log.read_text().endswith("wavescope: interrupted\n")
        assert "Traceback" not in log.read_text()


def test_service_starts_in_hostile_surroundings(tmp_path):
    """An unknown user without HOME, a TMPDIR too long for sockets, a proxy, few open files, 64 MB of shared memory."""
    long = tmp_path / ("x" * 120)
    long.mkdir()
    port = free_port()
    proxy = "http://127.0.0.1:9"
    environment = {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(long),
        **dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy"), proxy),
        "RAY_ADDRESS": "127.0.0.1:1",
        "WAVESCOPE_STATE_DIR": str(tmp_path / "state"),
        "WAVESCOPE_CACHE_DIR": str(load_settings().cache_dir),
    }
    as_nobody = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]
    small_memory = "mount -t tmpfs -o size=64m tmpfs /dev/shm; ulimit -Sn 256; exec "
    command = [*as_nobody, str(WAVESCOPE), "serve", "--host", "::1", "--port", str(port), "--grpc-port", "0"]
    if subprocess.run(
        ["unshare", "--mount", *as_nobody, "true"], capture_output=True, check=False
    ).returncode:
        do_without("no namespaces can be made here")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", small_memory + shlex.join(command)],
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    try:
        eventually(lambda: ready(f"http://[::1]:{port}"), "the service is ready")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_two_services_run_side_by_side_and_leave_nothing_behind(tmp_path):
    models = tmp_path / "models.yaml"
    models.write_text("models:\n" + MODEL.format(name="efficientnet-lite0") + TOO_LARGE)
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
            huge = httpx.get(f"{first_url}/v1/models/huge", timeout=60).json()
            assert huge["state"] == "unplaceable"
            assert "needs 9999 CPUs on one node" in huge["message"]
            first.send_signal(signal.SIGTERM)  # a replica without a place keeps nothing from ending
            assert first.wait(timeout=60) == 0
            assert httpx.get(f"{second_url}/readyz", timeout=60).status_code == 200
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
        (["--port", "8555", "--grpc-port", "8555"], "port and grpc_port are both 8555"),
    ],
)
def test_what_cannot_be_served_is_refused_at_once(options, message):
    result = subprocess.run(
        [WAVESCOPE, "serve", *options], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_service_whose_only_model_fits_nowhere_ends_with_one_sentence(tmp_path):
    models = tmp_path / "models.yaml"
    models.write_text("models:\n" + TOO_LARGE)
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder), "--models", str(models)) as (process, _),
    ):
        assert process.wait(timeout=DEADLINE_S) == 2
        told = (Path(folder) / "log").read_text().splitlines()
    assert "the service did not start: model 'huge' needs 9999 CPUs on one node" in told[-1]
    assert not any("Traceback" in line for line in told)


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
