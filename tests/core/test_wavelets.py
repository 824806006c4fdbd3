"""The packed transform against PyWavelets: layout, exact reconstruction, bases."""

from __future__ import annotations

import numpy as np
import pytest
import pywt
from hypothesis import given
from hypothesis import strategies as st
from tests.oracles.rendering import slow_analyse, slow_synthesise

from wavescope.core.partition import partition
from wavescope.core.rendering.wavelet import WaveletSynthesis
from wavescope.core.wavelets import (
    analyse,
    band_basis,
    bands,
    cascade,
    is_haar,
    max_levels,
    padded_size,
    scale_px,
    synthesis,
    synthesis_adjoint,
    synthesise,
    synthesise_haar,
)

DISCRETE = tuple(pywt.wavelist(kind="discrete"))
FAMILIES = tuple(dict.fromkeys(pywt.Wavelet(name).short_family_name for name in DISCRETE))


def reconstruct(image: np.ndarray, wavelet: str, levels: int) -> np.ndarray:
    """Through a mask of ones, in float32, as every explanation does it."""
    _, height, width = image.shape
    packed = analyse(image, wavelet, levels)
    factors = partition("subbands", *packed.shape[1:], levels, grid_size=1, approximation="perturb")
    synthesis = WaveletSynthesis(packed, (height, width), wavelet, levels, factors, packed)
    return synthesis.plain(np.ones(factors.n_factors))


def reconstruction_tolerance(wavelet: str, levels: int) -> float:
    """Relative to the largest pixel."""
    if wavelet == "dmey":  # its filter is cut off: PyWavelets' own float64 round trip is no better
        return 1e-2
    if (
        wavelet == "rbio3.1" and levels > 3
    ):  # so ill-conditioned that rounding the coefficients to float32 shows
        return 1e-4
    return 1e-5


def assert_reconstructs(shape: tuple[int, int, int], wavelet: str, levels: int) -> None:
    image = np.random.default_rng(7).random(shape).astype(np.float32)
    error = np.abs(reconstruct(image, wavelet, levels) - image).max() / image.max()
    assert error <= reconstruction_tolerance(wavelet, levels), (wavelet, levels, shape, error)


def test_the_families_below_hold_every_discrete_wavelet() -> None:
    held = [name for family in FAMILIES for name in pywt.wavelist(family)]
    assert sorted(held) == sorted(DISCRETE)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mask_of_ones_reconstructs_exactly_for_every_wavelet_of_the_family(family: str) -> None:
    for wavelet in pywt.wavelist(family):
        assert_reconstructs((1, 13, 18), wavelet, 2)


@pytest.mark.exhaustive
@pytest.mark.parametrize("wavelet", DISCRETE)
def test_a_mask_of_ones_reconstructs_exactly_whatever_the_wavelet_levels_and_size(wavelet: str) -> None:
    for height, width in [(32, 32), (33, 33), (32, 48), (33, 47), (48, 33), (31, 64), (4, 4), (5, 7)]:
        for levels in range(1, max_levels(height, width) + 1):
            assert_reconstructs((3, height, width), wavelet, levels)


@pytest.mark.exhaustive
@pytest.mark.parametrize("wavelet", ["haar", "db2", "db38", "sym20", "coif17", "bior6.8", "rbio3.1", "dmey"])
def test_a_mask_of_ones_reconstructs_exactly_at_every_depth_of_a_full_size_image(wavelet: str) -> None:
    for levels in range(1, max_levels(224, 224) + 1):
        assert_reconstructs((1, 224, 224), wavelet, levels)


def test_haar_at_224_packs_as_pywavelets_does_by_default() -> None:
    image = np.random.default_rng(0).random((3, 224, 224)).astype(np.float32)
    packed = analyse(image, "haar", 3)
    for channel, found in zip(image, packed, strict=True):
        expected, _ = pywt.coeffs_to_array(pywt.wavedec2(channel.astype(np.float64), "haar", level=3))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_haar_coefficients_are_block_sums_and_differences() -> None:
    image = np.random.default_rng(1).random((1, 6, 8))
    packed = analyse(image, "haar", 1)
    a, b, c, d = (image[0, y::2, x::2] for y, x in [(0, 0), (0, 1), (1, 0), (1, 1)])
    np.testing.assert_allclose(packed[0, :3, :4], (a + b + c + d) / 2, rtol=1e-6)
    np.testing.assert_allclose(packed[0, 3:, :4], (a + b - c - d) / 2, atol=1e-6)  # horizontal edges
    np.testing.assert_allclose(packed[0, :3, 4:], (a - b + c - d) / 2, atol=1e-6)  # vertical edges
    np.testing.assert_allclose(packed[0, 3:, 4:], (a - b - c + d) / 2, atol=1e-6)


sides = st.integers(4, 26)
wavelets = st.sampled_from(["haar", "db2", "db4", "sym5", "coif2", "bior2.2", "bior3.1", "rbio4.4", "dmey"])


@given(height=sides, width=sides, wavelet=wavelets, data=st.data())
def test_packed_coefficients_equal_pywavelets_on_the_reflected_image(
    height: int, width: int, wavelet: str, data: st.DataObject
) -> None:
    levels = data.draw(st.integers(1, max_levels(height, width)))
    image = np.random.default_rng(data.draw(st.integers(0, 99))).random((2, height, width))
    packed = analyse(image, wavelet, levels)
    assert packed.dtype == np.float32
    assert packed.shape == (2, *padded_size(height, width, levels))
    expected = np.stack([slow_analyse(channel, wavelet, levels) for channel in image])
    np.testing.assert_allclose(packed, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@given(tall=st.integers(1, 4), wide=st.integers(1, 4), levels=st.integers(1, 3), wavelet=wavelets)
def test_synthesis_equals_pywavelets_on_any_coefficients(
    tall: int, wide: int, levels: int, wavelet: str
) -> None:
    height, width = tall << levels, wide << levels
    packed = np.random.default_rng(tall + 10 * wide).normal(size=(height, width))
    found = synthesise(packed, matrices(wavelet, height, width, levels))
    np.testing.assert_allclose(found, slow_synthesise(packed, wavelet, levels), rtol=1e-9, atol=1e-9)


@given(
    tall=st.integers(1, 4),
    wide=st.integers(1, 4),
    levels=st.integers(1, 4),
    leading=st.sampled_from([(), (3,), (2, 3)]),
)
def test_haar_synthesis_is_exact_on_whole_numbers(
    tall: int, wide: int, levels: int, leading: tuple[int, ...]
) -> None:
    """Sums of whole numbers, halved once a level, are the same in float32 as in float64: no tolerance."""
    height, width = tall << levels, wide << levels
    packed = np.random.default_rng(tall + 10 * wide).integers(-99, 99, (*leading, height, width))
    channels = packed.reshape(-1, height, width)
    expected = np.stack([slow_synthesise(channel.astype(float), "haar", levels) for channel in channels])
    found = synthesise_haar(packed.astype(np.float32), levels)
    steps = 2**levels  # PyWavelets multiplies by √½, which is not exact
    np.testing.assert_array_equal(found * steps, np.rint(expected * steps).reshape(found.shape))


@pytest.mark.parametrize("wavelet", DISCRETE)
def test_haar_is_known_by_its_filters_under_every_name(wavelet: str) -> None:
    of_haar = [np.array(pywt.Wavelet("haar").filter_bank[part]) for part in (2, 3)]
    same = [np.array(pywt.Wavelet(wavelet).filter_bank[part]) for part in (2, 3)]
    equal = all(a.shape == b.shape and np.allclose(a, b) for a, b in zip(same, of_haar, strict=True))
    assert is_haar(wavelet) == equal


def matrices(wavelet: str, height: int, width: int, levels: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (synthesis(wavelet, height >> step), synthesis(wavelet, width >> step))
        for step in range(levels - 1, -1, -1)
    ]


@given(tall=st.integers(1, 4), wide=st.integers(1, 4), levels=st.integers(1, 3), wavelet=wavelets)
def test_the_parts_of_all_bands_add_up_to_the_synthesis(
    tall: int, wide: int, levels: int, wavelet: str
) -> None:
    height, width = tall << levels, wide << levels
    packed = np.random.default_rng(5).normal(size=(height, width))
    summed = np.zeros((height, width))
    for band in bands(height, width, levels):
        rows, columns = band_basis(wavelet, height, width, levels, band)
        summed += rows @ packed[band.slices] @ columns.T
    expected = synthesise(packed, matrices(wavelet, height, width, levels))
    np.testing.assert_allclose(summed, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("wavelet", ["haar", "db3", "sym4", "coif1"])
def test_an_orthogonal_cascade_is_an_orthonormal_basis(wavelet: str) -> None:
    lows, highs = cascade(wavelet, 32, 3)
    basis = np.concatenate([lows[0], *highs], axis=1)
    np.testing.assert_allclose(basis.T @ basis, np.eye(32), atol=1e-9)


def test_cached_matrices_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        synthesis("db2", 8)[0, 0] = 1.0


@given(tall=st.integers(1, 9), wide=st.integers(1, 9), levels=st.integers(1, 5))
def test_bands_tile_the_packed_array_exactly(tall: int, wide: int, levels: int) -> None:
    height, width = tall << levels, wide << levels
    seen = np.zeros((height, width), dtype=int)
    found = bands(height, width, levels)
    for band in found:
        seen[band.slices] += 1
    assert (seen == 1).all()
    assert len(found) == 3 * levels + 1
    assert [band.level for band in found] == [0, *(level for level in range(1, levels + 1) for _ in range(3))]
    assert all(band.rows[1] - band.rows[0] == height >> (levels - max(band.level, 1) + 1) for band in found)


def test_detail_bands_hold_their_orientation_where_the_layout_says() -> None:
    """Horizontal stripes of period 2 are nothing but finest horizontal detail, and so on."""
    ramp = np.indices((16, 16)) % 2
    images = {"horizontal": ramp[0], "vertical": ramp[1], "diagonal": (ramp[0] + ramp[1]) % 2}
    for orientation, image in images.items():
        packed = analyse(image[None].astype(np.float64), "haar", 2)[0]
        energy = {
            band.orientation: float((packed[band.slices] ** 2).sum())
            for band in bands(16, 16, 2)
            if band.level == 2
        }
        assert [name for name, value in energy.items() if value > 1e-9] == [orientation]


def test_scales_of_levels_are_octaves_from_1_px_to_the_approximation() -> None:
    assert [scale_px(level, 3) for level in range(4)] == [(8, None), (4, 8), (2, 4), (1, 2)]
    assert [scale_px(level, 1) for level in range(2)] == [(2, None), (1, 2)]


@given(height=st.integers(1, 3000), width=st.integers(1, 3000))
def test_levels_go_as_deep_as_leaves_two_pixels(height: int, width: int) -> None:
    deepest, side = 0, float(min(height, width))
    while side / 2 >= 2:
        deepest, side = deepest + 1, side / 2
    assert max_levels(height, width) == deepest


@given(height=st.integers(1, 500), width=st.integers(1, 500), levels=st.integers(1, 6))
def test_padding_goes_to_the_next_multiple(height: int, width: int, levels: int) -> None:
    for side, padded in zip((height, width), padded_size(height, width, levels), strict=True):
        assert padded % 2**levels == 0
        assert 0 <= padded - side < 2**levels


@pytest.mark.parametrize("wavelet", ["haar", "db4", "bior2.2", "rbio1.5"])
@pytest.mark.parametrize("size", [(16, 24), (13, 18)])
def test_derivatives_by_coefficients_are_the_transpose_of_the_inverse(
    wavelet: str, size: tuple[int, int]
) -> None:
    """⟨W⁻¹ z, g⟩ = ⟨z, (W⁻¹)ᵀ g⟩, with the inverse of PyWavelets, cropped."""
    rng, levels = np.random.default_rng(0), 2
    gradient = rng.normal(size=(2, *size))
    found = synthesis_adjoint(gradient, wavelet, levels)
    packed = rng.normal(size=found.shape)
    shape = found.shape[1:]
    _, slices = pywt.coeffs_to_array(pywt.wavedec2(np.zeros(shape), wavelet, "periodization", levels))
    images = [
        pywt.waverec2(pywt.array_to_coeffs(each, slices, output_format="wavedec2"), wavelet, "periodization")
        for each in packed
    ]
    cropped = np.stack(images)[:, : size[0], : size[1]]
    np.testing.assert_allclose((cropped * gradient).sum(), (packed * found).sum(), rtol=1e-9)
