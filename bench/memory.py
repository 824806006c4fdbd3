"""How much memory a large image and a large batch take, in process and in every process of the service.

Plans are full, so that no model is differentiated: what a replica takes more once it is, is in docs/models.md.

python bench/memory.py CASE    # one case, alone in this process: prints its peak as JSON
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.processes import own_peak_mb, peak_mb
from bench.setup import MODEL, Setup, photograph, serving

import wavescope
from wavescope.models.spec import ModelSpec
from wavescope.serving import names

NAME = "memory"
IMAGES = 64
LARGE = 4096
FIELDS: dict[str, Any] = {"plan": "full", "grid_size": 28, "nb_design": 1}
BATCH_FIELDS: dict[str, Any] = {"plan": "full", "grid_size": 4, "nb_design": 4}
# Beyond one image of the model's own size, in process and in every process of the service.
BOUND_MB = {"large": 300, "batch": 300}


def small() -> list[bytes]:
    """One image of the model's own size."""
    return [photograph(side=224)]


def large() -> list[bytes]:
    """One image of 4096 × 4096 px."""
    return [photograph(side=LARGE)]


def batch() -> list[bytes]:
    """A batch of 64 images of 512 × 512 px."""
    return [photograph(side=512)] * IMAGES


CASES: dict[str, Callable[[], list[bytes]]] = {"small": small, "large": large, "batch": batch}


def measure(setup: Setup) -> dict[str, Any]:
    """Peaks of resident memory: each case in a fresh process, then in the processes of a fresh service."""
    in_process = {case: _fresh(case) for case in CASES}
    setup.stop()
    spec = ModelSpec(
        name=MODEL, source=f"embedded:{MODEL}", num_cpus=setup.threads, threads=setup.threads, max_replicas=1
    )
    service: dict[str, dict[str, float]] = {}
    deployments = {name: f"{names.APPLICATION}:{name}" for name in names.DEPLOYMENTS}
    deployments |= {names.MODEL_REPLICA: f"{names.model_application(MODEL)}:{names.MODEL_REPLICA}"}
    with serving((spec,), num_cpus=setup.threads, max_images=IMAGES) as running:
        # In this order: a process' peak is of all it has done so far.
        for case, images in CASES.items():
            running.explain(images(), **_fields(case))
            service[case] = {name: max(peak_mb(found)) for name, found in deployments.items()}
    return {"in_process_mb": in_process, "service_mb": service, "bound_mb": BOUND_MB}


def markdown(results: dict[str, Any]) -> list[str]:
    """The section's table."""
    inside, service = results["in_process_mb"], results["service_mb"]
    titles = {
        "small": "one, 224 × 224",
        "large": f"one, {LARGE} × {LARGE}",
        "batch": f"{IMAGES} in one batch",
    }
    lines = [
        "## Peak of resident memory, MB",
        "",
        f"| images | in process | {' | '.join(service['small'])} |",
        "|---|---|" + "---|" * len(service["small"]),
    ]
    lines += [
        f"| {titles[case]} | {inside[case]:.0f} | {' | '.join(f'{mb:.0f}' for mb in service[case].values())} |"
        for case in CASES
    ]
    bounds = "; ".join(f"{titles[case]}: {bound} MB" for case, bound in results["bound_mb"].items())
    return [
        *lines,
        "",
        f"Stated bounds beyond one image of the model's own size, for every process: {bounds}.",
    ]


def _fields(case: str) -> dict[str, Any]:
    return BATCH_FIELDS if case == "batch" else FIELDS


def _fresh(case: str) -> float:
    command = [sys.executable, __file__, case]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(found.stdout.splitlines()[-1])["peak_mb"])


def main() -> None:
    """One case in this process."""
    case = sys.argv[1]
    kept = wavescope.explain_batch(CASES[case](), model=wavescope.load_model(), **_fields(case))
    print(json.dumps({"case": case, "explanations": len(kept), "peak_mb": own_peak_mb()}))


if __name__ == "__main__":
    main()
