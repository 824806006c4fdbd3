"""Files that Pillow reads otherwise than they are meant: read right, told or refused."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.imaging.test_colours import chunked
from tests.imaging.test_decode import GREY, WHOLE, encoded, noise, pixels, png
from tests.imaging.test_sample_range import LIGHT

from wavescope.errors import InvalidRequest, NotAnImage
from wavescope.imaging.decode import decode, prepare

OVER_WHITE = "the image has transparent pixels, which were laid over white"


def tiff(
    planes: list[bytes], bits: int, *, planar: int = 2, photometric: int = 2, alpha: bool = False
) -> bytes:
    """A TIFF of 40 x 24 pixels without compression, one strip per plane."""
    body, offsets = b"", []
    for plane in planes:
        offsets.append(8 + len(body))
        body += plane
    channels = len(planes) if planar == 2 else len(body) * 8 // (40 * 24 * bits)
    entries: list[tuple[int, str, list[int]]] = [
        (256, "I", [40]),
        (257, "I", [24]),
        (258, "H", [bits] * channels),
        (259, "H", [1]),
        (262, "H", [photometric]),
        (273, "I", offsets),
        (277, "H", [channels]),
        (278, "I", [24]),
        (279, "I", [len(plane) for plane in planes]),
        (284, "H", [planar]),
    ]
    if alpha:
        entries.append((338, "H", [2]))
    table, values, at = b"", b"", 8 + len(body) + 2 + 12 * len(entries) + 4
    for tag, kind, numbers in entries:
        raw = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        table += struct.pack("<HHI", tag, 3 if kind == "H" else 4, len(numbers))
        table += raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack("<I", at + len(values))
        values += b"" if len(raw) <= 4 else raw
    head = b"II*\x00" + struct.pack("<I", 8 + len(body))
    return head + body + struct.pack("<H", len(entries)) + table + bytes(4) + values


# ---- depths and layouts ------------------------------------------------------------------------------


@pytest.mark.parametrize("photometric", [2, 5])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_of_separate_planes_is_read_right_or_refused(bits: int, photometric: int) -> None:
    channels = 3 if photometric == 2 else 4
    colours = noise(channels=channels).astype("<u2") * 257 if bits == 16 else noise(channels=channels)
    data = tiff([colours[:, :, i].tobytes() for i in range(channels)], bits, photometric=photometric)
    if bits == 8:
        together = tiff([colours.tobytes()], bits, planar=1, photometric=photometric)
        np.testing.assert_array_equal(decode(data, WHOLE).pixels, decode(together, WHOLE).pixels)
        return
    for read in (decode, lambda data, how: prepare(Image.open(io.BytesIO(data)), how)):
        with pytest.raises(
            NotAnImage, match=r"16 bits per sample with its channels in separate planes.*or PNG"
        ):
            read(data, WHOLE)


def jpeg2000(mode: str, bits: int, *, bare: bool) -> bytes:
    """A JPEG 2000 file whose header declares so many bits per sample."""
    image = Image.fromarray(noise(channels=4)).convert(mode)
    data = bytearray(encoded(image, "JPEG2000", no_jp2=bare))
    at = data.index(b"\xff\x4f\xff\x51")
    for component in range(len(mode)):
        data[at + 42 + 3 * component] = bits - 1
    return bytes(data)


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize(
    ("mode", "bits"), [("RGB", 16), ("RGBA", 12), ("LA", 16), ("RGB", 9), ("RGB", 4), ("L", 1)]
)
def test_jpeg_2000_of_other_bits_is_refused(mode: str, bits: int, bare: bool) -> None:
    data = jpeg2000(mode, bits, bare=bare)
    for read in (decode, lambda data, how: prepare(Image.open(io.BytesIO(data)), how)):
        with pytest.raises(NotAnImage, match=f"JPEG 2000 file of {bits} bits per sample.*: send 8 bits"):
            read(data, WHOLE)


@pytest.mark.parametrize("bare", [False, True])
def test_jpeg_2000_of_8_bits_and_of_16_bits_of_grey_is_read(bare: bool) -> None:
    found = decode(encoded(Image.fromarray(noise()), "JPEG2000", no_jp2=bare), WHOLE)
    np.testing.assert_allclose(pixels(found), noise(), atol=1e-4)
    deep = Image.fromarray(LIGHT.astype(np.uint16) * 257)
    found = decode(encoded(deep, "JPEG2000", no_jp2=bare), WHOLE)
    np.testing.assert_allclose(found.pixels[0] * 255, LIGHT, atol=1e-4)


def test_a_bmp_of_16_bits_per_pixel_is_no_image_of_16_bits_per_sample() -> None:
    row = np.full(40, 0x0841, "<u2").tobytes()  # 5, 6 and 5 bits: 1, 2 and 1
    head = struct.pack("<IiiHHIIiiII", 40, 40, 24, 1, 16, 3, 0, 0, 0, 0, 0) + struct.pack(
        "<III", 0xF800, 0x7E0, 0x1F
    )
    data = (
        b"BM" + struct.pack("<IHHI", 14 + len(head) + 24 * len(row), 0, 0, 14 + len(head)) + head + row * 24
    )
    assert decode(data, WHOLE).assumptions == ("the image is nearly black: its largest sample is 8 of 255",)


# ---- a transparent colour ------------------------------------------------------------------------------


def rows_of(values: np.ndarray, bits: int) -> bytes:
    """Rows of a PNG that are not filtered."""
    flat = values.reshape(len(values), -1)
    if bits == 16:
        return b"".join(b"\0" + row.astype(">u2").tobytes() for row in flat)
    digits = (flat[..., None] >> np.arange(bits)[::-1]) & 1
    return b"".join(b"\0" + np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in digits)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_a_png_is_compared_at_its_own_bits(bits: int) -> None:
    peak = 2**bits - 1
    values = np.rint(LIGHT / 255 * peak).astype(int)
    key = int(values[3, 3])
    data = chunked(png(40, 24, rows_of(values, bits), depth=bits, colour=0), b"tRNS", struct.pack(">H", key))
    expected = np.where(values == key, 255, np.rint(values / peak * 255))
    for how in (WHOLE, GREY):
        found = decode(data, how)
        np.testing.assert_allclose(found.pixels[0] * 255, expected, atol=1e-4)
        assert found.assumptions == (OVER_WHITE,)
    of_image = prepare(Image.open(io.BytesIO(data)), WHOLE)
    np.testing.assert_allclose(of_image.pixels[0] * 255, expected, atol=1e-4)


def test_the_transparent_colour_of_a_png_of_16_bits_is_told() -> None:
    values = noise().astype(int) * 257
    key = tuple(int(value) for value in values[3, 3])
    data = chunked(png(40, 24, rows_of(values, 16), depth=16, colour=2), b"tRNS", struct.pack(">HHH", *key))
    found = decode(data, WHOLE)
    expected = np.where((values == key).all(axis=2)[..., None], 255, noise())
    np.testing.assert_allclose(pixels(found), expected, atol=1e-4)
    assert found.assumptions == (
        f"the image declares the transparent colour {key} of 16 bits: the upper 8 were compared",
        OVER_WHITE,
    )


def test_the_transparent_sample_of_an_image_of_pil_is_followed() -> None:
    image = Image.fromarray(LIGHT.astype(np.uint16) * 257)
    image.info["transparency"] = int(LIGHT[3, 3]) * 257
    found = prepare(image, WHOLE)
    np.testing.assert_allclose(found.pixels[0] * 255, np.where(LIGHT[3, 3] == LIGHT, 255, LIGHT), atol=1e-4)


# ---- the range of colours, with alpha and without --------------------------------------------------------


def deep(values: np.ndarray, form: str) -> bytes:
    """A file of 16 bits per sample and three channels, or four with alpha."""
    if form == "PPM":
        return b"P6 40 24 65535\n" + values.astype(">u2").tobytes()
    channels = values.shape[2]
    if form == "TIFF":
        return tiff([values.astype("<u2").tobytes()], 16, planar=1, alpha=channels == 4)
    return png(40, 24, rows_of(values, 16), depth=16, colour=2 if channels == 3 else 6)


@pytest.mark.parametrize("form", ["PNG", "PPM", "TIFF"])
def test_12_bits_in_16_of_colours_are_refused_and_14_are_told(form: str) -> None:
    colours = noise().astype(int)
    colours[0, 0] = 255
    with pytest.raises(NotAnImage, match="12 bits or fewer in 16"):
        decode(deep(colours * 4095 // 255, form), WHOLE)
    found = decode(deep(colours * 16383 // 255, form), WHOLE)
    assert "65535 was taken for white" in found.assumptions[0]
    assert decode(deep(colours * 257, form), WHOLE).assumptions == ()


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("alpha", [4095, 65535, 30000])
def test_alpha_does_not_hide_12_bits_of_colours(form: str, alpha: int) -> None:
    values = np.dstack([noise().astype(int) * 16, np.full((24, 40), 65535)])
    values[:12, :, 3] = alpha
    with pytest.raises(NotAnImage, match="12 bits or fewer in 16"):
        decode(deep(values, form), WHOLE)
    with pytest.raises(InvalidRequest, match="12 bits or fewer in 16"):
        prepare(values.astype(np.uint16), WHOLE)
    with pytest.raises(InvalidRequest, match="12 bits or fewer in 16"):
        prepare(values.astype(np.uint32), WHOLE)


def test_a_tag_is_not_advised_where_it_would_not_be_followed() -> None:
    samples = (noise().astype("<u2") * 16).tobytes()
    with pytest.raises(NotAnImage, match=r"nearly black\. Scale them to 0 to 65535, or send 8 bits$"):
        decode(tiff([samples], 16, planar=1), WHOLE)


def test_inks_of_12_bits_are_not_white_without_a_word() -> None:
    inks = noise(channels=4).astype("<u2") * 16
    with pytest.raises(NotAnImage, match="12 bits or fewer in 16"):
        decode(tiff([inks.tobytes()], 16, planar=1, photometric=5), WHOLE)


def test_a_drawing_in_black_on_a_transparent_ground_is_read() -> None:
    array = np.zeros((24, 40, 4), np.uint8)
    array[4:9, 4:20, 3] = 255
    assert prepare(array, WHOLE).assumptions == (OVER_WHITE,)
    array[4:9, 4:20, :3] = 1
    found = prepare(array, WHOLE)
    assert found.assumptions == (OVER_WHITE, "the image is nearly black: its largest sample is 1 of 255")
    array[:, :, 3] = np.minimum(array[:, :, 3], 1)
    with pytest.raises(InvalidRequest, match="0 and 1 alone"):
        prepare(array, WHOLE)


def test_alpha_of_floats_is_told_and_hides_nothing() -> None:
    array = np.dstack([noise() / 255, np.full((24, 40), 0.5)])
    assert prepare(array, WHOLE).assumptions == (OVER_WHITE,)
    array[:, :, 3] = 1
    assert prepare(array, WHOLE).assumptions == ()
    array[:, :, :3] /= 255
    with pytest.raises(InvalidRequest, match="divided by 255 twice"):
        prepare(array, WHOLE)


def test_floats_that_are_nearly_black_are_told() -> None:
    found = prepare(noise() / 255 * 0.05, WHOLE)
    assert found.assumptions == ("the image is nearly black: its largest sample is 0.05 of 1",)


@pytest.mark.parametrize(("value", "said"), [(1.0000001, "1.0000001"), (-1e-9, "-1e-09"), (1.004, "1.004")])
def test_floats_a_little_beyond_their_range_are_told_to_be_clipped(value: float, said: str) -> None:
    array: Any = noise() / 255
    array[0, 0, 0] = value
    with pytest.raises(InvalidRequest, match=rf"{said}.*, and must have them in \[0, 1\]: clip them to it"):
        prepare(array, WHOLE)
