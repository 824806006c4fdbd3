"""Rendering: the linear shortcut against mask and invert, on NumPy and torch; its bits and its memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.oracles.rendering import mask_rows, slow_finish, slow_render

from wavescope.core.partition import Partition, partition
from wavescope.core.rendering.renderer import Finish, Renderer
from wavescope.core.rendering.wavelet import WaveletSynthesis
from wavescope.core.sobol.design import Design, sobol
from wavescope.core.wavelets import analyse, max_levels

MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)
WAVELETS = ["haar", "db2", "db4", "sym5", "coif1", "bior2.2", "bior4.4", "dmey"]
POLICIES = ["clip", "minmax", "none"]


def to_library(library: str, array: np.ndarray) -> Any:
    if library == "numpy":
        return array
    import torch

    return torch.asarray(array)


def to_numpy(array: Any) -> np.ndarray:
    return np.asarray(array)


@dataclass(frozen=True)
class Case:
    """Everything that determines a set of perturbed images."""

    shape: tuple[int, int, int]
    wavelet: str
    levels: int
    partition: str
    grid_size: int
    approximation: str
    policy: str
    seed: int

    def coefficients(self) -> np.ndarray:
        image = np.random.default_rng(self.seed).random(self.shape).astype(np.float32)
        return analyse(image, self.wavelet, self.levels)

    def factors(self) -> Partition:
        return partition(
            self.partition,
            *self.coefficients().shape[1:],
            self.levels,
            grid_size=self.grid_size,
            approximation=self.approximation,  # type: ignore[arg-type]
        )

    def renderer(self, library: str = "numpy", **options: int) -> Renderer:
        channels = self.shape[0]
        finish = Finish(
            self.policy,  # type: ignore[arg-type]
            to_library(library, MEAN[:channels, None, None]),
            to_library(library, STD[:channels, None, None]),
        )
        return self.render_with(finish, **options)

    def unclipped(self, library: str = "numpy") -> Renderer:
        """A renderer whose rows are neither clipped nor normalised: finishing leaves every bit as it is."""
        channels = self.shape[0]
        finish = Finish(
            "none",
            to_library(library, np.zeros((channels, 1, 1), np.float32)),
            to_library(library, np.ones((channels, 1, 1), np.float32)),
        )
        return self.render_with(finish)

    def render_with(self, finish: Finish, **options: int) -> Renderer:
        factors = self.factors()
        synthesis = WaveletSynthesis(
            self.coefficients(), self.shape[1:], self.wavelet, self.levels, factors, finish.mean
        )
        return Renderer(synthesis, factors.n_factors, finish, **options)

    def design(self, n: int = 2) -> Design:
        return sobol(self.factors().n_factors, n, self.seed)


@st.composite
def cases(draw: st.DrawFn, policy: str | None = None) -> Case:
    height, width = draw(st.integers(4, 17)), draw(st.integers(4, 17))
    return Case(
        shape=(draw(st.sampled_from([1, 3])), height, width),
        wavelet=draw(st.sampled_from(WAVELETS)),
        levels=draw(st.integers(1, max_levels(height, width))),
        partition=draw(st.sampled_from(["grid", "aligned", "subbands", "levels"])),
        grid_size=draw(st.integers(1, 3)),
        approximation=draw(st.sampled_from(["perturb", "keep", "drop"])),
        policy=policy or draw(st.sampled_from(POLICIES)),
        seed=draw(st.integers(0, 99)),
    )


libraries = st.sampled_from(["numpy", "torch"])
A_CASE = Case((3, 19, 26), "db2", 2, "grid", 5, "perturb", "clip", 3)


def rounding(packed: np.ndarray) -> float:
    """Of an unclipped render: a hundred float32 steps of the largest coefficient, for some tens of additions."""
    return 100 * float(np.finfo(np.float32).eps) * float(np.abs(packed).max())


@given(case=cases(), library=libraries)
def test_the_shortcut_equals_mask_and_invert_to_float32_rounding(case: Case, library: str) -> None:
    """Every row, unclipped, against PyWavelets in float64 on masks built out in full."""
    packed, factors = case.coefficients(), case.factors()
    assume(factors.n_factors > 0)
    design, renderer = case.design(), case.unclipped(library)
    for row, mask in enumerate(mask_rows(design.a, design.b)):
        expected = slow_render(
            packed, case.shape[1:], case.wavelet, case.levels, factors.factors, mask, factors.held
        )
        found = to_numpy(renderer.rows(design, row, row + 1)[0])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=rounding(packed))


@given(case=cases(), library=libraries)
def test_finished_rows_equal_value_policy_and_normalisation_of_the_plain_path(
    case: Case, library: str
) -> None:
    packed, factors = case.coefficients(), case.factors()
    assume(factors.n_factors > 0)
    design = case.design()
    found = to_numpy(case.renderer(library).rows(design, 0, 2 * (factors.n_factors + 2)))
    for image, mask in zip(found, mask_rows(design.a, design.b), strict=True):
        plain = slow_render(
            packed, case.shape[1:], case.wavelet, case.levels, factors.factors, mask, factors.held
        )
        # minmax divides the rounding by the contrast that it stretches.
        contrast = float(np.ptp(plain)) if case.policy == "minmax" else 1.0
        channels = case.shape[0]
        expected = slow_finish(plain, case.policy, MEAN[:channels], STD[:channels])
        assert np.abs(image - expected).max() <= 1e-5 + 3 * rounding(packed) / float(STD.min()) / contrast


@given(case=cases(), data=st.data())
def test_rows_have_the_same_bits_whatever_the_batches_and_the_cache(case: Case, data: st.DataObject) -> None:
    factors = case.factors().n_factors
    assume(factors > 0)
    design, rows = case.design(), 2 * (factors + 2)
    library = data.draw(libraries)
    whole = to_numpy(case.renderer(library).rows(design, 0, rows))

    alone = case.renderer(library)
    for row in range(rows):
        assert (to_numpy(alone.rows(design, row, row + 1))[0] == whole[row]).all()

    cuts = sorted(data.draw(st.sets(st.integers(1, rows - 1), max_size=4)))
    spans = list(zip([0, *cuts], [*cuts, rows], strict=True))
    uncached = case.renderer(library, cache_bytes=0)
    for start, stop in data.draw(st.permutations(spans)):
        assert (to_numpy(uncached.rows(design, start, stop)) == whole[start:stop]).all()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_cache_that_holds_some_of_the_patches_changes_no_bit(policy: str) -> None:
    case = Case((3, 19, 26), "db2", 2, "grid", 5, "perturb", policy, 3)
    design, rows = case.design(), 2 * 27
    whole = case.renderer().rows(design, 0, rows)
    for cache_bytes in (1, 3000, 20_000):
        assert (case.renderer(cache_bytes=cache_bytes).rows(design, 0, rows) == whole).all()


@given(case=cases())
def test_numpy_and_torch_agree(case: Case) -> None:
    factors = case.factors().n_factors
    assume(factors > 0)
    design, rows = case.design(), 2 * (factors + 2)
    numpy, torch = (to_numpy(case.renderer(name).rows(design, 0, rows)) for name in ("numpy", "torch"))
    bound = 2 * rounding(case.coefficients()) / float(STD.min())
    if case.policy == "minmax":
        images = case.unclipped().rows(design, 0, rows)
        bound = bound / min(float(np.ptp(image)) for image in images) + 1e-5
    assert np.abs(numpy - torch).max() <= bound


@given(case=cases(), library=libraries)
def test_the_clean_render_is_the_image(case: Case, library: str) -> None:
    image = np.random.default_rng(case.seed).random(case.shape).astype(np.float32)
    atol = 1e-2 if case.wavelet == "dmey" else 1e-5
    np.testing.assert_allclose(to_numpy(case.renderer(library).clean()), image, atol=atol)


def test_dropping_the_approximation_removes_it_and_keeping_it_holds_it_at_one() -> None:
    image = np.random.default_rng(3).random((3, 16, 16)).astype(np.float32)
    blocks = image.reshape(3, 4, 4, 4, 4).mean(axis=(2, 4)).repeat(4, axis=1).repeat(4, axis=2)
    for approximation, expected in [("keep", blocks), ("drop", np.zeros_like(blocks))]:
        case = Case((3, 16, 16), "haar", 2, "grid", 4, approximation, "none", 3)
        nothing = np.zeros(case.factors().n_factors)
        np.testing.assert_allclose(case.renderer().plain(nothing), expected, atol=1e-6)


def test_a_patch_is_the_inverse_transform_of_its_factor_alone() -> None:
    case = A_CASE
    packed, factors = case.coefficients(), case.factors()
    renderer = case.renderer()
    for factor in range(factors.n_factors):
        assembled = np.zeros(case.shape)
        touched = np.zeros(case.shape[1:], dtype=int)
        for patch in renderer.patches(factor):
            assembled[:, patch.rows, patch.columns] += patch.values
            touched[patch.rows, patch.columns] += 1
        one = np.eye(factors.n_factors)[factor]
        expected = slow_render(packed, case.shape[1:], "db2", 2, factors.factors, one, 0.0)
        np.testing.assert_allclose(assembled, expected, atol=rounding(packed))
        assert touched.max() <= 1  # rectangles are disjoint, so no pixel is finished twice


def test_patches_of_haar_touch_only_the_support_of_their_cells() -> None:
    """A finest-detail cell of 2×2 coefficients is a square of 4×4 px; elsewhere A's pixels keep their bits."""
    case = Case((1, 32, 32), "haar", 2, "grid", 16, "perturb", "clip", 0)
    (patch,) = case.renderer().patches(16 * 15 + 15)
    assert (patch.rows, patch.columns) == (slice(28, 32), slice(28, 32))


def test_factors_that_lie_in_the_padding_have_no_patch() -> None:
    """17 px padded to 32: coefficients beyond the image have no pixels to change."""
    case = Case((1, 17, 17), "haar", 3, "aligned", 12, "perturb", "none", 0)
    renderer, design = case.renderer(), case.design()
    empty = [k for k in range(case.factors().n_factors) if not renderer.patches(k)]
    assert empty
    row_a = renderer.rows(design, 0, 1)
    for k in empty:
        assert (renderer.rows(design, 2 + k, 3 + k) == row_a).all()


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_flat_image_stretched_by_minmax_is_black_and_not_nan(library: str) -> None:
    one = np.ones((1, 1, 1), dtype=np.float32)
    finish = Finish("minmax", to_library(library, 0 * one), to_library(library, one))
    flat = to_numpy(finish(to_library(library, np.full((1, 4, 4), 0.3, dtype=np.float32))))
    assert (flat == 0).all()


def test_value_policies_do_what_they_say() -> None:
    image = np.array([[[-0.5, 0.25], [0.5, 1.5]]], dtype=np.float32)
    zero, one = np.zeros((1, 1, 1), dtype=np.float32), np.ones((1, 1, 1), dtype=np.float32)
    assert Finish("none", zero, one)(image).tolist() == image.tolist()
    assert Finish("clip", zero, one)(image).tolist() == [[[0.0, 0.25], [0.5, 1.0]]]
    assert Finish("minmax", zero, one)(image).tolist() == [[[0.0, 0.375], [0.5, 1.0]]]
    assert Finish("none", one, 2 * one)(image).tolist() == [[[-0.75, -0.375], [-0.25, 0.25]]]


def test_minmax_stretches_over_all_channels_together() -> None:
    image = np.stack([np.full((2, 2), 0.2), np.full((2, 2), 0.4)]).astype(np.float32)
    finish = Finish("minmax", np.zeros((2, 1, 1), dtype=np.float32), np.ones((2, 1, 1), dtype=np.float32))
    assert finish(image)[:, 0, 0].tolist() == [0.0, 1.0]


def test_rows_write_into_the_buffer_they_are_given() -> None:
    design = A_CASE.design()
    buffer = np.full((8, 3, 19, 26), np.nan, dtype=np.float32)
    found = A_CASE.renderer().rows(design, 3, 8, out=buffer)
    assert found.shape == (5, 3, 19, 26)
    assert np.shares_memory(found, buffer)
    assert np.isnan(buffer[5:]).all()
    assert (found == A_CASE.renderer().rows(design, 3, 8)).all()


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("policy", POLICIES)
def test_masks_are_rendered_as_the_same_rows_of_a_design(policy: str, library: str) -> None:
    case = Case((3, 19, 26), "db2", 2, "grid", 5, "perturb", policy, 3)
    design, renderer = case.design(), case.renderer(library)
    # Rows A and B are rendered in full, as masks are: to the bit.
    for masks, row in [(design.a, 0), (design.b, 1)]:
        found = to_numpy(renderer.masks(masks))
        assert found.shape == (2, 3, 19, 26)
        assert (found[0] == to_numpy(renderer.rows(design, row, row + 1))[0]).all()
        assert (found[1] == to_numpy(renderer.rows(design, 27 + row, 28 + row))[0]).all()


def test_masks_have_the_same_bits_whatever_the_batch_and_write_where_they_are_told() -> None:
    renderer, masks = A_CASE.renderer(), np.random.default_rng(0).random((5, 25)).astype(np.float32)
    whole = renderer.masks(masks)
    buffer = np.full((8, 3, 19, 26), np.nan, dtype=np.float32)
    for start, stop in [(0, 1), (1, 4), (4, 5)]:
        found = renderer.masks(masks[start:stop], out=buffer)
        assert np.shares_memory(found, buffer)
        assert (found == whole[start:stop]).all()
    assert np.isnan(buffer[3:]).all()
    assert renderer.masks(masks[:0]).shape == (0, 3, 19, 26)


@pytest.mark.parametrize("policy", POLICIES)
def test_an_image_for_people_is_the_model_input_before_normalisation(policy: str) -> None:
    case = Case((3, 19, 26), "db2", 2, "grid", 5, "perturb", policy, 3)
    renderer, mask = case.renderer(), case.design().a[1]
    image = renderer.image(mask)
    assert image.dtype == np.float32
    if policy != "none":
        assert image.min() >= 0.0
        assert image.max() <= 1.0
    expected = slow_finish(renderer.plain(mask), policy, np.zeros(3), np.ones(3))
    np.testing.assert_allclose(image, expected, atol=1e-6)
    normalised = (image - MEAN[:, None, None]) / STD[:, None, None]
    assert (renderer.masks(mask[None])[0] == normalised).all()


def test_the_coefficients_given_are_left_as_they_were() -> None:
    packed = A_CASE.coefficients()
    packed.setflags(write=False)  # as arrays from Ray's object store are
    finish = Finish("clip", MEAN[:, None, None], STD[:, None, None])
    synthesis = WaveletSynthesis(packed, (19, 26), "db2", 2, A_CASE.factors(), finish.mean)
    Renderer(synthesis, 25, finish).rows(A_CASE.design(), 0, 54)
    assert (packed == A_CASE.coefficients()).all()


def peak_bytes(case: Case, batch: int, n: int, cache_bytes: int) -> int:
    """Most memory held while all N(K + 2) rows are streamed through one buffer."""
    renderer, design = case.renderer(cache_bytes=cache_bytes), case.design(n)
    rows = n * (case.factors().n_factors + 2)
    buffer = np.empty((batch, *case.shape), dtype=np.float32)
    renderer.rows(design, 0, 2)  # synthesis matrices are shared by all renderers of a size
    tracemalloc.start()
    for start in range(0, rows, batch):
        renderer.rows(design, start, min(start + batch, rows), out=buffer)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("wavelet", ["haar", "db8"])
def test_memory_is_bounded_by_batch_and_cache_never_by_the_number_of_rows(wavelet: str) -> None:
    """1,168 rows of 3×64×64 are 57 MB; beside the buffer only a dozen images and the cache are held."""
    case = Case((3, 64, 64), wavelet, 2, "grid", 12, "perturb", "clip", 0)
    image_bytes = 4 * 3 * 64 * 64
    cache_bytes = 10 * image_bytes
    few, many = (peak_bytes(case, 8, n, cache_bytes) for n in (2, 8))
    # Patches are counted by their values; each carries some 500 bytes of slices and headers.
    assert many <= cache_bytes + 12 * image_bytes + 144 * 9 * 500
    assert many <= few + 2 * image_bytes


def test_what_does_not_fit_the_cache_is_not_kept() -> None:
    case = Case((3, 64, 64), "db8", 2, "grid", 12, "perturb", "clip", 0)
    assert peak_bytes(case, 8, 1, 0) < 12 * 4 * 3 * 64 * 64


@pytest.mark.exhaustive
@pytest.mark.parametrize("wavelet", ["haar", "db38", "bior6.8", "dmey"])
def test_the_shortcut_is_exact_at_full_size(wavelet: str) -> None:
    case = Case((3, 224, 224), wavelet, 3, "grid", 28, "perturb", "none", 0)
    packed, renderer, design = case.coefficients(), case.unclipped(), case.design(1)
    masks = mask_rows(design.a, design.b)
    for row in range(0, 786, 37):
        plain = renderer.plain(masks[row])
        np.testing.assert_allclose(renderer.rows(design, row, row + 1)[0], plain, atol=rounding(packed))
