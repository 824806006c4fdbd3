"""Whole batches in a few operations: against the slow oracle and one image at a time; bits, work, memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.oracles.rendering import mask_rows, slow_finish, slow_render

from wavescope.core.partition import Partition, fourier_partition, partition, pixel_partition
from wavescope.core.rendering.batch_renderer import BatchRenderer
from wavescope.core.rendering.fourier import FourierSynthesis
from wavescope.core.rendering.pixel import PixelSynthesis
from wavescope.core.rendering.renderer import Renderer
from wavescope.core.rendering.synthesis import Finish, Patch, Synthesis
from wavescope.core.rendering.wavelet import WaveletSynthesis
from wavescope.core.sobol.design import Design, sobol
from wavescope.core.wavelets import analyse, padded_size

MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)
LEVELS = 2
POLICIES = ["clip", "minmax", "none"]
LIBRARIES = ["numpy", "torch"]
VARIANTS = ["haar", "db4", "dmey", "subbands", "circle", "frequencies", "pixels"]


def to_library(library: str, array: np.ndarray) -> Any:
    if library == "numpy":
        return array
    import torch

    return torch.asarray(array)


def to_numpy(array: Any) -> np.ndarray:
    return np.asarray(array)


@dataclass(frozen=True)
class Case:
    """An image, what is perturbed of it, and how it is finished."""

    variant: str = "haar"
    policy: str = "clip"
    library: str = "torch"
    shape: tuple[int, int, int] = (3, 19, 37)  # tiles at both borders are cut
    grid_size: int = 4
    approximation: str = "perturb"
    seed: int = 0

    def image(self) -> np.ndarray:
        return np.random.default_rng(self.seed).random(self.shape).astype(np.float32)

    @property
    def wavelet(self) -> str:
        return self.variant if self.variant in ("haar", "db4", "dmey") else "db4"

    def coefficients(self) -> np.ndarray:
        return analyse(self.image(), self.wavelet, LEVELS)

    def factors(self) -> Partition:
        sides = self.shape[1:]
        if self.variant == "pixels":
            return pixel_partition(*sides, self.grid_size)
        if self.variant in ("circle", "frequencies"):
            name = "grid" if self.variant == "frequencies" else "circle"
            return fourier_partition(name, *sides, grid_size=self.grid_size)
        name = "subbands" if self.variant == "subbands" else "grid"
        padded = padded_size(*sides, LEVELS)
        return partition(
            name,
            *padded,
            LEVELS,
            grid_size=self.grid_size,
            approximation=self.approximation,  # type: ignore[arg-type]
        )

    def finish(self) -> Finish:
        mean, std = (v[: self.shape[0], None, None] for v in (MEAN, STD))
        return Finish(self.policy, to_library(self.library, mean), to_library(self.library, std))  # type: ignore[arg-type]

    def synthesis(self) -> Synthesis:
        made, reference = self.factors(), self.finish().mean
        if self.variant == "pixels":
            return PixelSynthesis(self.image(), made, "blur", reference)
        if self.variant in ("circle", "frequencies"):
            return FourierSynthesis(self.image(), made, reference)
        return WaveletSynthesis(self.coefficients(), self.shape[1:], self.wavelet, LEVELS, made, reference)

    def renderer(self, **options: Any) -> Renderer:
        return Renderer(self.synthesis(), self.factors().n_factors, self.finish(), **options)

    def batches(self, **options: int) -> BatchRenderer:
        return BatchRenderer(self.synthesis(), self.factors().n_factors, self.finish(), **options)

    def design(self, n: int = 2) -> Design:
        return sobol(self.factors().n_factors, n, self.seed)

    @property
    def rows(self) -> int:
        """Of a design of two."""
        return 2 * (self.factors().n_factors + 2)

    @property
    def image_bytes(self) -> int:
        return 4 * int(np.prod(self.shape))

    def bound(self) -> float:
        """Of a finished pixel: a hundred float32 steps of the largest coefficient, over std and the contrast."""
        largest = (
            4.0 if self.variant in ("circle", "frequencies", "pixels") else np.abs(self.coefficients()).max()
        )
        contrast = 0.2 if self.policy == "minmax" else 1.0
        return 100 * float(np.finfo(np.float32).eps) * float(largest) / float(STD.min()) / contrast


cases = st.builds(
    Case,
    variant=st.sampled_from(VARIANTS),
    policy=st.sampled_from(POLICIES),
    library=st.sampled_from(LIBRARIES),
    shape=st.tuples(st.sampled_from([1, 3]), st.integers(8, 40), st.integers(8, 40)),
    grid_size=st.integers(2, 5),
    seed=st.integers(0, 99),
)


@pytest.mark.parametrize("approximation", ["perturb", "keep", "drop"])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("wavelet", ["haar", "db4"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_batch_is_mask_and_invert_of_its_rows(
    library: str, wavelet: str, policy: str, approximation: str
) -> None:
    """All rows at once, against PyWavelets in float64 on masks built out in full."""
    case = Case(wavelet, policy, library, approximation=approximation)
    made, design = case.factors(), case.design()
    found = to_numpy(case.renderer(batched=True).rows(design, 0, case.rows))
    for image, mask in zip(found, mask_rows(design.a, design.b), strict=True):
        plain = slow_render(
            case.coefficients(), case.shape[1:], wavelet, LEVELS, made.factors, mask, made.held
        )
        np.testing.assert_allclose(image, slow_finish(plain, policy, MEAN, STD), rtol=0, atol=case.bound())


@given(case=cases, data=st.data())
def test_a_batch_is_what_one_image_at_a_time_gives(case: Case, data: st.DataObject) -> None:
    """Every transform, any range of rows, any room for what is kept and worked on."""
    start = data.draw(st.integers(0, case.rows - 1))
    stop = data.draw(st.integers(start, case.rows))
    images = data.draw(st.integers(1, 30))
    expected = to_numpy(case.renderer(batched=False).rows(case.design(), start, stop))
    batches = case.batches(
        cache_bytes=data.draw(st.integers(0, 30)) * case.image_bytes, work_bytes=images * case.image_bytes
    )
    found = to_library(case.library, np.full_like(expected, np.nan))
    batches.rows(case.design(), start, found)
    np.testing.assert_allclose(to_numpy(found), expected, rtol=0, atol=case.bound())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("policy", POLICIES)
def test_rows_have_the_same_bits_whatever_the_batches_and_the_cache(policy: str, variant: str) -> None:
    case = Case(variant, policy)
    design, work_bytes = case.design(), 5 * case.image_bytes
    count = case.rows

    def rows(batches: BatchRenderer, start: int, stop: int) -> np.ndarray:
        found = to_library(case.library, np.empty((stop - start, *case.shape), np.float32))
        batches.rows(design, start, found)
        return to_numpy(found)

    whole = rows(case.batches(work_bytes=work_bytes), 0, count)
    for cache_bytes in (0, 7 * case.image_bytes):
        batches = case.batches(work_bytes=work_bytes, cache_bytes=cache_bytes)
        for start, stop in [(9, count), (0, 1), (1, 8), (8, 9)]:
            assert (rows(batches, start, stop) == whole[start:stop]).all()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_masks_are_rendered_together_as_alone_to_1e_5(library: str, policy: str, variant: str) -> None:
    """Within 1e-5 of the finished range, of the one-image path and of each other's company."""
    case = Case(variant, policy, library)
    masks = np.random.default_rng(1).random((7, case.factors().n_factors))
    expected = to_numpy(case.renderer(batched=False).masks(masks))
    renderer = case.renderer(batched=True)
    found = to_numpy(renderer.masks(masks))
    atol = 1e-5 * float(np.ptp(expected))
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)
    for start, stop in [(0, 1), (1, 7)]:
        np.testing.assert_allclose(
            to_numpy(renderer.masks(masks[start:stop])), found[start:stop], rtol=0, atol=atol
        )
    assert renderer.masks(masks[:0]).shape == (0, *case.shape)


def test_masks_beyond_the_work_bytes_are_rendered_in_pieces() -> None:
    case = Case()
    masks = np.random.default_rng(1).random((7, case.factors().n_factors))
    found = to_library(case.library, np.empty((7, *case.shape), np.float32))
    case.batches(work_bytes=3 * case.image_bytes).masks(masks, found)
    expected = to_numpy(case.renderer(batched=False).masks(masks))
    np.testing.assert_allclose(to_numpy(found), expected, rtol=0, atol=case.bound())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_factor_alone_is_its_patches(library: str, variant: str) -> None:
    """P_k by a batched inverse transform, and from the host in double precision; exactly 0 around them."""
    case = Case(variant, library=library)
    synthesis, count = case.synthesis(), case.factors().n_factors
    alone = to_numpy(synthesis.alone(1, count))
    assert alone.shape == (count - 1, *case.shape)
    for factor in range(1, count):
        expected = np.zeros(case.shape, np.float32)
        outside = np.ones(case.shape, bool)
        for patch in synthesis.patches(factor):
            expected[:, patch.rows, patch.columns] = to_numpy(patch.values)
            outside[:, patch.rows, patch.columns] = False
        np.testing.assert_allclose(alone[factor - 1], expected, rtol=0, atol=case.bound() * float(STD.min()))
        assert (alone[factor - 1][outside] == 0).all()


@pytest.mark.parametrize("policy", POLICIES)
def test_rows_and_masks_write_into_the_buffer_they_are_given(policy: str) -> None:
    case = Case(policy=policy, library="numpy")
    renderer, design = case.renderer(batched=True), case.design()
    buffer = np.full((8, *case.shape), np.nan, dtype=np.float32)
    for found in (
        renderer.rows(design, 3, 8, out=buffer),
        renderer.masks(design.a[[0, 1, 0, 1, 0]], out=buffer),
    ):
        assert np.shares_memory(found, buffer)
        assert not np.isnan(buffer[:5]).any()
        assert np.isnan(buffer[5:]).all()


def test_a_buffer_of_channels_last_memory_gets_the_same_bits() -> None:
    import torch

    case = Case()
    buffer = torch.empty((case.rows, *case.shape)).to(memory_format=torch.channels_last)
    found = case.renderer(batched=True).rows(case.design(), 0, case.rows, out=buffer)
    assert torch.equal(found, case.renderer(batched=True).rows(case.design(), 0, case.rows))


@dataclass
class Counting:
    """A synthesis that notes how many images each full inverse transform made."""

    inner: Synthesis
    plains: list[int] = field(default_factory=list)
    alones: list[int] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.inner.shape

    def clean(self) -> Any:
        return self.inner.clean()

    def plain(self, masks: np.ndarray) -> Any:
        self.plains.append(len(masks))
        return self.inner.plain(masks)

    def patches(self, factor: int) -> list[Patch]:
        return self.inner.patches(factor)

    def alone(self, first: int, stop: int) -> Any:
        self.alones.append(stop - first)
        return self.inner.alone(first, stop)

    def inner_products(self, images: Any) -> np.ndarray:
        return self.inner.inner_products(images)


def test_a_full_design_costs_2n_renders_and_one_inverse_per_factor() -> None:
    case = Case(grid_size=5)  # 25 factors; A and B of ⌊128 / 27⌋ = 4 design rows at once
    counting = Counting(case.synthesis())
    renderer, design = Renderer(counting, 25, case.finish(), batched=True), case.design(8)
    for start in range(0, 8 * 27, 10):
        renderer.rows(design, start, min(start + 10, 8 * 27))
    assert counting.plains == [8, 8]
    assert counting.alones == [25]


def test_haar_cells_are_kept_as_the_tiles_that_they_touch() -> None:
    """Closed form: a coefficient of the finest band touches 2×2 px, one of the band above and below it 4×4."""
    case = Case(shape=(1, 128, 128), grid_size=8)
    batches = case.batches()
    batches.rows(case.design(), 0, to_library("torch", np.empty((66, *case.shape), np.float32)))
    (kept,) = batches._cache.values()
    # Cells of 16×16 coefficients: each of 48 fine ones is 2×2 tiles of 16 px, each of 16 coarse ones 4×4.
    assert kept.values.shape == (48 * 4 + 16 * 16, 1, 16, 16)


def test_waves_are_kept_as_whole_images() -> None:
    case = Case("circle")
    batches = case.batches()
    batches.rows(case.design(), 0, to_library("torch", np.empty((case.rows, *case.shape), np.float32)))
    (kept,) = batches._cache.values()
    assert kept.values.shape == (case.factors().n_factors, *case.shape)


@pytest.mark.parametrize("variant", ["haar", "dmey", "frequencies"])
def test_memory_is_bounded_by_the_batch_the_cache_and_the_work_bytes(variant: str) -> None:
    """1,000 rows of 3×64×64 and more are 50 MB; held are a batch, ten images, and six arrays of five."""
    case = Case(variant, library="numpy", shape=(3, 64, 64), grid_size=12)
    work_bytes, cache_bytes = 5 * case.image_bytes, 10 * case.image_bytes
    batches, design = case.batches(work_bytes=work_bytes, cache_bytes=cache_bytes), case.design(8)
    buffer = np.empty((8, *case.shape), dtype=np.float32)
    batches.rows(design, 0, buffer)  # synthesis matrices are shared by all renderers of a size
    tracemalloc.start()
    for start in range(0, 8 * (design.n_factors + 2) - 8, 8):
        batches.rows(design, start, buffer)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Frequencies are complex, and NumPy inverts them in double precision: twice twice the image.
    work = 6 if variant != "frequencies" else 12
    assert peak <= cache_bytes + work * work_bytes + 4 * buffer.nbytes


def test_a_cpu_renders_one_by_one_and_an_accelerator_in_batches() -> None:
    import torch

    case = Case()
    for library in LIBRARIES:
        assert Case(library=library).renderer()._batches is None
    elsewhere = torch.zeros((3, 1, 1), device="meta")
    renderer = Renderer(case.synthesis(), 16, Finish("clip", elsewhere, elsewhere))
    assert renderer._batches is not None


@pytest.mark.parametrize("rows", [10, 60])
def test_a_batch_takes_as_many_operations_however_many_rows_it_has(rows: int) -> None:
    """Of one design row whose P_k are kept: what a GPU is told to do does not grow with the batch."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Operations(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            # Views cost nothing on the device.
            self.count += not func.is_view
            return func(*args, **(kwargs or {}))

    case = Case(shape=(3, 64, 64), grid_size=8)
    renderer, design = case.renderer(batched=True), case.design(8)
    renderer.rows(design, 0, 66)
    buffer = to_library("torch", np.empty((rows, *case.shape), np.float32))
    with Operations() as operations:
        renderer.rows(design, 4, 4 + rows, out=buffer)
    assert operations.count <= 30
