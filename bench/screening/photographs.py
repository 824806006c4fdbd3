"""The photographs, all of scikit-image: those the adaptive plan was developed on, and those it never saw before."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from skimage import data

# Its constants were fitted to full designs of these six, and its variants compared on them.
DEVELOPED = ("chelsea", "coffee", "astronaut", "rocket", "camera", "motorcycle")
# Scored for the first time when everything was settled.
HELD_OUT = ("clock", "retina", "page", "coins")


def png(name: str) -> bytes:
    """The photograph as a PNG file."""
    pixels: np.ndarray = data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
