"""Decoding of image files, safely whatever the bytes are, to upright images and to the model's input.

Only raster formats are opened: Pillow would hand others, such as EPS, to outside programs.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from PIL import Image

from wavescope.engine.types import Picture, Preprocessing
from wavescope.errors import ImageTooLarge, InvalidRequest, NotAnImage
from wavescope.imaging.crop import resize_and_crop
from wavescope.imaging.decode_cost import DecodeCost, check_cost
from wavescope.imaging.file_structure import MAX_EXIF_BYTES, check_structure
from wavescope.imaging.frame_count import check_frames
from wavescope.imaging.limits import DEFAULT_LIMITS, ImageLimits

MIN_SIDE_PX: Final = 8

_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF")
_ORIENTATION_TAG: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Exceptions of Pillow's decoders for corrupt files (it documents none); a warning is one under ``python -W error``.
_DECODER_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    EOFError,
    RuntimeError,
    MemoryError,
    BufferError,
    struct.error,
    zlib.error,
    Warning,
)


def decode(
    data: bytes,
    preprocessing: Preprocessing,
    *,
    limits: ImageLimits = DEFAULT_LIMITS,
    zoom: int = 1,
) -> Picture:
    """Decode an image file to the model's input, before mean and std.

    The first frame is taken, EXIF rotation applied, 16 bits are rescaled to 8, transparency is laid over white, and
    palettes, CMYK and grey become RGB, or luminance for a model of one channel. Colour profiles are ignored.

    Args:
        data: bytes of a PNG, JPEG, WebP, TIFF, GIF, BMP, PPM, JPEG 2000 or AVIF file.
        preprocessing: preprocessing of the model.
        limits: limits of the image, checked in its header before anything is decoded.
        zoom: 1, or 2 for the image enlarged twice: see :func:`wavescope.imaging.crop.fit`.

    Raises:
        NotAnImage: the format is another, the file is damaged or truncated, its samples are not colours, or it has so
            many scans, chunks, blocks or tag values that reading them would take far longer than the pixels.
        ImageTooLarge: the image exceeds one of the limits.
        InvalidRequest: a side is shorter than 8 px, or the model has neither 1 nor 3 channels.
    """
    grey = _takes_grey(preprocessing)
    image = open_image(data, limits=limits)
    planes = (_translate_errors(lambda: flatten(image, grey=grey)),)
    return resize_and_crop(planes, preprocessing, max_pixels=limits.max_pixels, zoom=zoom)


def decode_or_estimate(
    data: bytes,
    preprocessing: Preprocessing,
    *,
    limits: ImageLimits = DEFAULT_LIMITS,
    zoom: int = 1,
) -> Picture | DecodeCost:
    """Decode an image as :func:`decode`, or estimate the cost of one that is to be decoded in a subprocess.

    Raises:
        WavescopeError: as :func:`decode`.
    """
    grey = _takes_grey(preprocessing)
    with _open(data, limits) as (image, cost):
        if cost.in_subprocess:
            return cost
        upright = _turn_upright(image)
    _check_size(upright.size, limits.max_pixels)
    planes = (_translate_errors(lambda: flatten(upright, grey=grey)),)
    return resize_and_crop(planes, preprocessing, max_pixels=limits.max_pixels, zoom=zoom)


def prepare(
    image: Image.Image | np.ndarray,
    preprocessing: Preprocessing,
    *,
    limits: ImageLimits = DEFAULT_LIMITS,
    zoom: int = 1,
) -> Picture:
    """Convert a PIL image or an array to the model's input, before mean and std.

    Args:
        image: PIL image of any mode, turned upright by its EXIF data; or an array (h, w), (h, w, 1), (h, w, 3) or
            (h, w, 4) of uint8, uint16, bool, or floats in [0, 1], which keep their precision.
        preprocessing: preprocessing of the model.
        limits: limits of the image, of which only ``max_pixels`` applies.
        zoom: as for :func:`decode`.

    Raises:
        NotAnImage: PIL cannot read the image's pixels, or convert them.
        ImageTooLarge: the image has more than ``max_pixels``.
        InvalidRequest: a side is shorter than 8 px, the array has another shape, type or range, or the model has
            neither 1 nor 3 channels.
    """
    grey = _takes_grey(preprocessing)
    if isinstance(image, Image.Image):
        _check_size(image.size, limits.max_pixels)
        planes = (_translate_errors(lambda: flatten(_turn_upright(image), grey=grey)),)
    elif isinstance(image, np.ndarray):
        planes = _to_planes(image, grey=grey, max_pixels=limits.max_pixels)
    else:
        raise InvalidRequest(
            f"image must be bytes, a PIL image or an array, not {type(image).__name__}", field="image"
        )
    return resize_and_crop(planes, preprocessing, max_pixels=limits.max_pixels, zoom=zoom)


def estimate_decode_cost(
    data: bytes,
    *,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> DecodeCost:
    """Estimate the cost of :func:`decode` from the header; nothing is decoded.

    Raises:
        NotAnImage, ImageTooLarge, InvalidRequest: as :func:`decode`, as far as the header shows it.
    """
    with _open(data, limits) as (_, cost):
        return cost


def open_image(
    data: bytes,
    *,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> Image.Image:
    """Decode the first frame and turn it upright, in whatever mode the file has.

    Raises:
        NotAnImage: as :func:`decode`.
        ImageTooLarge: as :func:`decode`.
        InvalidRequest: a side is shorter than 8 px.
    """
    with _open(data, limits) as (image, _):
        upright = _turn_upright(image)
    # A GIF's first frame may be larger than its header says.
    _check_size(upright.size, limits.max_pixels)
    return upright


@contextmanager
def _open(data: bytes, limits: ImageLimits) -> Iterator[tuple[Image.Image, DecodeCost]]:
    """Open an image, check the limits in its header and estimate its cost.

    Exceptions of decoders in the body are translated to ours.
    """
    if not data:
        raise NotAnImage("the image is empty: 0 bytes", field="image")
    check_structure(data)
    try:
        with Image.open(io.BytesIO(data), formats=_supported_formats()) as image:
            _check_size(image.size, limits.max_pixels)
            check_frames(image, data, limits.max_frames)
            yield image, check_cost(image, data, limits.max_decode_s)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge(
            f"the image declares too many pixels; {limits.max_pixels} are decoded at most",
            field="image",
            max_pixels=limits.max_pixels,
        ) from error
    except Image.UnidentifiedImageError as error:
        raise NotAnImage(
            f"the image is in none of the formats {', '.join(_supported_formats())}, or its header is damaged",
            field="image",
            formats=list(_supported_formats()),
        ) from error
    except _DECODER_ERRORS as error:
        raise _unreadable(error) from error


def _supported_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _unreadable(error: BaseException) -> NotAnImage:
    reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
    return NotAnImage(f"the image is damaged or truncated: {reason}", field="image")


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"the image has {width}x{height} = {width * height} pixels; {max_pixels} are decoded at most",
            field="image",
            max_pixels=max_pixels,
            width=width,
            height=height,
        )
    if min(width, height) < MIN_SIDE_PX:
        raise InvalidRequest(
            f"the image is {width}x{height}; its shorter side must have at least {MIN_SIDE_PX} px",
            field="image",
            min_side_px=MIN_SIDE_PX,
            width=width,
            height=height,
        )


def _takes_grey(preprocessing: Preprocessing) -> bool:
    channels = len(preprocessing.mean)
    if channels not in (1, 3):
        raise InvalidRequest(
            f"the model takes {channels} channels; a picture has 1 or 3", field="model", allowed=[1, 3]
        )
    return channels == 1


def _turn_upright(image: Image.Image) -> Image.Image:
    # Read after the pixels: Pillow turns a TIFF itself as it loads, and then drops the tag.
    image.load()
    turn = _UPRIGHT.get(_orientation(image))
    return image.copy() if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    if len(image.info.get("exif") or b"") > MAX_EXIF_BYTES:
        return 1  # reading it entry by entry would take long
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except _DECODER_ERRORS:
        return 1  # the pixels of an image with damaged metadata may be sound


def _translate_errors(work: Callable[[], Image.Image]) -> Image.Image:
    try:
        return work()
    except _DECODER_ERRORS as error:
        raise _unreadable(error) from error


def flatten(image: Image.Image, *, grey: bool) -> Image.Image:
    """Convert an image to mode ``L`` (``grey``: ITU-R 601 luminance) or ``RGB``, transparency over white.

    Raises:
        NotAnImage: the samples are integers beyond 16 bits, or floats outside [0, 1].
    """
    if image.mode.startswith(("I", "F")):
        image = _to_eight_bits(image)
    if image.has_transparency_data:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), above)
    return image.convert("L" if grey else "RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Convert samples to 8 bits: those of 16 bits divided by 257, floats in [0, 1] times 255, rounded."""
    samples = np.asarray(image)
    if image.mode == "F":
        if not (np.isfinite(samples).all() and samples.min() >= 0 and samples.max() <= 1):
            raise NotAnImage("the image has float samples outside [0, 1]: give 8 or 16 bits", field="image")
        return Image.fromarray(np.rint(samples * 255).astype(np.uint8))
    if samples.min() < 0 or samples.max() > 65535:
        raise NotAnImage("the image has samples of more than 16 bits: give 8 or 16", field="image")
    return Image.fromarray(np.rint(samples.astype(np.float32) / 257).astype(np.uint8))


def _to_planes(array: np.ndarray, *, grey: bool, max_pixels: int) -> tuple[Image.Image, ...]:
    """Convert an array to one 8-bit image, or floats to one image of mode ``F`` in [0, 1] per model channel."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise InvalidRequest(
            f"an image array is (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), not {array.shape}", field="image"
        )
    _check_size((array.shape[1], array.shape[0]), max_pixels)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = np.rint(array.astype(np.float32) / 257).astype(np.uint8)
    if array.dtype == np.uint8:
        return (flatten(Image.fromarray(np.ascontiguousarray(array)), grey=grey),)
    if not np.issubdtype(array.dtype, np.floating):
        raise InvalidRequest(
            f"an image array is uint8, uint16, bool or floating point, not {array.dtype}", field="image"
        )
    return tuple(Image.fromarray(plane) for plane in _split_float_channels(array, grey=grey))


def _split_float_channels(array: np.ndarray, *, grey: bool) -> list[np.ndarray]:
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        raise InvalidRequest(
            "an image array of floats must lie in [0, 1]", field="image", minimum=0, maximum=1
        )
    array = array.astype(np.float32)
    channels = [array] * 3 if array.ndim == 2 else [array[:, :, index] for index in range(3)]
    if array.ndim == 3 and array.shape[2] == 4:
        alpha = array[:, :, 3]
        channels = [alpha * channel + (1 - alpha) for channel in channels]
    if not grey:
        return [np.ascontiguousarray(channel) for channel in channels]
    if array.ndim == 2:
        return [array]
    red, green, blue = channels
    return [0.299 * red + 0.587 * green + 0.114 * blue]  # ITU-R 601, as Pillow's "L"
