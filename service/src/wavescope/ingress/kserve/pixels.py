"""Pixels that came as numbers, as the encoded file that the rest of the service takes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from wavescope.errors import InvalidRequest


def encode_pixels(pixels: UInt8[np.ndarray, "h w 3"] | UInt8[np.ndarray, "h w 1"]) -> bytes:
    """A PNG file of exactly these pixels, RGB or grey."""
    if pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    buffer = io.BytesIO()
    # The file lives for one request: little time matters more than few bytes.
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def parse_pixels(values: Any, field: str) -> UInt8[np.ndarray, "h w 3"] | UInt8[np.ndarray, "h w 1"]:
    """Rows of RGB or grey pixels.

    Args:
        values: lists (height, width, 3 or 1), or (3 or 1, height, width) where the last axis cannot be channels, of
            integers 0..255, or of numbers in [0, 1] where one has a fraction; these are rounded to steps of 1/255.
        field: their name.

    Raises:
        InvalidRequest: they are something else.
    """
    array = numbers(values, field)
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = np.ascontiguousarray(array.transpose(1, 2, 0))
    if array.ndim != 3 or array.shape[2] not in (1, 3) or array.size == 0:
        raise InvalidRequest(
            f"{field} must have the shape (height, width, 3), not ({', '.join(map(str, array.shape))})",
            field=field,
        )
    fractions = array.dtype.kind == "f"
    most = 1 if fractions else 255
    if array.min() < 0 or array.max() > most:
        raise InvalidRequest(
            f"{field} must hold integers from 0 to 255, or numbers with fractions from 0 to 1; "
            f"it holds {array.min():.16g} to {array.max():.16g}",
            field=field,
            minimum=0,
            maximum=most,
        )
    return np.rint(array * 255).astype(np.uint8) if fractions else array.astype(np.uint8)


def numbers(values: Any, field: str) -> np.ndarray:
    """Lists of numbers as an array: of integers, or of floats where one number has a fraction.

    Raises:
        InvalidRequest: they hold something else, or lists of different lengths.
    """
    # Objects first: arrays of text would have the size of the longest text in every place.
    array = np.array(values, dtype=object)
    types = set(map(type, array.ravel()))
    if not types <= {int, float}:
        raise InvalidRequest(f"{field} must hold numbers alone, in lists of equal lengths", field=field)
    try:
        return array.astype(np.float64 if float in types else np.int64)
    except OverflowError as error:
        raise InvalidRequest(f"{field} holds a number that is too large", field=field) from error
