"""Monitors to draw."""

from __future__ import annotations

import numpy as np

from wavescope.engine.monitors.config import MonitorConfig, ReferencePlan, Sampling
from wavescope.engine.monitors.fold import fold
from wavescope.engine.monitors.observation import Observed, is_profiled
from wavescope.engine.monitors.state import Facts, LogEntry, MonitorState, initial_state

REFERENCE = ReferencePlan(fit=30, calibrate=100)


def state(
    count: int, *, changed_at: int = 10**9, every_s: float = 40.0, profile_rate: float = 0.5, **options
) -> MonitorState:
    """A monitor after so many observations, whose images change at one of them."""
    config = MonitorConfig(
        model="m", sample=Sampling(profile_rate=profile_rate), reference=REFERENCE, **options
    )
    rng, entries = np.random.default_rng(0), []
    for seq in range(1, count + 1):
        shift = 1.5 if seq >= changed_at else 0.0
        profiled = profile_rate > 0 and (seq <= REFERENCE.size or is_profiled(config, seq, reference=False))
        weights = np.full(10, 5.0)
        weights[7:] *= 0.3 if shift else 1
        row = Observed(
            "observed",
            "r",
            profiled,
            energies=np.exp(rng.normal(shift, 0.3, 10)),
            confidence=float(rng.beta(5, 2)),
            predicted=0,
            shares=rng.dirichlet(weights) if profiled else None,
        )
        facts = Facts(label=f"カメラ/$x$/{seq:09}.jpg")
        entries.append(LogEntry(seq=seq, at=1.79e9 + seq * every_s, facts=facts, observed=row))
    return fold(initial_state(config, 1.79e9), entries)


def rejected() -> MonitorState:
    """A monitor whose reference wanders, and is rejected."""
    config = MonitorConfig(model="m", sample=Sampling(profile_rate=0), reference=REFERENCE)
    entries = [
        LogEntry(
            seq=at + 1,
            at=float(at),
            facts=Facts(),
            observed=Observed(
                "observed",
                "r",
                profiled=False,
                energies=np.full(10, np.exp(at / 20)),
                confidence=0.5,
                predicted=0,
            ),
        )
        for at in range(REFERENCE.size)
    ]
    return fold(initial_state(config), entries)
