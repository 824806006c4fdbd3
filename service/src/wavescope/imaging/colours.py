"""Conversion of colours to sRGB, by the ICC profile or the gamma that a file carries."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from PIL import Image, ImageCms

MAX_PROFILE_BYTES: Final = 2**23  # profiles of printers have up to three million

_COLOUR_SPACE_TAG: Final = 0xA001
_EXIF_DIRECTORY: Final = 0x8769
_ADOBE_RGB, _UNCALIBRATED = 2, 0xFFFF
_SRGB_GAMMA: Final = 0.45455  # as encoders write it
_STEPS: Final = 17  # per channel, of the colours by which a profile is compared with sRGB
# Colour space of a profile, and the mode of the images that it describes.
_MODES: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
_PRIMARIES: Final = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}  # ITU-T H.273; 1 and 2 are sRGB's and none
_PROFILE_ERRORS: Final = (ImageCms.PyCMSError, OSError, ValueError, TypeError)
_TRANSFERS: Final = {16: "PQ", 18: "HLG"}


@dataclass(frozen=True, slots=True)
class ColourSpace:
    """Colour space that a file declares.

    Attributes:
        profile: ICC profile; ``None`` where there is none.
        gamma: exponent of a PNG by which samples were encoded; ``None`` for sRGB.
        assumptions: sentences about what is declared, but cannot be followed.
    """

    profile: bytes | None = None
    gamma: float | None = None
    assumptions: tuple[str, ...] = ()


def read_colour_space(image: Image.Image, data: bytes = b"", exif: Image.Exif | None = None) -> ColourSpace:
    """Read the colour space from an image's metadata.

    Args:
        image: image as it was opened.
        data: bytes of its file, for what Pillow does not read.
        exif: its EXIF data, if they may be read.
    """
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and profile:
        if len(profile) > MAX_PROFILE_BYTES:
            return ColourSpace(assumptions=(_ignored(f"has more than {MAX_PROFILE_BYTES} bytes"),))
        return ColourSpace(profile)
    coded = _read_code_points(data)
    if coded is not None:
        return ColourSpace(assumptions=(f"the image declares colours of {coded}, which are read as sRGB",))
    gamma = image.info.get("gamma")
    if image.format == "PNG" and "srgb" not in image.info and isinstance(gamma, float) and 0.05 < gamma < 5:
        return ColourSpace(gamma=None if abs(gamma / _SRGB_GAMMA - 1) < 0.05 else gamma)
    return ColourSpace(assumptions=_of_exif(exif))


def to_srgb(image: Image.Image, declared: ColourSpace, assumptions: list[str]) -> Image.Image:
    """Convert an image of 8 bits to sRGB: to mode ``L``, ``RGB`` or ``RGBA``.

    Profiles that differ from sRGB by at most one step of 8 bits leave the samples as they are.

    Args:
        image: image of any mode of 8 bits, without a palette.
        declared: its colour space.
        assumptions: sentences about what is assumed are appended.
    """
    alpha = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
    converted = _convert(image, declared, assumptions)
    if alpha is not None and not converted.mode.endswith("A"):
        converted = converted.convert("RGB")
        converted.putalpha(alpha)
    return converted


def _convert(image: Image.Image, declared: ColourSpace, assumptions: list[str]) -> Image.Image:
    assumptions.extend(declared.assumptions)
    if declared.profile is not None:
        converted = _apply_profile(image, declared.profile, assumptions)
        if converted is not None:
            return converted
    elif declared.gamma is not None and image.mode in ("L", "LA", "RGB", "RGBA"):
        bands = [band if band == "A" else None for band in image.getbands()]
        curve = _gamma_curve(declared.gamma)
        table = [value for band in bands for value in (range(256) if band else curve)]
        return image.point(table)
    elif image.mode == "CMYK":
        assumptions.append(
            "the image is CMYK without a colour profile: inks were taken for complements of sRGB"
        )
    return image if image.mode in ("L", "LA", "RGB", "RGBA") else image.convert("RGB")


def _apply_profile(image: Image.Image, profile: bytes, assumptions: list[str]) -> Image.Image | None:
    """Convert by a profile; ``None``, with a sentence, for one that cannot be followed."""
    found = _read_profile(profile)
    if found is None:
        assumptions.append(_ignored("is damaged, or of a kind that is not followed"))
        return None
    mode, changes = found
    if (
        mode == "L" and image.mode in ("RGB", "RGBA") and _is_grey(image)
    ):  # of palettes, and of grey with alpha
        image = image.getchannel("R")
    if not _describes(mode, image.mode):
        assumptions.append(_ignored(f"is one of {mode}, and the image is {image.mode}"))
        return None
    if not changes:
        return image if image.mode in ("L", "LA", "RGB", "RGBA") else image.convert("RGB")
    try:
        return ImageCms.applyTransform(image.convert(mode), _make_transform(profile, mode))
    except _PROFILE_ERRORS:
        assumptions.append(_ignored("is damaged, or of a kind that is not followed"))
        return None


def _describes(mode: str, image_mode: str) -> bool:
    """Whether a profile of a mode can describe an image of another; grey images often carry profiles of RGB."""
    if mode == "RGB":
        return image_mode not in ("CMYK", "LAB")
    return image_mode.removesuffix("A") == mode or (mode == "L" and image_mode == "1")


def _is_grey(image: Image.Image) -> bool:
    red, green, blue = (np.asarray(image.getchannel(band)) for band in "RGB")
    return bool((red == green).all() and (green == blue).all())


def changes_colours(profile: bytes) -> bool:
    """Whether an image of a profile is converted: it is readable, and not sRGB's to one step of 8 bits."""
    found = _read_profile(profile)
    return found is not None and found[1]


@lru_cache(maxsize=16)
def _read_profile(profile: bytes) -> tuple[str, bool] | None:
    """Mode of the images that a profile describes, and whether it differs from sRGB's; ``None`` for a damaged one."""
    mode = _MODES.get(profile[16:20].decode("latin-1").strip())
    if mode is None:
        return None
    steps = np.linspace(0, 255, _STEPS).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(_STEPS, -1, 3)
    try:
        transform = _make_transform(profile, mode)
        if mode != "RGB":
            return mode, True
        converted = np.asarray(ImageCms.applyTransform(Image.fromarray(colours), transform))
    except _PROFILE_ERRORS:
        return None
    return mode, int(np.abs(converted.astype(int) - colours).max()) > 1


def _make_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")


def _gamma_curve(gamma: float) -> list[int]:
    """Table from samples encoded by an exponent to sRGB's (IEC 61966-2-1)."""
    linear = (np.arange(256) / 255) ** (1 / gamma)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return [int(value) for value in np.rint(255 * encoded)]


def _read_code_points(data: bytes) -> str | None:
    """Name of wide or high-dynamic-range colours that a PNG or AVIF declares by code points, ``None`` for others."""
    if data.startswith(b"\x89PNG"):
        start, form = data.find(b"cICP", 0, max(0, data.find(b"IDAT"))), ">BB"
    elif data[4:8] == b"ftyp":
        start, form = data.find(b"nclx", 0, 2**16), ">HH"
    else:
        return None
    if start < 0 or start + 8 > len(data):
        return None
    primaries, transfer = struct.unpack_from(form, data, start + 4)
    named = [
        names[code] for names, code in ((_PRIMARIES, primaries), (_TRANSFERS, transfer)) if code in names
    ]
    return " ".join(named) or None


def _of_exif(exif: Image.Exif | None) -> tuple[str, ...]:
    space = None if exif is None else exif.get_ifd(_EXIF_DIRECTORY).get(_COLOUR_SPACE_TAG)
    if space == _ADOBE_RGB:
        return ("the image's EXIF declares Adobe RGB, but it has no colour profile: it was read as sRGB",)
    if space == _UNCALIBRATED:
        return (
            "the image's EXIF declares colours other than sRGB, but it has no colour profile: read as sRGB",
        )
    return ()


def _ignored(why: str) -> str:
    return f"the image's colour profile was ignored, because it {why}: it was read as sRGB"
