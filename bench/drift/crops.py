"""Crops of photographs, and what happens to them: files as a camera or a gateway would send them.

Every crop is a square of random place and side, scaled to 256 px, of which the model takes the middle 224. Every
condition, ``clean`` too, goes from 8 bits to floating point and back to 8 bits before it becomes a file.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from bench.screening import photographs
from PIL import Image

from wavescope.imaging.corruptions import corruptions

PHOTOGRAPHS = (*photographs.DEVELOPED, *photographs.HELD_OUT, *photographs.FURTHER)
CROPS = 17  # of each photograph
SIDE = 256  # px, the shorter side that the model's preprocessing scales to
LEAST_SIDE, LEAST_PART = 224, 0.7  # of a crop: px of the photograph, and of its shorter side
SEVERITIES = (1, 3, 5)
CORRUPTIONS = {"blur": "gaussian_blur", "noise": "gaussian_noise", "jpeg": "jpeg_compression"}
CORRUPTED = tuple(f"{name} {severity}" for name in CORRUPTIONS for severity in SEVERITIES)
BENIGN = ("flip", "brightness +5 %", "brightness −5 %", "JPEG q95", "resize 0.97")
# Of the model, on the files of ``clean``.
MODELS = ("8-bit weights by channel", "8-bit weights by tensor", "red and blue swapped")
CONDITIONS = ("clean", *CORRUPTED, *BENIGN, *MODELS)


def crop_pixels(photograph: str, number: int) -> np.ndarray:
    """(3, 256, 256) crop, float32 in [0, 1]; the same for the same number."""
    whole = _photograph(photograph)
    rng = np.random.default_rng([PHOTOGRAPHS.index(photograph), number, 23])
    least = max(LEAST_SIDE, round(LEAST_PART * min(whole.size)))
    side = int(rng.integers(least, min(whole.size) + 1))
    left, top = (int(rng.integers(0, length - side + 1)) for length in whole.size)
    square = whole.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.asarray(square, dtype=np.float32).transpose(2, 0, 1) / 255


def files(photograph: str, number: int) -> dict[str, bytes]:
    """The file of every condition of the input, ``clean`` first."""
    crop = crop_pixels(photograph, number)
    found = {"clean": _png(_eight_bits(crop))}
    seed = PHOTOGRAPHS.index(photograph) * 1000 + number
    short = {long: name for name, long in CORRUPTIONS.items()}
    for name, severity, image in corruptions(crop, seed=seed, names=tuple(CORRUPTIONS.values())):
        if severity in SEVERITIES:
            found[f"{short[name]} {severity}"] = _png(image.transpose(1, 2, 0))
    changes: dict[str, Callable[[], bytes]] = {
        "flip": lambda: _png(_eight_bits(crop[:, :, ::-1])),
        "brightness +5 %": lambda: _png(_eight_bits(crop * 1.05)),
        "brightness −5 %": lambda: _png(_eight_bits(crop * 0.95)),
        "JPEG q95": lambda: _jpeg(_eight_bits(crop), 95),
        "resize 0.97": lambda: _png(_resized(_eight_bits(crop), round(SIDE * 0.97))),
    }
    return found | {name: change() for name, change in changes.items()}


def black() -> bytes:
    """A black frame."""
    return _png(np.zeros((SIDE, SIDE, 3), np.uint8))


@lru_cache(maxsize=1)
def _photograph(name: str) -> Image.Image:
    return Image.fromarray(photographs.pixels(name)).convert("RGB")


def _eight_bits(image: np.ndarray) -> np.ndarray:
    """(h, w, 3) in 0..255 of (3, h, w) in [0, 1]."""
    return np.ascontiguousarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0))


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
