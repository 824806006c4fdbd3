"""Rows of masks: what each keeps, and that a row is the same whatever range it is asked in."""

from __future__ import annotations

import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavescope.core.partition import fourier_partition, partition, pixel_partition
from wavescope.core.rendering.fourier import FourierSynthesis
from wavescope.core.rendering.masks import NestedMasks, PickFreezeRows, RandomSubsets
from wavescope.core.rendering.pixel import PixelSynthesis
from wavescope.core.rendering.renderer import Finish, Renderer
from wavescope.core.rendering.wavelet import WaveletSynthesis
from wavescope.core.sobol.design import Design, make_design
from wavescope.core.wavelets import analyse


@st.composite
def nested(draw: st.DrawFn) -> NestedMasks:
    k = draw(st.integers(1, 40))
    order = draw(st.permutations(range(k)))
    counts = draw(st.lists(st.integers(0, k), min_size=1, max_size=12))
    return NestedMasks(np.array(order, np.int32), np.array(counts, np.int32), draw(st.booleans()))


@st.composite
def subsets(draw: st.DrawFn) -> RandomSubsets:
    k = draw(st.integers(1, 40))
    return RandomSubsets(
        k, draw(st.integers(0, k)), draw(st.integers(1, 12)), draw(st.integers(0, 2**63 - 1))
    )


@given(rows=nested())
def test_a_nested_row_keeps_or_removes_exactly_the_first_factors_of_the_order(rows: NestedMasks) -> None:
    masks = rows.masks(0, rows.count)
    assert masks.shape == (rows.count, rows.n_factors)
    assert masks.dtype == np.float32
    for mask, count in zip(masks, rows.counts, strict=True):
        top = set(rows.order[:count].tolist())
        assert [bool(value) for value in mask] == [(k in top) == rows.keep for k in range(rows.n_factors)]
    assert set(np.unique(masks)) <= {0.0, 1.0}


@given(rows=subsets())
def test_a_subset_row_removes_exactly_size_factors_and_keeps_the_others(rows: RandomSubsets) -> None:
    masks = rows.masks(0, rows.count)
    assert masks.shape == (rows.count, rows.n_factors)
    assert masks.dtype == np.float32
    assert ((masks == 0).sum(axis=1) == rows.size).all()
    assert ((masks == 1).sum(axis=1) == rows.n_factors - rows.size).all()


@given(rows=nested() | subsets(), data=st.data())
def test_a_row_is_the_same_bits_whatever_range_it_is_asked_in(
    rows: NestedMasks | RandomSubsets, data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, rows.count), max_size=4).map(sorted))
    edges = [0, *cuts, rows.count]
    parts = [rows.masks(start, stop) for start, stop in pairwise(edges)]
    assert np.concatenate(parts).tobytes() == rows.masks(0, rows.count).tobytes()


def test_every_factor_is_removed_equally_often_by_random_subsets() -> None:
    removed = (RandomSubsets(20, 5, 4000, seed=0).masks(0, 4000) == 0).mean(axis=0)
    assert removed == pytest.approx(np.full(20, 0.25), abs=5 * np.sqrt(0.25 * 0.75 / 4000))


def test_any_two_factors_are_removed_together_as_often_as_independent_draws_say() -> None:
    removed = (RandomSubsets(20, 5, 4000, seed=0).masks(0, 4000) == 0).astype(float)
    together = (removed.T @ removed / 4000)[np.triu_indices(20, 1)]
    expected = 5 * 4 / (20 * 19)
    assert together == pytest.approx(np.full(190, expected), abs=5 * np.sqrt(expected / 4000))


def test_rows_and_seeds_draw_different_subsets_and_seed_0_is_a_seed() -> None:
    masks = [RandomSubsets(81, 16, 50, seed=seed).masks(0, 50) for seed in (0, 1, 2**32, 2**32 + 1)]
    assert len({row.tobytes() for rows in masks for row in rows}) == 200
    assert (masks[0] == RandomSubsets(81, 16, 50, seed=0).masks(0, 50)).all()


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    assert (
        RandomSubsets(81, 16, 300, seed=3).masks(0, 200) == RandomSubsets(81, 16, 200, seed=3).masks(0, 200)
    ).all()


def test_rows_that_travel_are_a_few_kilobytes_and_arrive_unchanged() -> None:
    order = np.random.default_rng(0).permutation(784).astype(np.int32)
    for rows, limit in (
        (NestedMasks(order, np.arange(785, dtype=np.int32), keep=False), 8_000),
        (RandomSubsets(784, 157, 200, seed=0), 200),
    ):
        sent = pickle.dumps(rows)
        assert len(sent) < limit
        assert (pickle.loads(sent).masks(0, rows.count) == rows.masks(0, rows.count)).all()


# ---- rows of an adaptive plan ------------------------------------------------------------------


@st.composite
def pick_freeze_rows(draw: st.DrawFn) -> tuple[Design, PickFreezeRows]:
    """Rows of a small random design, with groups that may share factors."""
    n, k = draw(st.integers(1, 5)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    groups = draw(st.lists(st.sets(st.integers(0, k - 1), min_size=1), max_size=3))
    count = draw(st.integers(1, 12))
    base, what = rng.integers(0, n, count), rng.integers(-1, k + len(groups), count)
    members = tuple(np.array(sorted(group), np.int32) for group in groups)
    return Design(rng.random((n, k)), rng.random((n, k))), PickFreezeRows(
        base.astype(np.int32), what.astype(np.int32), members
    )


@given(case=pick_freeze_rows())
def test_a_moved_row_is_its_row_of_a_with_the_columns_named_from_b(
    case: tuple[Design, PickFreezeRows],
) -> None:
    design, rows = case
    for row in range(rows.count):
        j, what = int(rows.base[row]), int(rows.substituted[row])
        group = what - design.n_factors
        taken = {what} if group < 0 else set(rows.groups[group].tolist())
        expected = [design.b[j, k] if k in taken else design.a[j, k] for k in range(design.n_factors)]
        assert rows.mask(design, row).tolist() == expected


@given(case=pick_freeze_rows())
def test_a_moved_row_leaves_the_design_as_it_was(case: tuple[Design, PickFreezeRows]) -> None:
    design, rows = case
    before = design.a.tobytes()
    for row in range(rows.count):
        rows.mask(design, row)[...] = 9
    assert design.a.tobytes() == before


@pytest.mark.parametrize("policy", ["clip", "minmax", "none"])
@pytest.mark.parametrize("transform", ["wavelet", "pixel", "fourier"])
def test_moved_images_are_those_of_their_masks_and_rows_of_a_bit_for_bit(transform: str, policy: str) -> None:
    image = np.random.default_rng(0).random((3, 16, 24)).astype(np.float32)
    mean, std = np.full((3, 1, 1), 0.4, np.float32), np.full((3, 1, 1), 0.25, np.float32)
    synthesis: Any
    if transform == "wavelet":
        factors = partition("aligned", 16, 24, 2, grid_size=4, approximation="perturb")
        packed = analyse(image, "db2", 2)
        synthesis = WaveletSynthesis(packed, (16, 24), "db2", 2, factors, packed)
    elif transform == "pixel":
        factors = pixel_partition(16, 24, 4)
        synthesis = PixelSynthesis(image, factors, "zero", mean)
    else:
        factors = fourier_partition("square", 16, 24, grid_size=6)
        synthesis = FourierSynthesis(image, factors, mean)
    k = factors.n_factors
    renderer = Renderer(synthesis, k, Finish(policy, mean, std))
    design = make_design("sobol", k, 4, 0)
    groups = (np.arange(k // 2, dtype=np.int32), np.array([0, k - 1], np.int32))
    base = np.repeat(np.arange(4, dtype=np.int32), k + 3)
    rows = PickFreezeRows(base, np.tile(np.arange(-1, k + 2, dtype=np.int32), 4), groups)
    masks = np.stack([rows.mask(design, row) for row in range(rows.count)])
    found, expected = renderer.pick_freeze(design, rows, 0, rows.count), renderer.masks(masks)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    of_a = np.flatnonzero(rows.substituted == -1)
    assert found[of_a].tobytes() == renderer.masks(design.a).tobytes()
    part = renderer.pick_freeze(design, rows, 5, 11)
    assert part.tobytes() == found[5:11].tobytes()


def test_a_moved_row_travels_as_8_bytes() -> None:
    rows = PickFreezeRows(np.zeros(1000, np.int32), np.zeros(1000, np.int32))
    assert len(pickle.dumps(rows)) < 8 * 1000 + 1000
