"""Decoding of image files, safely whatever the bytes are, to upright images and to the model's input.

Only raster formats are opened: Pillow would hand others, such as EPS, to outside programs.
"""

from __future__ import annotations

import io
import logging
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, TypeVar, cast

import numpy as np
from PIL import Image

from wavescope.engine.types import Picture, Preprocessing
from wavescope.errors import ImageTooLarge, InvalidRequest, NotAnImage
from wavescope.imaging.colours import ColourSpace, read_colour_space, to_srgb
from wavescope.imaging.crop import resize_and_crop
from wavescope.imaging.decode_cost import DecodeCost, check_cost
from wavescope.imaging.embedded_profiles import without_long_profile
from wavescope.imaging.file_parts import file_of
from wavescope.imaging.file_structure import MAX_EXIF_BYTES, check_structure
from wavescope.imaging.frame_count import check_frames
from wavescope.imaging.limits import DEFAULT_LIMITS, ImageLimits
from wavescope.imaging.samples import (
    SampleFormat,
    check_brightness,
    check_float_brightness,
    check_floats,
    read_sample_format,
    read_transparent_sample,
    to_eight_bits,
)
from wavescope.imaging.unread_formats import check_misread, recognise_unread

Result = TypeVar("Result")

log = logging.getLogger(__name__)

MIN_SIDE_PX: Final = 8

_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF")
_OVER_WHITE: Final = "the image has transparent pixels, which were laid over white"
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
# White of integers by the name of their type; others declare none.
_DECLARED_PEAKS: Final = {"uint8": 255, "uint16": 65535}
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


@dataclass(frozen=True, slots=True)
class UprightImage:
    """A decoded image, turned upright, in whatever mode its file has.

    Attributes:
        image: the image.
        samples: format of its samples.
        colours: its colour space.
        assumptions: sentences about what was assumed of the file.
    """

    image: Image.Image
    samples: SampleFormat
    colours: ColourSpace
    assumptions: tuple[str, ...]


def decode(
    data: bytes,
    preprocessing: Preprocessing,
    *,
    limits: ImageLimits = DEFAULT_LIMITS,
    zoom: int = 1,
) -> Picture:
    """Decode an image file to the model's input, before mean and std.

    The first frame is taken, EXIF rotation applied, samples are scaled to 8 bits by their declared range, colours are
    converted to sRGB by their ICC profile or gamma, transparency is laid over white, and palettes, CMYK and grey become
    RGB, or luminance for a model of one channel. The picture has a sentence for whatever was assumed.

    Args:
        data: bytes of a PNG, JPEG, WebP, TIFF, GIF, BMP, PPM, JPEG 2000 or AVIF file.
        preprocessing: preprocessing of the model.
        limits: limits of the image, checked in its header before anything is decoded.
        zoom: 1, or 2 for the image enlarged twice: see :func:`wavescope.imaging.crop.fit`.

    Raises:
        NotAnImage: the format is another, the file is damaged or truncated, the range of its samples is ambiguous, or
            it has so many scans, chunks, blocks or tag values that reading them would take far longer than the pixels.
        ImageTooLarge: the image exceeds one of the limits.
        InvalidRequest: a side is shorter than 8 px, or the model has neither 1 nor 3 channels.
    """
    grey = _takes_grey(preprocessing)
    upright = open_image(data, limits=limits)
    return _crop(upright, preprocessing, grey=grey, max_pixels=limits.max_pixels, zoom=zoom)


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
    with _open(data, limits) as (image, cost, frames):
        if cost.in_subprocess:
            return cost
        upright = _load(image, data, frames)
    _check_size(upright.image.size, limits.max_pixels)
    return _crop(upright, preprocessing, grey=grey, max_pixels=limits.max_pixels, zoom=zoom)


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
            (h, w, 4) of bool, integers, or floats in [0, 1], which keep their precision. White is 255 of uint8, 65535
            of uint16, and assumed to be one of these, with a sentence, of wider integers.
        preprocessing: preprocessing of the model.
        limits: limits of the image, of which only ``max_pixels`` applies.
        zoom: as for :func:`decode`.

    Raises:
        NotAnImage: PIL cannot read the image's pixels, or convert them, or the range of its samples is ambiguous.
        ImageTooLarge: the image has more than ``max_pixels``.
        InvalidRequest: a side is shorter than 8 px, the array has another shape or type, or the model has neither 1 nor
            3 channels.
    """
    grey = _takes_grey(preprocessing)
    if isinstance(image, Image.Image):
        _check_size(image.size, limits.max_pixels)
        file = file_of(image)
        _translate_errors(lambda: check_misread(image, file))
        upright = _translate_errors(lambda: _load(image, file))
        return _crop(upright, preprocessing, grey=grey, max_pixels=limits.max_pixels, zoom=zoom)
    if not isinstance(image, np.ndarray):
        raise InvalidRequest(
            f"image must be bytes, a PIL image or an array, not {type(image).__name__}", field="image"
        )
    if isinstance(image, np.ma.MaskedArray):
        if np.ma.is_masked(image):
            raise InvalidRequest("the image array has masked samples: fill them", field="image")
        image = image.data
    assumptions: list[str] = []
    try:
        planes = _to_planes(image, assumptions, grey=grey, max_pixels=limits.max_pixels)
    except NotAnImage as error:  # of files; an array is an argument
        raise InvalidRequest(error.message, field="image", **error.limits) from None
    return _finish(planes, assumptions, preprocessing, max_pixels=limits.max_pixels, zoom=zoom)


def estimate_decode_cost(
    data: bytes,
    *,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> DecodeCost:
    """Estimate the cost of :func:`decode` from the header; nothing is decoded.

    Raises:
        NotAnImage, ImageTooLarge, InvalidRequest: as :func:`decode`, as far as the header shows it.
    """
    with _open(data, limits) as (_, cost, _frames):
        return cost


def open_image(
    data: bytes,
    *,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> UprightImage:
    """Decode the first frame and turn it upright, in whatever mode the file has.

    Raises:
        NotAnImage: as :func:`decode`.
        ImageTooLarge: as :func:`decode`.
        InvalidRequest: a side is shorter than 8 px.
    """
    with _open(data, limits) as (image, _, frames):
        upright = _load(image, data, frames)
    # A GIF's first frame may be larger than its header says.
    _check_size(upright.image.size, limits.max_pixels)
    return upright


@contextmanager
def _open(data: bytes, limits: ImageLimits) -> Iterator[tuple[Image.Image, DecodeCost, int]]:
    """Open an image, check the limits in its header, estimate its cost and count its frames.

    Exceptions of decoders in the body are translated to ours.
    """
    if not data:
        raise NotAnImage("the image is empty: 0 bytes", field="image")
    check_structure(data)
    try:
        with Image.open(io.BytesIO(without_long_profile(data)), formats=_supported_formats()) as image:
            check_misread(image, data)
            _check_size(image.size, limits.max_pixels)
            frames = check_frames(image, data, limits.max_frames)
            yield image, check_cost(image, data, limits.max_decode_s), frames
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge(
            f"the image declares too many pixels; {limits.max_pixels} are decoded at most",
            field="image",
            max_pixels=limits.max_pixels,
        ) from error
    except Image.UnidentifiedImageError as error:
        formats = _supported_formats()
        found = recognise_unread(data)
        message = (
            f"the image is in none of the formats {', '.join(formats)}, or its header is damaged"
            if found is None
            else f"the image is {found.name}, which is not read: {found.remedy}"
        )
        raise NotAnImage(message, field="image", formats=list(formats)) from error
    except _DECODER_ERRORS as error:
        raise _unreadable(error) from error


def _supported_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _unreadable(error: BaseException) -> NotAnImage:
    log.info(
        "an image could not be decoded: %s: %s", type(error).__name__, error
    )  # in the decoder's own words
    if isinstance(error, MemoryError):
        reason = "there is not enough memory to decode the image: send a smaller one"
    else:
        reason = "the image is damaged or truncated: send the whole file, or save it anew"
    return NotAnImage(reason, field="image")


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


def _load(image: Image.Image, data: bytes = b"", frames: int = 1) -> UprightImage:
    """Load the pixels of an image, turned upright, and its metadata."""
    samples = read_sample_format(image)  # before the pixels: it says how they are stored
    transparent, said = read_transparent_sample(image)
    # The others after the pixels: Pillow turns a TIFF itself as it loads, and then drops the tag.
    image.load()
    exif = _exif(image)
    turn = _UPRIGHT.get(_orientation(exif))
    colours = read_colour_space(image, data, exif)
    assumptions = [f"the image has {frames} frames, of which the first was taken"] if frames > 1 else []
    if len(image.info.get("exif") or b"") > MAX_EXIF_BYTES:
        assumptions.append(
            f"the image's EXIF data have more than {MAX_EXIF_BYTES} bytes and were not read: if they declare a "
            "rotation, it was not applied"
        )
    if said is not None:
        assumptions.append(said)
    turned = image.copy() if turn is None else image.transpose(turn)
    if transparent is not None:
        turned.info["transparency"] = transparent
    return UprightImage(turned, samples, colours, tuple(assumptions))


def _exif(image: Image.Image) -> Image.Exif | None:
    """EXIF data, ``None`` where they are too long or damaged: the pixels may be sound."""
    if len(image.info.get("exif") or b"") > MAX_EXIF_BYTES:
        return None  # reading it entry by entry would take long
    try:
        return image.getexif()
    except _DECODER_ERRORS:
        return None


def _orientation(exif: Image.Exif | None) -> int:
    try:
        return 1 if exif is None else int(exif.get(_ORIENTATION_TAG, 1))
    except _DECODER_ERRORS:
        return 1


def _translate_errors(work: Callable[[], Result]) -> Result:
    try:
        return work()
    except _DECODER_ERRORS as error:
        raise _unreadable(error) from error


def _crop(
    upright: UprightImage, preprocessing: Preprocessing, *, grey: bool, max_pixels: int, zoom: int
) -> Picture:
    assumptions = list(upright.assumptions)
    planes = (_translate_errors(lambda: flatten(upright, assumptions, grey=grey)),)
    return _finish(planes, assumptions, preprocessing, max_pixels=max_pixels, zoom=zoom)


def _finish(
    planes: Sequence[Image.Image],
    assumptions: list[str],
    preprocessing: Preprocessing,
    *,
    max_pixels: int,
    zoom: int,
) -> Picture:
    picture = resize_and_crop(planes, preprocessing, max_pixels=max_pixels, zoom=zoom)
    return replace(picture, assumptions=tuple(assumptions))


def flatten(upright: UprightImage, assumptions: list[str], *, grey: bool) -> Image.Image:
    """Convert an image to mode ``L`` (``grey``: ITU-R 601 luminance) or ``RGB`` of sRGB, transparency over white.

    Args:
        upright: the image with its metadata.
        assumptions: sentences about what is assumed are appended.
        grey: whether the model takes one channel.

    Raises:
        NotAnImage: the range of the samples is ambiguous: see :mod:`wavescope.imaging.samples`.
    """
    image = upright.image
    if image.mode.startswith(("I", "F")) or upright.samples.signed:
        samples = np.asarray(image).view(np.int8) if upright.samples.signed else np.asarray(image)
        transparent = image.info.get("transparency")
        image = Image.fromarray(to_eight_bits(samples, upright.samples, assumptions))
        if isinstance(transparent, int) and not upright.samples.signed:
            image.putalpha(Image.fromarray(np.where(samples == transparent, 0, 255).astype(np.uint8)))
    elif image.mode == "La" or (image.mode in ("1", "L") and image.has_transparency_data):
        image = image.convert("LA")
    elif image.mode == "LA":
        pass  # grey, as its profile may say
    elif image.mode in ("P", "PA", "RGBa") or image.has_transparency_data:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    stored = image
    image = to_srgb(image, upright.colours, assumptions)
    transparent = False
    if image.mode in ("LA", "RGBA"):
        above = image.convert("RGBA")
        least, most = cast(tuple[int, int], above.getchannel("A").getextrema())
        transparent = least < 255 and most > 1
        if least < 255:
            assumptions.append(_OVER_WHITE)
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), above)
    image = image.convert("L" if grey else "RGB")
    check_brightness(
        _largest(stored, image, upright.samples), upright.samples, assumptions, transparent=transparent
    )
    return image


def _largest(stored: Image.Image, shown: Image.Image, samples: SampleFormat) -> int:
    """Largest sample of an image of 8 bits.

    Args:
        stored: as its file has it: of alpha, which hides dark colours under white, and of samples of 16 bits.
        shown: as the model sees it.
        samples: format of the file's samples.
    """
    largest = int(np.max(shown.getextrema()))
    # A profile may make black of 1.
    if stored.mode in ("LA", "RGBA") or (stored.mode in ("L", "RGB") and (samples.reduced or largest == 0)):
        bands = [band for band in stored.getbands() if band != "A"]
        return max(int(np.max(stored.getchannel(band).getextrema())) for band in bands)
    if stored.mode == "CMYK" and samples.reduced:
        return int(np.max(stored.getextrema())) or largest
    return largest


def _to_planes(
    array: np.ndarray, assumptions: list[str], *, grey: bool, max_pixels: int
) -> tuple[Image.Image, ...]:
    """Convert an array to one 8-bit image, or floats to one image of mode ``F`` in [0, 1] per model channel."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise InvalidRequest(
            f"an image array is (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), not {array.shape}", field="image"
        )
    _check_size((array.shape[1], array.shape[0]), max_pixels)
    if np.issubdtype(array.dtype, np.floating):
        check_floats(array)
        colours = array
        if array.ndim == 3 and array.shape[2] == 4:
            colours = array[:, :, :3]
            check_floats(colours)  # without alpha, which hides that colours are too small
            if array[:, :, 3].min() < 1:
                assumptions.append(_OVER_WHITE)
        check_float_brightness(colours, assumptions)
        return tuple(Image.fromarray(plane) for plane in _split_float_channels(array, grey=grey))
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype.kind in "iu":  # intervals of time are integers to np.issubdtype
        declared = SampleFormat(_DECLARED_PEAKS.get(array.dtype.name))
        array = to_eight_bits(array, declared, assumptions)
    else:
        raise InvalidRequest(
            f"an image array holds bool, integers or floating point, not {array.dtype}", field="image"
        )
    image = UprightImage(Image.fromarray(np.ascontiguousarray(array)), SampleFormat(), ColourSpace(), ())
    return (flatten(image, assumptions, grey=grey),)


def _split_float_channels(array: np.ndarray, *, grey: bool) -> list[np.ndarray]:
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
