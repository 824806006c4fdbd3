"""Time of a full WCAM on a GPU over that of as many bare forwards of the same recorded model. Needs torch, no Ray.

    python bench/gpu.py [--models resnet50 vit_b_16] [--precision bfloat16] [--batch 64] [--rounds 5] [--adaptive]

The models are torchvision's with seeded random weights: their explanations mean nothing, their time is that of trained
ones. Every ratio is of times measured in this run, alternating. Writes a table as Markdown and everything measured as
JSON, named after the device; without a GPU it runs on the CPU, which tries the script and says nothing of a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from skimage import data

sys.path.insert(0, str(Path(__file__).parent.parent))

import wavescope
from wavescope.engine.plan import Plan, make_plan
from wavescope.engine.requests import make_request
from wavescope.engine.scoring.scorer import make_renderer
from wavescope.engine.types import Preprocessing
from wavescope.imaging.decode import prepare
from wavescope.models.spec import ModelSpec
from wavescope.models.torch.backend import TorchBackend
from wavescope.models.torch.zoos import build_torchvision

PACKAGES = ("wavescope", "torch", "torchvision", "numpy")
QUICK: dict[str, Any] = {"grid_size": 4, "nb_design": 4}
FULL: dict[str, Any] = {"grid_size": 28, "nb_design": 8}  # the defaults: 6,288 forwards
BARE = "bare forwards"
ROWS = {
    BARE: "bare forwards of the recorded model",
    "rendering": "rendering alone",
    "pipeline": "rendering beside the model, scores fetched later",
    "wcam": "full WCAM, end to end",
    "adaptive": "adaptive WCAM, end to end",
}


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["resnet50", "vit_b_16"], help="of torchvision")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:<n> (default auto)")
    parser.add_argument("--precision", default="bfloat16", help="float32, bfloat16 or float16")
    parser.add_argument("--batch", type=int, default=64, help="images of a device batch (default 64)")
    parser.add_argument("--rounds", type=int, default=5, help="alternations of every timing (default 5)")
    parser.add_argument("--adaptive", action="store_true", help="measure the adaptive plan too")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--quick", action="store_true", help="a small model and map: to try the script")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.models = ["resnet18"]
    models = [
        measure(
            _load(name, arguments),
            rounds=arguments.rounds,
            fields=QUICK if arguments.quick else FULL,
            adaptive=arguments.adaptive,
        )
        for name in arguments.models
    ]
    results = {"environment": environment(models[0]["device"]), "models": models}
    arguments.output.mkdir(parents=True, exist_ok=True)
    slug = re.sub(r"[^a-z0-9]+", "-", results["environment"]["device"].lower()).strip("-")
    (arguments.output / f"gpu-{slug}.json").write_text(json.dumps(results, indent=2) + "\n")
    table = markdown(results)
    (arguments.output / f"gpu-{slug}.md").write_text(table)
    print(table)


def measure(model: TorchBackend, *, rounds: int, fields: dict[str, Any], adaptive: bool) -> dict[str, Any]:
    """Seconds of every work in every round, side by side, and what was measured.

    Every round has another seed, so that nothing is kept from the round before.
    """
    details = model.details
    image = data.chelsea()
    plan = make_plan(prepare(image, details.preprocessing), make_request(**fields), max_forwards=sys.maxsize)
    shape = (details.batch_size, *details.preprocessing.shape)
    images = model.to_device(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))
    outcomes: list[str] = []
    adaptive_forwards: list[int] = []

    def explain(turn: int) -> None:
        outcomes.append(wavescope.explain(image, model=model, seed=turn, **fields).outcome)

    def explain_adaptively(turn: int) -> None:
        done = wavescope.explain(
            image, model=model, seed=turn, plan="adaptive", grid_size=fields["grid_size"]
        )
        adaptive_forwards.append(done.forwards)

    works: dict[str, Callable[[int], None]] = {
        BARE: lambda _: _bare(model, plan.rows, images),
        "rendering": lambda _: _rendering(model, plan, images),
        "pipeline": lambda _: _pipeline(model, plan, images),
        "wcam": explain,
    }
    if adaptive:
        works["adaptive"] = explain_adaptively
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(-1, rounds):  # the first round warms up and is not counted
        for name in list(works) if turn % 2 == 0 else list(works)[::-1]:
            began = time.perf_counter()
            works[name](turn + 1)
            _finished(details.device)
            if turn >= 0:
                seconds[name].append(time.perf_counter() - began)
    return {
        "model": details.name,
        "device": details.device,
        "runtime": details.runtime,
        "precision": details.precision,
        "batch": details.batch_size,
        "size": list(details.preprocessing.size),
        "forwards": plan.rows,
        "adaptive_forwards": adaptive_forwards[1:],
        "outcomes": outcomes[1:],
        "seconds": seconds,
        "ratios": {
            name: median(t / b for t, b in zip(times, seconds[BARE], strict=True))
            for name, times in seconds.items()
        },
    }


def environment(device: str) -> dict[str, Any]:
    """The device and the versions of what drives it."""
    on_gpu = device.startswith("cuda")
    index = torch.device(device).index or 0
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name(index) if on_gpu else f"CPU, {platform.machine()}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }
    if on_gpu:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", f"--id={index}"]
        driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
        found["versions"] |= {
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
            "driver": driver or "unknown",
        }
    return found


def markdown(results: dict[str, Any]) -> str:
    """Everything a reader needs, with the command that makes it again."""
    env = results["environment"]
    lines = [
        "# Cost of an explanation on a GPU",
        "",
        f"{env['device']}, {env['cores']} cores, Python {env['python']}, "
        + ", ".join(f"{name} {number}" for name, number in env["versions"].items())
        + ". Made by `python bench/gpu.py`. Random weights: only the times mean anything.",
    ]
    for found in results["models"]:
        height, width = found["size"]
        lines += [
            "",
            f"## {found['model']}, {height} × {width}, {found['precision']}, batch {found['batch']}",
            "",
            f"Run by {found['runtime']}.",
            "",
            f"| {found['forwards']:,} images | median s (min–max) | images/s | ratio to bare |",
            "|---|---|---|---|",
        ]
        for name, times in found["seconds"].items():
            rate = "" if name == "adaptive" else f"{found['forwards'] / median(times):,.0f}"
            lines.append(f"| {ROWS[name]} | {_spread(times)} | {rate} | {found['ratios'][name]:.3f} |")
        if found["adaptive_forwards"]:
            lines += [
                "",
                f"The adaptive plan took {median(found['adaptive_forwards']):,.0f} forwards (median).",
            ]
    return "\n".join(lines) + "\n"


def _load(name: str, arguments: argparse.Namespace) -> TorchBackend:
    spec = ModelSpec(
        name=name,
        source=f"torchvision:{name}",
        weights="random",
        device=arguments.device,
        precision=arguments.precision,
        batch_size=arguments.batch,
        preprocessing=Preprocessing(size=(64, 64), resize=64) if arguments.quick else None,
    )
    built = build_torchvision(spec)
    generator = torch.Generator().manual_seed(0)
    for weights in built.module.parameters():
        if weights.ndim == 2 and not weights.any():
            # A ViT starts with a head of zeros: its scores would be constant, and there would be nothing to estimate.
            torch.nn.init.normal_(weights, std=0.1, generator=generator)
    return TorchBackend(spec, built)


def _batches(model: TorchBackend, rows: int) -> list[tuple[int, int]]:
    size = model.details.batch_size
    return [(start, min(start + size, rows)) for start in range(0, rows, size)]


def _bare(model: TorchBackend, forwards: int, images: torch.Tensor) -> None:
    for start, stop in _batches(model, forwards):
        model.forward(images[: stop - start])


def _rendering(model: TorchBackend, plan: Plan, out: torch.Tensor) -> None:
    renderer = make_renderer(plan, model.details.preprocessing, model.to_device)
    design = plan.spec.make_design(plan.n_factors)
    for start, stop in _batches(model, plan.rows):
        renderer.rows(design, start, stop, out=out)


def _pipeline(model: TorchBackend, plan: Plan, out: torch.Tensor) -> None:
    design = plan.spec.make_design(plan.n_factors)
    with model.rendering():
        renderer = make_renderer(plan, model.details.preprocessing, model.to_device)
    pending: list[Callable[[], np.ndarray]] = []
    for start, stop in _batches(model, plan.rows):
        with model.rendering():
            rendered = renderer.rows(design, start, stop, out=out)
        pending.append(model.fetch(model.forward(rendered)))
        if len(pending) > 1:
            pending.pop(0)()
    pending.pop()()


def _finished(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _spread(times: list[float]) -> str:
    return f"{median(times):.3f} ({min(times):.3f}–{max(times):.3f})"


if __name__ == "__main__":
    main()
