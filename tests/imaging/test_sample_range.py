"""Which number is white: every dtype and mode, with metadata and without them."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.imaging.test_decode import GREY, WHOLE, encoded, noise, pixels, png

from wavescope.engine.types import Picture
from wavescope.errors import InvalidRequest, NotAnImage
from wavescope.imaging.decode import decode, prepare
from wavescope.imaging.subprocess_decoder import _decode_outcome, encode_outcome

LIGHT = noise(channels=1).reshape(24, 40)  # 8 bits
MAX_SAMPLE_VALUE = 281


def packed_tiff(values: np.ndarray, *, bits: int, photometric: int = 1, sample_format: int = 1) -> bytes:
    """A TIFF of one strip, written by hand: Pillow writes neither 12 bits nor 16 bits of which 0 is white."""
    height, width = values.shape
    if bits == 12:
        wide = values.reshape(-1, 2).astype(np.uint32)
        packed = np.stack(
            [wide[:, 0] >> 4, ((wide[:, 0] & 15) << 4) | (wide[:, 1] >> 8), wide[:, 1] & 255], axis=-1
        )
        strip = packed.astype(np.uint8).tobytes()
    else:
        strip = values.tobytes()
    entries = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, len(strip)),
        (339, 3, sample_format),
    ]
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    head = b"II*\x00" + struct.pack("<I", 8 + len(strip))
    return head + strip + struct.pack("<H", len(entries)) + directory + struct.pack("<I", 0)


def shown(picture: Picture) -> np.ndarray:
    """(h, w) of an image that is grey, in 0..255."""
    return pixels(picture)[:, :, 0]


def test_a_tiff_of_int32_that_holds_8_bits_shows_the_same_as_8_bits() -> None:
    found = decode(encoded(Image.fromarray(LIGHT.astype(np.int32)), "TIFF"), WHOLE)
    np.testing.assert_allclose(shown(found), LIGHT, atol=1e-4)
    assert found.assumptions == (
        f"the image has integer samples of no declared range, {LIGHT.min()} to {LIGHT.max()}: 255 was taken for white",
    )


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint32, np.uint64])
def test_an_array_of_other_integers_shows_what_a_file_of_them_shows(dtype: Any) -> None:
    values = np.minimum(LIGHT, 127) if dtype == np.int8 else LIGHT
    found = prepare(values.astype(dtype), WHOLE)
    np.testing.assert_allclose(shown(found), values, atol=1e-4)
    assert "255 was taken for white" in found.assumptions[0]


def test_integers_of_16_bits_in_32_are_16_bits() -> None:
    values = LIGHT.astype(np.int32) * 257
    for found in (decode(encoded(Image.fromarray(values), "TIFF"), WHOLE), prepare(values, WHOLE)):
        np.testing.assert_allclose(shown(found), LIGHT, atol=1e-4)
        assert "65535 was taken for white" in found.assumptions[0]


def test_12_bits_that_a_tiff_declares_reach_white() -> None:
    values = (LIGHT.astype(np.uint16) << 4) | (LIGHT >> 4)  # 0..4095
    found = decode(packed_tiff(values, bits=12), WHOLE)
    np.testing.assert_allclose(shown(found), LIGHT, atol=0.51)
    assert found.assumptions == ()


def test_12_bits_in_16_are_refused_unless_the_tiff_says_so() -> None:
    values = (LIGHT.astype(np.uint16) << 4) | (LIGHT >> 4)
    image = Image.fromarray(values)
    for name in ("PNG", "TIFF"):
        with pytest.raises(NotAnImage, match="12 bits or fewer in 16, or the image is nearly black"):
            decode(encoded(image, name), WHOLE)
    with pytest.raises(InvalidRequest, match="12 bits or fewer in 16"):
        prepare(values, WHOLE)
    found = decode(encoded(image, "TIFF", tiffinfo={MAX_SAMPLE_VALUE: 4095}), WHOLE)
    np.testing.assert_allclose(shown(found), LIGHT, atol=0.51)
    assert found.assumptions == (
        "the image has 16-bit samples and MaxSampleValue 4095: this was taken for white",
    )


def test_12_bits_in_16_of_a_colour_file_are_refused() -> None:
    values = (noise().astype(np.uint16) << 4).astype(">u2")
    rows = b"".join(b"\x00" + row.tobytes() for row in values)
    with pytest.raises(NotAnImage, match="12 bits or fewer in 16"):
        decode(png(40, 24, rows, depth=16, colour=2), WHOLE)


def test_14_bits_in_16_are_told() -> None:
    values = LIGHT.astype(np.uint16) << 6
    found = decode(encoded(Image.fromarray(values), "PNG"), WHOLE)
    np.testing.assert_allclose(shown(found), np.rint(values / 257), atol=1e-4)
    assert "65535 was taken for white" in found.assumptions[0]


@pytest.mark.parametrize("bits", [16, 32])
def test_a_tiff_whose_zero_is_white_is_inverted(bits: int) -> None:
    if bits == 16:
        data = packed_tiff(65535 - LIGHT.astype(np.uint16) * 257, bits=16, photometric=0)
    else:
        values = (1 - LIGHT / 255).astype(np.float32)
        data = packed_tiff(values, bits=32, photometric=0, sample_format=3)
    np.testing.assert_allclose(shown(decode(data, WHOLE)), LIGHT, atol=1e-4)


@pytest.mark.parametrize("bits", [8, 16])
def test_signed_samples_below_zero_are_refused(bits: int) -> None:
    values = (LIGHT.astype(np.int16) - 128) if bits == 16 else LIGHT.astype(np.int32) - 128
    data = encoded(Image.fromarray(values.astype(np.int32)), "TIFF")
    if bits == 16:
        data = packed_tiff(values, bits=16, sample_format=2)
    with pytest.raises(NotAnImage, match="integer samples from -128 to 127: give 0 to 255"):
        decode(data, WHOLE)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_integers_0_and_1_are_refused(dtype: Any) -> None:
    with pytest.raises(InvalidRequest, match="0 and 1 alone"):
        prepare((LIGHT > 99).astype(dtype), WHOLE)
    with pytest.raises(NotAnImage, match="0 and 1 alone"):
        decode(encoded(Image.fromarray((LIGHT > 99).astype(np.uint8)), "PNG"), WHOLE)


def test_floats_divided_twice_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="divided by 255 twice"):
        prepare(noise() / 255 / 255, WHOLE)


def test_floats_that_were_normalised_are_refused_with_their_range() -> None:
    with pytest.raises(InvalidRequest, match=r"from -2 to .* before mean and std are applied"):
        prepare((noise() / 255 - 0.5) / 0.25, WHOLE)


@pytest.mark.parametrize("value", [2, 15])
def test_an_image_that_is_nearly_black_is_told(value: int) -> None:
    found = prepare(np.full((24, 40, 3), value, np.uint8), WHOLE)
    assert found.assumptions == (f"the image is nearly black: its largest sample is {value} of 255",)


@pytest.mark.parametrize("array", [np.zeros((24, 40), np.uint8), np.zeros((24, 40)), np.zeros((24, 40), int)])
def test_black_is_black_in_every_type(array: np.ndarray) -> None:
    np.testing.assert_array_equal(prepare(array, WHOLE).pixels, 0)


def test_ordinary_images_are_taken_without_a_word(chelsea: Image.Image) -> None:
    for name in ("PNG", "JPEG", "TIFF", "WEBP"):
        assert decode(encoded(chelsea, name), WHOLE).assumptions == ()
    assert prepare(np.asarray(chelsea), WHOLE).assumptions == ()
    assert prepare(np.asarray(chelsea) / 255, GREY).assumptions == ()


def test_frames_and_transparency_are_told() -> None:
    frames = [Image.new("RGBA", (40, 24), (200, 0, 0, 99)), Image.new("RGBA", (40, 24), (0, 0, 200, 99))]
    found = decode(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]), WHOLE)
    assert found.assumptions == (
        "the image has 2 frames, of which the first was taken",
        "the image has transparent pixels, which were laid over white",
    )


def test_pillows_own_reading_of_a_mode_agrees(chelsea: Image.Image) -> None:
    for mode in ("L", "LA", "P", "1", "CMYK", "YCbCr", "HSV", "RGBX", "RGBa"):
        small = chelsea.resize((40, 24))
        image = small.convert("RGBA").convert(mode) if mode == "RGBa" else small.convert(mode)
        back = image.convert("RGBA").convert("RGB") if mode in ("RGBa", "LA") else image.convert("RGB")
        np.testing.assert_allclose(pixels(prepare(image, WHOLE)), np.asarray(back), atol=1, err_msg=mode)


def test_what_a_subprocess_assumed_arrives() -> None:
    found = decode(encoded(Image.fromarray(LIGHT.astype(np.int32)), "TIFF"), WHOLE)
    head, _, rest = encode_outcome(found).partition(b"\n")
    assert _decode_outcome(json.loads(head), rest).assumptions == found.assumptions != ()
