"""Resize and centre crop against torchvision, and the crop box."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.models import ResNet50_Weights
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from wavescope.engine.types import CropBox, Preprocessing
from wavescope.imaging.crop import fit
from wavescope.imaging.decode import prepare

MODES = {
    "nearest": InterpolationMode.NEAREST,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
}


def torchvision_pixels(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    size: int | tuple[int, int] = preprocessing.resize or preprocessing.size
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
    for preprocessing in (Preprocessing(), Preprocessing(resize=224)):
        whole = fit((image,), preprocessing, max_pixels=10**8)
        cropped = fit((image,), preprocessing, max_pixels=1)
        assert whole.crop == cropped.crop
        np.testing.assert_allclose(cropped.pixels, whole.pixels, atol=1.01 / 255)
