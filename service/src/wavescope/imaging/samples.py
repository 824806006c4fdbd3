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


@dataclass(frozen=True, slots=True)
class SampleFormat:
    """Format of an image's samples, as its file declares it.

    Attributes:
        peak: number that stands for white (black, if ``inverted``), 1 of floats; ``None`` where the file declares none.
        inverted: whether 0 is white, and Pillow has not turned it.
        reduced: whether Pillow drops the lower 8 of 16 bits as it reads the file.
        signed: whether samples of 8 bits, which Pillow gives as 0 to 255, are -128 to 127.
        assumptions: sentences about what the metadata only suggest.
    """

    peak: int | None = 255
    inverted: bool = False
    reduced: bool = False
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
    return SampleFormat(reduced=wide or any(";16" in str(tile) for tile in tiles))


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
    peak = declared.peak
    if peak is None:
        peak = _assume_peak(least, largest)
        assumptions.append(
            f"the image has integer samples of no declared range, {least} to {largest}: {peak} was taken for white"
        )
    elif least < 0 or largest > peak:
        raise NotAnImage(
            f"the image has samples from {least} to {largest}, and declares a range of 0 to {peak}",
            field="image",
        )
    elif peak == 65535:
        _check_sixteen_bits(largest, assumptions)
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
        if least < 0:
            remedy = "give them before mean and std are applied"
        raise NotAnImage(
            f"the image has float samples from {least:.4g} to {largest:.4g}, and must have them in [0, 1]: {remedy}",
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


def check_brightness(largest: int, *, reduced: bool, assumptions: list[str]) -> None:
    """Check the largest sample of an image of 8 bits: one that is nearly black was often meant otherwise.

    Args:
        largest: largest sample, 0 to 255.
        reduced: whether the file has 16 bits per sample.
        assumptions: a sentence is appended where the image is nearly black, or black in the bits that are read.

    Raises:
        NotAnImage: the samples are 0 and 1 alone, or seem to be 12 bits in 16.
    """
    if largest == 1 and reduced:
        raise _ambiguous(511, colours=True)
    if largest == 1:
        raise NotAnImage(
            "the image has the samples 0 and 1 alone, of 255: send 255 for white, or numbers with fractions in [0, 1]",
            field="image",
        )
    if 0 < largest < _NEARLY_BLACK:
        if reduced:
            raise _ambiguous(256 * largest + 255, colours=True)
        assumptions.append(f"the image is nearly black: its largest sample is {largest} of 255")
    if largest == 0 and reduced:
        assumptions.append(
            "the image is black: its samples have 16 bits, and all are below 256 of 65535; if they are 8 bits or "
            "fewer in 16, scale them"
        )


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
