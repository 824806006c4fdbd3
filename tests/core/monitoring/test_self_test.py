"""A reference that is not exchangeable is seen before anything is watched by it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, rankdata

from wavescope.core.monitoring.conformal import ConformalTest, Signal
from wavescope.core.monitoring.self_test import RISK, lag1_autocorrelation, self_test
from wavescope.errors import InvalidRequest

TEST = ConformalTest((Signal("a", 0.5), Signal("b", 0.5, two_sided=True)), seed=2)


def autoregressive(n: int, by: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=n)
    found = [noise[0]]
    for now in noise[1:]:
        found.append(by * found[-1] + math.sqrt(1 - by * by) * now)
    return np.array(found)


def passes(scores: np.ndarray) -> bool:
    return all(check.exchangeable for check in self_test(TEST, {"a": scores, "b": scores}))


def test_an_exchangeable_reference_passes() -> None:
    """Heavy tails and ties as well; of 100, by chance at most a few fail."""
    rng = np.random.default_rng(0)
    kept = sum(passes(np.round(rng.standard_cauchy(100), 1)) for _ in range(60))
    assert 60 - kept <= binom.ppf(0.999, 60, RISK + 0.01)


def test_video_frames_are_rejected_by_their_neighbours() -> None:
    checks = self_test(TEST, {"a": autoregressive(250, 0.6, 1), "b": autoregressive(250, 0.0, 2)})
    assert [check.exchangeable for check in checks] == [False, True]
    assert checks[0].lag1_autocorrelation > 0.4
    assert checks[0].most_autocorrelation == 0.2
    assert checks[0].n == 250


def test_a_change_within_the_reference_is_rejected_by_its_evidence() -> None:
    scores = np.random.default_rng(0).normal(size=400)
    scores[200:] += 1.5
    check = self_test(TEST, {"a": scores})[0]
    assert check.false_alarm_bound <= RISK
    assert check.log10_evidence >= math.log10(400 / RISK / 0.5)
    assert not check.exchangeable


def test_a_small_reference_is_allowed_more_by_chance() -> None:
    """At n = 100 that of an exchangeable one exceeds 0.2 in one of forty; three times 0.1 hardly ever."""
    check = self_test(TEST, {"a": np.random.default_rng(0).normal(size=100)})[0]
    assert check.most_autocorrelation == pytest.approx(0.3)


@given(scores=st.lists(st.floats(-1e3, 1e3) | st.just(math.inf), min_size=2, max_size=40))
def test_autocorrelation_is_that_of_the_ranks(scores: list[float]) -> None:
    ranks = rankdata(scores)
    found = lag1_autocorrelation(np.array(scores))
    if np.ptp(ranks) == 0:
        assert found == 0
    else:
        centred = ranks - ranks.mean()
        assert found == pytest.approx((centred[1:] * centred[:-1]).sum() / (centred**2).sum())
    assert -1 <= found <= 1


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_a_score_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(InvalidRequest, match=r"reference\.a is ") as refused:
        self_test(TEST, {"a": np.array([*np.arange(100.0), bad])})
    assert refused.value.field == "reference.a"


def test_what_the_reference_does_not_have_is_passed_over() -> None:
    assert [check.name for check in self_test(TEST, {"b": np.arange(5.0)})] == ["b"]
