"""Every kind of image file that works, and every kind of bytes that does not."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from wavescope.engine.types import Picture, Preprocessing
from wavescope.errors import ImageTooLarge, InvalidRequest, NotAnImage, WavescopeError
from wavescope.imaging.decode import decode, prepare
from wavescope.imaging.limits import ImageLimits

WHOLE = Preprocessing(size=(24, 40), resize=None)
GREY = Preprocessing(size=(24, 40), resize=None, mean=(0.5,), std=(0.5,))
ORIENTATION = 0x0112

LOSSLESS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "TIFF": {},
    "BMP": {},
    "PPM": {},
    "WEBP": {"lossless": True},
}


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def noise(height: int = 24, width: int = 40, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def pixels(picture: Picture) -> np.ndarray:
    """(h, w, c) in 0..255."""
    return picture.pixels.transpose(1, 2, 0) * 255


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_keep_every_pixel(name: str) -> None:
    picture = decode(encoded(Image.fromarray(noise()), name, **LOSSLESS[name]), WHOLE)
    np.testing.assert_array_equal(picture.pixels, noise().transpose(2, 0, 1).astype(np.float32) / 255)
    assert picture.pixels.flags.c_contiguous
    assert picture.original_size == (24, 40)


@pytest.mark.parametrize(
    ("name", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95}), ("AVIF", {"quality": 95})]
)
def test_lossy_formats_come_close(chelsea: Image.Image, name: str, options: dict[str, Any]) -> None:
    if name == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    found = decode(encoded(chelsea, name, **options), Preprocessing())
    assert np.abs(found.pixels - prepare(chelsea, Preprocessing()).pixels).mean() < 0.02


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(name: str, orientation: int) -> None:
    array = np.zeros((24, 40, 3), np.uint8)
    array[:8, :16] = 255  # the upper left corner, wider than high: tells all eight orientations apart
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    # From what is seen to what is stored: EXIF 2.32, 4.6.4 A.
    stored = {
        1: array,
        2: array[:, ::-1],
        3: array[::-1, ::-1],
        4: array[::-1],
        5: array.transpose(1, 0, 2),
        6: np.rot90(array, 1),
        7: np.rot90(array, 2).transpose(1, 0, 2),
        8: np.rot90(array, -1),
    }[orientation]
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), name, exif=exif)
    picture = decode(data, WHOLE)
    assert picture.original_size == (24, 40)
    np.testing.assert_allclose(pixels(picture), array, atol=40)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(prepare(image, WHOLE).pixels, picture.pixels)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_spoil_sound_pixels() -> None:
    data = encoded(Image.fromarray(noise()), "PNG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff garbage")
    np.testing.assert_allclose(pixels(decode(data, WHOLE)), noise(), atol=1e-4)


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_16_bit_grey_is_rescaled(name: str) -> None:
    values = np.linspace(0, 65535, 24 * 40).reshape(24, 40).astype(np.uint16)
    found = pixels(decode(encoded(Image.fromarray(values), name), WHOLE))
    np.testing.assert_allclose(found, np.rint(values / 257)[:, :, None].repeat(3, axis=2), atol=1e-4)


def test_16_bit_colour_is_rescaled() -> None:
    values = noise().astype(np.uint16) * 257
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in values)
    np.testing.assert_allclose(
        pixels(decode(png(40, 24, rows, depth=16, colour=2), WHOLE)), noise(), atol=1e-4
    )


@pytest.mark.parametrize("name", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_laid_over_white(name: str) -> None:
    array = noise(channels=4)
    array[:12, :, 3] = 0
    array[12:18, :, 3] = 255
    found = pixels(decode(encoded(Image.fromarray(array), name, **LOSSLESS[name]), WHOLE))
    np.testing.assert_allclose(found[:12], 255, atol=1e-4)
    np.testing.assert_allclose(found[12:18], array[12:18, :, :3], atol=1e-4)
    alpha = array[18:, :, 3:] / 255
    np.testing.assert_allclose(found[18:], alpha * array[18:, :, :3] + (1 - alpha) * 255, atol=1)


def test_a_transparent_palette_entry_is_white() -> None:
    image = Image.new("P", (40, 24), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(1, (0, 0, 40, 12))
    found = pixels(decode(encoded(image, "PNG", transparency=0), WHOLE))
    np.testing.assert_allclose(found[:12], np.broadcast_to([200, 100, 50], (12, 40, 3)), atol=1e-4)
    np.testing.assert_allclose(found[12:], 255, atol=1e-4)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "RGBA", "I;16"])
def test_every_usual_mode_becomes_three_channels_or_one(chelsea: Image.Image, mode: str) -> None:
    image = chelsea.resize((40, 24))
    grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
    image = Image.fromarray(grey) if mode == "I;16" else image.convert(mode)
    data = encoded(image, "TIFF")
    assert decode(data, WHOLE).pixels.shape == (3, 24, 40)
    assert decode(data, GREY).pixels.shape == (1, 24, 40)


def test_cmyk_jpeg_shows_its_colours() -> None:
    image = Image.new("RGB", (40, 24), (200, 60, 30)).convert("CMYK")
    found = pixels(decode(encoded(image, "JPEG", quality=95), WHOLE))
    np.testing.assert_allclose(found, np.broadcast_to([200, 60, 30], found.shape), atol=6)


def test_grey_of_a_one_channel_model_is_luminance() -> None:
    expected = noise() @ np.array([0.299, 0.587, 0.114])  # ITU-R 601
    for picture in (
        decode(encoded(Image.fromarray(noise()), "PNG"), GREY),
        prepare(noise(), GREY),
        prepare(noise() / 255, GREY),
    ):
        np.testing.assert_allclose(pixels(picture)[:, :, 0], expected, atol=1)


@pytest.mark.parametrize("name", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_frame_of_an_animation_is_taken(name: str) -> None:
    frames = [Image.new("RGB", (40, 24), colour) for colour in ("red", "blue", "lime")]
    data = encoded(frames[0], name, save_all=True, append_images=frames[1:])
    found = pixels(decode(data, WHOLE))
    np.testing.assert_allclose(found, np.broadcast_to([255, 0, 0], found.shape), atol=3)


def png(width: int, height: int, rows: bytes, *, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG file of any declared size, whatever its rows hold."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    )


@pytest.mark.parametrize(
    ("width", "height"),
    [(20_000, 20_000), (8001, 8000), (9_000, 9_500), (60_000, 60_000), (2**31 - 1, 2**31 - 1)],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused_from_its_header(width: int, height: int) -> None:
    with pytest.raises(ImageTooLarge, match="64000000 are decoded at most") as caught:
        decode(png(width, height, b""), WHOLE)
    assert caught.value.limits["max_pixels"] == 64_000_000


def test_the_limit_on_pixels_is_inclusive() -> None:
    data = encoded(Image.fromarray(noise()), "PNG")
    assert decode(data, WHOLE, limits=ImageLimits(max_pixels=24 * 40)).original_size == (24, 40)
    with pytest.raises(ImageTooLarge, match="40x24 = 960 pixels; 959"):
        decode(data, WHOLE, limits=ImageLimits(max_pixels=24 * 40 - 1))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 100), (100, 7)])
def test_a_side_under_8_pixels_is_refused(width: int, height: int) -> None:
    with pytest.raises(
        InvalidRequest, match=f"{width}x{height}; its shorter side must have at least 8"
    ) as caught:
        decode(encoded(Image.new("RGB", (width, height)), "PNG"), WHOLE)
    assert caught.value.limits["min_side_px"] == 8


def test_8_pixels_are_enough() -> None:
    assert decode(encoded(Image.new("RGB", (8, 8)), "PNG"), WHOLE).pixels.shape == (3, 24, 40)


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
def test_a_truncated_file_is_refused(chelsea: Image.Image, name: str) -> None:
    data = encoded(chelsea, name)
    with pytest.raises(NotAnImage, match=r"damaged or truncated|header is damaged"):
        decode(data[: len(data) // 2], Preprocessing())


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize(
    "data", [b"hello, world", b"%PDF-1.7\n", b"<svg/>", b"\x00" * 1000, b"\xff\xd8\xff", EPS], ids=repr
)
def test_bytes_of_something_else_are_refused(data: bytes) -> None:
    with pytest.raises(NotAnImage, match=r"none of the formats PNG, JPEG|damaged|not read") as caught:
        decode(data, WHOLE)
    assert caught.value.field == "image"


def test_no_bytes_are_refused() -> None:
    with pytest.raises(NotAnImage, match="empty: 0 bytes"):
        decode(b"", WHOLE)


def test_float_samples_outside_the_unit_range_are_refused() -> None:
    inside = np.linspace(0, 1, 960, dtype=np.float32).reshape(24, 40)
    found = pixels(decode(encoded(Image.fromarray(inside), "TIFF"), WHOLE))
    np.testing.assert_allclose(found[:, :, 0], inside * 255, atol=0.51)
    with pytest.raises(NotAnImage, match=r"float samples from 0 to 300, and must have them in \[0, 1\]"):
        decode(encoded(Image.fromarray(inside * 300), "TIFF"), WHOLE)


def test_a_model_of_four_channels_takes_no_pictures() -> None:
    with pytest.raises(InvalidRequest, match="takes 4 channels; a picture has 1 or 3"):
        prepare(noise(), Preprocessing(mean=(0.5,) * 4, std=(0.5,) * 4))


SEEDS = [
    encoded(Image.fromarray(noise(20, 28)), name, **options)
    for name, options in [
        ("PNG", {}),
        (
            "JPEG",
            {"exif": b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00"},
        ),
        ("JPEG", {"progressive": True}),
        ("WEBP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("GIF", {}),
        ("BMP", {}),
        ("JPEG2000", {}),
    ]
]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=600)
@given(data=st.data())
def test_damaged_files_are_decoded_or_refused_on_purpose(data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from(SEEDS)))
    where = st.integers(0, len(damaged) - 1) | st.integers(0, min(64, len(damaged) - 1))
    for position, value in data.draw(st.lists(st.tuples(where, st.integers(0, 255)), max_size=8)):
        damaged[position] = value
    kept = data.draw(st.just(len(damaged)) | st.integers(0, len(damaged)))
    try:
        picture = decode(bytes(damaged[:kept]), WHOLE)
    except WavescopeError:
        return
    assert picture.pixels.shape == (3, 24, 40)
    assert 0 <= picture.pixels.min() <= picture.pixels.max() <= 1


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_on_purpose(data: bytes) -> None:
    with pytest.raises(WavescopeError, match="image"):
        decode(data, WHOLE)


@pytest.mark.parametrize(
    "array",
    [noise(), noise() / 255, (noise() / 255).astype(np.float32), noise().astype(np.uint16) * 257],
    ids=["uint8", "float64", "float32", "uint16"],
)
def test_arrays_of_every_type_show_the_same_picture(array: np.ndarray) -> None:
    np.testing.assert_allclose(pixels(prepare(array, WHOLE)), noise(), atol=1e-4)


@pytest.mark.parametrize("shape", [(24, 40), (24, 40, 1)])
def test_grey_arrays_fill_three_channels(shape: tuple[int, ...]) -> None:
    array = noise(channels=1).reshape(shape)
    expected = array.reshape(24, 40, 1).repeat(3, axis=2)
    for kind in (array, array / 255):
        np.testing.assert_allclose(pixels(prepare(kind, WHOLE)), expected, atol=1e-4)
    np.testing.assert_allclose(pixels(prepare(array, GREY)), expected[:, :, :1], atol=1e-4)


def test_alpha_of_arrays_is_laid_over_white() -> None:
    array = noise(channels=4)
    alpha = array[:, :, 3:] / 255
    expected = alpha * array[:, :, :3] + (1 - alpha) * 255
    np.testing.assert_allclose(pixels(prepare(array, WHOLE)), expected, atol=1)
    np.testing.assert_allclose(pixels(prepare(array / 255, WHOLE)), expected, atol=1e-3)


def test_float_arrays_keep_their_precision() -> None:
    array = np.random.default_rng(0).random((24, 40, 3), dtype=np.float32)
    np.testing.assert_array_equal(prepare(array, WHOLE).pixels, array.transpose(2, 0, 1))


def test_black_and_white_arrays_are_black_and_white() -> None:
    array = np.eye(24, 40) > 0
    np.testing.assert_array_equal(prepare(array, WHOLE).pixels[1], array.astype(np.float32))


def test_bicubic_overshoot_stays_in_the_unit_range() -> None:
    array = (np.indices((48, 80)).sum(axis=0) // 8 % 2).astype(np.float32)
    found = prepare(array, Preprocessing(size=(100, 100), resize=None, interpolation="bicubic")).pixels
    assert found.min() == 0
    assert found.max() == 1


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((24,), np.uint8), r"not \(24,\)"),
        (np.zeros((3, 24, 40), np.uint8), r"not \(3, 24, 40\)"),
        (np.zeros((24, 40, 2), np.uint8), r"not \(24, 40, 2\)"),
        (np.full((24, 40), -1, np.int64), "integer samples from -1 to -1"),
        (np.full((24, 40), 255.0), r"must have them in \[0, 1\]: divide them by 255"),
        (np.full((24, 40), np.nan), "not finite"),
        (np.zeros((24, 40), np.complex64), "not complex64"),
        (np.zeros((0, 40), np.uint8), "shorter side"),
        (np.zeros((4, 40, 3)), "shorter side"),
    ],
)
def test_an_array_that_is_no_image_is_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        prepare(array, WHOLE)
    assert caught.value.field == "image"


def test_something_else_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not list"):
        prepare([[0]], WHOLE)  # type: ignore[arg-type]
