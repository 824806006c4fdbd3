"""Conversion of colours to sRGB, by the ICC profile or the gamma that a file carries."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from PIL import Image, ImageCms, TiffImagePlugin

from wavescope.imaging.embedded_profiles import MAX_PROFILE_BYTES, embedded_profile
from wavescope.imaging.file_parts import PNG_SIGNATURE, jp2_header, png_chunk

_COLOUR_SPACE_TAG: Final = 0xA001
_EXIF_DIRECTORY: Final = 0x8769
_ADOBE_RGB, _UNCALIBRATED = 2, 0xFFFF
_SRGB_GAMMA: Final = 0.45455  # as encoders write it
_STEPS: Final = 17  # per channel, of the colours by which a profile is compared with sRGB
# Colour space of a profile, and the mode of the images that it describes.
_MODES: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
# Names of code points of ITU-T H.273 that are not sRGB's; 2 is for unknown.
_PRIMARIES: Final = {
    4: "BT.470 M",
    5: "BT.601 (625 lines)",
    6: "BT.601 (525 lines)",
    7: "SMPTE 240M",
    8: "film",
    9: "BT.2020",
    10: "XYZ",
    11: "DCI-P3",
    12: "Display P3",
    22: "EBU 3213",
}
_TRANSFERS: Final = {
    4: "gamma 2.2",
    5: "gamma 2.8",
    7: "SMPTE 240M",
    8: "linear light",
    9: "a logarithm",
    10: "a logarithm",
    16: "PQ",
    17: "SMPTE 428",
    18: "HLG",
}
_GAMMAS: Final = {4: 1 / 2.2, 5: 1 / 2.8, 8: 1.0}
_SRGB_PRIMARY, _SRGB_TRANSFERS = 1, (1, 6, 13, 14, 15)
_UNKNOWN: Final = 2
_SRGB_WHITE: Final = (0.3127, 0.3290)
_SRGB_PRIMARIES: Final = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_PRIMARIES_TAG: Final = 319
_SAME: Final = 0.005  # of chromaticities, as encoders round them
_OTHER_PRIMARIES: Final = "primaries other than sRGB's"
# Enumerated colour spaces of JPEG 2000: two levels, sRGB, grey, sYCC and CMYK, which Pillow follows, and others.
_KNOWN_SPACES: Final = (0, 12, 15, 16, 17, 18)
_NAMED_SPACES: Final = {11: "CMY", 13: "YCCK", 20: "e-sRGB", 21: "ROMM RGB", 24: "e-sYCC"}
_PROFILE_ERRORS: Final = (ImageCms.PyCMSError, OSError, ValueError, TypeError)


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


@dataclass(frozen=True, slots=True)
class CodePoints:
    """Code points of ITU-T H.273 for the colours of an image.

    Attributes:
        primaries: code point of the primaries.
        transfer: code point of the transfer function.
        narrow: whether black is 16 and white 235.
    """

    primaries: int
    transfer: int
    narrow: bool = False

    @property
    def is_srgb(self) -> bool:
        return self.primaries == _SRGB_PRIMARY and self.transfer in _SRGB_TRANSFERS and not self.narrow

    @property
    def gamma(self) -> float | None:
        """Exponent by which sRGB's primaries are encoded; ``None`` for other curves and primaries."""
        plain = self.primaries in (_SRGB_PRIMARY, _UNKNOWN) and not self.narrow
        return _GAMMAS.get(self.transfer) if plain else None

    @property
    def name(self) -> str:
        """Name of the colours that are not sRGB's; empty where there are none."""
        names = [
            _PRIMARIES.get(self.primaries),
            _TRANSFERS.get(self.transfer),
            "narrow range" if self.narrow else None,
        ]
        return " ".join(name for name in names if name is not None)


def read_colour_space(image: Image.Image, data: bytes = b"", exif: Image.Exif | None = None) -> ColourSpace:
    """Read the colour space from an image's metadata.

    Args:
        image: image as it was opened.
        data: bytes of its file, for what Pillow does not read.
        exif: its EXIF data, if they may be read.
    """
    profile = embedded_profile(image, data)
    coded = _read_code_points(data)
    if image.format == "PNG" and coded is not None and coded.is_srgb:
        return ColourSpace()  # goes before a profile (PNG 3, 4.3)
    if profile is not None:
        if len(profile) > MAX_PROFILE_BYTES:
            return ColourSpace(assumptions=(_ignored(f"has more than {MAX_PROFILE_BYTES} bytes"),))
        if image.format == "PNG" and coded is not None and coded.name:
            said = (
                f"the image declares colours of {coded.name}: its colour profile was followed in their place"
            )
            return ColourSpace(profile, assumptions=(said,))
        return ColourSpace(profile)
    if image.format is not None and "icc_profile" in image.info:
        return ColourSpace(assumptions=(_ignored("is incomplete or damaged"),))
    if coded is not None and coded.gamma is not None:
        return ColourSpace(gamma=coded.gamma)
    if coded is not None and coded.name:
        return ColourSpace(assumptions=(_as_srgb(f"colours of {coded.name}"),))
    if image.format == "PNG" and "srgb" not in image.info:
        return _read_png_colours(image, exif)
    if image.format == "JPEG2000":
        return ColourSpace(assumptions=_of_jpeg2000(data))
    primaries = image.tag_v2.get(_PRIMARIES_TAG) if isinstance(image, TiffImagePlugin.TiffImageFile) else None
    if _differ_from_srgb(primaries, _SRGB_PRIMARIES):
        return ColourSpace(assumptions=(_as_srgb(_OTHER_PRIMARIES),))
    return ColourSpace(assumptions=_of_exif(exif))


def _read_png_colours(image: Image.Image, exif: Image.Exif | None) -> ColourSpace:
    """Read the gamma and the primaries of a PNG, or else what its EXIF data say."""
    gamma = image.info.get("gamma")
    other = _differ_from_srgb(image.info.get("chromaticity"), _SRGB_WHITE + _SRGB_PRIMARIES)
    primaries = (_as_srgb(_OTHER_PRIMARIES),) if other else ()
    if isinstance(gamma, float) and 0.05 < gamma < 5:
        curve = None if abs(gamma / _SRGB_GAMMA - 1) < 0.05 else gamma
        return ColourSpace(gamma=curve, assumptions=primaries)
    return ColourSpace(assumptions=primaries or _of_exif(exif))


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


def _read_code_points(data: bytes) -> CodePoints | None:
    """Code points of the colours of a PNG or AVIF (ITU-T H.273); ``None`` where there are none."""
    if data.startswith(PNG_SIGNATURE):
        content = png_chunk(data, b"cICP") or b""
        if len(content) < 4:
            return None
        return CodePoints(content[0], content[1], narrow=content[3] == 0)
    start = data.find(b"colrnclx", 0, 2**16) if data[4:8] == b"ftyp" else -1
    if start < 0 or start + 12 > len(data):
        return None
    return CodePoints(*struct.unpack_from(">HH", data, start + 8))


def _differ_from_srgb(declared: object, expected: tuple[float, ...]) -> bool:
    """Whether chromaticities are declared, make sense, and are not sRGB's."""
    if not isinstance(declared, tuple) or len(declared) != len(expected):
        return False
    try:
        numbers = [float(number) for number in declared]
    except (TypeError, ValueError, ArithmeticError):
        return False
    if not all(0 < number < 1 for number in numbers[1::2]):  # nothing is declared by zeros
        return False
    return any(abs(one - other) > _SAME for one, other in zip(numbers, expected, strict=True))


def _of_jpeg2000(data: bytes) -> tuple[str, ...]:
    spaces = [
        int.from_bytes(box[3:7], "big")
        for name, box in jp2_header(data)
        if name == b"colr" and box[:1] == b"\x01"
    ]
    if not spaces or any(space in _KNOWN_SPACES for space in spaces):
        return ()
    name = _NAMED_SPACES.get(spaces[0], f"the enumerated space {spaces[0]}")
    return (_as_srgb(f"colours of {name}"),)


def _of_exif(exif: Image.Exif | None) -> tuple[str, ...]:
    space = None if exif is None else exif.get_ifd(_EXIF_DIRECTORY).get(_COLOUR_SPACE_TAG)
    if space == _ADOBE_RGB:
        return ("the image's EXIF declares Adobe RGB, but it has no colour profile: it was read as sRGB",)
    if space == _UNCALIBRATED:
        return (
            "the image's EXIF declares colours other than sRGB, but it has no colour profile: read as sRGB",
        )
    return ()


def _as_srgb(what: str) -> str:
    return f"the image declares {what}, which are read as sRGB"


def _ignored(why: str) -> str:
    return f"the image's colour profile was ignored, because it {why}: it was read as sRGB"
