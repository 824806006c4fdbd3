"""Masked pixels against pixel-by-pixel loops, and what a masked pixel becomes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavescope.core.partition import Partition, pixel_partition
from wavescope.core.rendering.pixel import BASELINES, PixelSynthesis, baseline_image

REFERENCE = np.ones(1, dtype=np.float32)
baselines = st.sampled_from(BASELINES)


def an_image(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def slow_blur(channel: np.ndarray, sigma: float) -> np.ndarray:
    """Σ over the pixels within 4σ, mirrored at the border, weighed by a sampled and normalised Gaussian."""
    reach = int(4 * sigma + 0.5)
    offsets = range(-reach, reach + 1)
    weights = [math.exp(-(d**2) / (2 * sigma**2)) for d in offsets]
    weights = [weight / sum(weights) for weight in weights]

    def mirrored(i: int, size: int) -> int:
        i %= 2 * size
        return i if i < size else 2 * size - 1 - i

    def along_rows(array: np.ndarray) -> np.ndarray:
        size = array.shape[0]
        return np.array(
            [
                sum(w * array[mirrored(i + d, size)] for d, w in zip(offsets, weights, strict=True))
                for i in range(size)
            ]
        )

    return along_rows(along_rows(channel.astype(np.float64)).T).T


@given(
    height=st.integers(8, 20),
    width=st.integers(8, 20),
    baseline=baselines,
    cells=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_a_masked_pixel_lies_between_the_baseline_and_itself(
    height: int, width: int, baseline: str, cells: int, seed: int
) -> None:
    image, made = an_image(2, height, width, seed=seed), pixel_partition(height, width, cells)
    mask = np.random.default_rng(seed).random(made.n_factors)
    found = PixelSynthesis(image, made, baseline, REFERENCE).plain(mask)
    base = baseline_image(baseline, image)
    assert found.dtype == np.float32
    for c, i, j in np.ndindex(image.shape):
        m = mask[(i * cells // height) * cells + j * cells // width]
        assert found[c, i, j] == pytest.approx(base[c, i, j] + m * (image[c, i, j] - base[c, i, j]), abs=1e-6)


def test_zero_is_black_and_mean_is_each_channels_own() -> None:
    image = an_image(3, 9, 14)
    assert (baseline_image("zero", image) == 0).all()
    mean = baseline_image("mean", image)
    for channel, into in zip(image, mean, strict=True):
        np.testing.assert_allclose(into, np.float64(channel.astype(np.float64).mean()), rtol=1e-6)


@pytest.mark.parametrize("size", [(32, 24), (17, 40)])
def test_blur_is_a_gaussian_of_a_sixteenth_of_the_shorter_side_in_each_channel(size: tuple[int, int]) -> None:
    image = an_image(2, *size)
    expected = np.stack([slow_blur(channel, min(size) / 16) for channel in image])
    np.testing.assert_allclose(baseline_image("blur", image), expected, atol=1e-6)


@pytest.mark.parametrize("baseline", BASELINES)
def test_a_baseline_stays_in_the_range_of_the_image(baseline: str) -> None:
    base = baseline_image(baseline, an_image(3, 8, 8))
    assert base.dtype == np.float32
    assert base.shape == (3, 8, 8)
    assert base.min() >= 0.0
    assert base.max() <= 1.0


@given(baseline=baselines, seed=st.integers(0, 99))
def test_any_set_of_pixels_can_be_a_factor(baseline: str, seed: int) -> None:
    """Ranks of pixels in steps, as insertion and deletion use them: factors are not boxes and need not be connected."""
    rng = np.random.default_rng(seed)
    image = an_image(3, 9, 13, seed=seed)
    made = Partition(rng.integers(-1, 5, size=(9, 13)).astype(np.int32), 6, held=0.0)  # factor 5 has no pixel
    render = PixelSynthesis(image, made, baseline, REFERENCE)
    base = baseline_image(baseline, image)
    for factor in range(5):
        (patch,) = render.patches(factor)
        expected = np.where(made.factors == factor, image - base, np.float32(0))
        alone = np.zeros_like(image)
        alone[:, patch.rows, patch.columns] = patch.values
        assert (alone == expected).all()
        rows, columns = np.nonzero(made.factors == factor)  # no larger than it must be
        assert (patch.rows, patch.columns) == (
            slice(rows.min(), rows.max() + 1),
            slice(columns.min(), columns.max() + 1),
        )
    assert render.patches(5) == []
    nothing = render.plain(np.zeros(6))
    assert (nothing == base).all()


@pytest.mark.parametrize("held", [0.0, 1.0])
def test_pixels_of_no_factor_are_held(held: float) -> None:
    image = an_image(1, 8, 8)
    factors = np.zeros((8, 8), dtype=np.int32)
    factors[:4] = -1
    found = PixelSynthesis(image, Partition(factors, 1, held), "zero", REFERENCE).plain(np.array([0.25]))
    assert (found[:, :4] == held * image[:, :4]).all()
    assert (found[:, 4:] == image[:, 4:] / 4).all()


def test_a_partition_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"partition is \(8, 9\), the image \(9, 8\)"):
        PixelSynthesis(an_image(1, 9, 8), pixel_partition(8, 9, 2), "zero", REFERENCE)
