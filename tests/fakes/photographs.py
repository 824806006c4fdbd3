"""Photographs that come with scikit-image, cut square and made small."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import skimage.data
from PIL import Image


@lru_cache
def photograph(name: str, side: int) -> np.ndarray:
    """The central square of ``chelsea`` or ``coffee``, resized: (3, side, side) float32 in [0, 1]."""
    pixels = getattr(skimage.data, name)()
    shorter = min(pixels.shape[:2])
    top, left = ((length - shorter) // 2 for length in pixels.shape[:2])
    square = Image.fromarray(pixels[top : top + shorter, left : left + shorter])
    resized = np.asarray(square.resize((side, side), Image.Resampling.BILINEAR))
    found = np.ascontiguousarray(resized.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)
    found.setflags(write=False)
    return found
