"""What every process of the service imports when it starts: seconds, memory, and the heaviest packages.

    python bench/imports.py [--rounds 3] [--packages 8] [MODULE ...]

Each module is imported in a process of its own, with bytecode written before. Processes of Ray
have imported Ray already when they come to ours: what ours costs beyond that is reported beside the whole.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from statistics import median
from typing import Any

# What each process imports, by what it is called in docs/architecture.md.
PROCESSES = {
    "import wavescope": "import wavescope",
    "import wavescope.api": "import wavescope.api",
    "wavescope --version": "from wavescope.cli import build_parser; build_parser()",
    "wavescope serve, before Ray": "from wavescope.cli.serve import _serve; import wavescope.serving.command.run",
    "wavescope serve, with Ray": "import wavescope.serving.command.run, wavescope.serving.app",
    "Gateway": "import wavescope.serving.gateway",
    "EstimatorAggregator": "import wavescope.serving.aggregator",
    "PerturbationGenerator": "import wavescope.serving.generator",
    "ModelReplica": "import wavescope.serving.replica",
    "AdmissionDesk": "import wavescope.serving.admission.desk",
    "MetricsHub": "import wavescope.serving.reporting",
    "proxy": "import wavescope.serving.proxy, wavescope.ingress.ray_proxy.http_guard",
    "controller": "import wavescope.serving.scaling",
}
# What a process of Ray Serve has imported before it comes to ours.
RAY = "import ray, ray.serve"
REPORT = """
import json, resource, sys, time
{before}
before = set(sys.modules)
def memory():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6
cpu, rss = time.process_time(), memory()
{code}
new = sorted(name for name in set(sys.modules) - before if "." not in name)
print(json.dumps([time.process_time() - cpu, memory() - rss, memory(), len(set(sys.modules) - before), new]))
"""
_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| +([\w.]+)")


def measure(code: str, *, before: str = "", rounds: int = 3) -> dict[str, Any]:
    """CPU seconds and MB that ``code`` takes in a process that ran ``before``; medians, and the packages it brings."""
    found = [_run([], REPORT.format(before=before, code=code)) for _ in range(rounds)]
    rows = [json.loads(output.splitlines()[-1]) for output, _ in found]
    return {
        "cpu_s": median(row[0] for row in rows),
        "mb": median(row[1] for row in rows),
        "resident_mb": median(row[2] for row in rows),
        "modules": rows[0][3],
        "packages": rows[0][4],
    }


def heaviest(code: str, *, before: str = "") -> dict[str, float]:
    """Seconds that each top-level package, and each of our and SciPy's subpackages, took by itself, from importtime."""
    _, log = _run(["-X", "importtime"], f"{before}\nimport sys; print('begins', file=sys.stderr)\n{code}")
    totals: dict[str, float] = {}
    for own, _, name in _LINE.findall(log.partition("begins")[2]):
        parts = name.split(".")
        depth = 2 if parts[0] in ("wavescope", "scipy", "ray") else 1
        key = ".".join(parts[:depth])
        totals[key] = totals.get(key, 0.0) + int(own) / 1e6
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="of PROCESSES; all without")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--packages", type=int, default=8, help="of the heaviest, that are named")
    arguments = parser.parse_args()
    print("| process | CPU s | of it beyond Ray | MB resident | beyond Ray | heaviest, ms |")
    print("|---|---|---|---|---|---|")
    for name in arguments.modules or PROCESSES:
        code = PROCESSES.get(name, f"import {name}")
        rayless = name.startswith(("import", "wavescope"))
        alone = measure(code, rounds=arguments.rounds)
        beyond = alone if rayless else measure(code, before=RAY, rounds=arguments.rounds)
        heavy = heaviest(code, before="" if rayless else RAY)
        named = ", ".join(f"{key} {s * 1e3:.0f}" for key, s in list(heavy.items())[: arguments.packages])
        print(
            f"| {name} | {alone['cpu_s']:.2f} | {beyond['cpu_s']:.2f} | {alone['resident_mb']:.0f} "
            f"| {beyond['mb']:.0f} | {named} |",
            flush=True,
        )


def _run(options: list[str], code: str) -> tuple[str, str]:
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, *options, "-c", code]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return found.stdout, found.stderr


if __name__ == "__main__":
    main()
