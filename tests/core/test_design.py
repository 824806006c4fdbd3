"""The Sobol design: its bits, nesting, seeds and limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from wavescope.core.design import MAX_SOBOL_DIMENSION, check_sobol, sobol
from wavescope.errors import InvalidRequest

seeds = st.integers(0, 2**63 - 1)
powers = st.integers(0, 7).map(lambda m: 2**m)


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_rows_are_the_bits_of_scipy_called_as_the_authors_do(seed: int) -> None:
    points = qmc.Sobol(2 * 784, scramble=True, seed=seed).random(8)
    design = sobol(784, 8, seed)
    assert (design.a == points[:, :784]).all()
    assert (design.b == points[:, 784:]).all()
    assert design.n_factors == 784


@given(factors=st.integers(1, 40), n=powers, seed=seeds)
def test_the_first_n_rows_of_a_2n_design_are_the_n_design(factors: int, n: int, seed: int) -> None:
    once, twice = sobol(factors, n, seed), sobol(factors, 2 * n, seed)
    assert (twice.a[:n] == once.a).all()
    assert (twice.b[:n] == once.b).all()


@given(factors=st.integers(1, 40), n=powers, seed=seeds)
def test_values_lie_in_zero_to_below_one(factors: int, n: int, seed: int) -> None:
    design = sobol(factors, n, seed)
    for rows in (design.a, design.b):
        assert rows.shape == (n, factors)
        assert rows.dtype == np.float64
        assert (rows >= 0).all()
        assert (rows < 1).all()


@given(factors=st.integers(1, 40), m=st.integers(1, 7), seed=seeds)
def test_every_column_has_one_point_in_each_of_n_equal_intervals(factors: int, m: int, seed: int) -> None:
    design = sobol(factors, 2**m, seed)
    for rows in (design.a, design.b):
        assert (np.sort(np.floor(rows * 2**m), axis=0) == np.arange(2**m)[:, None]).all()


def test_zero_is_a_seed_like_any_other() -> None:
    assert (sobol(5, 8, 0).a == sobol(5, 8, 0).a).all()
    assert (sobol(5, 8, 0).a != sobol(5, 8, 1).a).any()


def test_the_design_neither_reads_nor_moves_the_global_random_state() -> None:
    before = np.random.get_state()  # noqa: NPY002
    first = sobol(5, 8, 3)
    np.random.seed(1)  # noqa: NPY002
    assert (sobol(5, 8, 3).a == first.a).all()
    np.random.set_state(before)  # noqa: NPY002


def test_scrambled_rows_are_never_all_zero() -> None:
    """Unscrambled, the first rows of A and B are both 0, and N(K + 1) forwards go to equal images."""
    design = sobol(50, 8, 0)
    assert design.a[0].any()
    assert (design.a[0] != design.b[0]).all()


@pytest.mark.parametrize(
    ("nb_design", "nearest"), [(12, [8, 16]), (3, [2, 4]), (1000, [512, 1024]), (0, [1, 2]), (-4, [1, 2])]
)
def test_n_must_be_a_power_of_two(nb_design: int, nearest: list[int]) -> None:
    with pytest.raises(InvalidRequest, match=rf"nb_design is {nb_design}; .*power of two") as caught:
        sobol(4, nb_design, 0)
    assert caught.value.field == "nb_design"
    assert caught.value.limits["nearest"] == nearest


def test_2k_may_reach_21201_and_no_more() -> None:
    assert MAX_SOBOL_DIMENSION == 21_201
    check_sobol(10_600, 8)
    with pytest.raises(InvalidRequest, match=r"10601 factors; .*at most 10600.*lower grid_size") as caught:
        check_sobol(10_601, 8)
    assert caught.value.field == "grid_size"
    assert caught.value.limits == {"maximum_factors": 10_600}


def test_the_largest_design_can_be_drawn() -> None:
    assert sobol(10_600, 1, 0).b.shape == (1, 10_600)
