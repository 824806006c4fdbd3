"""Evidence is a sum over every moment of change, in logarithms; the moment is read off the same sum."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.oracles.monitoring import evidence

from wavescope.core.monitoring.evidence import History, change_point, grow, log_sum

NOTHING = np.full((1, 1), -np.inf)
bets = st.lists(st.floats(0.01, 100), min_size=1, max_size=30)


def grown(given: list[float], before: np.ndarray = NOTHING) -> float:
    log_r = before
    for bet in given:
        log_r = grow(log_r, np.full((1, 1), math.log(bet)))
    return float(log_r[0, 0])


@given(bets=bets)
def test_r_is_the_sum_over_every_moment_of_the_product_of_the_bets_since(bets: list[float]) -> None:
    assert grown(bets) == pytest.approx(math.log(evidence(bets)), rel=1e-9, abs=1e-9)


def test_it_never_overflows() -> None:
    """A bet of 10^6, 10^4 times: R is 10^60,000."""
    log_r, bet = np.full((1, 1), 1e6), np.full((1, 1), 6 * math.log(10))
    for _ in range(10_000):
        log_r = grow(log_r, bet)
    assert log_r[0, 0] == pytest.approx(1e6 + 60_000 * math.log(10), rel=1e-12)


@pytest.mark.slow
def test_it_never_overflows_over_a_million_observations() -> None:
    log_r, bet = np.full((1, 1), 1e12), np.full((1, 1), 6 * math.log(10))
    for _ in range(1_000_000):
        log_r = grow(log_r, bet)
    assert log_r[0, 0] == pytest.approx(1e12 + 6e6 * math.log(10), rel=1e-12)


def test_a_sum_of_nothing_is_nothing() -> None:
    assert log_sum(np.full((2, 3), -np.inf)) == -math.inf
    assert log_sum(np.array([-np.inf, 1000.0, 1000.0])) == 1000 + math.log(2)


def test_the_terms_of_a_change_point_add_up_to_r() -> None:
    """The most probable moment of one bettor is the one whose term is the largest."""
    rng = np.random.default_rng(0)
    drawn = np.exp(rng.normal(-0.1, 0.5, 40))
    drawn[25:] *= 2
    terms = [math.prod(drawn[first:]) for first in range(40)]
    found = change_point(np.arange(100, 140), np.log(drawn).reshape(40, 1, 1), NOTHING, np.ones((1, 1)))
    assert found is not None
    assert found.seq == 100 + int(np.argmax(terms))
    share = np.cumsum(terms) / sum(terms)
    assert found.interval == (100 + int((share < 0.025).sum()), 100 + int((share < 0.975).sum()))
    assert not found.earlier


def test_a_window_knows_what_came_before_it() -> None:
    """Dropped observations stay in R, and in the weight of what is not remembered."""
    rng = np.random.default_rng(1)
    drawn = np.exp(rng.normal(0.0, 0.5, (30, 1, 1)))
    history, log_r = History.empty(1, 1), NOTHING
    for seq, bet in enumerate(drawn):
        log_r = grow(log_r, np.log(bet))
        history = history.add(seq, np.log(bet[0]))
        if len(history.seqs) > 10:
            history = history.drop(history.values[0][None])
    assert history.seqs.tolist() == list(range(20, 30))
    assert history.before[0, 0] == pytest.approx(grown(drawn[:20, 0, 0].tolist()))
    assert grown(drawn[20:, 0, 0].tolist(), history.before) == pytest.approx(log_r[0, 0])
    terms = [math.prod(drawn[first:, 0, 0]) for first in range(30)]
    forgotten = sum(terms[:20]) / sum(terms)
    assert 0.1 < forgotten < 0.9
    for tail, earlier in ((0.99 * forgotten, True), (1.01 * forgotten, False)):
        found = change_point(
            history.seqs, history.values[..., None], history.before, np.ones((1, 1)), level=1 - 2 * tail
        )
        assert found is not None
        assert found.earlier is earlier
        assert found.interval[0] == 20


def test_evidence_that_a_float_cannot_hold_has_its_moment() -> None:
    """Bets of e^50: the first of 100, from R = e^5,000 down."""
    found = change_point(np.arange(100), np.full((100, 1, 1), 50.0), NOTHING, np.ones((1, 1)))
    assert found is not None
    assert (found.seq, found.interval, found.earlier) == (0, (0, 0), False)


def test_bettors_count_by_their_weights() -> None:
    """One has its largest term at 0, the other at 2: whichever weighs more says when."""
    logs = np.log(np.array([[[4.0, 0.25]], [[4.0, 0.25]], [[1.0, 16.0]]]))
    for weights, seq in (((0.9, 0.1), 0), ((0.1, 0.9), 2)):
        found = change_point(np.arange(3), logs, np.full((1, 2), -np.inf), np.array([weights]))
        assert found is not None
        assert found.seq == seq


def test_bettors_count_by_what_they_have_won() -> None:
    """One bettor lost everything, so that the moment is the other's."""
    logs = np.log(np.array([[[0.5, 0.5]], [[2.0, 0.01]], [[2.0, 0.01]], [[2.0, 0.01]]]))
    together = change_point(np.arange(4), logs, np.full((1, 2), -np.inf), np.full((1, 2), 0.5))
    alone = change_point(np.arange(4), logs[..., :1], NOTHING, np.ones((1, 1)))
    assert together is not None
    assert alone is not None
    assert together.seq == alone.seq == 1


def test_without_observations_there_is_no_moment() -> None:
    assert change_point(np.empty(0, dtype=np.int64), np.empty((0, 1, 1)), NOTHING, np.ones((1, 1))) is None
