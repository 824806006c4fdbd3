"""Numeric range of samples: which number is white, from metadata where there is some.

A file of 16 bits per sample may hold the 12 bits of a camera, and one of 32-bit integers any range. What its metadata
state is followed; what they leave open is assumed where only one reading makes sense, with a sentence in the reply, and
refused where two do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, TiffImagePlugin

from wavescope.errors import NotAnImage

# Samples of 16 bits whose largest is below these leave the four, or the two, highest bits unused.
_TWELVE_BITS: Final = 2**12
_FOURTEEN_BITS: Final = 2**14
_NEARLY_BLACK: Final = 16  # of 256: what 12 bits in 16 come to
_WHITE_IS_ZERO: Final = 0
_MAX_SAMPLE_VALUE: Final = 281  # the tag
_SIGNED: Final = 2
_PACKED_GREY: Final = {"L;2": 2, "L;4": 4}  # raw modes of PNG, and their bits
_FOURTH_IS_ALPHA: Final = 4
_CLIPPING: Final = 0.01  # what resampling and rounding leave beyond [0, 1]


@dataclass(frozen=True, slots=True)
class SampleFormat:
    """Format of an image's samples, as its file declares it.

    Attributes:
        peak: number that stands for white (black, if ``inverted``), 1 of floats; ``None`` where the file declares none.
        inverted: whether 0 is white, and Pillow has not turned it.
        reduced: whether Pillow drops the lower 8 of 16 bits as it reads the file.
        rounded: whether it rounds as it drops them.
        signed: whether samples of 8 bits, which Pillow gives as 0 to 255, are -128 to 127.
        assumptions: sentences about what the metadata only suggest.
    """

    peak: int | None = 255
    inverted: bool = False
    reduced: bool = False
    rounded: bool = False
    signed: bool = False
    assumptions: tuple[str, ...] = ()


def read_sample_format(image: Image.Image) -> SampleFormat:
    """Read the format of the samples from an image's mode and metadata, before its pixels are loaded."""
    if image.mode.startswith("I;16"):
        return _read_sixteen_bits(image)
    if image.mode == "I":
        # Pillow scales PPM to 16 bits, and read PNG of 16 bits as this mode before version 12.
        return SampleFormat(65535 if image.format in ("PPM", "PNG") else None)
    if image.mode == "F":
        return SampleFormat(
            1, inverted=_tag(image, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
        )
    if image.mode == "L" and _tag(image, TiffImagePlugin.SAMPLEFORMAT) == _SIGNED:
        return SampleFormat(None, signed=True)
    tiles = [tile[-1] for tile in getattr(image, "tile", None) or ()]
    # Arguments of Pillow's decoders: a raw mode, behind it for PPM the number that is white.
    wide = image.format == "PPM" and any(65535 in tile for tile in tiles if isinstance(tile, tuple))
    # BMP's "BGR;16" has 16 bits per pixel.
    cut = image.format != "BMP" and any(";16" in str(tile) for tile in tiles)
    return SampleFormat(reduced=wide or cut, rounded=wide)


def read_transparent_sample(image: Image.Image) -> tuple[object, str | None]:
    """Read which sample of an image without alpha is transparent, before its pixels are loaded.

    Returns:
        The sample on the scale on which Pillow gives the pixels, ``None`` where there is none, and a sentence about
        what is assumed, or ``None``.
    """
    sample = image.info.get("transparency")
    tiles = [tile[-1] for tile in getattr(image, "tile", None) or ()]
    raw_mode = tiles[0] if image.format == "PNG" and tiles else None
    if isinstance(sample, int) and raw_mode in _PACKED_GREY:
        bits = _PACKED_GREY[raw_mode]
        return (sample & (2**bits - 1)) * 255 // (2**bits - 1), None
    if isinstance(sample, int) and raw_mode == "L":
        return sample & 255, None
    if isinstance(sample, tuple) and raw_mode == "RGB":
        return tuple(value & 255 for value in sample), None
    if isinstance(sample, tuple) and str(raw_mode).startswith("RGB;16"):
        upper = tuple(value >> 8 for value in sample)
        return (
            upper,
            f"the image declares the transparent colour {sample} of 16 bits: the upper 8 were compared",
        )
    return sample, None


def _read_sixteen_bits(image: Image.Image) -> SampleFormat:
    inverted = _tag(image, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
    bits = _tag(image, TiffImagePlugin.BITSPERSAMPLE) or 16
    largest = _tag(image, _MAX_SAMPLE_VALUE)  # a statistic by TIFF 6.0, and how cameras tell their bits
    if bits == 16 and largest is not None and 255 <= largest < 65535 and (largest + 1) & largest == 0:
        said = f"the image has 16-bit samples and MaxSampleValue {largest}: this was taken for white"
        return SampleFormat(largest, inverted, assumptions=(said,))
    return SampleFormat(2**bits - 1, inverted)


def _tag(image: Image.Image, tag: int) -> int | None:
    """First value of a tag of a TIFF; ``None`` where there is none, or no plain number."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return None
    value = image.tag_v2.get(tag)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else None


def to_eight_bits(samples: np.ndarray, declared: SampleFormat, assumptions: list[str]) -> np.ndarray:
    """Convert samples to 8 bits, rounded; those of 8 bits are returned as they are.

    Args:
        samples: of any shape: integers of any width, or floats.
        declared: format of the samples.
        assumptions: sentences about what is assumed are appended.

    Raises:
        NotAnImage: they exceed their range, or which range they have is ambiguous.
    """
    if np.issubdtype(samples.dtype, np.floating):
        check_floats(samples)
        return _scale(samples, 1, declared)
    assumptions.extend(declared.assumptions)
    least, largest = int(samples.min()), int(samples.max())
    alpha = samples.ndim == 3 and samples.shape[2] == _FOURTH_IS_ALPHA
    brightest = int(samples[:, :, :3].max()) if alpha else largest
    peak = declared.peak
    if peak is None:
        peak = _assume_peak(least, largest)
        if peak == 65535 and 0 < brightest < _TWELVE_BITS:  # alpha alone has 16 bits
            raise _ambiguous(brightest)
        assumptions.append(
            f"the image has integer samples of no declared range, {least} to {largest}: {peak} was taken for white"
        )
    elif least < 0 or largest > peak:
        raise NotAnImage(
            f"the image has samples from {least} to {largest}, and declares a range of 0 to {peak}",
            field="image",
        )
    elif peak == 65535:
        _check_sixteen_bits(brightest, assumptions)
    return _scale(samples, peak, declared)


def check_floats(samples: np.ndarray) -> None:
    """Check that floats lie in [0, 1], and were not divided by 255 twice.

    Raises:
        NotAnImage: they do not.
    """
    if not np.isfinite(samples).all():
        raise NotAnImage("the image has float samples that are not finite numbers", field="image")
    least, largest = float(samples.min()), float(samples.max())
    if least < 0 or largest > 1:
        remedy = "divide them by 255" if largest <= 255 else "divide them by the number that is white"
        digits = 4
        if least >= -_CLIPPING and largest <= 1 + _CLIPPING:
            remedy, digits = "clip them to it", 9
        elif least < 0:
            remedy = "give them before mean and std are applied"
        raise NotAnImage(
            f"the image has float samples from {least:.{digits}g} to {largest:.{digits}g}, and must have them in "
            f"[0, 1]: {remedy}",
            field="image",
            minimum=0,
            maximum=1,
        )
    if 0 < largest <= 1 / 255:
        raise NotAnImage(
            f"the image has float samples of at most {largest:.4g}, less than one step of 8 bits: they seem to have "
            "been divided by 255 twice",
            field="image",
        )


def check_brightness(
    largest: int, stored: SampleFormat, assumptions: list[str], *, transparent: bool = False
) -> None:
    """Check the largest sample of an image of 8 bits: one that is nearly black was often meant otherwise.

    Args:
        largest: largest sample, 0 to 255, of colours.
        stored: format of the file's samples.
        assumptions: a sentence is appended where the image is nearly black, or black in the bits that are read.
        transparent: whether it has transparent pixels, as drawings in black have.

    Raises:
        NotAnImage: the samples are 0 and 1 alone, or seem to be 12 bits in 16.
    """
    if stored.reduced:
        _check_reduced(largest, stored, assumptions)
    elif largest == 1 and not transparent:
        raise NotAnImage(
            "the image has the samples 0 and 1 alone, of 255: send 255 for white, or numbers with fractions in [0, 1]",
            field="image",
        )
    elif 0 < largest < _NEARLY_BLACK:
        assumptions.append(f"the image is nearly black: its largest sample is {largest} of 255")


def check_float_brightness(samples: np.ndarray, assumptions: list[str]) -> None:
    """Append a sentence where floats are nearly black.

    Args:
        samples: in [0, 1], without alpha.
        assumptions: a sentence is appended.
    """
    largest = float(samples.max())
    if 0 < largest < _NEARLY_BLACK / 255:
        assumptions.append(f"the image is nearly black: its largest sample is {largest:.4g} of 1")


def _check_reduced(largest: int, stored: SampleFormat, assumptions: list[str]) -> None:
    """Check samples of which Pillow has kept the upper 8 of 16 bits."""
    if largest == 0:
        assumptions.append(
            "the image is black: its samples have 16 bits, and all are below 256 of 65535; if they are 8 bits or "
            "fewer in 16, scale them"
        )
        return
    least, most = (
        (257 * largest - 128, 257 * largest + 128) if stored.rounded else (256 * largest, 256 * largest + 255)
    )
    if least < _TWELVE_BITS:
        raise _ambiguous(most, colours=True)
    if least < _FOURTEEN_BITS:
        assumptions.append(f"the image has 16-bit samples of at most {most}: 65535 was taken for white")


def _check_sixteen_bits(largest: int, assumptions: list[str]) -> None:
    if 0 < largest < _TWELVE_BITS:
        raise _ambiguous(largest)
    if 0 < largest < _FOURTEEN_BITS:
        assumptions.append(f"the image has 16-bit samples of at most {largest}: 65535 was taken for white")


def _ambiguous(largest: int, *, colours: bool = False) -> NotAnImage:
    # Tags do not help where Pillow has dropped the lower 8 bits.
    declare = "" if colours else "declare BitsPerSample or MaxSampleValue in a TIFF, "
    return NotAnImage(
        f"the image has 16-bit samples of at most {largest}: they are 12 bits or fewer in 16, or the image is nearly "
        f"black. Scale them to 0 to 65535, {declare}or send 8 bits",
        field="image",
    )


def _assume_peak(least: int, largest: int) -> int:
    """White of integers that declare no range: 255 or 65535, if only one of them makes sense."""
    if least < 0 or largest > 65535:
        raise NotAnImage(
            f"the image has integer samples from {least} to {largest}: give 0 to 255, or 0 to 65535",
            field="image",
        )
    if 2 <= largest <= 255 or largest == 0:
        return 255
    if largest == 1:
        raise NotAnImage(
            "the image has the integer samples 0 and 1 alone: send 255 for white, or 8 bits", field="image"
        )
    if largest < _TWELVE_BITS:
        raise _ambiguous(largest)
    return 65535


def _scale(samples: np.ndarray, peak: int, declared: SampleFormat) -> np.ndarray:
    if samples.dtype == np.uint8 and peak == 255 and not declared.inverted:
        return samples
    values = (
        samples.astype(np.float32) * np.float32(255)
        if peak == 1
        else samples.astype(np.float32) / (peak / 255)
    )
    values = np.rint(values)
    return (255 - values if declared.inverted else values).astype(np.uint8)
