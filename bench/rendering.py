"""Milliseconds per perturbed image: masking and inverting in full against the linear shortcut."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np
from bench.setup import Setup, timed
from skimage import data

from wavescope.core import wavelets
from wavescope.core.partition import partition
from wavescope.core.rendering.renderer import Finish, Renderer
from wavescope.core.rendering.wavelet import WaveletSynthesis
from wavescope.core.sobol.design import sobol

NAME = "rendering"
CASES = (("haar", 3, "grid"), ("haar", 3, "aligned"), ("db4", 3, "grid"), ("haar", 3, "subbands"))
SIZE = 224
BATCH = 8
IMAGES = 256


def measure(setup: Setup) -> dict[str, Any]:
    """Per case medians over rounds, NumPy, float32, 3 × 224 × 224, ready for the model."""
    return {"cases": [_case(wavelet, levels, name, setup.rounds) for wavelet, levels, name in CASES]}


def markdown(results: dict[str, Any]) -> list[str]:
    """The section's table."""
    lines = [
        "## Rendering alone, NumPy, 3 × 224 × 224, finished for the model",
        "",
        "| case | factors | plain ms/image | shortcut ms/image | plain / shortcut | all P_k, s |",
        "|---|---|---|---|---|---|",
    ]
    return lines + [
        f"| {row['case']} | {row['factors']} | {row['plain_ms']:.2f} | {row['shortcut_ms']:.2f} "
        f"| {row['ratio']:.1f} | {row['patches_s']:.3f} |"
        for row in results["cases"]
    ]


def _case(wavelet: str, levels: int, name: str, rounds: int) -> dict[str, Any]:
    photograph = data.chelsea()[38 : 38 + SIZE, 114 : 114 + SIZE].transpose(2, 0, 1) / 255
    coefficients = wavelets.analyse(photograph, wavelet, levels)
    _, height, width = coefficients.shape
    factors = partition(name, height, width, levels, grid_size=28, approximation="perturb")
    mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
    std = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
    synthesis = WaveletSynthesis(coefficients, (SIZE, SIZE), wavelet, levels, factors, mean)
    renderer = Renderer(synthesis, factors.n_factors, Finish("clip", mean, std))
    design = sobol(factors.n_factors, 64, seed=0)
    began = time.perf_counter()
    for factor in range(factors.n_factors):
        renderer.patches(factor)
    patches_s = time.perf_counter() - began
    buffer = np.empty((BATCH, 3, SIZE, SIZE), np.float32)

    def plain() -> None:
        for row in range(64):
            buffer[row % BATCH] = renderer.finish(renderer.plain(design.a[row]))

    def shortcut() -> None:
        for start in range(0, IMAGES, BATCH):
            renderer.rows(design, start, start + BATCH, out=buffer)

    plain_ms, shortcut_ms = [], []
    for _ in range(max(rounds, 5)):
        plain_ms.append(timed(plain) / 64 * 1e3)
        shortcut_ms.append(timed(shortcut) / IMAGES * 1e3)
    return {
        "case": f"{wavelet}, {levels} levels, {name}",
        "factors": factors.n_factors,
        "plain_ms": median(plain_ms),
        "shortcut_ms": median(shortcut_ms),
        "ratio": median(p / s for p, s in zip(plain_ms, shortcut_ms, strict=True)),
        "patches_s": patches_s,
    }
