"""Measurements and logs of monitors, drawn at random."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from wavescope.engine.monitors.config import MonitorConfig, ReferencePlan, Sampling, TestPlan, profile_request
from wavescope.engine.monitors.observation import Observed
from wavescope.engine.monitors.state import Command, Facts, LogEntry

REVISION = "sha256:one"
FIT, CALIBRATE = 20, 100
REFERENCE = FIT + CALIBRATE


def config(**given: Any) -> MonitorConfig:
    """A small monitor: 4 sub-bands, a profile of every image, a false alarm in 1,000 observations."""
    usual: dict[str, Any] = {
        "request": profile_request(levels=1),
        "sample": Sampling(profile_rate=1.0),
        "reference": ReferencePlan(fit=FIT, calibrate=CALIBRATE),
        "test": TestPlan(mean_observations=1000),
    }
    return MonitorConfig(model="fake", **(usual | given))


def rows(n: int, seed: int, *, shift: float = 0.0, revision: str = REVISION) -> list[Observed]:
    """Independent measurements of 4 sub-bands; shifted ones have more energy and less confidence in finer scales."""
    rng = np.random.default_rng(seed)
    found: list[Observed] = []
    for _ in range(n):
        energies = np.exp(rng.normal([0.0, -3.0, -3.0, -4.0], 0.3) + shift * np.array([0.0, 1.0, 1.0, 1.0]))
        shares = np.exp(rng.normal([0.0, 0.5, 0.5, 0.2], 0.3) + shift * np.array([0.0, 1.0, 1.0, 1.0]))
        confidence = float(1 / (1 + np.exp(-rng.normal(1.0, 1.0) + 2 * shift)))
        found.append(
            Observed(
                "observed",
                revision,
                profiled=True,
                energies=energies,
                confidence=confidence,
                predicted=1,
                shares=shares / shares.sum(),
                forwards=25,
            )
        )
    return found


def black(*, profiled: bool = True) -> Observed:
    """The measurement of a black image: no energy but in the mean of nothing, and a constant score."""
    return Observed(
        "constant_score",
        REVISION,
        profiled=profiled,
        energies=np.zeros(4),
        confidence=0.5,
        predicted=0,
        forwards=25,
        reason="the score does not vary",
    )


def undecodable() -> Observed:
    """The measurement of a file that is no image."""
    return Observed("undecodable", REVISION, profiled=True, reason="not an image")


def unprofiled(row: Observed) -> Observed:
    """The measurement without its profile, which was not asked for."""
    return replace(row, profiled=False, shares=None, forwards=1)


def entries(measured: Iterable[Observed], *, first: int = 1, reference: bool = False) -> list[LogEntry]:
    """Observations, one every ten seconds, named by their numbers."""
    return [
        LogEntry(
            seq=seq,
            at=10.0 * seq,
            facts=Facts(reference=reference, label=f"{seq}.png"),
            observed=row,
        )
        for seq, row in enumerate(measured, start=first)
    ]


def commands(given: Sequence[Command], *, first: int) -> list[LogEntry]:
    """Commands, one every ten seconds."""
    return [LogEntry(seq=seq, at=10.0 * seq, command=one) for seq, one in enumerate(given, start=first)]
