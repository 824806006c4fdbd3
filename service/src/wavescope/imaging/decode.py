"""From the bytes of an image file to a decoded, upright image, whatever the bytes are.

Only raster formats are opened: Pillow would hand others, such as EPS, to outside programs.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image

from wavescope.engine.types import Picture, Preprocessing
from wavescope.errors import ImageTooLarge, InvalidRequest, NotAnImage
from wavescope.imaging.crop import fit
from wavescope.imaging.frames import MAX_FRAMES, check_frames
from wavescope.imaging.structure import MAX_EXIF_BYTES, check_structure

MAX_PIXELS: Final = 64_000_000
MIN_SIDE_PX: Final = 8

_WANTED_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF")
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
# What Pillow's decoders let out for corrupt files (it documents none); a warning is one under ``python -W error``.
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
    max_pixels: int = MAX_PIXELS,
    max_frames: int = MAX_FRAMES,
    zoom: int = 1,
) -> Picture:
    """An image file as the model sees it, before mean and std.

    The first frame is taken, EXIF rotation applied, 16 bits are rescaled to 8, transparency is laid over white, and
    palettes, CMYK and grey become RGB, or luminance for a model of one channel. Colour profiles are ignored.

    Args:
        data: the bytes of a PNG, JPEG, WebP, TIFF, GIF, BMP, PPM, JPEG 2000 or AVIF file.
        preprocessing: of the model.
        max_pixels: more are refused from the header, before anything is decoded.
        max_frames: of an animation or a document of pages; more are refused.
        zoom: 1, or 2 for the image enlarged twice: see :func:`wavescope.imaging.crop.fit`.

    Raises:
        NotAnImage: no such format, damaged or truncated, of a kind of sample that has no colour, or so many scans,
            chunks, blocks or tag values that reading them would take far longer than its pixels do.
        ImageTooLarge: more than ``max_pixels`` or ``max_frames``.
        InvalidRequest: a side shorter than 8 px, or a model of neither 1 nor 3 channels.
    """
    grey = _takes_grey(preprocessing)
    image = open_image(data, max_pixels=max_pixels, max_frames=max_frames)
    planes = (_guarded(lambda: flatten(image, grey=grey)),)
    return fit(planes, preprocessing, max_pixels=max_pixels, zoom=zoom)


def prepare(
    image: Image.Image | np.ndarray,
    preprocessing: Preprocessing,
    *,
    max_pixels: int = MAX_PIXELS,
    zoom: int = 1,
) -> Picture:
    """A PIL image or an array as the model sees it, before mean and std.

    Args:
        image: a PIL image of any mode, turned upright by its EXIF data; or an array (h, w), (h, w, 1), (h, w, 3) or
            (h, w, 4) of uint8, uint16, bool, or floats in [0, 1], which keep their precision.
        preprocessing: of the model.
        max_pixels: more are refused.
        zoom: as for :func:`decode`.

    Raises:
        NotAnImage: PIL cannot read the image's pixels, or convert them.
        ImageTooLarge: more than ``max_pixels``.
        InvalidRequest: a side shorter than 8 px, an array of another shape, type or range, or a model of neither 1
            nor 3 channels.
    """
    grey = _takes_grey(preprocessing)
    if isinstance(image, Image.Image):
        _check_size(image.size, max_pixels)
        planes = (_guarded(lambda: flatten(_upright(image), grey=grey)),)
    elif isinstance(image, np.ndarray):
        planes = _planes(image, grey=grey, max_pixels=max_pixels)
    else:
        raise InvalidRequest(
            f"image must be bytes, a PIL image or an array, not {type(image).__name__}", field="image"
        )
    return fit(planes, preprocessing, max_pixels=max_pixels, zoom=zoom)


def open_image(data: bytes, *, max_pixels: int = MAX_PIXELS, max_frames: int = MAX_FRAMES) -> Image.Image:
    """The first frame, decoded and upright, in whatever mode the file has.

    Raises:
        NotAnImage: as :func:`decode`.
        ImageTooLarge: as :func:`decode`.
        InvalidRequest: a side shorter than 8 px.
    """
    if not data:
        raise NotAnImage("the image is empty: 0 bytes", field="image")
    check_structure(data)
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            _check_size(image.size, max_pixels)
            check_frames(image, data, max_frames)
            upright = _upright(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge(
            f"the image declares too many pixels; {max_pixels} are decoded at most",
            field="image",
            max_pixels=max_pixels,
        ) from error
    except Image.UnidentifiedImageError as error:
        raise NotAnImage(
            f"the image is in none of the formats {', '.join(_formats())}, or its header is damaged",
            field="image",
            formats=list(_formats()),
        ) from error
    except _DECODER_ERRORS as error:
        raise _unreadable(error) from error
    # A GIF's first frame may be larger than its header says.
    _check_size(upright.size, max_pixels)
    return upright


def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _WANTED_FORMATS if name in Image.OPEN)


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


def _upright(image: Image.Image) -> Image.Image:
    # Read after the pixels: Pillow turns a TIFF itself as it loads, and then drops the tag.
    image.load()
    turn = _UPRIGHT.get(_orientation(image))
    return image.copy() if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    if len(image.info.get("exif") or b"") > MAX_EXIF_BYTES:
        return 1  # it would be read entry by entry
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except _DECODER_ERRORS:
        return 1  # damaged metadata is no reason to refuse sound pixels


def _guarded(work: Callable[[], Image.Image]) -> Image.Image:
    try:
        return work()
    except _DECODER_ERRORS as error:
        raise _unreadable(error) from error


def flatten(image: Image.Image, *, grey: bool) -> Image.Image:
    """``image`` in mode ``L`` (``grey``: ITU-R 601 luminance) or ``RGB``; transparency is laid over white.

    Raises:
        NotAnImage: integers beyond 16 bits, or floats outside [0, 1].
    """
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    if image.has_transparency_data:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), above)
    return image.convert("L" if grey else "RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Samples of 16 bits divided by 257, or floats in [0, 1] times 255, rounded."""
    samples = np.asarray(image)
    if image.mode == "F":
        if not (np.isfinite(samples).all() and samples.min() >= 0 and samples.max() <= 1):
            raise NotAnImage("the image has float samples outside [0, 1]: give 8 or 16 bits", field="image")
        return Image.fromarray(np.rint(samples * 255).astype(np.uint8))
    if samples.min() < 0 or samples.max() > 65535:
        raise NotAnImage("the image has samples of more than 16 bits: give 8 or 16", field="image")
    return Image.fromarray(np.rint(samples.astype(np.float32) / 257).astype(np.uint8))


def _planes(array: np.ndarray, *, grey: bool, max_pixels: int) -> tuple[Image.Image, ...]:
    """One 8-bit image, or for floats one image of mode ``F`` in [0, 1] per channel of the model."""
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
    return tuple(Image.fromarray(plane) for plane in _float_channels(array, grey=grey))


def _float_channels(array: np.ndarray, *, grey: bool) -> list[np.ndarray]:
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
