"""Features of factors: sizes against the images of single factors, places and bands by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavescope.core.adaptive.factor_features import (
    FactorFeatures,
    fourier_features,
    pixel_features,
    wavelet_features,
)
from wavescope.core.partition import Partition, fourier_partition, partition, pixel_partition
from wavescope.core.rendering.fourier import FourierSynthesis
from wavescope.core.rendering.pixel import baseline_image
from wavescope.core.rendering.wavelet import WaveletSynthesis
from wavescope.core.wavelets import analyse, bands

ORTHOGONAL = ["haar", "db2", "db4", "sym5", "coif1"]


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((3, height, width)).astype(np.float32)


def norms(plain: np.ndarray) -> np.ndarray:
    return np.sqrt((plain.astype(np.float64) ** 2).sum(axis=(1, 2, 3)))


# ---- wavelets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["grid", "aligned", "subbands", "levels"])
@pytest.mark.parametrize("wavelet", ORTHOGONAL)
def test_the_size_of_a_factor_of_an_orthogonal_wavelet_is_the_norm_of_its_image(
    wavelet: str, name: str
) -> None:
    packed = analyse(image(32, 48), wavelet, 2)
    factors = partition(name, 32, 48, 2, grid_size=5, approximation="perturb")
    synthesis = WaveletSynthesis(packed, (32, 48), wavelet, 2, factors, packed)
    alone = np.stack([synthesis.plain(mask) for mask in np.eye(factors.n_factors)])
    found = wavelet_features(packed, factors, 2)
    np.testing.assert_allclose(found.size, norms(alone), rtol=1e-4)


def test_sizes_of_all_factors_hold_the_whole_energy_and_none_of_what_is_held() -> None:
    packed = analyse(image(32, 32), "haar", 2)
    for approximation in ("perturb", "keep", "drop"):
        factors = partition("aligned", 32, 32, 2, grid_size=4, approximation=approximation)
        inside = factors.factors >= 0
        assert inside.all() == (approximation == "perturb")
        found = wavelet_features(packed, factors, 2)
        assert (found.size**2).sum() == pytest.approx((packed[:, inside].astype(float) ** 2).sum())


def test_aligned_cells_are_of_the_band_and_level_that_they_are_cut_from() -> None:
    factors = partition("aligned", 64, 96, 3, grid_size=8, approximation="perturb")
    found = wavelet_features(np.ones((1, 64, 96), np.float32), factors, 3)
    for index, band in enumerate(bands(64, 96, 3)):
        inside = np.unique(factors.factors[band.slices])
        assert (found.band[inside] == index).all()
        assert (found.level[inside] == band.level).all()


def test_the_places_of_cells_of_a_band_are_spread_evenly_over_the_whole_image() -> None:
    factors = partition("aligned", 64, 64, 2, grid_size=8, approximation="perturb")
    found = wavelet_features(np.ones((1, 64, 64), np.float32), factors, 2)
    for index in range(7):
        of_band = found.place[found.band == index]
        side = round(np.sqrt(len(of_band)))
        expected = (np.arange(side) + 0.5) / side
        np.testing.assert_allclose(of_band[:, 0], np.repeat(expected, side))
        np.testing.assert_allclose(of_band[:, 1], np.tile(expected, side))


def test_whole_bands_are_in_the_middle_and_of_the_last_quarter() -> None:
    factors = partition("subbands", 32, 32, 2, grid_size=1, approximation="perturb")
    found = wavelet_features(np.ones((1, 32, 32), np.float32), factors, 2)
    np.testing.assert_allclose(found.place, 0.5)
    assert found.band.tolist() == list(range(7))
    assert found.level.tolist() == [0, 1, 1, 1, 2, 2, 2]
    assert (found.quarter == 3).all()


def test_a_cell_that_straddles_is_where_most_of_it_is_and_where_alike_the_coarser() -> None:
    """8 x 8 packed, one level: bands of 4 x 4, approximation, horizontal, vertical, diagonal."""
    horizontal, vertical = (
        next(b for b in bands(8, 8, 1) if b.orientation == o) for o in ("horizontal", "vertical")
    )
    of = np.full((8, 8), 0, dtype=np.int32)
    of[horizontal.slices] = 1
    of[vertical.slices] = 2
    of[4:, 4:] = 3
    # Factor 4: one coefficient of the approximation, three of the diagonal in its lower right corner.
    of[0, 0] = of[7, 7] = of[7, 6] = of[6, 7] = 4
    # Factor 5: two of each.
    of[0, 1] = of[0, 2] = of[4, 4] = of[4, 5] = 5
    found = wavelet_features(np.ones((1, 8, 8), np.float32), Partition(of, 6), 1)
    assert found.band[4] == 3
    assert found.level[4] == 1
    # Centres 3.5, 3.5 and 2.5 of 4, twice over.
    np.testing.assert_allclose(found.place[4], (3.5 + 3.5 + 2.5) / 12)
    assert found.band[5] == 0
    assert found.level[5] == 0
    np.testing.assert_allclose(found.place[5], [0.5 / 4, (1.5 + 2.5) / 8])


@given(
    place=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
        min_size=1,
        max_size=9,
    )
)
def test_quarters_are_numbered_row_by_row(place: list[tuple[float, float]]) -> None:
    nothing = np.zeros(len(place), dtype=int)
    found = FactorFeatures(np.ones(len(place)), nothing, nothing, np.array(place)).quarter
    expected = [[[0, 1], [2, 3]][down >= 0.5][across >= 0.5] for down, across in place]
    assert found.tolist() == expected


# ---- pixels and frequencies --------------------------------------------------------------------


@pytest.mark.parametrize("baseline", ["zero", "mean", "blur"])
def test_the_size_of_pixels_is_the_norm_of_what_removing_them_changes(baseline: str) -> None:
    pixels = image(20, 30, seed=2)
    difference = pixels - baseline_image(baseline, pixels)
    factors = pixel_partition(20, 30, 4)
    found = pixel_features(difference, factors)
    expected = [np.linalg.norm(difference[:, factors.factors == k]) for k in range(factors.n_factors)]
    np.testing.assert_allclose(found.size, expected, rtol=1e-6)
    assert (found.level == 0).all()


def test_pixels_are_where_they_are_and_their_bands_are_quarters() -> None:
    found = pixel_features(image(24, 24), pixel_partition(24, 24, 4))
    expected = (np.arange(4) + 0.5) / 4
    np.testing.assert_allclose(found.place[:, 0], np.repeat(expected, 4))
    np.testing.assert_allclose(found.place[:, 1], np.tile(expected, 4))
    assert found.band.reshape(4, 4).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]


def test_pixels_that_equal_the_baseline_have_size_0() -> None:
    difference = image(16, 16)
    difference[:, :8] = 0
    assert (pixel_features(difference, pixel_partition(16, 16, 2)).size == 0).tolist() == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("name", ["circle", "square", "grid"])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (15, 22)])
def test_the_size_of_frequencies_is_the_norm_of_their_image(name: str, height: int, width: int) -> None:
    """Parseval: the transform is unitary. Factors that split a frequency from its mirror image are complex alone."""
    pixels = image(height, width, seed=3)
    factors = fourier_partition(name, height, width, grid_size=6)
    found = fourier_features(pixels, factors)
    assert (found.size**2).sum() == pytest.approx((pixels.astype(float) ** 2).sum())
    if name != "grid":
        synthesis = FourierSynthesis(pixels, factors, np.zeros((3, 1, 1), np.float32))
        alone = np.stack([synthesis.plain(mask) for mask in np.eye(factors.n_factors)])
        np.testing.assert_allclose(found.size, norms(alone), rtol=1e-4, atol=1e-5)


def test_frequencies_are_everywhere() -> None:
    found = fourier_features(image(16, 16), fourier_partition("square", 16, 16, grid_size=4))
    assert not found.level.any()
    assert not found.band.any()
    np.testing.assert_array_equal(found.place, 0.5)
