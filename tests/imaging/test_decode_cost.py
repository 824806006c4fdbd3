"""What decoding costs is told from the header, and too much of it is refused."""

from __future__ import annotations

import math
import time
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.imaging import expensive
from tests.imaging.expensive import encoded
from tests.imaging.profiles import matrix_profile
from tests.imaging.test_colours import chunked
from tests.imaging.test_decode import png

from wavescope.engine.types import Picture, Preprocessing
from wavescope.errors import ImageTooLarge
from wavescope.imaging import decode as decoding
from wavescope.imaging.decode import decode, decode_or_estimate, estimate_decode_cost
from wavescope.imaging.decode_cost import RATES
from wavescope.imaging.limits import ImageLimits
from wavescope.settings import Settings


def seconds_to_decode(data: bytes) -> float:
    return estimate_decode_cost(data).seconds


LIMIT_S = Settings.model_fields["max_decode_s"].default


@pytest.fixture
def nothing_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(image: Image.Image, *_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(decoding, "_load", refuse)


@pytest.mark.usefixtures("nothing_is_decoded")
@pytest.mark.parametrize(
    ("data", "least_s"),
    [
        (expensive.jpeg2000(8000, 7999), 4.0),
        (expensive.progressive(8000, 7999, scans=100), 4.0),
        (
            encoded(Image.new("RGB", (64, 64)), "JPEG2000") + bytes(10_000_000),
            2.0,
        ),  # entropy coded, by the byte
    ],
    ids=["pixels", "scans", "bytes"],
)
def test_what_would_take_long_is_refused_from_its_header(data: bytes, least_s: float) -> None:
    assert least_s < seconds_to_decode(data) < 100
    with pytest.raises(
        ImageTooLarge, match=r"would take about .* s of a processor; at most 2 s are spent: send it"
    ) as caught:
        decode(data, Preprocessing(), limits=ImageLimits(max_decode_s=LIMIT_S))
    assert (caught.value.field, caught.value.limits["max_decode_s"]) == ("image", LIMIT_S)


@pytest.mark.usefixtures("nothing_is_decoded")
def test_the_error_says_how_many_pixels_may_be_sent() -> None:
    with pytest.raises(ImageTooLarge, match=r"at most 16[0-9]{6} pixels, or as a baseline JPEG"):
        decode(expensive.jpeg2000(8000, 7999), Preprocessing(), limits=ImageLimits(max_decode_s=LIMIT_S))
    assert seconds_to_decode(expensive.jpeg2000(4000, 4000)) < LIMIT_S


def cpu_seconds(data: bytes) -> float:
    """What decoding takes of a processor."""
    began = time.process_time()
    decode(data, Preprocessing())
    return time.process_time() - began


def test_transparency_profiles_and_16_bits_cost_more() -> None:
    """Rows of one predictor, which deflate keeps small: the most seconds per byte; within twice what is expected."""
    side = 1000
    row = np.random.default_rng(0).integers(0, 256, 8 * side, np.uint8).tobytes()
    profile = b"profile\0\0" + zlib.compress(matrix_profile("ProPhoto RGB"))
    expected: dict[tuple[int, bool], float] = {}
    for depth in (8, 16):
        rows = (b"\4" + row[: side * depth // 2]) * side
        plain = png(side, side, rows, depth=depth, colour=6)
        for data, converted in ((plain, False), (chunked(plain, b"iCCP", profile), True)):
            expected[depth, converted] = seconds_to_decode(data)
            assert min(cpu_seconds(data) for _ in range(3)) < 2 * expected[depth, converted]
    assert expected[8, False] == pytest.approx(0.050, rel=0.05)
    assert expected[8, True] == pytest.approx(0.110, rel=0.05)
    assert expected[16, True] == pytest.approx(0.135, rel=0.05)


def test_every_format_that_is_opened_has_a_rate() -> None:
    assert set(decoding._FORMATS) <= RATES.keys()
    assert all(rate.per_megapixel > 0 and rate.per_megabyte > 0 for rate in RATES.values())


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("JPEG", "RGB", {"quality": 92}),
        ("JPEG", "RGB", {"quality": 92, "progressive": True}),
        ("JPEG", "CMYK", {"quality": 92}),
        ("PNG", "RGB", {}),
        ("WEBP", "RGB", {"quality": 90}),
        ("TIFF", "RGB", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("GIF", "P", {}),
        ("BMP", "RGB", {}),
    ],
)
def test_photographs_of_a_telephone_are_decoded(
    name: str, mode: str, options: dict[str, Any], chelsea: Image.Image
) -> None:
    """Of 12 megapixels: what a photograph of a quarter of a megapixel costs, by as much more."""
    data = encoded(chelsea.resize((500, 500)).convert(mode), name, **options)
    if name in ("BMP", "TIFF") and "compression" not in options:
        assert seconds_to_decode(data) < 0.02  # bodies bound what is not compressed
    assert seconds_to_decode(data) * 12e6 / 500**2 < LIMIT_S


def test_a_usual_photograph_costs_a_tenth_of_a_second_at_most(chelsea: Image.Image) -> None:
    data = encoded(chelsea.resize((2000, 1500)), "JPEG", quality=90)
    assert seconds_to_decode(data) < 0.1


def test_uncompressed_files_and_lone_channels_cost_less(chelsea: Image.Image) -> None:
    def seconds(image: Image.Image, name: str, **options: Any) -> float:
        return seconds_to_decode(encoded(image, name, **options))

    assert seconds(chelsea, "TIFF") < seconds(chelsea, "TIFF", compression="tiff_lzw")
    assert seconds(chelsea.convert("L"), "JPEG2000") < seconds(chelsea, "JPEG2000") / 2
    assert math.isfinite(seconds(chelsea.convert("LAB"), "TIFF"))


def test_what_takes_long_is_worth_a_process_of_its_own() -> None:
    assert not estimate_decode_cost(expensive.png(1000, 1000)).in_subprocess
    assert estimate_decode_cost(expensive.png(4300, 4300)).in_subprocess


@pytest.mark.parametrize(
    ("name", "options", "in_subprocess"),
    [
        ("JPEG2000", {}, True),
        ("TIFF", {"compression": "jpeg"}, True),
        ("TIFF", {"compression": "lzma"}, True),
        ("TIFF", {}, False),
        ("TIFF", {"compression": "tiff_lzw"}, False),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, False),
        ("TIFF", {"compression": "packbits"}, False),
        ("JPEG", {}, False),
        ("WEBP", {}, False),
    ],
)
def test_decoders_that_crashed_often_have_a_process_of_their_own_whatever_the_size(
    name: str, options: dict[str, str], in_subprocess: bool
) -> None:
    image = Image.new("RGB", (64, 64))
    assert estimate_decode_cost(expensive.encoded(image, name, **options)).in_subprocess is in_subprocess


@pytest.mark.parametrize(
    "file", [expensive.png(40, 30), expensive.encoded(Image.new("RGB", (40, 30)), "JPEG2000")]
)
def test_what_is_worth_no_process_is_decoded_and_told_of_the_others(file: bytes) -> None:
    preprocessing = Preprocessing(size=(16, 16), resize=16)
    found, cost = decode_or_estimate(file, preprocessing), estimate_decode_cost(file)
    if cost.in_subprocess:
        assert found == cost
    else:
        assert isinstance(found, Picture)
        assert np.array_equal(found.pixels, decode(file, preprocessing).pixels)
