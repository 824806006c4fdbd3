"""Resize and centre crop against torchvision, and the crop box."""

from __future__ import annotations

import io
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.models import ResNet50_Weights
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from wavescope.engine.types import CropBox, Preprocessing
from wavescope.imaging.crop import resize_and_crop
from wavescope.imaging.decode import decode, prepare

MODES = {
    "nearest": InterpolationMode.NEAREST,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
}


def torchvision_pixels(image: Image.Image, preprocessing: Preprocessing, zoom: int = 1) -> np.ndarray:
    height, width = preprocessing.size
    size = [zoom * preprocessing.resize] if preprocessing.resize else [zoom * height, zoom * width]
    transform = Compose([Resize(size, MODES[preprocessing.interpolation]), CenterCrop(preprocessing.size)])
    return np.atleast_3d(np.asarray(transform(image), np.float32) / 255).transpose(2, 0, 1)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize(
    ("size", "resize"), [((224, 224), 256), ((32, 48), 48), ((65, 33), None), ((300, 300), 451)]
)
def test_pixels_are_exactly_those_of_torchvision(
    chelsea: Image.Image, interpolation: str, size: tuple[int, int], resize: int | None
) -> None:
    preprocessing = Preprocessing(size=size, resize=resize, interpolation=interpolation)  # type: ignore[arg-type]
    for image in (chelsea, chelsea.transpose(Image.Transpose.ROTATE_90)):
        found = prepare(image, preprocessing)
        assert found.pixels.dtype == np.float32
        np.testing.assert_array_equal(found.pixels, torchvision_pixels(image, preprocessing))


@given(width=st.integers(8, 90), height=st.integers(8, 90), resize=st.integers(16, 60), data=st.data())
def test_any_size_is_cropped_as_torchvision_crops_it(
    width: int, height: int, resize: int, data: st.DataObject
) -> None:
    sides = st.integers(8, resize)
    preprocessing = Preprocessing(size=(data.draw(sides), data.draw(sides)), resize=resize)
    image = noise(width, height)
    np.testing.assert_array_equal(
        prepare(image, preprocessing).pixels, torchvision_pixels(image, preprocessing)
    )


def test_the_whole_preset_of_torchvision_weights_is_met(chelsea: Image.Image) -> None:
    preprocessing = Preprocessing(resize=232)
    mean = np.array(preprocessing.mean, np.float32)[:, None, None]
    std = np.array(preprocessing.std, np.float32)[:, None, None]
    expected = ResNet50_Weights.IMAGENET1K_V2.transforms()(chelsea).numpy()
    np.testing.assert_allclose((prepare(chelsea, preprocessing).pixels - mean) / std, expected, atol=1e-6)


def test_the_crop_box_is_in_pixels_of_the_original(chelsea: Image.Image) -> None:
    picture = prepare(chelsea, Preprocessing())
    assert picture.original_size == (300, 451)
    # 451x300 becomes 384x256; 224 of those 384 and 256 pixels remain, 80 and 16 in from the left and the top.
    expected = (80 * 451 / 384, 16 * 300 / 256, 304 * 451 / 384, 240 * 300 / 256)
    assert astuple(picture.crop) == pytest.approx(expected)


def test_without_a_resize_the_whole_image_is_seen(chelsea: Image.Image) -> None:
    picture = prepare(chelsea, Preprocessing(resize=None))
    assert picture.crop == CropBox(left=0, top=0, right=451, bottom=300)


@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize(("size", "resize"), [((224, 224), 256), ((33, 47), 50), ((65, 32), None)])
def test_the_enlarged_image_is_that_of_a_doubled_resize_and_the_same_crop(
    chelsea: Image.Image, interpolation: str, size: tuple[int, int], resize: int | None
) -> None:
    """Paper, appendix B.4.1: Resize(512) and CenterCrop(224) where the regular image has Resize(256)."""
    preprocessing = Preprocessing(size=size, resize=resize, interpolation=interpolation)  # type: ignore[arg-type]
    for image in (chelsea, chelsea.transpose(Image.Transpose.ROTATE_90)):
        found = prepare(image, preprocessing, zoom=2)
        np.testing.assert_array_equal(found.pixels, torchvision_pixels(image, preprocessing, zoom=2))


def test_the_enlarged_crop_box_is_in_pixels_of_the_original(chelsea: Image.Image) -> None:
    picture = prepare(chelsea, Preprocessing(), zoom=2)
    assert picture.original_size == (300, 451)
    # 451x300 becomes 769x512; 272 (272.5 to even) and 144 pixels are cut from the left and the top.
    expected = (272 * 451 / 769, 144 * 300 / 512, 496 * 451 / 769, 368 * 300 / 512)
    assert astuple(picture.crop) == pytest.approx(expected)


@pytest.mark.parametrize("size", [(224, 224), (96, 160), (33, 47)])
def test_enlarged_without_a_resize_the_middle_half_of_each_side_is_seen(
    chelsea: Image.Image, size: tuple[int, int]
) -> None:
    crop = prepare(chelsea, Preprocessing(size=size, resize=None), zoom=2).crop
    assert crop.bottom - crop.top == pytest.approx(150)
    assert crop.right - crop.left == pytest.approx(451 / 2)
    # An odd side cannot be cut in the middle of a pixel: half a pixel of the enlarged image at most.
    assert (crop.top + crop.bottom) / 2 == pytest.approx(150, abs=0.51 * 300 / (2 * size[0]))
    assert (crop.left + crop.right) / 2 == pytest.approx(225.5, abs=0.51 * 451 / (2 * size[1]))


def test_what_is_seen_enlarged_is_the_box_of_the_original_drawn_larger() -> None:
    """Independent of torchvision: the box itself, resampled to the model's size, is the enlarged image to rounding."""
    image = noise(640, 480).resize((1280, 960), Image.Resampling.BICUBIC)
    picture = prepare(image, Preprocessing(), zoom=2)
    box = image.resize((224, 224), Image.Resampling.BILINEAR, box=astuple(picture.crop))
    found = picture.pixels.transpose(1, 2, 0) * 255
    np.testing.assert_allclose(found, np.asarray(box, np.float32), atol=1.01)


def test_bytes_are_enlarged_as_the_image_they_hold(chelsea: Image.Image) -> None:
    buffer = io.BytesIO()
    chelsea.save(buffer, "PNG")
    decoded, prepared = (
        decode(buffer.getvalue(), Preprocessing(), zoom=2),
        prepare(chelsea, Preprocessing(), zoom=2),
    )
    assert decoded.crop == prepared.crop
    np.testing.assert_array_equal(decoded.pixels, prepared.pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_array_of_floats_is_enlarged_as_its_bytes(channels: int) -> None:
    array = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    preprocessing = Preprocessing(size=(32, 48), resize=48, mean=(0.5,) * channels, std=(0.5,) * channels)
    from_bytes = prepare(array, preprocessing, zoom=2)
    from_floats = prepare(array.astype(np.float32) / 255, preprocessing, zoom=2)
    assert from_bytes.crop == from_floats.crop
    np.testing.assert_allclose(from_floats.pixels, from_bytes.pixels, atol=1.6 / 255)


def test_a_strip_costs_no_more_than_its_crop() -> None:
    # Made whole, 8x200,000 px resized to 256 px would have 1.6 thousand million pixels.
    strip = noise(200_000, 8)
    picture = prepare(strip, Preprocessing())
    assert picture.pixels.shape == (3, 224, 224)
    assert picture.crop.bottom - picture.crop.top == pytest.approx(7)
    assert picture.crop.right - picture.crop.left == pytest.approx(7)


@pytest.mark.parametrize("turned", [False, True])
def test_the_cropped_path_agrees_with_the_whole_one_to_rounding(turned: bool) -> None:
    image = noise(1000, 40)
    if turned:
        image = image.transpose(Image.Transpose.ROTATE_90)
    for preprocessing, zoom in ((Preprocessing(), 1), (Preprocessing(resize=224), 1), (Preprocessing(), 2)):
        whole = resize_and_crop((image,), preprocessing, max_pixels=10**8, zoom=zoom)
        cropped = resize_and_crop((image,), preprocessing, max_pixels=1, zoom=zoom)
        assert whole.crop == cropped.crop
        np.testing.assert_allclose(cropped.pixels, whole.pixels, atol=1.01 / 255)
