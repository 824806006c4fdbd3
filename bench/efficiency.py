"""Time of a full explanation over the time of as many bare forwards, in process and through the service."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
from bench.processes import free_port, resident_mb
from PIL import Image
from skimage import data

import wavescope
from wavescope.models.embedded import load_embedded
from wavescope.models.onnx_backend import OnnxBackend
from wavescope.models.spec import ModelSpec
from wavescope.serving import run
from wavescope.settings import load_settings

BATCHES = (1, 2, 4, 8, 16, 32)
NB_DESIGN = 8


def measure(*, rounds: int, threads: int, grid_size: int) -> dict[str, Any]:
    """Medians over rounds of: bare forwards, the explanation in process, the explanation over HTTP.

    Bare forwards go through the same ONNX session, at the batch size that was fastest just before.
    """
    spec = ModelSpec(
        name="efficientnet-lite0", source="embedded:efficientnet-lite0", num_cpus=threads, threads=threads
    )
    settings = load_settings(port=free_port(), grpc_port=0)
    model = load_embedded(spec, cache_dir=settings.cache_dir)
    forwards = NB_DESIGN * (grid_size**2 + 2)
    by_batch = {batch: median(_bare(model, batch, 256)() for _ in range(3)) / 256 * 1e3 for batch in BATCHES}
    best = min(by_batch, key=lambda batch: by_batch[batch])
    image = _photograph()
    fields: dict[str, Any] = {"grid_size": grid_size, "nb_design": NB_DESIGN}
    started = time.perf_counter()
    with run.cluster(num_cpus=max(threads, 2)):
        run.deploy(settings, (spec,))
        ready_s = time.perf_counter() - started
        with httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=600) as http:
            watch = _Watch()
            times = _alternate(
                {
                    "bare": _bare(model, best, forwards),
                    "in_process": lambda: _timed(lambda: wavescope.explain(image, model=model, **fields)),
                    "http": lambda: _timed(lambda: _post(http, image, fields)),
                },
                rounds,
            )
            resident = watch.stop()
    return {
        "forwards": forwards,
        "best_batch": best,
        "bare_ms_by_batch": by_batch,
        "seconds": times,
        "in_process": median(p / b for p, b in zip(times["in_process"], times["bare"], strict=True)),
        "http": median(h / b for h, b in zip(times["http"], times["bare"], strict=True)),
        "replica_resident_mb": resident,
        "replica_start_s": median(_replica_start() for _ in range(3)),
        "service_start_s": ready_s,
    }


def _bare(model: OnnxBackend, batch: int, forwards: int) -> Callable[[], float]:
    shape = (batch, *model.details.preprocessing.shape)
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    # Straight to the session: the backend would cut a larger batch into its own.
    session = model.session
    name = session.get_inputs()[0].name

    def work() -> float:
        began = time.perf_counter()
        for _ in range(forwards // batch):
            session.run(None, {name: images})
        if forwards % batch:
            session.run(None, {name: images[: forwards % batch]})
        return time.perf_counter() - began

    return work


def _alternate(works: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    for work in works.values():
        work()  # warm: caches, connections, the replica's plan
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds):
        # Every other round backwards, so that no side always follows the same neighbour.
        for name in list(works) if turn % 2 == 0 else list(works)[::-1]:
            times[name].append(works[name]())
    return times


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _post(http: httpx.Client, image: bytes, fields: dict[str, Any]) -> None:
    body = {"image": {"base64": base64.b64encode(image).decode()}, **fields}
    http.post("/v1/explanations", json=body).raise_for_status()


def _photograph() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(data.chelsea()).save(buffer, "PNG")
    return buffer.getvalue()


class _Watch:
    """The largest resident memory of a model replica, sampled four times a second."""

    def __init__(self) -> None:
        self._largest = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.25):
            self._largest = max([self._largest, *resident_mb("ModelReplica")])

    def stop(self) -> float:
        self._over.set()
        self._thread.join()
        return self._largest


def _replica_start() -> float:
    """Seconds from the start of a process to a replica that has scored its first batch."""
    code = (
        "from pathlib import Path; from wavescope.serving.replica import ModelReplica; "
        "from wavescope.models.spec import DEFAULT_MODEL; from wavescope.settings import load_settings; "
        "s = load_settings(); ModelReplica(DEFAULT_MODEL, s.cache_dir, s.log_level)"
    )
    return _timed(lambda: subprocess.run([sys.executable, "-c", code], check=True, cwd=Path.cwd()))
