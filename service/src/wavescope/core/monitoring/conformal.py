"""Conformal Shiryaev-Roberts test: has anything changed at all? With a proven rate of false alarms.

Every score is ranked among the reference and all earlier observations. While they are exchangeable, ranks with ties
broken at random are independent and uniform (Vovk et al. 2003; Vovk 2021, arXiv:2102.10439), whatever their
distribution and however small the reference. Bets against that add up to evidence R, where R − t is a martingale
(e-detectors: Shin, Ramdas and Rinaldo 2024, doi:10.51387/23-NEJSDS51). Formulas, proofs and what they assume:
docs/monitoring.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float64

from wavescope.core.monitoring.draws import check_seed, thin, tie_breaker
from wavescope.core.monitoring.evidence import ChangePoint, History, change_point, grow, log_sum
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

KAPPAS = (0.2, 0.4, 0.6, 0.8)
MIN_CALIBRATION = 100
POOL_CAP, POOL_KEPT = 20_000, 10_000
HISTORY = 1_000
MEAN_OBSERVATIONS = 1e6


@dataclass(frozen=True, slots=True)
class Signal:
    """A scalar score that is watched.

    Attributes:
        name: of the signal.
        weight: its part of the false alarms, positive; the weights of a test add up to 1.
        two_sided: whether small scores are unusual as well as large ones.
    """

    name: str
    weight: float = 1.0
    two_sided: bool = False


@dataclass(frozen=True, slots=True)
class ConformalTest:
    """The parameters of a test, which stay the same while it runs.

    Attributes:
        signals: at least one, of different names.
        seed: of ties and thinning, 0..2^64 − 1.
        mean_observations: mean number of observations to a false alarm, at least this, 1 or more.
        pool_cap: scores that are ranked among at most, 100 or more, and no fewer than the reference has.
        pool_kept: of more, so many are kept, drawn at random, fewer than ``pool_cap``.
        history: observations remembered for the moment of a change.

    Raises:
        InvalidRequest: one of them is out of range.
    """

    signals: tuple[Signal, ...]
    seed: int
    mean_observations: float = MEAN_OBSERVATIONS
    pool_cap: int = POOL_CAP
    pool_kept: int = POOL_KEPT
    history: int = HISTORY

    def __post_init__(self) -> None:
        check_names([signal.name for signal in self.signals])
        check_weights([signal.weight for signal in self.signals])
        check_seed(self.seed)
        check_mean_observations(self.mean_observations)
        check_least(self.pool_cap, "pool_cap", MIN_CALIBRATION)
        check_least(self.history, "history", 1)
        if not 1 <= self.pool_kept < self.pool_cap:
            raise InvalidRequest(
                f"pool_kept is {self.pool_kept}; it must be within 1..{self.pool_cap - 1}, below pool_cap",
                field="pool_kept",
                minimum=1,
                maximum=self.pool_cap - 1,
            )

    @property
    def threshold(self) -> float:
        """c: an alarm is raised where weight · R ≥ c for one of the signals.

        The mean number of observations for one signal; twice as many for several, whose R are martingales each for
        itself alone.
        """
        return self.mean_observations * (1 if len(self.signals) == 1 else 2)


@dataclass(frozen=True, slots=True, eq=False)
class SignalState:
    """State of one signal of a test.

    Attributes:
        pool: (n,) scores of reference and stream, ascending; +∞ for failed observations.
        observed: observations since watching began, across restarts.
        failed: how many of them failed.
        log_r: (sides, bettors) ln R: the large side first, then the small one where the signal is two-sided.
        peak: largest ln of the mean R since the last restart; −∞ for none.
        history: of ln p, one column a side.
    """

    pool: Float64[np.ndarray, " n"]
    observed: int
    failed: int
    log_r: Float64[np.ndarray, "s b"]
    peak: float
    history: History


@dataclass(frozen=True, slots=True, eq=False)
class ConformalState:
    """State of a test.

    Attributes:
        seq: sequence number of the last observation, −1 for none.
        signals: in the order of the test's signals.
        alarm: the open alarm; ``None`` for none, or after it was acknowledged.
        alarms: raised since watching began.
    """

    seq: int
    signals: tuple[SignalState, ...]
    alarm: Alarm | None
    alarms: int


def p_values(pool: Float64[np.ndarray, " n"], score: float, theta: float) -> tuple[float, float]:
    """Conformal p-values of a score: how unusually large it is, and how unusually small.

    With n scores in the pool, p = (#{s_i > s} + θ (#{s_i = s} + 1)) / (n + 1), and 1 − p for the other side, each
    computed so that neither is 0.

    Args:
        pool: ascending.
        score: of the observation; not NaN.
        theta: within (0, 1).

    Example:
        >>> p_values(np.array([1.0, 2.0, 2.0, 5.0]), 2.0, 0.5)
        (0.5, 0.5)
        >>> p_values(np.array([1.0, 2.0, 2.0, 5.0]), 6.0, 0.5)
        (0.1, 0.9)
    """
    below = int(np.searchsorted(pool, score, side="left"))
    not_above = int(np.searchsorted(pool, score, side="right"))
    equal, above = not_above - below, len(pool) - not_above
    total = len(pool) + 1
    return (above + theta * (equal + 1)) / total, (below + (1 - theta) * (equal + 1)) / total


def log_bets(log_p: Float64[np.ndarray, "*n s"]) -> Float64[np.ndarray, "*n s b"]:
    """Logarithms of the bets κ p^(κ − 1), whose mean over uniform p is 1.

    Example:
        >>> np.exp(log_bets(np.log([0.01]))).round(2).tolist()
        [[7.96, 6.34, 3.79, 2.01]]
    """
    kappas = np.asarray(KAPPAS)
    return np.log(kappas) + np.multiply.outer(log_p, kappas - 1)


def start(test: ConformalTest, reference: Mapping[str, Float64[np.ndarray, " n"]]) -> ConformalState:
    """The state before the first observation.

    Args:
        test: parameters.
        reference: scores of every signal, of images that nothing was fitted to; +∞ for failed ones.

    Raises:
        InvalidRequest: a signal is missing, has fewer than 100 scores, more than ``pool_cap``, NaN or −∞.
    """
    states: list[SignalState] = []
    for signal in test.signals:
        field = f"reference.{signal.name}"
        if signal.name not in reference:
            raise InvalidRequest(f"{field} is missing: the test watches this signal", field=field)
        scores = checked_scores(reference[signal.name], field)
        if not MIN_CALIBRATION <= len(scores) <= test.pool_cap:
            raise InvalidRequest(
                f"{field} has {len(scores)} scores; it must have {MIN_CALIBRATION}..{test.pool_cap}: "
                "collect more images, or take the latest of them",
                field=field,
                minimum=MIN_CALIBRATION,
                maximum=test.pool_cap,
            )
        states.append(open_signal(signal, scores))
    return ConformalState(-1, tuple(states), None, 0)


def observe(
    test: ConformalTest, state: ConformalState, seq: int, scores: Mapping[str, float]
) -> ConformalState:
    """The state after one more observation.

    Args:
        test: parameters.
        state: before.
        seq: sequence number of the observation, above that of the last one, below 2^63.
        scores: of the signals that were measured; +∞ for those that failed. A signal that was not asked for is left
            out, and its evidence stays as it was; whether it is asked for must not depend on the image.

    Raises:
        InvalidRequest: a sequence number that is not above the last, an unknown signal, NaN or −∞.
    """
    check_observation(seq, state.seq, scores, [signal.name for signal in test.signals])
    states = tuple(
        observe_signal(test, signal, before, seq, scores[signal.name]) if signal.name in scores else before
        for signal, before in zip(test.signals, state.signals, strict=True)
    )
    alarm, alarms = state.alarm, state.alarms
    if alarm is None:
        alarm = _alarm(test, states, seq)
        alarms += alarm is not None
    states = tuple(_thinned(test, *pair, seq) for pair in zip(test.signals, states, strict=True))
    return ConformalState(seq, states, alarm, alarms)


def fold(
    test: ConformalTest, state: ConformalState, rows: Iterable[tuple[int, Mapping[str, float]]]
) -> ConformalState:
    """The state after many observations: sequence numbers and scores, as of :func:`observe`.

    In pieces it comes to the same bits as at once.
    """
    return functools.reduce(lambda so_far, row: observe(test, so_far, *row), rows, state)


def restart(state: ConformalState) -> ConformalState:
    """The state after an alarm was acknowledged: R = 0 for every signal, no alarm, the pool as it was."""
    return replace(state, signals=tuple(map(_restarted, state.signals)), alarm=None)


def readings(test: ConformalTest, state: ConformalState) -> tuple[Reading, ...]:
    """Readings of every signal now, in the order of the test's signals."""
    return tuple(map(functools.partial(_reading, test), test.signals, state.signals))


def log10_evidence(state: ConformalState) -> Float64[np.ndarray, " s"]:
    """(s,) log10 R of every signal, in their order; −∞ for R = 0."""
    return np.array([_log_mean(signal.log_r) / math.log(10) for signal in state.signals])


def _checked(score: float, field: str) -> float:
    if math.isnan(score) or score == -math.inf:
        raise InvalidRequest(
            f"{field} is {score}; it must be a number, or +inf for an observation that failed", field=field
        )
    return score + 0.0  # −0.0 equals 0.0


def checked_scores(scores: Float[np.ndarray, " n"], field: str) -> Float64[np.ndarray, " n"]:
    """The scores in float64; +∞ for failed observations.

    Raises:
        InvalidRequest: one is NaN or −∞; names ``field``.
    """
    return np.array([_checked(float(score), field) for score in scores], dtype=np.float64)


def open_signal(signal: Signal, scores: Float64[np.ndarray, " n"]) -> SignalState:
    """The state of a signal before the first observation: R = 0, with these scores in the pool."""
    history = History.empty(1 + signal.two_sided, len(KAPPAS))
    return SignalState(np.sort(scores), 0, 0, history.before, -math.inf, history)


def _restarted(state: SignalState) -> SignalState:
    history = History.empty(*state.log_r.shape)
    return replace(state, log_r=history.before, peak=-math.inf, history=history)


def observe_signal(
    test: ConformalTest, signal: Signal, before: SignalState, seq: int, given: float
) -> SignalState:
    """The state of a signal after one more observation of it; arguments as of :func:`observe`.

    Raises:
        InvalidRequest: the score is NaN or −∞.
    """
    score = _checked(float(given), f"scores.{signal.name}")
    p = p_values(before.pool, score, tie_breaker(test.seed, seq, signal.name))
    log_p = np.log(np.array(p[: len(before.log_r)]))
    log_r = grow(before.log_r, log_bets(log_p))
    history = before.history.add(seq, log_p)
    if len(history.seqs) > test.history:
        history = history.drop(log_bets(history.values[0]))
    place = int(np.searchsorted(before.pool, score))
    return SignalState(
        np.insert(before.pool, place, score),
        before.observed + 1,
        before.failed + (score == math.inf),
        log_r,
        max(before.peak, _log_mean(log_r)),
        history,
    )


def _thinned(test: ConformalTest, signal: Signal, state: SignalState, seq: int) -> SignalState:
    """A random part of a pool that has grown beyond ``pool_cap``, and R = 0."""
    if len(state.pool) <= test.pool_cap:
        return state
    kept = thin(state.pool, test.pool_kept, seed=test.seed, seq=seq, name=signal.name)
    return replace(_restarted(state), pool=kept, peak=state.peak)


def _log_mean(log_r: Float64[np.ndarray, "s b"]) -> float:
    return log_sum(log_r) - math.log(log_r.size)


def _alarm(test: ConformalTest, states: tuple[SignalState, ...], seq: int) -> Alarm | None:
    over = [
        (signal, state)
        for signal, state in zip(test.signals, states, strict=True)
        if _log_mean(state.log_r) >= math.log(test.threshold / signal.weight)
    ]
    return Alarm(seq, tuple(_reading(test, *pair) for pair in over)) if over else None


def _reading(test: ConformalTest, signal: Signal, state: SignalState) -> Reading:
    peak = state.peak + math.log(signal.weight)
    large = log_sum(state.log_r[0])
    small = log_sum(state.log_r[1]) if signal.two_sided else -math.inf
    return Reading(
        name=signal.name,
        observed=state.observed,
        failed=state.failed,
        log10_evidence=_log_mean(state.log_r) / math.log(10),
        log10_threshold=math.log10(test.threshold / signal.weight),
        false_alarm_bound=false_alarm_bound(state.observed, peak),
        direction=None if large == small else "large" if large > small else "small",
        changed_at=_changed_at(state),
    )


def _changed_at(state: SignalState) -> ChangePoint | None:
    history = state.history
    weights = np.full(state.log_r.shape, 1 / state.log_r.size)
    return change_point(history.seqs, log_bets(history.values), history.before, weights)
