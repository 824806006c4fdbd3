"""Partitions against their definitions, coefficient by coefficient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.oracles.fourier import compacted, slow_fourier_grid, slow_rings
from tests.oracles.partitions import slow_aligned, slow_grid

from wavescope.core.partition import (
    FOURIER_PARTITIONS,
    PARTITIONS,
    Partition,
    cell_edges,
    cell_of,
    fourier_partition,
    max_frequency,
    mirrored,
    partition,
    pixel_partition,
)
from wavescope.core.wavelets import bands, max_levels, padded_size
from wavescope.errors import InvalidRequest

names = st.sampled_from(sorted(PARTITIONS))
approximations = st.sampled_from(["perturb", "keep", "drop"])


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """(height, width, levels, grid_size) of a packed array."""
    levels = draw(st.integers(1, 4))
    height, width = (draw(st.integers(1, 5)) << levels for _ in range(2))
    return height, width, levels, draw(st.integers(1, min(height, width)))


def make(name: str, case: tuple[int, int, int, int], approximation: str = "perturb") -> Partition:
    height, width, levels, grid_size = case
    return partition(name, height, width, levels, grid_size=grid_size, approximation=approximation)  # type: ignore[arg-type]


@given(name=names, case=cases(), approximation=approximations)
def test_every_factor_has_coefficients_and_only_the_approximation_may_have_none(
    name: str, case: tuple[int, int, int, int], approximation: str
) -> None:
    made = make(name, case, approximation)
    assert made.factors.dtype == np.int32
    assert made.factors.shape == case[:2]
    # Being an array, it gives every coefficient one factor; so that each factor is one, all numbers must be used.
    present = np.unique(made.factors)
    assert present[present >= 0].tolist() == list(range(made.n_factors))
    without = made.factors < 0
    expected = np.zeros_like(without)
    if approximation != "perturb":
        expected[bands(*case[:3])[0].slices] = True
    assert (without == expected).all()


@given(name=names, height=st.integers(4, 70), width=st.integers(4, 70), data=st.data())
def test_factors_cover_the_coefficients_of_any_image_exactly_once(
    name: str, height: int, width: int, data: st.DataObject
) -> None:
    """Odd, even, not square; every depth. The sets {coefficients of factor k} are disjoint and leave nothing out."""
    levels = data.draw(st.integers(1, max_levels(height, width)))
    tall, wide = padded_size(height, width, levels)
    made = make(name, (tall, wide, levels, data.draw(st.integers(1, min(tall, wide)))))
    covered = np.zeros((tall, wide), dtype=int)
    for factor in range(made.n_factors):
        held = made.factors == factor
        assert held.any()
        covered += held
    assert (covered == 1).all()


@given(case=cases())
def test_grid_cell_of_index_i_is_i_g_over_s(case: tuple[int, int, int, int]) -> None:
    height, width, _, grid_size = case
    made = make("grid", case)
    assert (made.factors == slow_grid(height, width, grid_size)).all()
    assert made.n_factors == grid_size**2


@given(size=st.integers(1, 300), data=st.data())
def test_grid_cells_are_contiguous_and_equal_to_within_one(size: int, data: st.DataObject) -> None:
    cells = data.draw(st.integers(1, size))
    found = cell_of(size, cells)
    assert found.tolist() == [i * cells // size for i in range(size)]
    assert (np.diff(found) >= 0).all()
    counts = np.bincount(found, minlength=cells)
    assert counts.max() - counts.min() <= 1


@given(case=cases())
def test_aligned_cells_follow_their_formula(case: tuple[int, int, int, int]) -> None:
    height, width, levels, grid_size = case
    made = make("aligned", case)
    assert (made.factors == slow_aligned(height, width, levels, grid_size)).all()


@given(case=cases())
def test_aligned_cells_never_straddle_two_bands(case: tuple[int, int, int, int]) -> None:
    made = make("aligned", case)
    owners: set[int] = set()
    for band in bands(*case[:3]):
        inside = set(np.unique(made.factors[band.slices]).tolist())
        assert not inside & owners
        owners |= inside


def test_the_default_image_has_784_grid_factors_and_799_aligned_ones() -> None:
    case = (224, 224, 3, 28)
    assert make("grid", case).n_factors == 784
    # Approximation and coarsest details: ceil(28·28/224) = 4 cells per axis; then 7 and 14: 16·4 + 49·3 + 196·3.
    assert make("aligned", case).n_factors == 799


def test_edges_of_aligned_cells_are_floors() -> None:
    assert cell_edges(28, 224, 28).tolist() == [0, 7, 14, 21, 28]
    assert cell_edges(28, 224, 20).tolist() == [0, 9, 18, 28]  # ceil(2.5) = 3 cells
    assert cell_edges(1, 64, 3).tolist() == [0, 1]


def test_grid_at_the_default_straddles_bands_which_aligned_does_not() -> None:
    context = bands(224, 224, 3)[0]
    grid = make("grid", (224, 224, 3, 28)).factors
    inside, outside = np.unique(grid[context.slices]), np.unique(grid[28:, 28:])
    assert np.intersect1d(inside, outside).size > 0  # 28 px are 3.5 cells of 8 px


@given(case=cases())
def test_subbands_has_a_factor_per_band_in_order(case: tuple[int, int, int, int]) -> None:
    made = make("subbands", case)
    assert made.n_factors == 3 * case[2] + 1
    for index, band in enumerate(bands(*case[:3])):
        assert (made.factors[band.slices] == index).all()


@given(case=cases())
def test_levels_has_a_factor_per_level_in_order(case: tuple[int, int, int, int]) -> None:
    made = make("levels", case)
    assert made.n_factors == case[2] + 1
    for band in bands(*case[:3]):
        assert (made.factors[band.slices] == band.level).all()


@given(name=names, case=cases(), approximation=st.sampled_from(["keep", "drop"]))
def test_without_the_approximation_the_other_cells_keep_their_order_and_shape(
    name: str, case: tuple[int, int, int, int], approximation: str
) -> None:
    perturbed, without = make(name, case).factors, make(name, case, approximation).factors
    renamed: dict[int, int] = {}
    for old, new in zip(perturbed.ravel().tolist(), without.ravel().tolist(), strict=True):
        if new >= 0:
            assert renamed.setdefault(old, new) == new
    assert list(dict(sorted(renamed.items())).values()) == list(range(len(renamed)))


def test_cells_in_the_approximation_go_and_straddling_ones_act_on_their_detail_part() -> None:
    """8 px at one level: the approximation is 4 px, which 3 cells of 3, 3 and 2 px cut in the second cell."""
    made = partition("grid", 8, 8, 1, grid_size=3, approximation="keep")
    assert cell_of(8, 3).tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert made.n_factors == 8  # cell (0, 0) lies wholly in the approximation
    assert made.factors[3].tolist() == [-1, -1, -1, -1, 3, 3, 4, 4]
    assert made.factors[4].tolist() == [2, 2, 2, 3, 3, 3, 4, 4]
    assert made.factors[0].tolist() == [-1, -1, -1, -1, 0, 0, 1, 1]


@pytest.mark.parametrize(("approximation", "held"), [("perturb", 1.0), ("keep", 1.0), ("drop", 0.0)])
def test_the_approximation_is_held_at_one_or_zero(approximation: str, held: float) -> None:
    assert make("grid", (16, 16, 2, 4), approximation).held == held


@pytest.mark.parametrize("name", ["grid", "aligned"])
@pytest.mark.parametrize("grid_size", [0, -1, 17])
def test_a_grid_finer_than_the_packed_array_is_refused(name: str, grid_size: int) -> None:
    with pytest.raises(
        InvalidRequest, match=rf"grid_size is {grid_size}; .* 16 x 24.* between 1 and 16"
    ) as caught:
        make(name, (16, 24, 2, grid_size))
    assert caught.value.field == "grid_size"
    assert caught.value.limits == {"minimum": 1, "maximum": 16}


@pytest.mark.parametrize("name", ["subbands", "levels"])
def test_partitions_without_cells_do_not_look_at_the_grid_size(name: str) -> None:
    assert make(name, (16, 16, 2, 9999)).n_factors == make(name, (16, 16, 2, 1)).n_factors


fourier_names = st.sampled_from(sorted(FOURIER_PARTITIONS))
sides = st.integers(8, 70)


@given(name=fourier_names, height=sides, width=sides, data=st.data())
def test_factors_tile_the_centred_spectrum_exactly_and_hold_every_mirror(
    name: str, height: int, width: int, data: st.DataObject
) -> None:
    made = fourier_partition(name, height, width, grid_size=data.draw(st.integers(1, min(height, width))))
    assert made.factors.dtype == np.int32
    assert made.factors.shape == (height, width)
    covered = np.zeros((height, width), dtype=int)
    for factor in range(made.n_factors):
        held = made.factors == factor
        assert held.any()
        covered += held
        # In NumPy's own order of frequencies: (u, v) and (−u, −v) mod (n, m).
        spectrum = np.fft.ifftshift(held)
        assert (spectrum == spectrum[-np.arange(height)[:, None] % height, -np.arange(width) % width]).all()
    assert (covered == 1).all()


@given(height=st.integers(1, 12), width=st.integers(1, 12))
def test_the_mirror_of_a_centred_array_is_that_of_its_spectrum(height: int, width: int) -> None:
    centred = np.arange(height * width).reshape(height, width)
    u, v = (np.round(np.fft.fftshift(np.fft.fftfreq(n)) * n).astype(int) for n in (height, width))
    place = {
        (a % height, b % width): (i, j) for i, a in enumerate(u.tolist()) for j, b in enumerate(v.tolist())
    }
    expected = [[centred[place[-a % height, -b % width]] for b in v.tolist()] for a in u.tolist()]
    assert (mirrored(centred) == expected).all()


@given(
    name=st.sampled_from(["circle", "square"]),
    height=st.integers(8, 20),
    width=st.integers(8, 20),
    data=st.data(),
)
def test_rings_have_equal_width_from_zero_to_the_largest_frequency(
    name: str, height: int, width: int, data: st.DataObject
) -> None:
    rings = data.draw(st.integers(1, min(height, width)))
    expected = slow_rings(name, height, width, rings)
    assert (FOURIER_PARTITIONS[name](height, width, rings) == expected).all()
    made = fourier_partition(name, height, width, grid_size=rings)
    assert (made.factors == compacted(expected)).all()
    assert rings - made.n_factors == sum(ring not in expected for ring in range(rings))
    assert made.factors[height // 2, width // 2] == 0  # the mean of the image is in the first ring
    assert made.factors[0, 0] == made.n_factors - 1  # the farthest frequency in the last


@given(name=st.sampled_from(["circle", "square"]), height=sides, width=sides, rings=st.integers(1, 8))
def test_frequencies_of_a_ring_lie_between_its_edges_in_cycles_per_pixel(
    name: str, height: int, width: int, rings: int
) -> None:
    down, across = np.meshgrid(
        np.fft.fftshift(np.fft.fftfreq(height)), np.fft.fftshift(np.fft.fftfreq(width)), indexing="ij"
    )
    away = np.hypot(down, across) if name == "circle" else np.maximum(abs(down), abs(across))
    assert max_frequency(name, height, width) == pytest.approx(away.max(), rel=1e-12)
    width_of_ring = away.max() / rings
    ring = FOURIER_PARTITIONS[name](height, width, rings)
    assert (away >= ring * width_of_ring - 1e-12).all()
    assert (away <= (ring + 1) * width_of_ring + 1e-12).all()


@given(height=st.integers(8, 20), width=st.integers(8, 20), data=st.data())
def test_a_frequency_and_its_mirror_are_in_the_cell_of_the_first(
    height: int, width: int, data: st.DataObject
) -> None:
    cells = data.draw(st.integers(1, min(height, width)))
    expected = slow_fourier_grid(height, width, cells)
    assert (fourier_partition("grid", height, width, grid_size=cells).factors == compacted(expected)).all()


def test_rings_that_hold_no_frequency_are_no_factors() -> None:
    """8 × 8: the larger of two frequencies takes five values, 0 to 4 eighths; lengths take more."""
    assert fourier_partition("square", 8, 8, grid_size=8).n_factors == 5
    assert fourier_partition("circle", 8, 8, grid_size=8).n_factors == 8
    assert fourier_partition("square", 8, 8, grid_size=5).n_factors == 5


def test_the_spectrum_of_the_default_image_has_28_rings_and_407_cells() -> None:
    """14 rows of 28 cells, then those of the row v ≤ 0 at u = 0: 15."""
    found = {name: fourier_partition(name, 224, 224, grid_size=28).n_factors for name in FOURIER_PARTITIONS}
    assert found == {"circle": 28, "square": 28, "grid": 14 * 28 + 15}
    assert max_frequency("circle", 224, 224) == pytest.approx(0.5**0.5)
    assert max_frequency("square", 224, 224) == 0.5


@pytest.mark.parametrize("name", sorted(FOURIER_PARTITIONS))
@pytest.mark.parametrize("grid_size", [0, -1, 17])
def test_more_rings_or_cells_than_frequencies_along_a_side_are_refused(name: str, grid_size: int) -> None:
    with pytest.raises(
        InvalidRequest, match=rf"grid_size is {grid_size}; .* 16 x 24.* between 1 and 16"
    ) as caught:
        fourier_partition(name, 16, 24, grid_size=grid_size)
    assert caught.value.field == "grid_size"
    assert caught.value.limits == {"minimum": 1, "maximum": 16}


@given(height=sides, width=sides, data=st.data())
def test_pixel_cell_of_index_i_is_i_g_over_s(height: int, width: int, data: st.DataObject) -> None:
    cells = data.draw(st.integers(1, min(height, width)))
    made = pixel_partition(height, width, cells)
    assert made.factors.dtype == np.int32
    assert (made.factors == slow_grid(height, width, cells)).all()
    assert np.unique(made.factors).tolist() == list(range(made.n_factors))


@pytest.mark.parametrize("grid_size", [0, -1, 17])
def test_more_cells_than_pixels_along_a_side_are_refused(grid_size: int) -> None:
    with pytest.raises(InvalidRequest, match=rf"grid_size is {grid_size}; the image is 16 x 24") as caught:
        pixel_partition(16, 24, grid_size)
    assert caught.value.field == "grid_size"
    assert caught.value.limits == {"minimum": 1, "maximum": 16}
