"""Whether a reference, in the order in which its images arrived, looks exchangeable; before it is used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from wavescope.core.monitoring.conformal import (
    ConformalTest,
    Signal,
    checked_scores,
    observe_signal,
    open_signal,
)
from wavescope.core.monitoring.observing import false_alarm_bound
from wavescope.core.ranks import ranks

RISK = 0.01  # of rejecting an exchangeable reference for its evidence
MOST_AUTOCORRELATION = 0.2
SPREADS = 3.0  # standard deviations that the autocorrelation of an exchangeable reference is allowed


@dataclass(frozen=True, slots=True)
class SignalCheck:
    """Check of the reference's scores of a signal.

    Attributes:
        name: of the signal.
        n: scores.
        lag1_autocorrelation: rank correlation of each score with the next one, −1 to 1; 0 where all are equal.
        most_autocorrelation: more than this is not exchangeable.
        log10_evidence: largest log10 R when the test is run over the reference itself.
        false_alarm_bound: an exchangeable reference of n comes so far with at most this probability, over all
            signals.
        exchangeable: whether neither of the two rejects it.
    """

    name: str
    n: int
    lag1_autocorrelation: float
    most_autocorrelation: float
    log10_evidence: float
    false_alarm_bound: float
    exchangeable: bool


def self_test(
    test: ConformalTest, reference: Mapping[str, Float[np.ndarray, " n"]], *, risk: float = RISK
) -> tuple[SignalCheck, ...]:
    """Checks of a reference, one for every signal of the test that it has.

    The test is run over the scores in order of arrival, with nothing in the pool before: its p-values are uniform,
    too. A signal is rejected where its evidence has a probability of at most ``risk``, or where neighbours are
    correlated by more than 0.2, or than three standard deviations, 3/√n, where that is more.

    Args:
        test: parameters.
        reference: (n,) scores in order of arrival, +∞ for failed ones; not NaN.
        risk: of rejecting an exchangeable reference for its evidence, all signals together.

    Raises:
        InvalidRequest: a score is NaN or −∞.
    """
    return tuple(
        _check(test, signal, checked_scores(reference[signal.name], f"reference.{signal.name}"), risk)
        for signal in test.signals
        if signal.name in reference
    )


def lag1_autocorrelation(scores: Float[np.ndarray, " n"]) -> float:
    """Correlation of the ranks of neighbours, −1 to 1; 0 where all scores are equal.

    The same for every increasing function of the scores, so that a heavy tail does not matter.

    Example:
        >>> round(lag1_autocorrelation(np.array([1.0, 2.0, 3.0, 4.0, 5.0])), 3)
        0.4
    """
    centred = ranks(scores) - (len(scores) + 1) / 2
    variance = float((centred**2).sum())
    return float(centred[:-1] @ centred[1:]) / variance if variance > 0 else 0.0


def _check(test: ConformalTest, signal: Signal, scores: Float[np.ndarray, " n"], risk: float) -> SignalCheck:
    of = replace(signal, name=f"reference.{signal.name}")  # ties of its own
    state = open_signal(of, np.empty(0))
    for seq, score in enumerate(scores):
        state = observe_signal(test, of, state, seq, float(score))
    autocorrelation = lag1_autocorrelation(scores)
    most = max(MOST_AUTOCORRELATION, SPREADS / math.sqrt(max(len(scores), 1)))
    bound = false_alarm_bound(len(scores), state.peak + math.log(signal.weight))
    return SignalCheck(
        name=signal.name,
        n=len(scores),
        lag1_autocorrelation=autocorrelation,
        most_autocorrelation=most,
        log10_evidence=state.peak / math.log(10),
        false_alarm_bound=bound,
        exchangeable=autocorrelation <= most and bound > risk,
    )
