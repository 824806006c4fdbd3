"""Pictures over dtype, mode, bits, profile and format: each is read right, or refused, and what was assumed is told."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.fuzz.pictures import CHOICES, Drawn, draw_picture, drawn_files
from tests.imaging.test_decode import GREY, WHOLE, encoded, png
from tests.imaging.test_sample_range import LIGHT, packed_tiff

from wavescope.engine.types import Picture, Preprocessing
from wavescope.errors import InvalidRequest, NotAnImage
from wavescope.imaging.decode import decode, prepare

NEARLY_BLACK = 16 / 255
TOLERANCE = 0.03  # of the mean: what lossy formats, palettes and dithering leave
# What other libraries say, their classes, and addresses of objects.
FOREIGN = re.compile(
    r"damaged or truncated|conversion from|not supported|data type|Error|object at|0x[0-9a-f]|<\w+\.|PIL|numpy\."
)

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow tells of odd metadata


@st.composite
def pictures(draw: Callable[..., Any], **fixed: Any) -> Drawn:
    return draw_picture(lambda name: fixed[name] if name in fixed else draw(st.sampled_from(CHOICES[name])))


def read(given: bytes | Image.Image | np.ndarray, preprocessing: Preprocessing = WHOLE) -> Picture | str:
    """The picture, or the message with which it is refused; another exception is a failure."""
    try:
        return decode(given, preprocessing) if isinstance(given, bytes) else prepare(given, preprocessing)
    except (NotAnImage, InvalidRequest) as error:
        refused = error
    assert refused.field == "image"
    assert not FOREIGN.search(refused.message)
    return refused.message


def check(drawn: Drawn, found: Picture | str) -> None:
    if isinstance(found, str):
        assert not drawn.readable or drawn.unsure, f"{drawn.what}: {found}"
        return
    pixels, told = found.pixels, found.assumptions
    assert np.isfinite(pixels).all()
    assert 0 <= pixels.min() <= pixels.max() <= 1
    assert told or not 0 < pixels.max() < NEARLY_BLACK, drawn.what
    means = drawn.silent + drawn.told if told else drawn.silent
    near = any(abs(float(pixels.mean()) - mean) < TOLERANCE for mean in means)
    assert near or drawn.unsure, f"{drawn.what}: {pixels.mean():.3f}, not {means}; {told}"


@given(drawn=pictures())
@settings(max_examples=400)
def test_a_picture_is_read_right_or_refused(drawn: Drawn) -> None:
    check(drawn, read(drawn.given))


@given(drawn=pictures(), grey=st.booleans())
@settings(max_examples=150)
def test_a_file_an_image_and_an_array_agree(drawn: Drawn, grey: bool) -> None:
    """A file may be refused where its samples are not, if they then say what was assumed; never the other way."""
    if not isinstance(drawn.given, bytes):
        return
    preprocessing = GREY if grey else WHOLE
    of_file = read(drawn.given, preprocessing)
    try:
        image = Image.open(io.BytesIO(drawn.given))
        samples = np.asarray(
            Image.open(io.BytesIO(drawn.given))
        )  # loading an image drops what says how it is stored
    except (OSError, SyntaxError):
        assert isinstance(of_file, str)
        return
    of_image = read(image, preprocessing)
    assert_same(of_file, of_image, drawn.what)
    if drawn.same_array and image.mode in ("L", "RGB", "RGBA", "I;16", "I;16B", "I", "F"):
        of_array = read(samples, preprocessing)
        if isinstance(of_file, Picture) and isinstance(of_array, Picture):
            same = np.abs(of_file.pixels - of_array.pixels).max() < 0.51 / 255
            assert same or of_file.assumptions or of_array.assumptions, drawn.what
        elif isinstance(of_array, Picture):
            assert of_array.assumptions, f"{drawn.what}: the file is refused, its samples are read: {of_file}"
        elif isinstance(of_file, Picture):
            pytest.fail(f"{drawn.what}: the file is read, its samples are refused: {of_array}")


def assert_same(one: Picture | str, other: Picture | str, what: str) -> None:
    if isinstance(one, str) or isinstance(other, str):
        assert one == other, what
        return
    np.testing.assert_array_equal(one.pixels, other.pixels, err_msg=what)
    assert one.assumptions == other.assumptions


@given(drawn=pictures(source="pillow", profile="damaged"))
@settings(max_examples=100)
def test_a_damaged_profile_costs_no_picture(drawn: Drawn) -> None:
    check(drawn, read(drawn.given))


def test_the_same_seed_draws_the_same_files() -> None:
    first, again, other = (list(islice(drawn_files(seed), 40)) for seed in (3, 3, 4))
    assert first == again != other


# ---- what these found ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["<m8[s]", "<M8[s]"])
def test_times_are_no_integers(dtype: str) -> None:
    with pytest.raises(InvalidRequest, match="holds bool, integers or floating point, not"):
        prepare(LIGHT.astype(np.int64).astype(dtype), WHOLE)


def test_masked_arrays_are_read_where_nothing_is_masked() -> None:
    values = LIGHT > 99
    np.testing.assert_array_equal(
        prepare(np.ma.masked_array(values), WHOLE).pixels, prepare(values, WHOLE).pixels
    )
    with pytest.raises(InvalidRequest, match="has masked samples: fill them"):
        prepare(np.ma.masked_array(values, values), WHOLE)


def test_grey_with_premultiplied_alpha_is_read() -> None:
    image = Image.fromarray(LIGHT)
    image.putalpha(Image.fromarray(np.full_like(LIGHT, 255)))
    found = prepare(image.convert("La"), WHOLE).pixels
    np.testing.assert_allclose(found[0] * 255, LIGHT, atol=1e-4)


def deep_colours(values: np.ndarray, form: str) -> bytes:
    """A file of 16 bits and three equal channels, of which Pillow keeps the upper 8."""
    rows = np.repeat(values[:, :, None], 3, axis=2).astype(">u2")
    if form == "PPM":
        return b"P6 40 24 65535\n" + rows.tobytes()
    return png(40, 24, b"".join(b"\0" + row.tobytes() for row in rows), depth=16, colour=2)


@pytest.mark.parametrize("form", ["PNG", "PPM"])
def test_8_bits_in_16_of_a_colour_file_are_not_black_without_a_word(form: str) -> None:
    found = decode(deep_colours(LIGHT // 2, form), WHOLE)
    np.testing.assert_array_equal(found.pixels, 0)
    assert "all are below 256 of 65535" in found.assumptions[0]
    with pytest.raises(NotAnImage, match="12 bits or fewer in 16"):
        decode(deep_colours(LIGHT.astype(int) + 256, form), WHOLE)


@pytest.mark.parametrize("least", [0, -1])
def test_signed_samples_of_8_bits_are_told_or_refused(least: int) -> None:
    values = (LIGHT // 2).astype(np.int8)
    values[0, 0] = least
    data = packed_tiff(values, bits=8, sample_format=2)
    if least < 0:
        with pytest.raises(NotAnImage, match="integer samples from -1 to 127: give 0 to 255"):
            decode(data, WHOLE)
        return
    found = decode(data, WHOLE)
    np.testing.assert_allclose(found.pixels[0] * 255, values, atol=1e-4)
    assert "no declared range, 0 to 127: 255 was taken for white" in found.assumptions[0]


def test_a_tiff_of_ycbcr_that_pillow_misreads_is_refused() -> None:
    data = encoded(Image.fromarray(LIGHT).convert("YCbCr"), "TIFF")
    for file in (data, data + bytes(5000)):  # of which Pillow would make noise
        with pytest.raises(
            NotAnImage, match="a TIFF of YCbCr colours without compression, which is not read"
        ):
            decode(file, WHOLE)


def test_large_floats_are_told_to_be_divided() -> None:
    with pytest.raises(InvalidRequest, match=r"to 6\.553e\+04, .*: divide them by the number that is white"):
        prepare(LIGHT * 256.99, WHOLE)
