"""Time of a full explanation over the time of as many bare forwards, in process and through the service."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from bench.processes import peak_mb
from bench.setup import MODEL, Setup, alternate, photograph, ratio, spread, timed

import wavescope
from wavescope.models.onnx.backend import OnnxBackend

NAME = "efficiency"
BATCHES = (1, 2, 4, 8, 16, 32)
NB_DESIGN = 8
BARS = {"in_process": 1.05, "http": 1.10}


def measure(setup: Setup) -> dict[str, Any]:
    """Bare forwards, the explanation in process, the explanation over HTTP, alternating.

    Bare forwards go through the same ONNX session, at the batch size that was fastest just before. Every round has
    another seed, so that nothing is kept from the round before.
    """
    model, service = setup.model, setup.service
    grid_size = 8 if setup.quick else 28
    forwards = NB_DESIGN * (grid_size**2 + 2)
    by_batch = {
        batch: median(timed(lambda batch=batch: bare(model, batch, 256)) for _ in range(3)) / 256 * 1e3
        for batch in BATCHES
    }
    best = min(by_batch, key=lambda batch: by_batch[batch])
    image = photograph()
    fields: dict[str, Any] = {"plan": "full", "grid_size": grid_size, "nb_design": NB_DESIGN}
    small: dict[str, Any] = fields | {"grid_size": 4}
    wavescope.explain(image, model=model, **small)  # warm: caches, connections
    service.explain([image], **small)
    times = alternate(
        {
            "bare": lambda _: bare(model, best, forwards),
            "in_process": lambda turn: wavescope.explain(image, model=model, seed=turn, **fields),
            "http": lambda turn: service.explain([image], seed=turn, **fields),
        },
        setup.rounds,
    )
    return {
        "forwards": forwards,
        "best_batch": best,
        "bare_ms_by_batch": by_batch,
        "seconds": times,
        "in_process": ratio(times, "in_process", "bare"),
        "http": ratio(times, "http", "bare"),
        "bars": BARS,
        "replica_peak_mb": max(peak_mb(f"model-{MODEL}:ModelReplica")),
        "replica_start_s": median(_replica_start() for _ in range(1 if setup.quick else 3)),
        "service_start_s": service.start_s,
    }


def markdown(results: dict[str, Any]) -> list[str]:
    """The section's table."""
    seconds = {name: spread(times) for name, times in results["seconds"].items()}
    bars = results["bars"]
    return [
        f"## Full WCAM, {results['forwards']:,} forwards, against as many bare ones (batch {results['best_batch']})",
        "",
        "| | median s (min–max) | ratio to bare | bar |",
        "|---|---|---|---|",
        f"| bare forwards, same ONNX session | {seconds['bare']} | 1 | |",
        f"| in process | {seconds['in_process']} | {results['in_process']:.3f} | ≤ {bars['in_process']:.2f} |",
        f"| HTTP on Ray Serve | {seconds['http']} | {results['http']:.3f} | ≤ {bars['http']:.2f} |",
        "",
        f"Model replica: {results['replica_peak_mb']:.0f} MB resident at most; "
        f"{results['replica_start_s']:.1f} s from process start to first batch scored. "
        f"Service: {results['service_start_s']:.1f} s from nothing to ready.",
    ]


def bare(model: OnnxBackend, batch: int, forwards: int) -> None:
    """As many forwards of noise, in batches, and nothing else."""
    shape = (batch, *model.details.preprocessing.shape)
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    # Straight to the session: the backend would cut a larger batch into its own.
    session = model.session
    name = session.get_inputs()[0].name
    for _ in range(forwards // batch):
        session.run(None, {name: images})
    if forwards % batch:
        session.run(None, {name: images[: forwards % batch]})


def _replica_start() -> float:
    """Seconds from the start of a process to a replica that has scored its first batch."""
    code = (
        "from wavescope.serving.replica import ModelReplica; from wavescope.models.spec import DEFAULT_MODEL; "
        "from wavescope.settings import load_settings; "
        "s = load_settings(); ModelReplica(DEFAULT_MODEL, s.cache_dir, s.log_level)"
    )
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path.cwd())
    return time.perf_counter() - began
