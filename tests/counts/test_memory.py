"""Memory that large images and large batches take, held under stated bounds."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.memory import BOUND_MB
from tests.fakes.classifiers import FunctionClassifier, details

import wavescope

ROOT = Path(__file__).resolve().parents[2]
MEGABYTE = 10**6


def peak_mb(case: str) -> float:
    """Of a fresh process that explains the images of a case with the default model."""
    command = [sys.executable, str(ROOT / "bench" / "memory.py"), case]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(found.stdout.splitlines()[-1])["peak_mb"]


def test_a_large_image_takes_no_more_than_its_bound_beyond_a_small_one() -> None:
    assert peak_mb("large") - peak_mb("small") < BOUND_MB["large"]


@pytest.mark.slow
def test_a_batch_takes_no_more_than_its_bound_beyond_one_image() -> None:
    assert peak_mb("batch") - peak_mb("small") < BOUND_MB["batch"]


def test_a_further_image_of_a_batch_takes_its_plan_and_its_reply_and_no_more() -> None:
    """A plan and a crop are 0.6 MB each, maps and factors 0.6 MB together: what rendering needs is given back."""
    model = FunctionClassifier(lambda image: image[0, ::75, ::75].ravel(), details((3, 224, 224), classes=9))
    images = [np.full((64, 64, 3), shade, np.uint8) for shade in range(10)]
    for image in images:
        image[:32] += 100
    fields: dict[str, Any] = {"plan": "full", "grid_size": 4, "nb_design": 4}

    def peak(count: int) -> int:
        tracemalloc.start()
        kept = wavescope.explain_batch(images[:count], model=model, **fields)
        assert len(kept) == count
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)  # what is made once and kept
    assert peak(10) - peak(4) < 6 * 2.5 * MEGABYTE
