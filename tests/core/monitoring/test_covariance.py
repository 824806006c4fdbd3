"""The shrunk covariance is scikit-learn's; distances are those of its inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavescope.core.monitoring.covariance import fit_distance, ledoit_wolf
from wavescope.errors import InvalidRequest


def rows(n: int, dimension: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dimension)) @ rng.normal(size=(dimension, dimension)) + 5


def test_it_is_the_closed_form_of_four_rows() -> None:
    """S = diag(1/2, 2), ‖S − m I‖² = 9/8, and Σ ‖x xᵀ − S‖² / 16 = 17/16."""
    covariance, shrinkage = ledoit_wolf(np.array([[1.0, 0], [-1, 0], [0, 2], [0, -2]]) + 3)
    assert shrinkage == pytest.approx(17 / 18)
    np.testing.assert_allclose(covariance, np.diag([0.5, 2]) / 18 + np.eye(2) * 1.25 * 17 / 18)


def test_it_is_not_shrunk_without_error_or_spread() -> None:
    assert ledoit_wolf(np.array([[1.0], [2.0], [4.0]]))[1] == 0
    large = np.random.default_rng(0).normal(size=(100_000, 2)) * [1, 3]
    assert ledoit_wolf(large)[1] < 1e-3


def test_a_distance_is_that_of_the_inverse() -> None:
    given = rows(40, 3)
    distance = fit_distance(given, field="reference")
    covariance, _ = ledoit_wolf(given)
    row = given[0] + 1
    centred = row - given.mean(axis=0)
    assert distance.squared(row) == pytest.approx(centred @ np.linalg.inv(covariance) @ centred)
    assert distance.squared(distance.mean) == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (rows(8, 3), "8 images; 3 dimensions need at least 9: collect more"),
        (
            np.vstack([rows(20, 3), [np.nan, 1, 1], [np.inf, 1, 1]]),
            "2 images with numbers that are not finite",
        ),
        (np.ones((20, 3)), "does not vary"),
        (np.full((20, 3), 0.1), "does not vary"),
        (np.zeros((20, 3)), "does not vary"),
        (np.array([[1.0, 1.0], [-1.0, -1.0]] * 10), "does not vary, so that no distance"),
    ],
)
def test_rows_without_a_distance_are_refused(given: np.ndarray, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as refused:
        fit_distance(given, field="reference.fit.shares")
    assert refused.value.field == "reference.fit.shares"


def test_as_few_rows_as_are_needed_are_taken() -> None:
    assert fit_distance(rows(9, 3), field="reference").root.shape == (3, 3)


def test_small_units_are_no_lack_of_variance() -> None:
    given = rows(30, 3)
    small = fit_distance(given * 1e-6, field="reference")
    assert small.squared(given[0] * 1e-6) == pytest.approx(
        fit_distance(given, field="reference").squared(given[0])
    )


def test_a_column_that_is_constant_is_given_the_variance_of_the_others() -> None:
    """It is what shrinking is for: one dead sub-band does not end a monitor."""
    given = rows(30, 4)
    given[:, 2] = 7.0
    distance = fit_distance(given, field="reference")
    moved = distance.mean + np.array([0, 0, 1.0, 0])
    assert 0 < distance.squared(moved) < np.inf


@given(n=st.integers(2, 60), dimension=st.integers(2, 12), seed=st.integers(0, 99))
def test_it_is_scikit_learns(n: int, dimension: int, seed: int) -> None:
    sklearn = pytest.importorskip("sklearn.covariance")
    given = rows(n, dimension, seed)
    expected = sklearn.LedoitWolf().fit(given)
    covariance, shrinkage = ledoit_wolf(given)
    assert shrinkage == pytest.approx(expected.shrinkage_, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(covariance, expected.covariance_, rtol=1e-9, atol=1e-12)
