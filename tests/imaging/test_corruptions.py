"""The corruptions of ImageNet-C against the package that makes them, and what the package does not promise: seeds."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import corrupt_tta
import numpy as np
import pytest
import skimage.util
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wavescope.engine.types import Preprocessing
from wavescope.errors import InvalidRequest
from wavescope.imaging.corruptions import (
    CORRUPTIONS,
    REFERENCE_CORRUPTIONS,
    SEVERITIES,
    corruptions,
    reference_corruptions,
)
from wavescope.imaging.decode import prepare

DRAWN = {
    *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur", "motion_blur"),
    *("fog", "frost", "snow", "spatter", "elastic_transform"),
}
# Those whose strength is one number that only grows: what they do to a photograph must grow with it.
GROWING = (
    *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "gaussian_blur", "defocus_blur"),
    *("zoom_blur", "contrast", "brightness", "jpeg_compression", "pixelate"),
)
SALT_AND_PEPPER = (0.03, 0.06, 0.09, 0.17, 0.27)  # ImageNet-C, impulse noise


def corrupt(pixels: np.ndarray, corruption: str, severity: int, *, seed: int) -> np.ndarray:
    """One of the corrupted images, in [0, 1]."""
    made = corruptions(pixels, seed=seed, names=(corruption,))
    image = next(image for _, level, image in made if level == severity)
    return image.astype(np.float32) / np.float32(255)


@pytest.fixture(scope="module")
def crop(chelsea: Image.Image) -> np.ndarray:
    """(3, 224, 224)."""
    return prepare(chelsea, Preprocessing()).pixels


def sized(image: Image.Image, height: int, width: int, channels: int = 3) -> np.ndarray:
    of = Preprocessing(size=(height, width), resize=None, mean=(0.5,) * channels, std=(0.5,) * channels)
    return prepare(image, of).pixels


def eight_bits(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 3) in 0..255."""
    return np.rint(pixels * 255).astype(np.uint8).transpose(1, 2, 0)


def entropy(corruption: str, severity: int, seed: int) -> np.random.SeedSequence:
    return np.random.SeedSequence((seed, zlib.crc32(corruption.encode()), severity))


@contextmanager
def global_state(sequence: np.random.SeedSequence) -> Iterator[None]:
    """NumPy's global generator, from which the package draws, begun anew."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.set_state(np.random.RandomState(np.random.MT19937(sequence)).get_state())  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def packages_own(image: np.ndarray, corruption: str, severity: int, seed: int) -> np.ndarray:
    """What the package returns, called as its manual says, rounded as ImageNet-C rounds."""
    sequence = entropy(corruption, severity, seed)
    if corruption == "impulse_noise":  # scikit-image draws this one from the operating system unless told
        noisy = skimage.util.random_noise(
            image / 255.0, "s&p", rng=np.random.default_rng(sequence), amount=SALT_AND_PEPPER[severity - 1]
        )
        return (noisy * 255).astype(np.uint8)
    with global_state(sequence):
        return np.asarray(corrupt_tta.corrupt(image, severity, corruption)).astype(np.uint8)


def test_every_corruption_of_the_package_is_named() -> None:
    assert tuple(corrupt_tta.corruption_dict) == CORRUPTIONS
    assert len(CORRUPTIONS) == 19
    assert SEVERITIES == (1, 2, 3, 4, 5)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("size", [(224, 224), (33, 47)])
def test_images_are_those_of_the_package_bit_for_bit(
    chelsea: Image.Image, corruption: str, size: tuple[int, int]
) -> None:
    pixels = sized(chelsea, *size)
    for severity in SEVERITIES:
        found = corrupt(pixels, corruption, severity, seed=3)
        expected = packages_own(eight_bits(pixels), corruption, severity, seed=3)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected.transpose(2, 0, 1).astype(np.float32) / 255)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_only_what_is_drawn_depends_on_the_seed(crop: np.ndarray, corruption: str) -> None:
    one, two = (corrupt(crop, corruption, 3, seed=seed) for seed in (0, 1))
    assert np.array_equal(one, two) == (corruption not in DRAWN)


def test_the_same_seed_gives_the_same_bits_in_any_order_and_subset(chelsea: Image.Image) -> None:
    pixels = sized(chelsea, 48, 48)
    every = {(name, severity): image for name, severity, image in corruptions(pixels, seed=0)}
    assert list(every) == [(name, severity) for name in CORRUPTIONS for severity in SEVERITIES]
    some = list(corruptions(pixels, seed=0, names=("snow", "fog")))
    assert [(name, severity) for name, severity, _ in some] == [
        (name, severity) for name in ("snow", "fog") for severity in SEVERITIES
    ]
    for name, severity, image in some:
        np.testing.assert_array_equal(image, every[name, severity])
    for name, severity in reversed(every):
        image = corrupt(pixels, name, severity, seed=0)
        np.testing.assert_array_equal(image, every[name, severity].astype(np.float32) / np.float32(255))


def test_numpys_global_state_is_neither_read_nor_touched(chelsea: Image.Image) -> None:
    pixels = sized(chelsea, 32, 32)
    with global_state(np.random.SeedSequence(1)):
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        first = [image for _, _, image in corruptions(pixels, seed=0)]
        np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    with global_state(np.random.SeedSequence(2)):
        second = [image for _, _, image in corruptions(pixels, seed=0)]
    np.testing.assert_array_equal(first, second)


def test_threads_do_not_disturb_one_another(chelsea: Image.Image) -> None:
    pixels = sized(chelsea, 64, 64)

    def everything(seed: int) -> list[np.ndarray]:
        return [image for _, _, image in corruptions(pixels, seed=seed)]

    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(everything, (0, 1, 0)))
    np.testing.assert_array_equal(together[0], everything(0))
    np.testing.assert_array_equal(together[1], everything(1))
    np.testing.assert_array_equal(together[2], together[0])


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_every_corruption_corrupts(crop: np.ndarray, corruption: str) -> None:
    """Also that the textures of frost are found: without them the package returns the image as it is."""
    least = 0.0005 if corruption == "spatter" else 0.005  # the package's spatter is a few specks of mud
    for severity in SEVERITIES:
        assert np.abs(corrupt(crop, corruption, severity, seed=0) - crop).mean() > least


@pytest.mark.parametrize("corruption", GROWING)
def test_what_a_corruption_does_grows_with_severity(crop: np.ndarray, corruption: str) -> None:
    errors = [np.mean((corrupt(crop, corruption, severity, seed=0) - crop) ** 2) for severity in SEVERITIES]
    assert errors == sorted(errors)
    assert errors[-1] > 1.5 * errors[0]


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (64, 64), (96, 160), (160, 96), (225, 225), (8, 300)])
def test_images_of_any_size_are_corrupted(chelsea: Image.Image, size: tuple[int, int]) -> None:
    pixels = sized(chelsea, *size)
    for name, severity, image in corruptions(pixels, seed=0):
        assert (image.shape, image.dtype) == ((3, *size), np.uint8), (name, severity)
        assert image.std() > 1, (name, severity)


@given(height=st.integers(8, 70), width=st.integers(8, 70), seed=st.integers(0, 2**63 - 1), data=st.data())
@settings(deadline=None, max_examples=60)
def test_any_image_of_any_size_gives_an_image(
    height: int, width: int, seed: int, data: st.DataObject
) -> None:
    name, severity = data.draw(st.sampled_from(CORRUPTIONS)), data.draw(st.sampled_from(SEVERITIES))
    channels, level = data.draw(st.sampled_from((1, 3))), data.draw(st.sampled_from((0.0, 0.5, 1.0)))
    noise = np.random.default_rng(seed).random((channels, height, width), np.float32)
    for pixels in (noise, np.full_like(noise, level)):
        image = corrupt(pixels, name, severity, seed=seed)
        assert image.shape == pixels.shape
        assert np.isfinite(image).all()
        assert image.min() >= 0
        assert image.max() <= 1


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_grey_is_the_luminance_of_three_equal_channels_corrupted(
    chelsea: Image.Image, corruption: str
) -> None:
    grey = sized(chelsea, 48, 48, channels=1)
    colour = corrupt(np.repeat(grey, 3, axis=0), corruption, 4, seed=0)
    luminance = np.tensordot([0.299, 0.587, 0.114], colour, axes=1)  # ITU-R 601
    np.testing.assert_allclose(corrupt(grey, corruption, 4, seed=0)[0], luminance, atol=0.51 / 255)


def test_the_reference_counts_fourteen_and_the_strongest_twice(chelsea: Image.Image) -> None:
    assert len(REFERENCE_CORRUPTIONS) == 14
    additional = {
        "speckle_noise",
        "gaussian_blur",
        "spatter",
        "saturate",
    }  # Hendrycks and Dietterich, appendix B
    assert set(CORRUPTIONS) - set(REFERENCE_CORRUPTIONS) == {*additional, "frost"}
    pixels = sized(chelsea, 16, 16)
    found = list(reference_corruptions(pixels, seed=0))
    assert [(name, severity) for name, severity, _ in found] == [
        (name, severity) for name in REFERENCE_CORRUPTIONS for severity in (1, 2, 3, 4, 5, 5)
    ]
    for name, severity, image in found:
        expected = corrupt(pixels, name, severity, seed=0)
        np.testing.assert_array_equal(image.astype(np.float32) / np.float32(255), expected)


@pytest.mark.parametrize(
    ("shape", "message"), [((2, 32, 32), "takes 2 channels"), ((3, 7, 32), "at least 8 px")]
)
def test_images_that_cannot_be_corrupted_are_refused(shape: tuple[int, int, int], message: str) -> None:
    pixels = np.zeros(shape, np.float32)
    with pytest.raises(InvalidRequest, match=message):
        next(corruptions(pixels, seed=0))


def test_corruptions_that_do_not_exist_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="no corruption 'mist'"):
        next(corruptions(np.zeros((3, 16, 16), np.float32), seed=0, names=("mist",)))


def test_without_the_extra_the_request_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "corrupt_tta.corruptions", None)
    with pytest.raises(InvalidRequest, match=r"need wavescope\[robustness\], which is not installed"):
        corrupt(np.zeros((3, 16, 16), np.float32), "fog", 1, seed=0)


def test_nothing_heavy_is_imported_before_the_first_image() -> None:
    """A replica that scores images is 60 MB smaller without OpenCV and scikit-image."""
    code = (
        "import sys, wavescope.imaging.source, wavescope.imaging.corruptions;"
        "print(sorted({'cv2', 'corrupt_tta', 'skimage'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"
