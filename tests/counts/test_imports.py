"""What the processes of the service must not import when they start: each would pay for it in seconds and memory."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# What Ray brings is there already (pandas, pydantic, FastAPI, gRPC): no saying of ours.
HEAVY = (
    "cv2",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "pooch",
    "scipy.optimize",
    "scipy.stats",
    "skimage",
    "timm",
    "torch",
    "torchvision",
)
NUMERIC = ("PIL.Image", "scipy")
WITHOUT_RAY = ("fastapi", "grpc", "pandas", "ray")
ALONE = {
    "wavescope": (*HEAVY, *NUMERIC, *WITHOUT_RAY, "numpy", "pydantic"),
    "wavescope.cli": (*HEAVY, *NUMERIC, *WITHOUT_RAY),
    "wavescope.api": (*HEAVY, *WITHOUT_RAY),
    # Of what `serve` needs before it starts Ray, gRPC is the edge's.
    "wavescope.serving.command.run": (*HEAVY, *NUMERIC, "fastapi", "pandas", "ray"),
}
BEYOND_RAY = {
    "wavescope.serving.gateway": HEAVY,
    "wavescope.serving.aggregator": HEAVY,  # it reads the headers of images, for what decoding them will cost
    "wavescope.serving.generator": (*HEAVY, "scipy"),
    "wavescope.serving.replica": (*HEAVY, *NUMERIC),
    "wavescope.serving.admission.desk": (*HEAVY, *NUMERIC),
    "wavescope.serving.reporting": (*HEAVY, *NUMERIC),  # the metrics of monitors have the engine's buckets
    "wavescope.serving.proxy": (*HEAVY, *NUMERIC),
    "wavescope.ingress.ray_proxy.http_guard": (*HEAVY, *NUMERIC),
    # Within Ray Serve's controller.
    "wavescope.serving.scaling": (
        *HEAVY,
        *NUMERIC,
        "wavescope.core",
        "wavescope.engine",
        "wavescope.settings",
    ),
    # In the command, which waits for all of them.
    "wavescope.serving.app": HEAVY,
}
# Children of one process that has imported Ray, as importing it takes longer than all the rest.
PROGRAM = """
import importlib, json, os, sys
def told(name, heavy):
    child = os.fork()
    if not child:
        importlib.import_module(name)
        print(json.dumps([name, [found for found in heavy if found in sys.modules]]), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, name
alone, beyond = json.loads(sys.argv[1])
for name, heavy in alone.items():
    told(name, heavy)
import ray, ray.serve
brought = set(sys.modules)
for name, heavy in beyond.items():
    told(name, [found for found in heavy if found not in brought])
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, list[str]]:
    """Heavy modules that each module was found to import."""
    command = [sys.executable, "-c", PROGRAM, json.dumps([ALONE, BEYOND_RAY])]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(line) for line in found.stdout.splitlines() if line.startswith("["))


@pytest.mark.parametrize("name", [*ALONE, *BEYOND_RAY])
def test_a_process_starts_without_what_it_does_not_need_to_start(
    imported: dict[str, list[str]], name: str
) -> None:
    assert imported[name] == []
