"""Colours: profiles, gamma and code points of a file, against littleCMS on known colours and closed forms."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from tests.imaging.profiles import SPACES, expected_srgb, matrix_profile
from tests.imaging.test_decode import GREY, WHOLE, encoded, noise, pixels

from wavescope.imaging.decode import decode, estimate_decode_cost, prepare
from wavescope.imaging.decode_cost import PROFILE_S
from wavescope.imaging.embedded_profiles import MAX_PROFILE_BYTES


def muted() -> np.ndarray:
    """Colours that sRGB has too, however wide the space."""
    return (noise() * 0.2 + 100).astype(np.uint8)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_a_profile_of_another_space_is_converted_to_srgb(form: str, name: str) -> None:
    options: dict[str, Any] = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(
        form, {}
    )
    data = encoded(Image.fromarray(muted()), form, icc_profile=matrix_profile(name), **options)
    found = decode(data, WHOLE)
    off = np.abs(pixels(found) - expected_srgb(muted(), name))
    assert off.mean() < 1.5 if form == "JPEG" else off.max() < 1.5
    assert np.abs(pixels(found) - muted()).max() > 5  # the profile matters
    assert found.assumptions == ()


def test_a_pil_image_is_converted_as_its_file_is() -> None:
    data = encoded(Image.fromarray(muted()), "PNG", icc_profile=matrix_profile("ProPhoto RGB"))
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(prepare(image, WHOLE).pixels, decode(data, WHOLE).pixels)
        np.testing.assert_array_equal(prepare(image, GREY).pixels, decode(data, GREY).pixels)


def test_an_srgb_profile_leaves_every_pixel() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = decode(encoded(Image.fromarray(noise()), "PNG", icc_profile=profile), WHOLE)
    np.testing.assert_array_equal(found.pixels, noise().transpose(2, 0, 1).astype(np.float32) / 255)
    assert found.assumptions == ()


def test_alpha_and_palettes_keep_their_places_beside_a_profile() -> None:
    profile = matrix_profile("ProPhoto RGB")
    array = np.dstack([muted(), np.full((24, 40), 255, np.uint8)])
    array[:12, :, 3] = 0
    found = pixels(decode(encoded(Image.fromarray(array), "PNG", icc_profile=profile), WHOLE))
    np.testing.assert_allclose(found[:12], 255, atol=1e-4)
    np.testing.assert_allclose(found[12:], expected_srgb(muted(), "ProPhoto RGB")[12:], atol=1.5)
    flat = Image.new("P", (40, 24), 0)
    flat.putpalette([110, 120, 130])
    found = pixels(decode(encoded(flat, "PNG", icc_profile=profile), WHOLE))
    expected = expected_srgb(np.array([[110, 120, 130]]), "ProPhoto RGB")[0]
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1.5)


def test_a_lab_image_shows_its_colours() -> None:
    image = Image.new("RGB", (40, 24), (200, 60, 30))
    lab = ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    lab.info.pop("icc_profile", None)
    found = pixels(decode(encoded(lab, "TIFF"), WHOLE))
    np.testing.assert_allclose(found, np.broadcast_to([200, 60, 30], found.shape), atol=4)


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        (b"no profile", "is damaged"),
        (matrix_profile("Adobe RGB")[:200], "is damaged"),
        (b"\0" * (MAX_PROFILE_BYTES + 1), "has more than"),
    ],
)
def test_a_profile_that_cannot_be_followed_is_told(profile: bytes, why: str) -> None:
    found = decode(encoded(Image.fromarray(noise()), "TIFF", icc_profile=profile), WHOLE)
    np.testing.assert_allclose(pixels(found), noise(), atol=1e-4)
    assert len(found.assumptions) == 1
    assert why in found.assumptions[0]


def test_a_profile_of_another_kind_of_image_is_told() -> None:
    image = Image.new("RGB", (40, 24), (200, 60, 30)).convert("CMYK")
    found = decode(encoded(image, "TIFF", icc_profile=matrix_profile("Adobe RGB")), WHOLE)
    assert "is one of RGB, and the image is CMYK" in found.assumptions[0]


def test_cmyk_without_a_profile_is_told() -> None:
    image = Image.new("RGB", (40, 24), (200, 60, 30)).convert("CMYK")
    found = decode(encoded(image, "TIFF"), WHOLE)
    assert found.assumptions == (
        "the image is CMYK without a colour profile: inks were taken for complements of sRGB",
    )


def chunked(data: bytes, name: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return data[:33] + chunk + data[33:]


def test_the_gamma_of_a_png_is_followed() -> None:
    data = chunked(encoded(Image.fromarray(noise()), "PNG"), b"gAMA", struct.pack(">I", 100_000))  # linear
    linear = noise() / 255
    expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(pixels(decode(data, WHOLE)), np.rint(expected), atol=1e-4)


@pytest.mark.parametrize("gamma", [45455, 0])
def test_the_gamma_of_srgb_and_one_that_makes_no_sense_leave_every_pixel(gamma: int) -> None:
    data = chunked(encoded(Image.fromarray(noise()), "PNG"), b"gAMA", struct.pack(">I", gamma))
    np.testing.assert_allclose(pixels(decode(data, WHOLE)), noise(), atol=1e-4)


def test_colours_of_high_dynamic_range_are_told() -> None:
    data = chunked(encoded(Image.fromarray(noise()), "PNG"), b"cICP", bytes([9, 16, 0, 1]))
    assert decode(data, WHOLE).assumptions == (
        "the image declares colours of BT.2020 PQ, which are read as sRGB",
    )
    plain = chunked(encoded(Image.fromarray(noise()), "PNG"), b"cICP", bytes([1, 13, 0, 1]))
    assert decode(plain, WHOLE).assumptions == ()


def test_exif_of_another_space_without_its_profile_is_told(chelsea: Image.Image) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 2
    found = decode(encoded(chelsea, "JPEG", exif=exif), WHOLE)
    assert "EXIF declares Adobe RGB" in found.assumptions[0]


def test_a_prophoto_photograph_looks_as_it_did(chelsea: Image.Image) -> None:
    """The photograph, converted to ProPhoto by littleCMS, comes back."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(matrix_profile("ProPhoto RGB")))
    wide = ImageCms.profileToProfile(chelsea, ImageCms.createProfile("sRGB"), profile)
    assert wide is not None
    found = prepare(wide, WHOLE).pixels
    assert np.abs(found - prepare(chelsea, WHOLE).pixels).mean() < 0.005
    wide.info.pop("icc_profile", None)
    assert np.abs(prepare(wide, WHOLE).pixels - prepare(chelsea, WHOLE).pixels).mean() > 0.03


def test_converting_colours_is_part_of_what_decoding_costs() -> None:
    image = Image.fromarray(noise(800, 1000))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain, same, wide = (
        estimate_decode_cost(encoded(image, "TIFF", icc_profile=profile)).seconds
        for profile in (None, srgb, matrix_profile("ProPhoto RGB"))
    )
    assert same == pytest.approx(plain, rel=0.01)
    assert wide == pytest.approx(plain + 0.8 * PROFILE_S, rel=0.01)
