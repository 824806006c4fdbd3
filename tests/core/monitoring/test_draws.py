"""Random numbers follow from seed, sequence number, signal and purpose alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from wavescope.core.monitoring.draws import MAX_SEED, THINNING, TIES, check_seed, raw, thin, tie_breaker
from wavescope.errors import InvalidRequest

EXPECTED = ("0x1.a01d9eeca9a13p-1", "0x1.85892f0a817b4p-3")


def test_numbers_are_the_same_in_every_version() -> None:
    """A monitor that is restarted by another version of NumPy draws what it would have drawn."""
    assert tie_breaker(0, 0, "input").hex() == EXPECTED[0]
    assert tie_breaker(MAX_SEED, 2**63 - 1, "reliance").hex() == EXPECTED[1]


def test_every_argument_matters() -> None:
    changes = [(2, 2, "a", TIES), (1, 3, "a", TIES), (1, 2, "b", TIES), (1, 2, "a", THINNING)]
    drawn = {tuple(raw(*given, 2).tolist()) for given in [(1, 2, "a", TIES), *changes]}
    assert len(drawn) == 5


def test_ties_are_broken_uniformly_and_independently() -> None:
    drawn = np.array([[tie_breaker(5, seq, name) for seq in range(2000)] for name in ("a", "b")])
    assert kstest(drawn.ravel(), "uniform").pvalue > 0.01
    assert abs(np.corrcoef(drawn)[0, 1]) < 0.06
    assert abs(np.corrcoef(drawn[0, 1:], drawn[0, :-1])[0, 1]) < 0.06
    assert (drawn > 0).all()
    assert (1 - drawn > 0).all()


def test_every_subset_is_as_likely() -> None:
    kept = [tuple(thin(np.arange(4.0), 2, seed=3, seq=seq, name="a")) for seq in range(3000)]
    _, counts = np.unique(np.array(kept), axis=0, return_counts=True)
    assert len(counts) == 6
    assert chisquare(counts).pvalue > 0.01
    assert all(first < second for first, second in kept)


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(InvalidRequest, match=r"seed is .* within 0\.\.") as refused:
        check_seed(seed)
    assert refused.value.field == "seed"
    assert check_seed(0) == 0
