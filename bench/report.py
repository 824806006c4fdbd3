"""The environment a benchmark ran in, and its table."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

PACKAGES = ("wavescope", "ray", "onnxruntime", "numpy", "scipy", "PyWavelets", "torch")


def environment(threads: int) -> dict[str, Any]:
    """Device, cores and versions."""
    return {
        "device": _cpu(),
        "cores": os.cpu_count(),
        "model_threads": threads,
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def file_name(results: dict[str, Any]) -> str:
    """``cpu-`` and the device's name, fit for a file."""
    return "cpu-" + re.sub(r"[^a-z0-9]+", "-", results["environment"]["device"].lower()).strip("-")


def markdown(results: dict[str, Any]) -> str:
    """Everything a reader needs, with the command that makes it again."""
    env, cost = results["environment"], results["efficiency"]
    seconds = {name: _spread(times) for name, times in cost["seconds"].items()}
    lines = [
        "# Cost of an explanation",
        "",
        f"{env['device']}, {env['cores']} cores, model on {env['model_threads']} threads, Python {env['python']}, "
        + ", ".join(f"{name} {number}" for name, number in env["versions"].items())
        + ". Made by `make bench`.",
        "",
        f"## Full WCAM, {cost['forwards']:,} forwards, against as many bare forwards (batch {cost['best_batch']})",
        "",
        "| | median s (min–max) | ratio to bare |",
        "|---|---|---|",
        f"| bare forwards, same ONNX session | {seconds['bare']} | 1 |",
        f"| in process | {seconds['in_process']} | {cost['in_process']:.3f} |",
        f"| HTTP on Ray Serve | {seconds['http']} | {cost['http']:.3f} |",
        "",
        f"Model replica: {cost['replica_resident_mb']:.0f} MB resident at most while scoring; "
        f"{cost['replica_start_s']:.1f} s from process start to first batch scored. "
        f"Service: {cost['service_start_s']:.1f} s from nothing to ready.",
        "",
        "## Rendering alone, NumPy, 3 × 224 × 224, finished for the model",
        "",
        "| case | factors | plain ms/image | shortcut ms/image | plain / shortcut | all P_k, s |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['case']} | {row['factors']} | {row['plain_ms']:.2f} | {row['shortcut_ms']:.2f} "
        f"| {row['ratio']:.1f} | {row['patches_s']:.3f} |"
        for row in results["rendering"]
    ]
    return "\n".join(lines) + "\n"


def _spread(times: list[float]) -> str:
    return f"{median(times):.1f} ({min(times):.1f}–{max(times):.1f})"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
