"""Two small image classifiers in NumPy with seeded random weights: a function from normalised images to logits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Network = Callable[[np.ndarray], np.ndarray]  # (n, c, h, w) to (n, classes), in double precision


def convolutional(*, classes: int, seed: int, channels: int = 3) -> Network:
    """Three convolutions of 3×3 with stride 2 and ReLU, the mean and the maximum over space, a linear layer."""
    rng = np.random.default_rng(seed)
    widths = [channels, 6, 8, 12]
    kernels = [
        rng.standard_normal((after, before, 3, 3)) * np.sqrt(2 / (9 * before))
        for before, after in pairwise(widths)
    ]
    head = rng.standard_normal((2 * widths[-1], classes)) / np.sqrt(2 * widths[-1])

    def outputs(images: np.ndarray) -> np.ndarray:
        return np.stack([_convolve(image.astype(np.float64), kernels, head) for image in images])

    return outputs


def perceptron(*, classes: int, seed: int, channels: int = 3, pooled: int = 8) -> Network:
    """The image averaged to ``pooled`` × ``pooled`` px, one hidden layer of 24 units with tanh, a linear layer."""
    rng = np.random.default_rng(seed)
    first = rng.standard_normal((channels * pooled**2, 24)) / np.sqrt(channels * pooled**2)
    second = rng.standard_normal((24, classes)) / np.sqrt(24)

    def outputs(images: np.ndarray) -> np.ndarray:
        n, c, height, width = images.shape
        blocks = images.astype(np.float64).reshape(n, c, pooled, height // pooled, pooled, width // pooled)
        return np.tanh(blocks.mean(axis=(3, 5)).reshape(n, -1) @ first) @ second

    return outputs


def _convolve(image: np.ndarray, kernels: list[np.ndarray], head: np.ndarray) -> np.ndarray:
    for kernel in kernels:
        windows = sliding_window_view(image, (3, 3), axis=(1, 2))[:, ::2, ::2]
        image = np.maximum(np.tensordot(kernel, windows, axes=([1, 2, 3], [0, 3, 4])), 0.0)
    return np.concatenate([image.mean(axis=(1, 2)), image.max(axis=(1, 2))]) @ head
