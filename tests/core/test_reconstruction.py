"""Ranking, reconstruction depth, and what is kept, against loops, PyWavelets and a round trip."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import pytest
import pywt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.oracles.reconstruction import inflate, slow_depth, slow_kept, slow_rank

from wavescope.core.partition import Approximation, Partition, partition
from wavescope.core.reconstruction import deflated, depth, kept, positive, rank

few_values = st.floats(-1, 1) | st.sampled_from([0.0, 0.25, 0.5])  # so that ties happen
labels = st.lists(st.integers(0, 3), min_size=1, max_size=20)


@given(total=hnp.arrays(np.float64, st.integers(1, 30), elements=few_values))
def test_factors_are_ranked_by_exact_index_and_ties_keep_their_order(total: np.ndarray) -> None:
    order = rank(total)
    assert order.dtype == np.int32
    assert order.tolist() == slow_rank(total.tolist())


def test_indices_that_an_8_bit_map_cannot_tell_apart_are_still_ranked() -> None:
    assert rank(np.array([1.0, 0.5, 0.5 + 1e-12, 0.0])).tolist() == [0, 2, 1, 3]


def test_positive_factors_are_those_above_a_255th_of_the_largest() -> None:
    largest = 0.51
    total = np.array([largest, largest / 255, np.nextafter(largest / 255, 1), largest / 254, 0.0, -0.3])
    assert positive(total) == 3


def test_positive_factors_do_not_depend_on_the_scale_of_the_indices() -> None:
    total = np.random.default_rng(0).exponential(size=100) ** 4
    assert 0 < positive(total) < 100
    assert positive(total * 2.0**-20) == positive(total) == int((total / total.max() * 255 > 1).sum())


def test_no_factor_is_positive_where_no_index_is() -> None:
    assert positive(np.zeros(5)) == 0
    assert positive(np.array([-1.0, -0.001, -3.0])) == 0


@given(total=hnp.arrays(np.float64, st.integers(1, 30), elements=few_values))
def test_the_positive_factors_come_first_in_the_ranking(total: np.ndarray) -> None:
    n = positive(total)
    limit = max(total.max(), 0) / 255
    assert (total[rank(total)[:n]] > limit).all()
    assert (total[rank(total)[n:]] <= limit).all()


@given(predicted=labels, target=st.integers(0, 3))
def test_the_depth_is_the_smallest_n_by_trying_each(predicted: list[int], target: int) -> None:
    assert depth(np.array(predicted, np.int32), target) == slow_depth(predicted, target)


def test_a_label_that_comes_and_goes_has_the_depth_of_its_first_coming() -> None:
    assert depth(np.array([7, 7, 3, 7, 3, 3], np.int32), 3) == ("sufficient", 2)


def test_all_factors_may_be_needed_and_may_not_be_enough() -> None:
    assert depth(np.array([1, 1, 1, 278], np.int32), 278) == ("sufficient", 3)
    assert depth(np.array([1, 1, 1, 22], np.int32), 278) == ("none_suffices", None)


def test_an_empty_image_of_the_same_label_is_an_outcome_of_its_own() -> None:
    assert depth(np.array([3, 0, 3], np.int32), 3) == ("empty_suffices", 0)


@dataclass(frozen=True)
class Part:
    """Some factors of a partition of random coefficients."""

    name: str
    grid_size: int
    approximation: Approximation
    scale: float
    seed: int
    chosen: float

    def make(self) -> tuple[np.ndarray, Partition, np.ndarray]:
        """(coefficients, partition, factors)."""
        made = partition(self.name, 8, 16, 2, grid_size=self.grid_size, approximation=self.approximation)
        rng = np.random.default_rng(self.seed)
        coefficients = rng.normal(0, self.scale, (2, 8, 16)).astype(np.float32)
        return coefficients, made, rng.permutation(made.n_factors)[: round(self.chosen * made.n_factors)]


parts = st.builds(
    Part,
    name=st.sampled_from(["grid", "aligned", "subbands", "levels"]),
    grid_size=st.integers(3, 6),
    approximation=st.sampled_from(["perturb", "keep", "drop"]),
    scale=st.sampled_from([1.0, 300.0]),  # 300 does not fit into 16 bits
    seed=st.integers(0, 999),
    chosen=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
)


@given(part=parts)
def test_what_is_kept_is_what_counting_coefficient_by_coefficient_finds(part: Part) -> None:
    coefficients, made, chosen = part.make()
    found = kept(coefficients, made, chosen)
    number, energy, _ = slow_kept(coefficients, made.factors, made.held, set(chosen.tolist()))
    assert (found.coefficients, found.coefficients_total) == (number, coefficients.size)
    energy_total = sum(float(value) ** 2 for value in coefficients.flat)
    assert found.energy_share == pytest.approx(energy / energy_total, rel=1e-12)
    assert 0 <= found.energy_share <= 1


@given(part=parts)
def test_the_stored_part_gives_back_every_kept_coefficient_to_half_a_step(part: Part) -> None:
    coefficients, made, chosen = part.make()
    listed = np.isin(np.arange(made.n_factors), chosen)
    inside = np.isin(made.factors, chosen) | ((made.factors == -1) & (made.held == 1.0))
    blob = deflated(coefficients, inside, listed)
    number, _, integers = slow_kept(coefficients, made.factors, made.held, set(chosen.tolist()))
    factors, values = inflate(blob, made.n_factors, number)
    assert factors == set(chosen.tolist())
    assert values == integers
    assert np.array(values) / 255 == pytest.approx(coefficients[:, inside].ravel(), abs=0.5 / 255 + 1e-9)
    assert zlib.compress(zlib.decompress(blob), level=9) == blob
    everything = deflated(coefficients, np.ones_like(inside), np.ones_like(listed))
    found = kept(coefficients, made, chosen)
    assert (found.compressed_bytes, found.compressed_bytes_total) == (len(blob), len(everything))


def test_keeping_every_factor_keeps_everything_and_costs_what_all_cost() -> None:
    coefficients = np.random.default_rng(0).normal(size=(3, 16, 16)).astype(np.float32)
    made = partition("grid", 16, 16, 2, grid_size=4, approximation="perturb")
    found = kept(coefficients, made, np.arange(16, dtype=np.int32)[::-1].copy())
    assert found.coefficients == found.coefficients_total == 768
    assert found.energy_share == 1.0
    assert found.compressed_bytes == found.compressed_bytes_total


def test_keeping_nothing_costs_the_list_of_factors_alone() -> None:
    coefficients = np.random.default_rng(0).normal(size=(3, 16, 16)).astype(np.float32)
    made = partition("grid", 16, 16, 2, grid_size=4, approximation="perturb")
    found = kept(coefficients, made, np.array([], np.int32))
    assert (found.coefficients, found.energy_share) == (0, 0.0)
    assert found.compressed_bytes < 16


@pytest.mark.parametrize("approximation", ["keep", "drop"])
def test_the_held_approximation_is_kept_and_the_dropped_one_is_not(approximation: str) -> None:
    coefficients = np.ones((1, 8, 8), np.float32)
    made = partition("subbands", 8, 8, 1, grid_size=1, approximation=approximation)
    nothing = kept(coefficients, made, np.array([], np.int32))
    details = kept(coefficients, made, np.arange(3, dtype=np.int32))
    assert nothing.coefficients == (16 if approximation == "keep" else 0)
    assert details.energy_share == (1.0 if approximation == "keep" else 0.75)


def test_energy_of_sub_bands_is_that_of_pywavelets_and_adds_up_to_the_images() -> None:
    image = np.random.default_rng(4).random((2, 32, 32))
    tree = pywt.wavedec2(image, "db2", mode="periodization", level=2, axes=(-2, -1))
    packed = np.stack(
        [
            pywt.coeffs_to_array([tree[0][c], *[tuple(d[c] for d in level) for level in tree[1:]]])[0]
            for c in range(2)
        ]
    )
    made = partition("subbands", 32, 32, 2, grid_size=1, approximation="perturb")
    ordered = [tree[0], *tree[1], *tree[2]]
    for k, band in enumerate(ordered):
        found = kept(packed.astype(np.float32), made, np.array([k], np.int32))
        assert found.energy_share == pytest.approx((band**2).sum() / (image**2).sum(), rel=1e-5)
        assert found.coefficients == band.size


def test_an_image_without_energy_loses_none() -> None:
    made = partition("grid", 8, 8, 1, grid_size=2, approximation="perturb")
    assert kept(np.zeros((1, 8, 8), np.float32), made, np.array([0], np.int32)).energy_share == 1.0


@pytest.mark.parametrize(("largest", "width"), [(32767, 2), (-32767, 2), (32768, 4), (-40000, 4)])
def test_a_coefficient_takes_two_bytes_and_four_where_the_largest_needs_them(
    largest: int, width: int
) -> None:
    coefficients = np.array([[[largest, 3], [1, 0]]], np.float32) / np.float32(255)
    inside, listed = np.array([[False, True], [True, True]]), np.array([False, True, True, True])
    raw = zlib.decompress(deflated(coefficients, inside, listed))
    assert len(raw) == 1 + 3 * width  # the list of four factors fits into one byte


def test_coefficients_beyond_16_bits_are_stored_exactly() -> None:
    coefficients = np.array([[[32767, -32768], [40000, 0]]], np.float32) / np.float32(255)
    inside, listed = np.ones((2, 2), bool), np.ones(4, bool)
    _, values = inflate(deflated(coefficients, inside, listed), 4, 4)
    assert values == [32767, -32768, 40000, 0]
