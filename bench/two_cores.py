"""The whole service on two cores: the first minute, and explanations against bare forwards on the same two.

The command, every process of Ray that it starts, and the bare forwards are pinned to the same two cores.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from bench.efficiency import BATCHES, bare
from bench.processes import free_port
from bench.setup import MODEL, Service, Setup, photograph, spread, timed
from bench.trees import Meter, busy_s, private_mb

from wavescope.models.onnx.embedded import load_embedded
from wavescope.models.sources import LoadOptions
from wavescope.models.spec import ModelSpec
from wavescope.settings import load_settings

NAME = "two-cores"
CORES = 2
# Of every request: over as many bare forwards before and after it.
REQUESTS: dict[str, dict[str, Any]] = {
    "profile": {"kind": "profile"},
    "default": {},
    "full": {"plan": "full"},
}
REPEATS = {"profile": 3, "default": 1, "full": 1}
BARE_FORWARDS = 320
START_S = 300.0
STOP_S = 60.0
SETTLE_S = 15.0
IDLE_S = 60.0
POLL_S = 0.1
BARS = {
    "full": 1.10,
    "default": 1.20,
    "profile": 1.25,
    "ready_s": 20.0,
    "ready_cpu_s": 45.0,
    "private_mb": 1800.0,
    "idle_percent": 5.0,
    "second_explain_s": 0.1,
}
# The time of its forwards is that of the calls of the runtime.
EXPLAIN_TWICE = """
import json, sys, time
import wavescope, onnxruntime
forwarding = 0.0
run = onnxruntime.InferenceSession.run
def timed(*given):
    global forwarding
    began = time.perf_counter()
    result = run(*given)
    forwarding += time.perf_counter() - began
    return result
onnxruntime.InferenceSession.run = timed
runs = []
for seed in (0, 1, 2):
    forwarding, began = 0.0, time.perf_counter()
    wavescope.explain(sys.argv[1], seed=seed, **json.loads(sys.argv[2]))
    runs.append((time.perf_counter() - began, forwarding))
print(json.dumps(runs))
"""


@dataclass(frozen=True)
class Started:
    """A service that is ready.

    Attributes:
        service: to be asked.
        process: of the command.
        meter: of its whole tree.
        cpu_s: CPU seconds until it was ready, by process.
    """

    service: Service
    process: subprocess.Popen[bytes]
    meter: Meter
    cpu_s: dict[str, float]


def measure(setup: Setup) -> dict[str, Any]:
    """The start, rest, requests alternating with bare forwards, and ``wavescope.explain`` in a loop."""
    setup.stop()  # another service would have its share of the cores
    before = os.sched_getaffinity(0)
    chosen = sorted(before)[:CORES]
    os.sched_setaffinity(0, chosen)
    try:
        load = os.getloadavg()[0]
        looped = {kind: _looped(REQUESTS[kind]) for kind in ("profile", "default")}
        spec = ModelSpec(name=MODEL, source=f"embedded:{MODEL}", num_cpus=CORES, threads=CORES)
        model = load_embedded(spec, LoadOptions(load_settings().cache_dir))
        by_batch = {
            batch: median(timed(lambda batch=batch: bare(model, batch, 128)) for _ in range(3)) / 128 * 1e3
            for batch in BATCHES
        }
        best = min(by_batch, key=lambda batch: by_batch[batch])

        def bare_ms() -> float:
            return timed(lambda: bare(model, best, BARE_FORWARDS)) / BARE_FORWARDS * 1e3

        with _serving() as started:
            root = started.process.pid
            time.sleep(SETTLE_S)
            spent, began = sum(started.meter.read().values()), time.perf_counter()
            time.sleep(2 * SETTLE_S if setup.quick else IDLE_S)
            spent = sum(started.meter.read().values()) - spent
            idle = 100 * spent / (time.perf_counter() - began)
            memory = {"ready": private_mb(root)}
            service = started.service
            service.explain([photograph()], kind="profile", seed=99)  # warm: caches, connections
            # Of the machine meanwhile: what neither the service nor this process takes disturbs both sides.
            began, whole = time.perf_counter(), busy_s()
            ours = sum(started.meter.read().values()) + time.process_time()
            requests = {
                kind: _against(
                    lambda seed, fields=fields: service.explain([photograph()], seed=seed, **fields),
                    bare_ms,
                    (1 if setup.quick else setup.rounds) * REPEATS[kind],
                )
                for kind, fields in list(REQUESTS.items())[: 2 if setup.quick else None]
            }
            whole, ours = busy_s() - whole, sum(started.meter.read().values()) + time.process_time() - ours
            others = 100 * (whole - ours) / (time.perf_counter() - began)
            memory["worked"] = private_mb(root)
        return {
            "cores": chosen,
            "load_before": load,
            "others_percent": others,
            "bare_ms_by_batch": by_batch,
            "best_batch": best,
            "requests": requests,
            "ready_s": service.start_s,
            "ready_cpu_s": started.cpu_s,
            "private_mb": memory,
            "idle_percent": idle,
            "looped": looped,
            "bars": BARS,
        }
    finally:
        os.sched_setaffinity(0, before)


def markdown(results: dict[str, Any]) -> list[str]:
    """The section's table."""
    bars, requests, memory = results["bars"], results["requests"], results["private_mb"]
    bare_ms = [ms for found in requests.values() for ms in found["bare_ms"]]
    lines = [
        "## The whole service on two cores",
        "",
        f"Every process of the service, and the bare forwards, pinned to cores {results['cores']}; the machine's load "
        f"was {results['load_before']:.1f} before, others took {results['others_percent']:.0f} % of a core "
        f"while requests were timed. Bare forwards on {CORES} threads (batch {results['best_batch']}): "
        f"{spread(bare_ms, 2)} ms each; beside every request, before and after it.",
        "",
        "| | measured | bar |",
        "|---|---|---|",
    ]
    titles = {
        "full": "full plan through HTTP",
        "default": "default request through HTTP",
        "profile": "profile through HTTP",
    }
    for kind, title in titles.items():
        if kind in requests:
            found = requests[kind]
            lines.append(
                f"| {title}, {found['forwards']:,} forwards, over bare | {spread(found['ratio'], 2)}; "
                f"{median(found['seconds']):.1f} s | ≤ {bars[kind]:.2f} |"
            )
    lines += [
        f"| ready | {results['ready_s']:.1f} s | ≤ {bars['ready_s']:.0f} s |",
        f"| CPU time until ready | {sum(results['ready_cpu_s'].values()):.1f} s | ≤ {bars['ready_cpu_s']:.0f} s |",
        f"| private memory, ready | {sum(memory['ready'].values()):,.0f} MB | ≤ {bars['private_mb']:,.0f} MB |",
        f"| private memory, after these requests | {sum(memory['worked'].values()):,.0f} MB | |",
        f"| at rest | {results['idle_percent']:.1f} % of a core | ≤ {bars['idle_percent']:.0f} % |",
    ]
    for kind, found in results["looped"].items():
        (first, _), *later = found
        over = median(seconds - forwarding for seconds, forwarding in later)
        lines.append(
            f"| `wavescope.explain`, {kind}: second call over its forwards (the first took {first:.1f} s) "
            f"| {over:.2f} s | ≤ {bars['second_explain_s']:.1f} s |"
        )
    lines += ["", "| process | CPU s until ready | private MB, ready | after |", "|---|---|---|---|"]
    for name in dict.fromkeys([*results["ready_cpu_s"], *memory["ready"], *memory["worked"]]):
        row = (results["ready_cpu_s"], memory["ready"], memory["worked"])
        lines.append(
            f"| `{name}` | " + " | ".join(f"{side[name]:.1f}" if name in side else "" for side in row) + " |"
        )
    return lines


def _against(
    ask: Callable[[int], dict[str, Any]], bare_ms: Callable[[], float], turns: int
) -> dict[str, Any]:
    """Seconds of requests, and their ratio to as many bare forwards, timed before and after each."""
    seconds, bare, ratios, forwards = [], [bare_ms()], [], 0
    for turn in range(turns):
        replies: list[dict[str, Any]] = []
        seconds.append(timed(lambda turn=turn, replies=replies: replies.append(ask(turn))))
        bare.append(bare_ms())
        forwards = replies[0]["forwards"]
        ratios.append(seconds[-1] / (forwards * (bare[-2] + bare[-1]) / 2e3))
    return {"forwards": forwards, "seconds": seconds, "bare_ms": bare, "ratio": ratios}


def _looped(fields: dict[str, Any]) -> list[list[float]]:
    """Seconds, and those of the forwards, of three explanations of one process."""
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(photograph())
        file.flush()
        command = [sys.executable, "-c", EXPLAIN_TWICE, file.name, json.dumps(fields)]
        found = subprocess.run(command, check=True, capture_output=True, text=True, env=_environment())
    return json.loads(found.stdout.splitlines()[-1])


@contextmanager
def _serving() -> Iterator[Started]:
    """``wavescope serve`` on the cores of this process, stopped with the context."""
    with tempfile.TemporaryDirectory(prefix="wavescope-bench-") as folder:
        settings = load_settings(port=free_port(), grpc_port=free_port(), state_dir=Path(folder))
        arguments = ["serve", "--port", str(settings.port), "--grpc-port", str(settings.grpc_port)]
        environment = _environment() | {"WAVESCOPE_STATE_DIR": folder}
        with Path(folder, "service.log").open("wb") as output:
            began = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "wavescope.cli", *arguments],
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        meter = Meter(process.pid)
        url = f"http://127.0.0.1:{settings.port}"
        try:
            with httpx.Client(base_url=url, timeout=settings.request_timeout_s) as http:
                while not _ready(http):
                    if process.poll() is not None or time.perf_counter() - began > START_S:
                        raise RuntimeError(Path(folder, "service.log").read_text()[-2000:])
                    time.sleep(POLL_S)
                start_s = time.perf_counter() - began
                meter.stop()  # from here on its looks would cost what they measure
                yield Started(Service(http, settings, start_s), process, meter, meter.read())
        finally:
            meter.stop()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ready(http: httpx.Client) -> bool:
    with suppress(httpx.HTTPError):
        return http.get("/readyz", timeout=5).status_code == httpx.codes.OK
    return False


def _environment() -> dict[str, str]:
    """As a caller has it who knows nothing of threads."""
    return {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
