"""Readings and alarms, which both tests have in common, and the checks of what they are given."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from wavescope.core.monitoring.evidence import ChangePoint
from wavescope.errors import InvalidRequest

Direction = Literal["large", "small"]


@dataclass(frozen=True, slots=True)
class Reading:
    """Reading of a signal.

    Attributes:
        name: of the signal.
        observed: observations of it since watching began, across restarts.
        failed: how many of them failed.
        log10_evidence: log10 R now; −inf for R = 0.
        log10_threshold: an alarm is raised where the evidence reaches it.
        false_alarm_bound: a stable stream comes so far, within as many observations, with at most this probability,
            0 to 1.
        direction: the side with more evidence, of which failed observations count as large; ``None`` while there is no
            evidence, and of the bounded-mean test, whose signals have one side.
        changed_at: when the change began, if there was one; ``None`` while R = 0. Where evidence is flat its interval
            need not hold its most likely moment.
    """

    name: str
    observed: int
    failed: int
    log10_evidence: float
    log10_threshold: float
    false_alarm_bound: float
    direction: Direction | None
    changed_at: ChangePoint | None


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm that was raised, and not acknowledged yet.

    Attributes:
        seq: sequence number of the observation that raised it.
        readings: of the signals that reached their threshold, as they were then.
    """

    seq: int
    readings: tuple[Reading, ...]


def check_names(names: Sequence[str]) -> None:
    """Refuses no names, and names that are not different.

    Raises:
        InvalidRequest: names the field ``signals``.
    """
    if not names or len(set(names)) < len(names):
        raise InvalidRequest(
            f"signals are {', '.join(names) or 'none'}; there must be at least one, of different names",
            field="signals",
            minimum=1,
        )


def check_weights(weights: Sequence[float]) -> None:
    """Refuses weights that are not positive or do not add up to 1.

    Raises:
        InvalidRequest: names the field ``weights``.
    """
    if not all(weight > 0 for weight in weights) or not math.isclose(math.fsum(weights), 1, abs_tol=1e-9):
        raise InvalidRequest(
            f"weights are {', '.join(f'{weight:g}' for weight in weights)}; each must be above 0, and their sum 1: "
            "divide each by their sum",
            field="weights",
            sum=1,
        )


def check_mean_observations(value: float) -> None:
    """Refuses a mean number of observations below 1 or without end.

    Raises:
        InvalidRequest: names the field ``mean_observations``.
    """
    if not 1 <= value < math.inf:
        raise InvalidRequest(
            f"mean_observations is {value:g}; it must be a number of at least 1",
            field="mean_observations",
            minimum=1,
        )


def check_least(value: int, field: str, least: int) -> None:
    """Refuses a number below the least one.

    Raises:
        InvalidRequest: names the field.
    """
    if value < least:
        raise InvalidRequest(f"{field} is {value}; it must be {least} or more", field=field, minimum=least)


def check_observation(seq: int, last: int, given: Iterable[str], signals: Iterable[str]) -> None:
    """Refuses a sequence number that is not above the last one, and scores of signals that the test has not.

    Args:
        seq: sequence number of the observation.
        last: that of the last one.
        given: names of the signals that have scores.
        signals: names of those of the test.

    Raises:
        InvalidRequest: names the field ``seq``, or ``scores`` and the signal.
    """
    if not last < seq < 2**63:
        raise InvalidRequest(
            f"seq is {seq}; it must be above {last}, that of the last observation: fold each once, in order",
            field="seq",
            minimum=last + 1,
        )
    for name in set(given) - set(signals):
        raise InvalidRequest(f"scores.{name} is of no signal of this test", field=f"scores.{name}")


def false_alarm_bound(observed: int, log_peak: float) -> float:
    """min(1, T / max R): a stable stream comes so far within T observations with at most this probability.

    Args:
        observed: T, across restarts.
        log_peak: ln of the largest weighted R; −∞ for 0.

    Example:
        >>> round(false_alarm_bound(100, math.log(1e4)), 6)
        0.01
    """
    return math.exp(min(0.0, math.log(observed) - log_peak)) if observed else 1.0
