"""Partitions against their definitions, coefficient by coefficient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.oracles.partitions import slow_aligned, slow_grid

from wavescope.core.partition import PARTITIONS, Partition, cell_edges, cell_of, partition
from wavescope.core.wavelets import bands
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
