"""Resizing and centre-cropping, exactly as torchvision's ``Resize`` and ``CenterCrop`` on PIL images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image

from wavescope.engine.types import CropBox, Picture, Preprocessing

_FILTERS: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def resize_and_crop(
    planes: Sequence[Image.Image], preprocessing: Preprocessing, *, max_pixels: int, zoom: int = 1
) -> Picture:
    """Resize and crop an image to the model's input, with values in [0, 1].

    Args:
        planes: one image of mode ``L`` or ``RGB``, or one of mode ``F`` with values in [0, 1] per channel.
        preprocessing: preprocessing of the model; ``resize`` is at least the larger side of ``size``.
        max_pixels: a resized image of more pixels is not made whole, only its crop: a strip of 8 x 8,000,000 px resized
            to 256 px would have 65 thousand million. The crop then differs from torchvision's by rounding.
        zoom: at least 1; the image is resized to so many times the model's size and cropped to the same ``size``: with
            2 the scene is twice as large, and its middle half is visible (paper, appendix B.4.1).
    """
    width, height = planes[0].size
    resized = _compute_resized_size(width, height, preprocessing, zoom)
    crop_height, crop_width = preprocessing.size
    # As torchvision: Python's round, which takes halves to even.
    left = round((resized[0] - crop_width) / 2.0)
    top = round((resized[1] - crop_height) / 2.0)
    box = (left, top, left + crop_width, top + crop_height)
    scale_x, scale_y = width / resized[0], height / resized[1]
    # Rounding must not exceed the edge.
    right, bottom = min(box[2] * scale_x, width), min(box[3] * scale_y, height)
    source = (box[0] * scale_x, box[1] * scale_y, right, bottom)
    resample = _FILTERS[preprocessing.interpolation]
    if resized[0] * resized[1] <= max_pixels:
        crops = [plane.resize(resized, resample).crop(box) for plane in planes]
    else:
        crops = [plane.resize((crop_width, crop_height), resample, box=source) for plane in planes]
    return Picture(
        pixels=_to_unit_range(crops),
        crop=CropBox(left=source[0], top=source[1], right=source[2], bottom=source[3]),
        original_size=(height, width),
    )


def _compute_resized_size(
    width: int, height: int, preprocessing: Preprocessing, zoom: int
) -> tuple[int, int]:
    """Compute (width, height) after the resize: the shorter side is ``resize`` px, the longer is truncated."""
    if preprocessing.resize is None:
        return zoom * preprocessing.size[1], zoom * preprocessing.size[0]
    short = zoom * preprocessing.resize
    longer = int(short * max(width, height) / min(width, height))
    return (short, longer) if width <= height else (longer, short)


def _to_unit_range(crops: Sequence[Image.Image]) -> np.ndarray:
    """Convert to (channels, height, width) float32 in [0, 1]."""
    if crops[0].mode == "F":
        # Bicubic filters overshoot.
        return np.clip(np.stack([np.asarray(crop) for crop in crops]), 0, 1)
    pixels = np.asarray(crops[0], dtype=np.float32) / np.float32(255)
    return np.ascontiguousarray(np.atleast_3d(pixels).transpose(2, 0, 1))
