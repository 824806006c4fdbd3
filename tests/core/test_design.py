"""Designs: their bits, nesting, seeds and limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from wavescope.core.sobol.design import MAX_SOBOL_DIMENSION, SAMPLERS, check_design, make_design
from wavescope.errors import InvalidRequest

seeds = st.integers(0, 2**63 - 1)
samplers = st.sampled_from(sorted(SAMPLERS))
every_sampler = pytest.mark.parametrize("sampler", sorted(SAMPLERS))


def rows_of(sampler: str, n: int) -> int:
    """A number of rows the sampler takes."""
    return 2 ** (n.bit_length() - 1) if sampler == "sobol" else n


def scipy_points(sampler: str, columns: int, n: int, seed: int) -> np.ndarray:
    """Drawn as the authors call SciPy: by ``seed``."""
    if sampler == "monte_carlo":
        return np.random.default_rng(seed).random((n, columns))
    if sampler == "latin_hypercube":
        return qmc.LatinHypercube(columns, seed=seed).random(n)
    engine = {"sobol": qmc.Sobol, "halton": qmc.Halton}[sampler]
    return engine(columns, scramble=True, seed=seed).random(n)


@every_sampler
@pytest.mark.parametrize("seed", [0, 42])
def test_rows_are_the_bits_of_scipy_called_as_the_authors_do(sampler: str, seed: int) -> None:
    points = scipy_points(sampler, 2 * 784, 8, seed)
    design = make_design(sampler, 784, 8, seed)
    assert (design.a == points[:, :784]).all()
    assert (design.b == points[:, 784:]).all()
    assert design.n_factors == 784


@given(sampler=samplers, factors=st.integers(1, 40), n=st.integers(1, 100), seed=seeds)
def test_rows_are_scipys_at_any_size(sampler: str, factors: int, n: int, seed: int) -> None:
    n = rows_of(sampler, n)
    design = make_design(sampler, factors, n, seed)
    assert (np.hstack([design.a, design.b]) == scipy_points(sampler, 2 * factors, n, seed)).all()


@given(
    sampler=st.sampled_from(["sobol", "halton", "monte_carlo"]),
    factors=st.integers(1, 40),
    n=st.integers(1, 64),
    seed=seeds,
)
def test_the_first_n_rows_of_a_2n_design_are_the_n_design(
    sampler: str, factors: int, n: int, seed: int
) -> None:
    n = rows_of(sampler, n)
    once, twice = make_design(sampler, factors, n, seed), make_design(sampler, factors, 2 * n, seed)
    assert (twice.a[:n] == once.a).all()
    assert (twice.b[:n] == once.b).all()


@given(sampler=samplers, factors=st.integers(1, 40), n=st.integers(1, 100), seed=seeds)
def test_values_lie_in_zero_to_below_one(sampler: str, factors: int, n: int, seed: int) -> None:
    n = rows_of(sampler, n)
    design = make_design(sampler, factors, n, seed)
    for rows in (design.a, design.b):
        assert rows.shape == (n, factors)
        assert rows.dtype == np.float64
        assert (rows >= 0).all()
        assert (rows < 1).all()


@given(
    sampler=st.sampled_from(["sobol", "latin_hypercube"]),
    factors=st.integers(1, 40),
    n=st.integers(1, 100),
    seed=seeds,
)
def test_every_column_has_one_point_in_each_of_n_equal_intervals(
    sampler: str, factors: int, n: int, seed: int
) -> None:
    n = rows_of(sampler, n)
    design = make_design(sampler, factors, n, seed)
    for rows in (design.a, design.b):
        assert (np.sort(np.floor(rows * n), axis=0) == np.arange(n)[:, None]).all()


@given(factors=st.integers(1, 12), seed=seeds)
def test_every_halton_column_has_one_point_in_each_interval_of_its_prime(factors: int, seed: int) -> None:
    primes = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89]
    design = make_design("halton", factors, 89, seed)
    points = np.hstack([design.a, design.b])
    for column, prime in enumerate(primes[: 2 * factors]):
        cells = np.floor(points[:prime, column] * prime + 1e-9)
        assert (np.sort(cells) == np.arange(prime)).all()


@every_sampler
def test_the_same_seed_gives_the_same_bits_and_zero_is_a_seed(sampler: str) -> None:
    assert (make_design(sampler, 5, 8, 0).a == make_design(sampler, 5, 8, 0).a).all()
    assert (make_design(sampler, 5, 8, 0).a != make_design(sampler, 5, 8, 1).a).any()


@every_sampler
def test_the_design_neither_reads_nor_moves_the_global_random_state(sampler: str) -> None:
    np.random.seed(7)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    first = make_design(sampler, 5, 8, 3)
    assert np.random.random() == expected  # noqa: NPY002
    assert (make_design(sampler, 5, 8, 3).a == first.a).all()


@every_sampler
@pytest.mark.parametrize("seed", range(5))
def test_no_row_is_the_origin_and_none_of_a_is_that_of_b(sampler: str, seed: int) -> None:
    """Unscrambled, the first rows of A and B are both 0, and N(K + 1) forwards go to equal images."""
    design = make_design(sampler, 50, 8, seed)
    for rows in (design.a, design.b):
        assert rows.any(axis=1).all()
    assert not (design.a[:, None] == design.b[None]).all(axis=2).any()
    assert (design.a[0] != design.b[0]).all()


@pytest.mark.parametrize(
    ("nb_design", "nearest"), [(12, [8, 16]), (3, [2, 4]), (1000, [512, 1024]), (0, [1, 2]), (-4, [1, 2])]
)
def test_n_of_a_sobol_design_must_be_a_power_of_two(nb_design: int, nearest: list[int]) -> None:
    with pytest.raises(InvalidRequest, match=rf"nb_design is {nb_design}; .*power of two") as caught:
        make_design("sobol", 4, nb_design, 0)
    assert caught.value.field == "nb_design"
    assert caught.value.limits["nearest"] == nearest


@pytest.mark.parametrize("sampler", ["halton", "latin_hypercube", "monte_carlo"])
def test_n_of_other_designs_is_any_positive_number(sampler: str) -> None:
    for n in (1, 3, 12):
        assert make_design(sampler, 4, n, 0).b.shape == (n, 4)
    with pytest.raises(InvalidRequest, match="nb_design is 0; it must be at least 1") as caught:
        SAMPLERS[sampler].draw(4, 0, 0)
    assert caught.value.field == "nb_design"


@pytest.mark.parametrize(("sampler", "largest"), [("sobol", 10_600), ("halton", 2048)])
def test_2k_may_reach_what_the_sequence_has_and_no_more(sampler: str, largest: int) -> None:
    check_design(sampler, largest, 8)
    with pytest.raises(
        InvalidRequest, match=rf"{largest + 1} factors; .*at most {largest}.*lower grid_size"
    ) as caught:
        check_design(sampler, largest + 1, 8)
    assert caught.value.field == "grid_size"
    assert caught.value.limits == {"maximum_factors": largest}


def test_the_sobol_limit_is_that_of_scipys_direction_numbers() -> None:
    assert MAX_SOBOL_DIMENSION == 21_201


@pytest.mark.parametrize("sampler", ["sobol", "latin_hypercube", "monte_carlo"])
def test_a_design_of_more_than_ten_thousand_factors_can_be_drawn(sampler: str) -> None:
    assert make_design(sampler, 10_600, 1, 0).b.shape == (1, 10_600)


def test_an_unknown_sampler_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="sampler is 'grid'; it must be one of sobol, halton") as caught:
        make_design("grid", 4, 8, 0)
    assert caught.value.field == "sampler"
    assert caught.value.limits == {"choices": sorted(SAMPLERS, key=list(SAMPLERS).index)}
