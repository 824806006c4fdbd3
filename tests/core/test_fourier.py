"""Fourier attribution against the paper's sums, NumPy's full complex transform, and Parseval."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.oracles.fourier import slow_dft, slow_fourier_render

from wavescope.core.partition import FOURIER_PARTITIONS, Partition, fourier_partition
from wavescope.core.rendering.fourier import FourierSynthesis

names = st.sampled_from(sorted(FOURIER_PARTITIONS))
libraries = st.sampled_from(["numpy", "torch"])
ATOL = 2e-6  # float32 rounding of images whose pixels are in [0, 1], times a mask in [0, 1]


def an_image(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def synthesis(image: np.ndarray, partition: Partition, library: str = "numpy") -> FourierSynthesis:
    return FourierSynthesis(image, partition, reference(library))


def reference(library: str) -> Any:
    one = np.ones(1, dtype=np.float32)
    if library == "numpy":
        return one
    import torch

    return torch.asarray(one)


def full_complex(image: np.ndarray, centred: np.ndarray) -> np.ndarray:
    """The inverse of the whole spectrum under a mask in centred layout, complex128."""
    shifted = np.fft.fftshift(np.fft.fft2(image.astype(np.float64)), axes=(-2, -1))
    return np.fft.ifft2(np.fft.ifftshift(shifted * centred, axes=(-2, -1)))


def test_the_transform_is_the_papers_sum() -> None:
    image = an_image(5, 4)
    spectrum = np.fft.fft2(image.astype(np.float64))
    for (u, v), value in slow_dft(image).items():
        assert value == pytest.approx(spectrum[u, v], abs=1e-12)


@given(
    name=names,
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    held=st.sampled_from([0.0, 1.0]),
    library=libraries,
    data=st.data(),
)
def test_a_render_perturbs_the_magnitude_keeps_the_phase_and_is_real(
    name: str, height: int, width: int, held: float, library: str, data: st.DataObject
) -> None:
    """Against explicit sums in polar form. What they leave imaginary is rounding: nothing was rectified away."""
    made = fourier_partition(name, height, width, grid_size=data.draw(st.integers(1, min(height, width))))
    first = data.draw(st.integers(0, 1))  # without factor 0, to see frequencies held
    factors = Partition(made.factors - np.int32(first), made.n_factors - first, held)
    image, mask = an_image(2, height, width), np.random.default_rng(1).random(factors.n_factors)
    expected = slow_fourier_render(image, factors.factors, mask, held)
    assert np.abs(expected.imag).max() < 1e-12
    found = synthesis(image, factors, library).plain(mask)
    np.testing.assert_allclose(np.asarray(found), expected.real, rtol=0, atol=ATOL)


@given(
    name=names,
    height=st.integers(8, 70),
    width=st.integers(8, 70),
    library=libraries,
    seed=st.integers(0, 99),
)
def test_a_render_equals_the_full_complex_transform_at_any_size(
    name: str, height: int, width: int, library: str, seed: int
) -> None:
    made = fourier_partition(name, height, width, grid_size=8)
    image, mask = an_image(3, height, width, seed=seed), np.random.default_rng(seed).random(made.n_factors)
    expected = full_complex(image, mask[made.factors])
    assert np.abs(expected.imag).max() < 1e-14 * height * width
    found = np.asarray(synthesis(image, made, library).plain(mask))
    assert found.dtype == np.float32
    assert found.shape == image.shape
    np.testing.assert_allclose(found, expected.real, rtol=0, atol=ATOL)


@given(name=names, height=st.integers(8, 40), width=st.integers(8, 40))
def test_energies_of_factors_are_those_of_their_frequencies_and_add_up(
    name: str, height: int, width: int
) -> None:
    """Parseval: Σ|P_k|² = Σ over k's frequencies of |F|² / (n·m), and P_k of different factors are orthogonal."""
    made = fourier_partition(name, height, width, grid_size=5)
    image = an_image(1, height, width)
    render = synthesis(image, made)
    power = np.abs(np.fft.fftshift(np.fft.fft2(image[0].astype(np.float64)))) ** 2 / (height * width)
    energies = []
    for factor in range(made.n_factors):
        (patch,) = render.patches(factor)
        energies.append(float((patch.values.astype(np.float64) ** 2).sum()))
        assert energies[-1] == pytest.approx(power[made.factors == factor].sum(), rel=1e-4, abs=1e-6)
    assert sum(energies) == pytest.approx(float((image.astype(np.float64) ** 2).sum()), rel=1e-5)


@pytest.mark.parametrize("size", [(16, 24), (15, 24), (16, 23), (15, 23)])
def test_a_cosine_lives_in_the_one_factor_that_holds_its_frequency(size: tuple[int, int]) -> None:
    height, width = size
    k, l = np.indices(size)  # noqa: E741
    wave = np.cos(2 * np.pi * (3 * k / height - 5 * l / width)).astype(np.float32)[None]
    for name in FOURIER_PARTITIONS:
        made = fourier_partition(name, height, width, grid_size=6)
        owner = made.factors[height // 2 + 3, width // 2 - 5]
        for factor in range(made.n_factors):
            (patch,) = synthesis(wave, made).patches(factor)
            expected = wave if factor == owner else np.zeros_like(wave)
            np.testing.assert_allclose(patch.values, expected, atol=ATOL)


def test_the_first_ring_holds_the_mean_and_masking_it_leaves_a_mean_of_zero() -> None:
    image = an_image(3, 17, 12)
    made = fourier_partition("circle", 17, 12, grid_size=6)
    without = np.ones(made.n_factors)
    without[0] = 0.0
    np.testing.assert_allclose(synthesis(image, made).plain(without).mean(axis=(1, 2)), 0.0, atol=1e-6)


def test_a_partition_that_tells_a_frequency_from_its_mirror_is_refused() -> None:
    factors = np.zeros((8, 9), dtype=np.int32)
    factors[1, 2] = 1
    with pytest.raises(ValueError, match="a frequency and its mirror are in different factors"):
        synthesis(an_image(1, 8, 9), Partition(factors, 2))


def test_a_partition_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"partition is \(8, 9\), the image \(9, 8\)"):
        synthesis(an_image(1, 9, 8), fourier_partition("circle", 8, 9, grid_size=2))
