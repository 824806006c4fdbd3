"""Colours that files declare where Pillow does not look, or that cannot be followed: converted or told."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin
from tests.imaging.profiles import expected_srgb, matrix_profile
from tests.imaging.test_colours import chunked, muted
from tests.imaging.test_decode import ORIENTATION, WHOLE, encoded, noise, pixels
from tests.imaging.test_sample_range import LIGHT

from wavescope.errors import NotAnImage
from wavescope.imaging.decode import decode, estimate_decode_cost, prepare
from wavescope.imaging.decode_cost import PROFILE_S
from wavescope.imaging.embedded_profiles import MAX_PROFILE_BYTES
from wavescope.imaging.file_structure import MAX_EXIF_BYTES

PROFILE = matrix_profile("ProPhoto RGB")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def png(array: np.ndarray, **chunks: bytes) -> bytes:
    data = encoded(Image.fromarray(array), "PNG")
    for name, content in reversed(chunks.items()):
        data = chunked(data, name.encode(), content)
    return data


def icc(profile: bytes) -> bytes:
    return b"profile\0\0" + zlib.compress(profile)


def jp2(array: np.ndarray, colours: bytes) -> bytes:
    """A JPEG 2000 file with another description of its colours."""
    data = encoded(Image.fromarray(array), "JPEG2000")
    at, header = data.index(b"colr") - 4, data.index(b"jp2h") - 4
    length = int.from_bytes(data[at : at + 4], "big")
    box = struct.pack(">I4s", 8 + len(colours), b"colr") + colours
    (whole,) = struct.unpack_from(">I", data, header)
    data = data[:at] + box + data[at + length :]
    return data[:header] + struct.pack(">I", whole + len(box) - length) + data[header + 4 :]


def bmp(array: np.ndarray, profile: bytes) -> bytes:
    """A BMP of version 5 with a profile."""
    rows = array[::-1, :, ::-1].tobytes()
    head = struct.pack("<IiiHHIIiiII", 124, 40, 24, 1, 24, 0, len(rows), 0, 0, 0, 0).ljust(56, b"\0")
    head += struct.pack("<4s48xIIII", b"DEBM", 4, 124 + len(rows), len(profile), 0)
    return b"BM" + struct.pack("<IHHI", 138 + len(rows) + len(profile), 0, 0, 138) + head + rows + profile


def gif(profile: bytes) -> bytes:
    """A GIF of one colour with a profile."""
    image = Image.new("P", (40, 24))
    image.putpalette([110, 120, 130])
    data = encoded(image, "GIF")
    parts = [profile[at : at + 255] for at in range(0, len(profile), 255)]
    blocks = b"".join(bytes([len(part)]) + part for part in parts)
    table = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    return data[:table] + b"\x21\xff\x0bICCRGBG1012" + blocks + b"\0" + data[table:]


def found_everywhere(data: bytes) -> Any:
    """The picture of a file, which is that of the image that Pillow opens."""
    found = decode(data, WHOLE)
    image = prepare(Image.open(io.BytesIO(data)), WHOLE)
    np.testing.assert_array_equal(image.pixels, found.pixels)
    assert image.assumptions == found.assumptions
    return found


@pytest.mark.parametrize(
    "data",
    [
        jp2(muted(), b"\x02\0\0" + PROFILE),
        jp2(muted(), b"\x03\0\0" + PROFILE),
        bmp(muted(), PROFILE),
    ],
    ids=["restricted", "any", "bmp"],
)
def test_a_profile_that_pillow_does_not_look_for_is_followed(data: bytes) -> None:
    found = found_everywhere(data)
    np.testing.assert_allclose(pixels(found), expected_srgb(muted(), "ProPhoto RGB"), atol=1.5)
    assert found.assumptions == ()
    plain = encoded(Image.fromarray(muted()), "BMP")
    if data.startswith(b"BM"):
        more = estimate_decode_cost(data).seconds - estimate_decode_cost(plain).seconds
        assert more == pytest.approx(960e-6 * PROFILE_S, rel=0.5)


def test_a_profile_of_a_gif_is_followed() -> None:
    expected = expected_srgb(np.array([[110, 120, 130]]), "ProPhoto RGB")[0]
    found = pixels(found_everywhere(gif(PROFILE)))
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1.5)
    assert "is damaged" in found_everywhere(gif(PROFILE[:99])).assumptions[0]


@pytest.mark.parametrize(
    ("space", "name"), [(20, "e-sRGB"), (21, "ROMM RGB"), (99, "the enumerated space 99")]
)
def test_other_spaces_of_jpeg_2000_are_told(space: int, name: str) -> None:
    found = found_everywhere(jp2(noise(), struct.pack(">3BI", 1, 0, 0, space)))
    assert found.assumptions == (f"the image declares colours of {name}, which are read as sRGB",)
    assert found_everywhere(jp2(noise(), struct.pack(">3BI", 1, 0, 0, 16))).assumptions == ()


def test_jpeg_2000_of_cielab_is_refused() -> None:
    with pytest.raises(NotAnImage, match="of CIELAB colours, which is not read: convert it to sRGB"):
        decode(jp2(noise(), struct.pack(">3BI", 1, 0, 0, 14)), WHOLE)


def test_a_profile_of_a_jpeg_that_lacks_a_part_is_told() -> None:
    part = b"ICC_PROFILE\0\x01\x02" + PROFILE
    plain = encoded(Image.fromarray(noise()), "JPEG")
    data = plain[:2] + b"\xff\xe2" + struct.pack(">H", len(part) + 2) + part + plain[2:]
    assert "because it is incomplete or damaged" in found_everywhere(data).assumptions[0]


@pytest.mark.parametrize(
    ("points", "name"),
    [
        ((9, 8), "BT.2020 linear light"),
        ((5, 13), r"BT.601 (625 lines)"),
        ((6, 13), r"BT.601 (525 lines)"),
        ((12, 13), "Display P3"),
    ],
)
def test_code_points_of_other_colours_are_told(points: tuple[int, int], name: str) -> None:
    found = found_everywhere(png(noise(), cICP=bytes([*points, 0, 1])))
    assert found.assumptions == (f"the image declares colours of {name}, which are read as sRGB",)


def test_code_points_of_a_narrow_range_are_told() -> None:
    found = found_everywhere(png(noise(), cICP=bytes([1, 13, 0, 0])))
    assert found.assumptions == ("the image declares colours of narrow range, which are read as sRGB",)


def test_linear_light_by_code_points_is_converted() -> None:
    linear = found_everywhere(png(noise(), cICP=bytes([1, 8, 0, 1])))
    gamma = found_everywhere(png(noise(), gAMA=struct.pack(">I", 100_000)))
    np.testing.assert_array_equal(linear.pixels, gamma.pixels)
    assert linear.assumptions == ()


def test_code_points_go_before_a_profile() -> None:
    found = found_everywhere(png(muted(), iCCP=icc(PROFILE), cICP=bytes([1, 13, 0, 1])))
    np.testing.assert_allclose(pixels(found), muted(), atol=1e-4)
    assert found.assumptions == ()
    found = found_everywhere(png(muted(), iCCP=icc(PROFILE), cICP=bytes([9, 16, 0, 1])))
    np.testing.assert_allclose(pixels(found), expected_srgb(muted(), "ProPhoto RGB"), atol=1.5)
    assert found.assumptions == (
        "the image declares colours of BT.2020 PQ: its colour profile was followed in their place",
    )


def test_a_text_about_code_points_is_none() -> None:
    assert found_everywhere(png(noise(), tEXt=b"Comment\0cICP\x09\x10\0\x01")).assumptions == ()


def chromaticities(*numbers: float) -> bytes:
    return struct.pack(">8I", *(round(number * 100_000) for number in numbers))


def test_primaries_of_a_png_are_told_unless_they_are_srgbs() -> None:
    adobe = chromaticities(0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
    said = ("the image declares primaries other than sRGB's, which are read as sRGB",)
    assert found_everywhere(png(noise(), cHRM=adobe)).assumptions == said
    linear = found_everywhere(png(noise(), gAMA=struct.pack(">I", 100_000), cHRM=adobe))
    assert linear.assumptions == said
    assert linear.pixels.mean() > found_everywhere(png(noise())).pixels.mean() + 0.1
    same = chromaticities(0.31269, 0.32899, 0.63999, 0.33001, 0.3, 0.6, 0.15, 0.05999)
    for chunks in (
        {"cHRM": same},
        {"cHRM": bytes(32)},
        {"sRGB": b"\0", "cHRM": adobe},
        {"iCCP": icc(SRGB), "cHRM": adobe},
    ):
        assert found_everywhere(png(noise(), **chunks)).assumptions == ()


def test_primaries_of_a_tiff_are_told_unless_they_are_srgbs() -> None:
    adobe, srgb = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06), (0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
    said = ("the image declares primaries other than sRGB's, which are read as sRGB",)
    for primaries, expected in ((adobe, said), (srgb, ())):
        data = encoded(Image.fromarray(noise()), "TIFF", tiffinfo={319: primaries})
        assert found_everywhere(data).assumptions == expected


def test_a_profile_of_a_png_of_more_than_a_mebibyte_is_followed() -> None:
    long = PROFILE + bytes(PngImagePlugin.MAX_TEXT_CHUNK)
    found = decode(png(muted(), iCCP=icc(long)), WHOLE)
    np.testing.assert_allclose(pixels(found), expected_srgb(muted(), "ProPhoto RGB"), atol=1.5)
    found = decode(png(muted(), iCCP=icc(bytes(2**26))), WHOLE)
    np.testing.assert_allclose(pixels(found), muted(), atol=1e-4)
    assert f"because it has more than {MAX_PROFILE_BYTES} bytes" in found.assumptions[0]


def grey_profile() -> bytes:
    """The profile of a grey space of exponent 1, by changing one of colours."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, 256) + b"\0\0"
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(number * 65536) for number in (0.9642, 1.0, 0.8249)))
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(78)
    text += bytes(-len(text) % 4)
    parts = {b"desc": text, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": white, b"kTRC": curve}
    table, body, at = struct.pack(">I", len(parts)), b"", 128 + 4 + 12 * len(parts)
    for tag, content in parts.items():
        table += tag + struct.pack(">II", at + len(body), len(content))
        body += content
    size = struct.pack(">I", at + len(body))
    return size + PROFILE[4:16] + b"GRAY" + PROFILE[20:128] + table + body


def test_a_profile_of_grey_is_followed_with_alpha_and_palettes() -> None:
    values = np.maximum(LIGHT, 64)  # littleCMS has few steps for dark grey
    linear = values / 255
    expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    grey = Image.fromarray(values)
    transparent = grey.convert("LA")
    transparent.putpixel((0, 0), (int(values[0, 0]), 0))
    palette = grey.convert("P")
    for image in (grey, transparent, palette):
        found = decode(encoded(image, "PNG", icc_profile=grey_profile()), WHOLE)
        shown = found.pixels[0] * 255
        np.testing.assert_allclose(shown.ravel()[1:], expected.ravel()[1:], atol=1.5)
        assert not any("profile" in said for said in found.assumptions)


def test_exif_that_is_too_long_to_be_read_is_told() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010E] = "x" * MAX_EXIF_BYTES
    found = decode(encoded(Image.fromarray(noise()), "PNG", exif=exif), WHOLE)
    np.testing.assert_allclose(pixels(found), noise(), atol=1e-4)
    assert "EXIF data have more than" in found.assumptions[0]
