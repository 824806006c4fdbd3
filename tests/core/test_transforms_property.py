"""What holds for every transform alike: the linear shortcut, its bits, masks of ones and of zeros, names of factors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.oracles.rendering import mask_rows, slow_finish

from wavescope.core.partition import Partition, fourier_partition, partition, pixel_partition
from wavescope.core.rendering.fourier import FourierSynthesis
from wavescope.core.rendering.pixel import BASELINES, PixelSynthesis, baseline_image
from wavescope.core.rendering.renderer import Finish, Renderer, Synthesis
from wavescope.core.rendering.wavelet import WaveletSynthesis
from wavescope.core.sobol.design import sobol
from wavescope.core.wavelets import analyse, padded_size

LEVELS = 2
POLICIES = ["clip", "minmax", "none"]
# Of an unclipped render in the pixels' units; coefficients of the wavelets below are at most 4 times a pixel.
ROUNDING = 5e-6
TRANSFORMS = {
    "wavelet": ["grid", "aligned", "subbands", "levels"],
    "fourier": ["circle", "square", "grid"],
    "pixel": list(BASELINES),
}


@dataclass(frozen=True)
class Case:
    """An image and its transform; ``variant`` is the partition, and the baseline in the pixel domain."""

    transform: str
    variant: str
    shape: tuple[int, int, int]
    grid_size: int
    seed: int
    library: str = "numpy"

    def image(self) -> np.ndarray:
        return np.random.default_rng(self.seed).random(self.shape).astype(np.float32)

    def partition(self) -> Partition:
        height, width = self.shape[1:]
        if self.transform == "fourier":
            return fourier_partition(self.variant, height, width, grid_size=self.grid_size)
        if self.transform == "pixel":
            return pixel_partition(height, width, self.grid_size)
        packed = padded_size(height, width, LEVELS)
        return partition(self.variant, *packed, LEVELS, grid_size=self.grid_size, approximation="perturb")

    def synthesis(self, made: Partition) -> Synthesis:
        reference = to_library(self.library, np.ones(1, dtype=np.float32))
        if self.transform == "fourier":
            return FourierSynthesis(self.image(), made, reference)
        if self.transform == "pixel":
            return PixelSynthesis(self.image(), made, self.variant, reference)  # type: ignore[arg-type]
        packed = analyse(self.image(), "db2", LEVELS)
        return WaveletSynthesis(packed, self.shape[1:], "db2", LEVELS, made, reference)

    def renderer(self, policy: str, **options: int) -> Renderer:
        made = self.partition()
        mean, std = (
            to_library(self.library, np.full((self.shape[0], 1, 1), v, dtype=np.float32)) for v in (0.4, 0.25)
        )
        return Renderer(self.synthesis(made), made.n_factors, Finish(policy, mean, std), **options)  # type: ignore[arg-type]

    def nothing(self) -> np.ndarray:
        """The image of a mask of zeros."""
        if self.transform == "pixel":
            return baseline_image(self.variant, self.image())  # type: ignore[arg-type]
        return np.zeros(self.shape)


def to_library(library: str, array: np.ndarray) -> Any:
    if library == "numpy":
        return array
    import torch

    return torch.asarray(array)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    transform = draw(st.sampled_from(sorted(TRANSFORMS)))
    return Case(
        transform=transform,
        variant=draw(st.sampled_from(TRANSFORMS[transform])),
        shape=(draw(st.sampled_from([1, 3, 5])), draw(st.integers(8, 21)), draw(st.integers(8, 21))),
        grid_size=draw(st.integers(1, 4)),
        seed=draw(st.integers(0, 99)),
        library=draw(st.sampled_from(["numpy", "torch"])),
    )


@given(case=cases())
def test_the_shortcut_equals_the_plain_path_to_float32_rounding(case: Case) -> None:
    made = case.partition()
    design, synthesis = sobol(made.n_factors, 2, case.seed), case.synthesis(made)
    zero = to_library(case.library, np.zeros((case.shape[0], 1, 1), dtype=np.float32))
    rows = Renderer(synthesis, made.n_factors, Finish("none", zero, zero + 1)).rows(
        design, 0, 2 * (made.n_factors + 2)
    )
    for found, mask in zip(rows, mask_rows(design.a, design.b), strict=True):
        np.testing.assert_allclose(
            np.asarray(found), np.asarray(synthesis.plain(mask)), rtol=0, atol=ROUNDING
        )


@given(case=cases(), policy=st.sampled_from(POLICIES))
def test_finished_rows_are_finished_renders_of_their_masks(case: Case, policy: str) -> None:
    made = case.partition()
    design, synthesis = sobol(made.n_factors, 2, case.seed), case.synthesis(made)
    rows = case.renderer(policy).rows(design, 0, 2 * (made.n_factors + 2))
    mean, std = (np.full(case.shape[0], v) for v in (0.4, 0.25))
    for found, mask in zip(rows, mask_rows(design.a, design.b), strict=True):
        plain = np.asarray(synthesis.plain(mask), dtype=np.float64)
        contrast = float(np.ptp(plain)) if policy == "minmax" else 1.0  # which minmax divides the rounding by
        expected = slow_finish(plain, policy, mean, std)
        np.testing.assert_allclose(
            np.asarray(found), expected, rtol=1e-5, atol=3 * ROUNDING / 0.25 / contrast
        )


@given(case=cases(), policy=st.sampled_from(POLICIES), data=st.data())
def test_rows_have_the_same_bits_whatever_the_batches_and_the_cache(
    case: Case, policy: str, data: st.DataObject
) -> None:
    factors = case.partition().n_factors
    design, rows = sobol(factors, 2, case.seed), 2 * (factors + 2)
    whole = np.asarray(case.renderer(policy).rows(design, 0, rows))
    cuts = sorted(data.draw(st.sets(st.integers(1, rows - 1), max_size=4)))
    spans = list(zip([0, *cuts], [*cuts, rows], strict=True))
    uncached = case.renderer(policy, cache_bytes=data.draw(st.sampled_from([0, 2000])))
    for start, stop in data.draw(st.permutations(spans)):
        assert (np.asarray(uncached.rows(design, start, stop)) == whole[start:stop]).all()


@given(case=cases())
def test_a_mask_of_ones_gives_the_image_back_and_a_mask_of_zeros_nothing_of_it(case: Case) -> None:
    made = case.partition()
    synthesis = case.synthesis(made)
    assert synthesis.shape == case.shape
    for found in (synthesis.plain(np.ones(made.n_factors)), synthesis.clean()):
        np.testing.assert_allclose(np.asarray(found), case.image(), rtol=0, atol=ROUNDING)
    nothing = np.asarray(synthesis.plain(np.zeros(made.n_factors)))
    np.testing.assert_allclose(nothing, case.nothing(), rtol=0, atol=1e-7)


@given(case=cases())
def test_patches_of_all_factors_add_up_to_the_image_and_touch_no_pixel_twice(case: Case) -> None:
    made = case.partition()
    synthesis, summed = case.synthesis(made), case.nothing().astype(np.float64)
    for factor in range(made.n_factors):
        touched = np.zeros(case.shape[1:], dtype=int)
        for patch in synthesis.patches(factor):
            summed[:, patch.rows, patch.columns] += np.asarray(patch.values)
            touched[patch.rows, patch.columns] += 1
        assert touched.max() <= 1
    np.testing.assert_allclose(summed, case.image(), rtol=0, atol=ROUNDING)


@given(case=cases(), data=st.data())
def test_relabelling_factors_permutes_patches_and_changes_no_image(case: Case, data: st.DataObject) -> None:
    made = case.partition()
    renamed = np.array(data.draw(st.permutations(range(made.n_factors))), dtype=np.int32)
    ours, theirs = case.synthesis(made), case.synthesis(replace(made, factors=renamed[made.factors]))
    for factor in range(made.n_factors):
        pairs = zip(ours.patches(factor), theirs.patches(int(renamed[factor])), strict=True)
        for mine, other in pairs:
            assert (mine.rows, mine.columns) == (other.rows, other.columns)
            assert (np.asarray(mine.values) == np.asarray(other.values)).all()
    mask = np.random.default_rng(case.seed).random(made.n_factors)
    moved = np.empty_like(mask)
    moved[renamed] = mask
    assert (np.asarray(ours.plain(mask)) == np.asarray(theirs.plain(moved))).all()


@given(case=cases())
def test_numpy_and_torch_agree(case: Case) -> None:
    design = sobol(case.partition().n_factors, 2, case.seed)
    numpy, torch = (
        np.asarray(replace(case, library=name).renderer("clip").masks(design.a))
        for name in ("numpy", "torch")
    )
    assert np.abs(numpy - torch).max() <= 2 * ROUNDING / 0.25


@pytest.mark.parametrize("transform", sorted(TRANSFORMS))
def test_the_image_given_is_left_as_it_was(transform: str) -> None:
    """Arrays from a shared object store cannot be written to; clean images are handed out as they are."""
    case = Case(transform, TRANSFORMS[transform][0], (3, 19, 26), 4, 0)
    renderer = case.renderer("clip")
    before = np.array(renderer.clean())
    design = sobol(case.partition().n_factors, 2, 0)
    renderer.rows(design, 0, 2 * (design.n_factors + 2))
    assert (renderer.clean() == before).all()
