"""Limits of an image file: pixels, frames and time of decoding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Limits of an image file, checked in its header before anything is decoded.

    Attributes:
        max_pixels: largest number of pixels.
        max_frames: largest number of frames or pages, of which the first is explained.
        max_decode_s: largest CPU time of decoding, in seconds, as estimated by
            :func:`wavescope.imaging.decode.estimate_decode_cost`.

    Example:
        >>> ImageLimits(max_frames=1).max_pixels
        64000000
    """

    max_pixels: int = 64_000_000
    max_frames: int = 1000
    max_decode_s: float = math.inf


DEFAULT_LIMITS: Final = ImageLimits()
