"""Maps and importance against loops over coefficients and pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.oracles.fourier import slow_radial_profile
from tests.oracles.mapping import slow_importance, slow_packed, slow_spatial

from wavescope.core.maps import factor_map, importance, radial_profile, spatial_map
from wavescope.core.partition import (
    FOURIER_PARTITIONS,
    Approximation,
    Partition,
    fourier_partition,
    max_frequency,
    partition,
)
from wavescope.core.wavelets import bands, padded_size


@dataclass(frozen=True)
class Case:
    """A partition of the coefficients of an image, square or not, odd or even."""

    name: str
    size: tuple[int, int]
    levels: int
    grid_size: int
    approximation: Approximation

    def partition(self) -> Partition:
        packed = padded_size(*self.size, self.levels)
        return partition(
            self.name, *packed, self.levels, grid_size=self.grid_size, approximation=self.approximation
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    levels = draw(st.integers(1, 3))
    return Case(
        name=draw(st.sampled_from(["grid", "aligned", "subbands", "levels"])),
        size=(draw(st.integers(2**levels, 21)), draw(st.integers(2**levels, 21))),
        levels=levels,
        grid_size=draw(
            st.integers(2, 2**levels)
        ),  # at least 2, so that detail cells are left without approximation
        approximation=draw(st.sampled_from(["perturb", "keep", "drop"])),
    )


def indices(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=n)


@given(case=cases(), seed=st.integers(0, 999))
def test_every_coefficient_of_the_packed_map_has_exactly_its_factors_index(case: Case, seed: int) -> None:
    made = case.partition()
    total = indices(made.n_factors, seed)
    packed = factor_map(made.factors, total)
    assert packed.dtype == np.float32
    assert (packed == slow_packed(made.factors, total).astype(np.float32)).all()


@given(case=cases(), seed=st.integers(0, 999))
def test_the_spatial_map_sums_what_lies_over_each_pixel(case: Case, seed: int) -> None:
    made, levels, size = case.partition(), case.levels, case.size
    packed = factor_map(made.factors, indices(made.n_factors, seed))
    spatial = spatial_map(packed, levels, size)
    assert spatial.dtype == np.float32
    assert spatial.shape == size
    np.testing.assert_allclose(spatial, slow_spatial(packed, levels, size), rtol=1e-6)


@given(levels=st.integers(1, 4), tall=st.integers(1, 3), wide=st.integers(1, 3), seed=st.integers(0, 999))
def test_the_spatial_map_sums_to_every_bands_sum_times_its_enlargement(
    levels: int, tall: int, wide: int, seed: int
) -> None:
    height, width = tall << levels, wide << levels
    packed = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    expected = sum(
        float(packed[band.slices].astype(np.float64).sum()) * 4 ** (levels - max(band.level, 1) + 1)
        for band in bands(height, width, levels)
    )
    assert float(spatial_map(packed, levels, (height, width)).astype(np.float64).sum()) == pytest.approx(
        expected
    )


def test_enlargement_never_overshoots() -> None:
    packed = np.zeros((32, 32), dtype=np.float32)
    packed[20, 5] = 1.0  # one finest coefficient over pixels 8..9, 10..11
    spatial = spatial_map(packed, 2, (32, 32))
    assert np.argwhere(spatial).tolist() == [[8, 10], [8, 11], [9, 10], [9, 11]]
    assert set(np.unique(spatial)) == {0.0, 1.0}


@given(case=cases(), seed=st.integers(0, 999))
def test_importance_per_level_and_orientation_equals_loops(case: Case, seed: int) -> None:
    made, levels = case.partition(), case.levels
    total = indices(made.n_factors, seed)
    expected = slow_importance(made.factors, total, levels)
    found = importance(made, total, levels)
    assert len(found) == levels + 1
    for level, (whole, oriented) in enumerate(found):
        assert (whole.sum, whole.share, whole.mean_share) == pytest.approx(expected[level], abs=1e-12)
        assert tuple(oriented) == (("horizontal", "vertical", "diagonal") if level else ())
        for name, part in oriented.items():
            assert (part.sum, part.share, part.mean_share) == pytest.approx(expected[level, name], abs=1e-12)


@given(case=cases(), seed=st.integers(0, 999))
def test_parts_add_up(case: Case, seed: int) -> None:
    """Orientations to their level, levels' shares to 1, levels' sums to the sum of all indices."""
    made, levels = case.partition(), case.levels
    total = indices(made.n_factors, seed)
    found = importance(made, total, levels)
    for measure in ("sum", "share", "mean_share"):
        for whole, oriented in found[1:]:
            parts = sum(getattr(part, measure) for part in oriented.values())
            assert parts == pytest.approx(getattr(whole, measure), abs=1e-12)
    assert sum(whole.sum for whole, _ in found) == pytest.approx(total.sum())
    assert sum(whole.share for whole, _ in found) == pytest.approx(1.0)
    assert sum(whole.mean_share for whole, _ in found) == pytest.approx(1.0)


def test_a_straddling_cell_counts_for_each_level_by_its_coefficients() -> None:
    """8 px at one level with one cell in all: a quarter of its index is the approximation's."""
    made = partition("grid", 8, 8, 1, grid_size=1, approximation="perturb")
    (context, _), (detail, oriented) = importance(made, np.array([0.8]), 1)
    assert (context.sum, detail.sum) == pytest.approx((0.2, 0.6))
    assert (context.mean_share, detail.mean_share) == pytest.approx((0.5, 0.5))  # the map is flat
    assert oriented["diagonal"].sum == pytest.approx(0.2)


def test_indices_that_are_all_zero_have_no_shares_and_no_nan() -> None:
    made = partition("levels", 8, 8, 1, grid_size=1, approximation="perturb")
    for whole, _ in importance(made, np.zeros(2), 1):
        assert (whole.sum, whole.share, whole.mean_share) == (0.0, 0.0, 0.0)


sides = st.integers(8, 20)


@given(name=st.sampled_from(sorted(FOURIER_PARTITIONS)), height=sides, width=sides, data=st.data())
def test_the_radial_profile_is_the_mean_of_the_map_over_each_ring(
    name: str, height: int, width: int, data: st.DataObject
) -> None:
    made = fourier_partition(name, height, width, grid_size=data.draw(st.integers(1, min(height, width))))
    drawn = factor_map(made.factors, indices(made.n_factors, seed=1))
    rings = data.draw(st.integers(1, 60))  # some so narrow that no frequency lies in them
    found, expected = radial_profile(drawn, rings), slow_radial_profile(drawn, rings)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert sum(ring.share for ring in found) == pytest.approx(1.0)
    assert found[0].low == 0.0
    assert found[-1].high == pytest.approx(max_frequency("circle", height, width))


@given(height=sides, width=sides, data=st.data())
def test_the_radial_profile_of_circles_is_their_indices(height: int, width: int, data: st.DataObject) -> None:
    """Empty rings have neither a factor nor an entry, so that both go in step."""
    rings = data.draw(st.integers(1, min(height, width)))
    made = fourier_partition("circle", height, width, grid_size=rings)
    total = indices(made.n_factors, seed=2)
    found = radial_profile(factor_map(made.factors, total), rings)
    np.testing.assert_allclose([ring.mean for ring in found], total, rtol=1e-6)
    assert all(ring.high > ring.low for ring in found)


def test_a_map_of_zeros_has_a_radial_profile_without_nan() -> None:
    assert {(ring.mean, ring.share) for ring in radial_profile(np.zeros((9, 8), np.float32), 4)} == {
        (0.0, 0.0)
    }
