"""Cost estimate of decoding an image file, from its header.

A header of 829 bytes may declare 64 million pixels of JPEG 2000, which take ten seconds of CPU time. Decoders take time
per pixel, and entropy decoders per byte as well. ``bench/decoding.py`` measures both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from PIL import Image

from wavescope.errors import ImageTooLarge
from wavescope.imaging.colours import changes_colours
from wavescope.imaging.embedded_profiles import MAX_PROFILE_BYTES, embedded_profile
from wavescope.imaging.file_structure import count_jpeg_scans


@dataclass(frozen=True, slots=True)
class Rate:
    """Rate of a decoder in seconds of CPU time, with conversion, resizing and cropping.

    Attributes:
        per_megapixel: seconds per megapixel, whatever the content.
        per_megabyte: seconds per megabyte of the file.
    """

    per_megapixel: float
    per_megabyte: float


@dataclass(frozen=True, slots=True)
class DecodeCost:
    """Estimated cost of decoding an image.

    Attributes:
        seconds: CPU time in seconds.
        pixels: number of pixels that the header declares.
        in_subprocess: whether the image is to be decoded in a subprocess.
    """

    seconds: float
    pixels: int
    in_subprocess: bool


SUBPROCESS_S: Final = 0.4  # CPU time that a subprocess takes to start
SUBPROCESS_FROM_S: Final = 0.5  # images that take longer are decoded in one
# So are all images of the decoders that crashed most often on hostile files, of formats that are rare for photographs;
# of TIFF all compressions except PLAIN_TIFFS.
CRASH_PRONE: Final = frozenset({"JPEG2000"})
PLAIN_TIFFS: Final = frozenset({"raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate"})
# Measured and rounded up, for the most expensive common mode and layout of a format: bench/results/decoding.md.
RATES: Final[dict[str, Rate]] = {
    "PNG": Rate(0.030, 0.020),
    "JPEG": Rate(0.015, 0.020),
    "MPO": Rate(0.015, 0.020),  # a JPEG with more pictures behind it
    "WEBP": Rate(0.030, 0.040),
    "TIFF": Rate(0.030, 0.010),
    "GIF": Rate(0.020, 0.010),
    "BMP": Rate(0.015, 0.005),
    "PPM": Rate(0.015, 0.005),
    "JPEG2000": Rate(0.120, 0.220),
    "AVIF": Rate(0.040, 0.080),
}
_MOST_EXPENSIVE: Final = Rate(0.120, 0.220)
LZMA_TIFF: Final = Rate(0.045, 0.040)
RAW_TIFF: Final = Rate(0.030, 0.001)
SCAN_S: Final = (
    0.0008  # per megapixel, for every scan of a JPEG beyond the first, which visits all coefficients
)
LAB_S: Final = 0.060  # per megapixel of CIELAB, which is converted pixel by pixel
PROFILE_S: Final = 0.060  # per megapixel of colours that are converted to sRGB
ALPHA_S: Final = 0.020  # per megapixel of transparency, which is laid over white
DEEP_S: Final = 0.025  # per megapixel of a PNG of 16 bits per sample, whose rows are twice as long
_WITH_ALPHA: Final = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_TIFFS: Final = {"raw": RAW_TIFF, "lzma": LZMA_TIFF}


def check_cost(image: Image.Image, data: bytes, max_decode_s: float) -> DecodeCost:
    """Estimate the cost of decoding an image and converting it to 8 bits, and check it; nothing is decoded.

    Args:
        image: image opened from the data, not loaded.
        data: bytes of the file.
        max_decode_s: largest CPU time, in seconds.

    Raises:
        ImageTooLarge: decoding would take longer.
    """
    per_megapixel = _per_megapixel(image, data)
    entropy_s = len(data) / 1e6 * _rate(image).per_megabyte
    seconds = image.width * image.height / 1e6 * per_megapixel + entropy_s
    if seconds > max_decode_s:
        pixels = math.floor(max(0.0, max_decode_s - entropy_s) / per_megapixel * 1e6)
        smaller = f"send it with at most {pixels} pixels, or" if pixels else "send it"
        raise ImageTooLarge(
            f"decoding the image, {image.format} of {image.width}x{image.height} pixels in {len(data)} bytes, would "
            f"take about {seconds:.1f} s of a processor; at most {max_decode_s:g} s are spent: {smaller} as a "
            "baseline JPEG",
            field="image",
            max_decode_s=max_decode_s,
            width=image.width,
            height=image.height,
            format=image.format,
        )
    in_subprocess = seconds > SUBPROCESS_FROM_S or _is_crash_prone(image)
    return DecodeCost(seconds, image.width * image.height, in_subprocess=in_subprocess)


def _is_crash_prone(image: Image.Image) -> bool:
    if image.format == "TIFF":
        return image.info.get("compression", "raw") not in PLAIN_TIFFS
    return image.format in CRASH_PRONE


def _rate(image: Image.Image) -> Rate:
    rate = RATES.get(image.format or "", _MOST_EXPENSIVE)
    return _TIFFS.get(image.info.get("compression", ""), rate) if image.format == "TIFF" else rate


def _per_megapixel(image: Image.Image, data: bytes) -> float:
    seconds = _rate(image).per_megapixel
    if image.format == "JPEG2000":
        seconds *= max(1, len(image.getbands())) / 3  # every channel is transformed by itself
    elif image.format in ("JPEG", "MPO"):
        seconds += SCAN_S * max(0, count_jpeg_scans(data) - 1)
    elif image.format == "PNG" and any(";16" in str(tile[-1]) for tile in getattr(image, "tile", ())):
        seconds += DEEP_S
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        seconds += ALPHA_S
    if image.mode == "LAB":
        seconds += LAB_S
    profile = embedded_profile(image, data)
    if profile is not None and len(profile) <= MAX_PROFILE_BYTES and changes_colours(profile):
        seconds += PROFILE_S
    return seconds
