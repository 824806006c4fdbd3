"""Perturbed images by the plain path: build the mask out, multiply, invert with PyWavelets, all in float64."""

from __future__ import annotations

import warnings

import numpy as np
import pywt


def slow_analyse(image: np.ndarray, wavelet: str, levels: int) -> np.ndarray:
    """(h, w) to its packed periodised transform, padded by reflection to a multiple of 2^levels."""
    height, width = image.shape
    step = 2**levels
    rows = [_reflect(i, height) for i in range(-(-height // step) * step)]
    columns = [_reflect(j, width) for j in range(-(-width // step) * step)]
    padded = np.array([[float(image[i, j]) for j in columns] for i in rows])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # levels beyond what the filter likes are allowed here
        coefficients = pywt.wavedec2(padded, wavelet, mode="periodization", level=levels)
    packed, _ = pywt.coeffs_to_array(coefficients)
    return packed


def slow_synthesise(packed: np.ndarray, wavelet: str, levels: int) -> np.ndarray:
    """(H, W) packed coefficients to the padded image."""
    height, width = packed.shape
    tall, wide = height >> levels, width >> levels
    coefficients: list[object] = [packed[:tall, :wide]]
    for _ in range(levels):
        horizontal = packed[tall : 2 * tall, :wide]
        vertical = packed[:tall, wide : 2 * wide]
        coefficients.append((horizontal, vertical, packed[tall : 2 * tall, wide : 2 * wide]))
        tall, wide = 2 * tall, 2 * wide
    return pywt.waverec2(coefficients, wavelet, mode="periodization")


def slow_render(
    packed: np.ndarray,
    size: tuple[int, int],
    wavelet: str,
    levels: int,
    factors: np.ndarray,
    mask: np.ndarray,
    held: float,
) -> np.ndarray:
    """Unclipped float64 (c, h, w) render of one mask row, coefficients of no factor held at ``held``."""
    full = np.array([[mask[f] if f >= 0 else held for f in row] for row in factors])
    channels = [slow_synthesise(channel.astype(np.float64) * full, wavelet, levels) for channel in packed]
    return np.stack(channels)[:, : size[0], : size[1]]


def slow_finish(image: np.ndarray, policy: str, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Value policy over the whole image, then (x − mean) / std; ``mean`` and ``std`` are (c,)."""
    if policy == "clip":
        image = np.minimum(np.maximum(image, 0.0), 1.0)
    if policy == "minmax":
        low, high = image.min(), image.max()
        image = (image - low) / (high - low) if high > low else image - low
    return (image - mean[:, None, None]) / std[:, None, None]


def mask_rows(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """Every mask in row order: A_j, B_j, C_j⁽¹⁾ … C_j⁽ᴷ⁾, built out in full."""
    found = []
    for j in range(a.shape[0]):
        found += [a[j], b[j]]
        for k in range(a.shape[1]):
            mixed = a[j].copy()
            mixed[k] = b[j, k]
            found.append(mixed)
    return found


def _reflect(i: int, size: int) -> int:
    return i if i < size else 2 * (size - 1) - i
