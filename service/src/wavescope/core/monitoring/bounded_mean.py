"""Bounded-mean test with tolerance: has a mean risen by more than ε? With a proven rate of false alarms.

Signals within [0, 1], such as the share of a scale, bet that their mean exceeds u: an upper confidence bound of the
reference's true mean (betting, Waudby-Smith and Ramdas 2024, doi:10.1093/jrsssb/qkad009), plus the tolerance. With
no more than the stated risk over the draw of the reference, evidence R − t is a supermartingale for every stream
whose mean, given all that came before, is at most the true reference mean plus ε (e-detectors: Shin, Ramdas and
Rinaldo 2024, doi:10.51387/23-NEJSDS51). Formulas, proofs and what they assume: docs/monitoring.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from wavescope.core.monitoring.conformal import HISTORY, MEAN_OBSERVATIONS, MIN_CALIBRATION
from wavescope.core.monitoring.evidence import History, change_point, grow, log_sum
from wavescope.core.monitoring.observing import (
    Alarm,
    Reading,
    check_least,
    check_mean_observations,
    check_names,
    check_observation,
    check_weights,
    false_alarm_bound,
)
from wavescope.errors import InvalidRequest

FRACTIONS = (0.05, 0.1, 0.2, 0.4, 0.8)  # of the largest bet that cannot lose everything
RISK = 0.05
TOLERANCE = 0.03
LARGEST_BET = 0.9  # of the same, where the reference's mean is bounded


@dataclass(frozen=True, slots=True)
class BoundedMeanTest:
    """The parameters of a test, which stay the same while it runs; :func:`calibrate` makes them of a reference.

    Attributes:
        signals: names, at least one, all different.
        weights: of the signals in the mean, positive, with the sum 1.
        bounds: u of every signal, the largest mean that is no change, within (0, 1]; with 1 it cannot raise an alarm.
        mean_observations: mean number of observations to a false alarm, at least this, 1 or more.
        history: observations remembered for the moment of a change.

    Raises:
        InvalidRequest: one of them is out of range.
    """

    signals: tuple[str, ...]
    weights: tuple[float, ...]
    bounds: tuple[float, ...]
    mean_observations: float = MEAN_OBSERVATIONS
    history: int = HISTORY

    def __post_init__(self) -> None:
        check_names(self.signals)
        check_weights(self.weights)
        check_mean_observations(self.mean_observations)
        check_least(self.history, "history", 1)
        if not len(self.signals) == len(self.weights) == len(self.bounds):
            raise InvalidRequest(
                f"there are {len(self.signals)} signals, {len(self.weights)} weights and {len(self.bounds)} bounds",
                field="weights",
                count=len(self.signals),
            )
        if not all(0 < bound <= 1 for bound in self.bounds):
            raise InvalidRequest(
                f"bounds are {', '.join(f'{bound:g}' for bound in self.bounds)}; each must be above 0 and at most 1",
                field="bounds",
                maximum=1,
            )


@dataclass(frozen=True, slots=True, eq=False)
class BoundedMeanState:
    """State of a test.

    Attributes:
        seq: sequence number of the last observation, −1 for none.
        observed: observations since watching began, across restarts.
        failed: of every signal, how many of them failed.
        log_r: (signals, bettors) ln R.
        peak: largest ln of the mean R since the last restart; −∞ for none.
        history: of the values, one column a signal, NaN where it was left out.
        alarm: the open alarm; ``None`` for none, or after it was acknowledged.
        alarms: raised since watching began.
    """

    seq: int
    observed: int
    failed: tuple[int, ...]
    log_r: Float64[np.ndarray, "s b"]
    peak: float
    history: History
    alarm: Alarm | None
    alarms: int


def upper_bound(values: Float64[np.ndarray, " n"], *, risk: float) -> float:
    """Upper confidence bound of a mean, by betting that the values lie below it.

    Where the mean is m, the capital K_t(m) = Π_{i≤t} (1 − λ_i(m) (x_i − m)) is a martingale from 1, so that it ever
    reaches 1 / risk with at most this probability (Ville's inequality); where the mean is less, it grows. It does not
    fall with m: the bound is the least m at which it has been there. The bets are those of Waudby-Smith and Ramdas 2024
    for a fixed number of values: λ_i(m) = √(2 ln(1 / risk) / (n σ²)), with the variance of the values before, but at
    most 0.9 / (1 − m).

    Args:
        values: within [0, 1], whose mean, given those before, is the same; in order of arrival.
        risk: probability, over draws of the values, that the mean exceeds the bound; within (0, 1).

    Returns:
        The bound, within (0, 1].

    Example:
        >>> round(upper_bound(np.zeros(200), risk=0.05), 4)
        0.0167
    """
    n = np.arange(1, len(values) + 1)
    mean = (0.5 + np.cumsum(values)) / (n + 1)
    variance = (0.25 + np.cumsum((values - mean) ** 2)) / (n + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    goal = -math.log(risk)
    bets = np.sqrt(2 * goal / (len(values) * before))
    low, high = 0.0, 1.0
    for _ in range(52):
        middle = (low + high) / 2
        growth = np.log1p(-np.minimum(bets, LARGEST_BET / (1 - middle)) * (values - middle))
        if np.cumsum(growth).max() >= goal:
            high = middle
        else:
            low = middle
    return high


def calibrate(
    reference: Mapping[str, Float64[np.ndarray, " n"]],
    *,
    tolerance: float = TOLERANCE,
    risk: float = RISK,
    weights: Mapping[str, float] | None = None,
    mean_observations: float = MEAN_OBSERVATIONS,
) -> BoundedMeanTest:
    """The test of a reference.

    Args:
        reference: values of every signal within [0, 1], in order of arrival; +∞ for failed ones, which count as 1.
        tolerance: ε, how much every mean may rise without being a change, 0 or more, below 1.
        risk: probability, over draws of the reference, that the guarantee does not hold; within (0, 1).
        weights: of the signals, with the sum 1; equal ones by default.
        mean_observations: see :class:`BoundedMeanTest`.

    Raises:
        InvalidRequest: a signal has fewer than 100 values, or one that is out of range; or a parameter is.
    """
    names = tuple(reference)
    check_names(names)
    if not 0 <= tolerance < 1:
        raise InvalidRequest(
            f"tolerance is {tolerance:g}; it must be at least 0 and below 1",
            field="tolerance",
            minimum=0,
            maximum=1,
        )
    if not 0 < risk < 1:
        raise InvalidRequest(
            f"risk is {risk:g}; it must be above 0 and below 1", field="risk", minimum=0, maximum=1
        )
    given = dict.fromkeys(names, 1 / len(names)) if weights is None else weights
    if set(given) != set(names):
        raise InvalidRequest(
            f"weights are of {', '.join(given)}; they must be of {', '.join(names)}", field="weights"
        )
    bounds: list[float] = []
    for name in names:
        field = f"reference.{name}"
        values = np.array([_checked(float(value), field) for value in reference[name]])
        if len(values) < MIN_CALIBRATION:
            raise InvalidRequest(
                f"{field} has {len(values)} values; it must have at least {MIN_CALIBRATION}: collect more images",
                field=field,
                minimum=MIN_CALIBRATION,
            )
        bounds.append(min(upper_bound(np.minimum(values, 1), risk=risk / len(names)) + tolerance, 1.0))
    return BoundedMeanTest(names, tuple(given[name] for name in names), tuple(bounds), mean_observations)


def log_bets(test: BoundedMeanTest, values: Float64[np.ndarray, "*n s"]) -> Float64[np.ndarray, "*n s b"]:
    """Logarithms of the bets 1 + λ (g − u), λ = a / u; 0 for a signal that was left out (NaN).

    Example:
        >>> test = BoundedMeanTest(("a",), (1.0,), (0.5,))
        >>> np.exp(log_bets(test, np.array([0.75]))).round(3).tolist()
        [[1.025, 1.05, 1.1, 1.2, 1.4]]
    """
    ratio = values / np.asarray(test.bounds) - 1
    bets = np.log1p(np.multiply.outer(ratio, np.asarray(FRACTIONS)))
    return np.where(np.isnan(bets), 0.0, bets)


def start(test: BoundedMeanTest) -> BoundedMeanState:
    """The state before the first observation."""
    signals = len(test.signals)
    history = History.empty(signals, len(FRACTIONS))
    return BoundedMeanState(-1, 0, (0,) * signals, history.before, -math.inf, history, None, 0)


def observe(
    test: BoundedMeanTest, state: BoundedMeanState, seq: int, values: Mapping[str, float]
) -> BoundedMeanState:
    """The state after one more observation.

    Args:
        test: parameters.
        state: before.
        seq: sequence number of the observation, above that of the last one, below 2^63.
        values: of the signals that were measured, within [0, 1]; +∞ for those that failed, which count as 1. A
            signal that was not asked for is left out; whether it is asked for must not depend on the image.

    Raises:
        InvalidRequest: a sequence number that is not above the last, an unknown signal, or a value out of range.
    """
    check_observation(seq, state.seq, values, test.signals)
    given = np.array(
        [
            _checked(float(values[name]), f"scores.{name}") if name in values else math.nan
            for name in test.signals
        ]
    )
    failed = given == math.inf
    given = np.minimum(given, 1.0)
    log_r = grow(state.log_r, log_bets(test, given))
    history = state.history.add(seq, given)
    if len(history.seqs) > test.history:
        history = history.drop(log_bets(test, history.values[0]))
    after = BoundedMeanState(
        seq,
        state.observed + 1,
        tuple(int(count) + int(one) for count, one in zip(state.failed, failed, strict=True)),
        log_r,
        max(state.peak, _log_mean(test, log_r)),
        history,
        state.alarm,
        state.alarms,
    )
    if state.alarm is None and _log_mean(test, log_r) >= math.log(test.mean_observations):
        return replace(after, alarm=Alarm(seq, (reading(test, after),)), alarms=state.alarms + 1)
    return after


def fold(
    test: BoundedMeanTest, state: BoundedMeanState, rows: Iterable[tuple[int, Mapping[str, float]]]
) -> BoundedMeanState:
    """The state after many observations: sequence numbers and values, as of :func:`observe`.

    In pieces it comes to the same bits as at once.
    """
    return functools.reduce(lambda so_far, row: observe(test, so_far, *row), rows, state)


def restart(state: BoundedMeanState) -> BoundedMeanState:
    """The state after an alarm was acknowledged: R = 0, no alarm."""
    history = History.empty(*state.log_r.shape)
    return replace(state, log_r=history.before, peak=-math.inf, history=history, alarm=None)


def reading(test: BoundedMeanTest, state: BoundedMeanState) -> Reading:
    """Reading of the test now: the mean of all signals' evidence, under the name of the one that contributes most."""
    parts = contributions(test, state)
    leading = max(parts, key=parts.__getitem__)
    bets = log_bets(test, state.history.values)
    return Reading(
        name=leading,
        observed=state.observed,
        failed=max(state.failed),
        log10_evidence=log10_evidence(test, state),
        log10_threshold=math.log10(test.mean_observations),
        false_alarm_bound=false_alarm_bound(state.observed, state.peak),
        direction=None,
        changed_at=change_point(state.history.seqs, bets, state.history.before, _weights(test)),
    )


def log10_evidence(test: BoundedMeanTest, state: BoundedMeanState) -> float:
    """log10 of the mean R of all signals; −∞ for R = 0."""
    return _log_mean(test, state.log_r) / math.log(10)


def contributions(test: BoundedMeanTest, state: BoundedMeanState) -> dict[str, float]:
    """log10 of weight · R of every signal; their sum, before the logarithm, is the evidence."""
    logs = state.log_r + np.log(_weights(test))
    return {name: log_sum(row) / math.log(10) for name, row in zip(test.signals, logs, strict=True)}


def _weights(test: BoundedMeanTest) -> Float64[np.ndarray, "s b"]:
    """(signals, bettors), with the sum 1."""
    return np.repeat(np.asarray(test.weights)[:, None] / len(FRACTIONS), len(FRACTIONS), axis=1)


def _log_mean(test: BoundedMeanTest, log_r: Float64[np.ndarray, "s b"]) -> float:
    return log_sum(log_r + np.log(_weights(test)))


def _checked(value: float, field: str) -> float:
    if not (0 <= value <= 1 or value == math.inf):
        raise InvalidRequest(
            f"{field} is {value}; it must be within 0..1, or +inf for an observation that failed",
            field=field,
            minimum=0,
            maximum=1,
        )
    return value
