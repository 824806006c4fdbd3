"""What we compute without ``scipy.stats`` has SciPy's bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from wavescope.core.adaptive.importance_sampling import van_der_corput
from wavescope.core.ranks import ranks

values = st.floats(allow_nan=False, allow_infinity=True) | st.integers(0, 3).map(float)


@given(st.lists(values, min_size=1, max_size=40))
def test_ranks_are_scipys_with_ties_and_infinities(given_values: list[float]) -> None:
    array = np.array(given_values)
    np.testing.assert_array_equal(ranks(array), stats.rankdata(array))


def test_with_a_value_that_is_no_number_none_has_a_rank() -> None:
    array = np.array([1.0, np.nan, 0.0])
    np.testing.assert_array_equal(ranks(array), stats.rankdata(array))


@pytest.mark.parametrize("count", [1, 2, 3, 64, 1000, 2**14])
def test_van_der_corputs_sequence_is_the_first_column_of_haltons(count: int) -> None:
    expected = stats.qmc.Halton(1, scramble=False).random(count)[:, 0]
    np.testing.assert_array_equal(van_der_corput(count), expected)


def test_a_quantile_of_students_t_is_that_of_scipys_distribution() -> None:
    degrees = np.arange(1, 2000)
    np.testing.assert_array_equal(special.stdtrit(degrees, 0.975), stats.t.ppf(0.975, degrees))
