"""The environment a benchmark ran in, and the head of its table."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("wavescope", "ray", "onnxruntime", "numpy", "scipy", "PyWavelets", "torch", "openvino")


def environment(threads: int) -> dict[str, Any]:
    """Device, cores and versions."""
    return {
        "device": _cpu(),
        "cores": os.cpu_count(),
        "model_threads": threads,
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def file_name(env: dict[str, Any]) -> str:
    """``cpu-`` and the device's name, fit for a file."""
    return "cpu-" + re.sub(r"[^a-z0-9]+", "-", env["device"].lower()).strip("-")


def head(env: dict[str, Any], took_s: float) -> list[str]:
    """What a reader must know of every number below, with the command that makes them again."""
    return [
        "# Cost of an explanation",
        "",
        f"{env['device']}, {env['cores']} cores, model on {env['model_threads']} threads, Python {env['python']}, "
        + ", ".join(f"{name} {number}" for name, number in env["versions"].items())
        + f". Made by `make bench` in {took_s / 60:.0f} minutes.",
        "",
        "Sides of a comparison alternate in one run; ratios are medians over rounds.",
    ]


def made_by(env: dict[str, Any], command: str) -> str:
    """One line: where and with what numbers were made, and the command that makes them again."""
    versions = ", ".join(f"{name} {number}" for name, number in env["versions"].items())
    return f"{env['device']}, Python {env['python']}, {versions}. Made by `{command}`."


def command() -> str:
    """The command that this process was started with."""
    return " ".join([f"python bench/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def write(output: Path, name: str, results: dict[str, Any], lines: list[str]) -> None:
    """Writes and prints tables, and writes what they are made of.

    Args:
        output: folder; made where it is not there.
        name: of the files.
        results: of the .json.
        lines: of the .md.
    """
    output.mkdir(parents=True, exist_ok=True)
    (output / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    text = "\n".join(lines) + "\n"
    (output / f"{name}.md").write_text(text)
    print(text)


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
