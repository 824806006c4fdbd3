"""The bounded-mean test: a bound that holds the mean, bets of mean 1 at it, alarms at most as often as is proven."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from bench import null_table
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from tests.oracles.monitoring import capital, evidence

from wavescope.core.monitoring.bounded_mean import (
    FRACTIONS,
    BoundedMeanState,
    BoundedMeanTest,
    calibrate,
    contributions,
    fold,
    log_bets,
    observe,
    reading,
    restart,
    start,
    upper_bound,
)
from wavescope.errors import InvalidRequest
from wavescope.store.codec import decode, encode

ONE = BoundedMeanTest(("a",), (1.0,), (0.5,), mean_observations=1000)
TWO = BoundedMeanTest(("a", "b"), (0.25, 0.75), (0.3, 0.6), mean_observations=1000, history=20)
Rows = list[tuple[int, dict[str, float]]]


def rows(n: int, *, first: int = 0, mean: float = 0.3, seed: int = 0) -> Rows:
    drawn = np.random.default_rng(seed).beta(4 * mean, 4 * (1 - mean), (n, 2))
    return [(first + 2 * index, {"a": a, "b": b}) for index, (a, b) in enumerate(drawn)]


# ---- the bound -------------------------------------------------------------------------------------
@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=30), risk=st.sampled_from([0.05, 0.3]))
def test_the_bound_is_where_the_capital_of_slow_bets_reaches_its_goal(
    values: list[float], risk: float
) -> None:
    bound = upper_bound(np.array(values), risk=risk)
    if bound + 1e-9 < 1:
        assert max(capital(values, bound + 1e-9, risk)) >= 1 / risk * (1 - 1e-6)
    assert max(capital(values, bound - 1e-6, risk)) < 1 / risk


@given(
    values=st.lists(st.floats(0, 1), min_size=1, max_size=20),
    means=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)),
)
def test_capital_does_not_fall_with_the_mean(values: list[float], means: tuple[float, float]) -> None:
    """So that there is one bound, and bisection finds it."""
    less, more = (capital(values, mean, 0.05) for mean in sorted(means))
    assert all(a <= b * (1 + 1e-9) for a, b in zip(less, more, strict=True))


def dependent(rng: np.random.Generator, n: int) -> np.ndarray:
    """Values whose mean is 0.5 whatever came before, far from it after one that was above, near it after one below."""
    found = [0.4]
    for sign in rng.choice([-1.0, 1.0], n):
        found.append(0.5 + sign * (0.5 if found[-1] > 0.5 else 0.1))
    return np.array(found[1:])


POPULATIONS: dict[str, tuple[Callable[[np.random.Generator], np.ndarray], float]] = {
    "rare": (lambda rng: (rng.uniform(size=100) < 0.02).astype(float), 0.02),
    "frequent": (lambda rng: (rng.uniform(size=100) < 0.9).astype(float), 0.9),
    "a share": (lambda rng: rng.beta(2, 6, 100), 0.25),
    "small": (lambda rng: rng.beta(1, 30, 100), 1 / 31),
    "given the past": (lambda rng: dependent(rng, 100), 0.5),
}


@pytest.mark.parametrize("name", POPULATIONS)
def test_the_bound_holds_the_mean_as_often_as_it_says(name: str) -> None:
    draw, mean = POPULATIONS[name]
    missed = sum(upper_bound(draw(np.random.default_rng([1, i])), risk=0.1) < mean for i in range(400))
    assert missed <= binom.ppf(0.99, 400, 0.1)


def test_the_bound_is_not_idle() -> None:
    """Of 200 shares it is nearer than Hoeffding's, and comes down with their number."""
    rng = np.random.default_rng(0)
    bounds = [
        np.mean([upper_bound(rng.beta(2, 6, n), risk=0.05) for _ in range(20)]) - 0.25 for n in (200, 800)
    ]
    assert bounds[0] < 0.5 * math.sqrt(-math.log(0.05) / 400)
    assert bounds[1] < 0.6 * bounds[0]


def test_a_bound_of_ones_is_one() -> None:
    assert upper_bound(np.ones(200), risk=0.05) == pytest.approx(1)


# ---- evidence --------------------------------------------------------------------------------------
def test_r_is_the_weighted_mean_of_sums_over_moments() -> None:
    given = rows(25)
    state = fold(TWO, start(TWO), given)
    parts = {}
    for name, weight, bound in zip(TWO.signals, TWO.weights, TWO.bounds, strict=True):
        bettors = [evidence([1 + a / bound * (row[name] - bound) for _, row in given]) for a in FRACTIONS]
        parts[name] = weight * float(np.mean(bettors))
    found = contributions(TWO, state)
    assert found == pytest.approx({name: math.log10(part) for name, part in parts.items()})
    shown = reading(TWO, state)
    assert shown.log10_evidence == pytest.approx(math.log10(sum(parts.values())))
    assert shown.name == max(parts, key=parts.__getitem__)
    assert shown.observed == 25
    assert shown.log10_threshold == pytest.approx(3)
    assert shown.changed_at is not None
    assert shown.changed_at.earlier  # 20 of 25 are remembered


def test_bets_are_never_lost_and_have_a_mean_of_one_at_the_bound() -> None:
    ends = np.exp([log_bets(ONE, np.array([value]))[0] for value in (0.0, 0.5, 1.0)])
    assert (ends[0] > 0).all()
    np.testing.assert_allclose(ends[1], 1)
    np.testing.assert_allclose((ends[0] + ends[2]) / 2, 1)


def test_the_fold_agrees_with_the_table_of_false_alarms() -> None:
    given = rows(60, mean=0.45)
    state, first = start(TWO), 0
    test = dataclasses.replace(TWO, mean_observations=30)
    for count, row in enumerate(given, 1):
        state = observe(test, state, *row)
        first = first or count * (state.alarm is not None)
    values = np.array([[row["a"], row["b"]] for _, row in given])
    # Equal weights there: the first signal once, the second three times.
    bounds = np.array([[0.3, 0.6, 0.6, 0.6]])
    found = null_table.bounded_crossings(bounds, lambda t: values[t][None, [0, 1, 1, 1]], 60, (30.0,))
    assert found[0, 0] == first > 0


def test_the_moment_of_a_step_is_found() -> None:
    given = [*rows(100, mean=0.2), *rows(40, first=200, mean=0.8, seed=1)]
    state = fold(dataclasses.replace(TWO, history=1000), start(TWO), given)
    assert state.alarm is not None
    moment = state.alarm.readings[0].changed_at
    assert moment is not None
    assert moment.interval[0] <= 200 <= moment.interval[1]
    assert abs(moment.seq - 200) <= 10


# ---- false alarms ----------------------------------------------------------------------------------
STREAMS = 400


def significantly_above(count: int, bound: float, streams: int = STREAMS) -> bool:
    return bool(count > binom.ppf(0.99, streams, bound))


def edge(rng: np.random.Generator, t: int) -> np.ndarray:
    """Values whose mean is the bound, 0.5, whatever came before: not exchangeable, as their spread changes."""
    spread = 0.5 if t // 50 % 2 else 0.1
    return 0.5 + spread * rng.choice([-1.0, 1.0], (STREAMS, 1))


def test_false_alarms_at_the_bound_are_at_most_as_many_as_is_proven() -> None:
    rng = np.random.default_rng(0)
    found = null_table.bounded_crossings(
        np.full((STREAMS, 1), 0.5), lambda t: edge(rng, t), 3000, (100.0, 1000.0, 10_000.0)
    )
    for c, first in zip((100, 1000, 10_000), found, strict=True):
        for horizon in (10, 100, 1000, 3000):
            count = int(((first > 0) & (first <= horizon)).sum())
            assert not significantly_above(count, min(horizon / c, 1))
    run_lengths = np.where(found[0] > 0, found[0], 3000)
    assert run_lengths.mean() + 2.33 * run_lengths.std() / math.sqrt(STREAMS) >= 100
    assert (found[0] > 0).mean() > 0.5  # it is no test that never alarms


def test_a_bound_that_is_a_little_less_than_the_mean_is_seen() -> None:
    rng = np.random.default_rng(0)
    found = null_table.bounded_crossings(
        np.full((STREAMS, 1), 0.45), lambda t: edge(rng, t), 1000, (10_000.0,)
    )
    assert significantly_above(int((found[0] > 0).sum()), 0.1)


def test_a_mean_within_the_tolerance_is_no_change() -> None:
    """Of the true mean, 0.25, which no reference knows: 200 references, streams of a mean of 0.28 and of 0.45."""
    rng = np.random.default_rng(3)
    bounds = np.array([[calibrate({"a": rng.beta(2, 6, 200)}).bounds[0]] for _ in range(200)])
    for mean, most in ((0.28, 0.15), (0.45, 1.0)):
        found = null_table.bounded_crossings(
            bounds, lambda t, mean=mean: rng.beta(8 * mean, 8 * (1 - mean), (200, 1)), 1000, (1e4,)
        )
        alarmed = int((found[0] > 0).sum())
        assert not significantly_above(alarmed, most, 200)
        if mean == 0.45:
            assert alarmed == 200


def test_a_mean_that_is_taken_for_the_truth_is_seen() -> None:
    """The trap: u the mean of the reference. It passes at c = 10^4 on streams of 100."""
    bank, rng = null_table.invented_bank(), np.random.default_rng(0)
    first = null_table.bounded_block(bank, rng, 200, 2000, plug_in=True)
    assert significantly_above(int((first[1] > 0).sum()), 0.2, 200)
    assert not significantly_above(int(((first[1] > 0) & (first[1] <= 100)).sum()), 0.01, 200)
    rng = np.random.default_rng(0)
    proven = null_table.bounded_block(bank, rng, 40, 2000)
    assert not significantly_above(int((proven[1] > 0).sum()), 0.25, 40)


# ---- the fold --------------------------------------------------------------------------------------
@given(cuts=st.lists(st.integers(0, 60), max_size=4), mean=st.sampled_from([0.3, 0.8]))
def test_in_pieces_it_is_the_same_bits_as_at_once(cuts: list[int], mean: float) -> None:
    given = rows(60, mean=mean)
    state = start(TWO)
    for first, last in itertools.pairwise([0, *sorted(cuts), 60]):
        state = decode(encode(fold(TWO, state, given[first:last])), BoundedMeanState)
    assert encode(state) == encode(fold(TWO, start(TWO), given))


def test_a_signal_that_was_not_asked_for_bets_nothing() -> None:
    state = fold(TWO, start(TWO), [(seq, {"b": 0.5}) for seq in range(10)])
    np.testing.assert_allclose(np.exp(state.log_r[0]), 10)
    assert state.failed == (0, 0)


def test_failed_observations_count_as_one() -> None:
    state = fold(ONE, start(ONE), [(seq, {"a": math.inf}) for seq in range(20)])
    assert state.alarm is not None
    assert state.failed == (20,)
    assert encode(dataclasses.replace(state, failed=(0,), alarm=None)) == encode(
        dataclasses.replace(fold(ONE, start(ONE), [(seq, {"a": 1.0}) for seq in range(20)]), alarm=None)
    )


def test_an_alarm_stays_until_it_is_acknowledged() -> None:
    state = fold(ONE, start(ONE), [(seq, {"a": 1.0}) for seq in range(40)])
    assert state.alarm is not None
    assert state.alarm.seq < 39
    assert state.alarm.readings[0].log10_evidence >= 3
    assert state.alarms == 1
    again = restart(state)
    assert again.alarm is None
    assert reading(ONE, again).log10_evidence == -math.inf
    assert reading(ONE, again).false_alarm_bound == 1
    assert reading(ONE, again).observed == 40
    assert fold(ONE, again, [(seq, {"a": 1.0}) for seq in range(40, 80)]).alarms == 2


def test_an_alarm_is_raised_at_the_threshold_itself() -> None:
    state = observe(ONE, start(ONE), 0, {"a": 1.0})
    reached = 10 ** reading(ONE, state).log10_evidence
    for factor, raised in ((1 - 1e-9, True), (1 + 1e-9, False)):
        test = dataclasses.replace(ONE, mean_observations=reached * factor)
        assert (observe(test, start(test), 0, {"a": 1.0}).alarm is not None) is raised


def test_the_false_alarm_bound_is_of_the_largest_evidence() -> None:
    state, largest = start(TWO), 0.0
    for row in rows(40, mean=0.55):
        state = observe(TWO, state, *row)
        largest = max(largest, 10 ** reading(TWO, state).log10_evidence)
    assert largest > 40
    assert reading(TWO, state).false_alarm_bound == pytest.approx(40 / largest)


# ---- calibration -----------------------------------------------------------------------------------
def test_the_risk_is_shared_among_the_signals() -> None:
    drawn = np.random.default_rng(0).beta(2, 6, (2, 150))
    test = calibrate({"a": drawn[0], "b": drawn[1]}, tolerance=0.02, risk=0.04)
    for bound, values in zip(test.bounds, drawn, strict=True):
        assert bound == upper_bound(values, risk=0.02) + 0.02
    assert test.weights == (0.5, 0.5)
    weighted = calibrate({"a": drawn[0], "b": drawn[1]}, weights={"b": 0.9, "a": 0.1}, mean_observations=7)
    assert weighted.weights == (0.1, 0.9)
    assert weighted.mean_observations == 7


def test_a_bound_beyond_one_is_one_and_never_alarms() -> None:
    test = calibrate({"a": np.ones(100)})
    assert test.bounds == (1.0,)
    assert fold(test, start(test), [(seq, {"a": 1.0}) for seq in range(300)]).alarm is None


def test_failures_of_the_reference_count_as_one() -> None:
    values = np.random.default_rng(0).beta(2, 6, 150)
    failed, ones = values.copy(), values.copy()
    failed[:9], ones[:9] = math.inf, 1.0
    assert calibrate({"a": failed}).bounds == calibrate({"a": ones}).bounds


FINE = {"a": np.full(100, 0.5)}


@pytest.mark.parametrize(
    ("reference", "changed", "field", "said"),
    [
        ({}, {}, "signals", "at least one"),
        ({"a": np.full(99, 0.5)}, {}, "reference.a", "at least 100: collect more images"),
        ({"a": np.full(100, 1.5)}, {}, "reference.a", r"within 0\.\.1"),
        ({"a": np.full(100, math.nan)}, {}, "reference.a", "is nan"),
        (FINE, {"tolerance": -0.1}, "tolerance", "at least 0"),
        (FINE, {"tolerance": 1.0}, "tolerance", "below 1"),
        (FINE, {"risk": 0.0}, "risk", "above 0"),
        (FINE, {"weights": {"b": 1.0}}, "weights", "must be of a"),
        (FINE, {"weights": {"a": 0.5}}, "weights", "sum"),
        (FINE, {"mean_observations": math.nan}, "mean_observations", "at least 1"),
    ],
)
def test_a_reference_or_parameter_out_of_range_is_refused(
    reference: dict[str, np.ndarray], changed: dict[str, object], field: str, said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said) as refused:
        calibrate(reference, **changed)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("changed", "field"), [({"bounds": (0.0,)}, "bounds"), ({"bounds": (0.5, 0.5)}, "weights")]
)
def test_bounds_that_are_none_are_refused(changed: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest, match="bounds") as refused:
        dataclasses.replace(ONE, **changed)
    assert refused.value.field == field


def test_a_history_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="history is 0; it must be 1 or more") as refused:
        dataclasses.replace(ONE, history=0)
    assert refused.value.field == "history"


@pytest.mark.parametrize(
    ("seq", "given", "field"),
    [
        (4, {"a": 0.5}, "seq"),
        (5, {"c": 0.5}, "scores.c"),
        (5, {"a": math.nan}, "scores.a"),
        (5, {"a": -0.1}, "scores.a"),
    ],
)
def test_an_observation_out_of_order_or_range_is_refused(
    seq: int, given: dict[str, float], field: str
) -> None:
    state = observe(ONE, start(ONE), 4, {"a": 0.0})
    with pytest.raises(InvalidRequest, match=r"must be|no signal") as refused:
        observe(ONE, state, seq, given)
    assert refused.value.field == field
