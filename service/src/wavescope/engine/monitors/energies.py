"""Energy of the scales of images, in the reference and now, whatever a model makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from wavescope.core.monitoring.scores import log_energies
from wavescope.engine.monitors.config import MonitorConfig
from wavescope.engine.monitors.status import scale_label

LEAST_IMAGES = 3  # that an interval is of


@dataclass(frozen=True, slots=True)
class EnergyChange:
    """Energy of one scale now, in parts of that of the reference.

    Attributes:
        scale: its range of sizes, such as ``1-2px``; ``8px+`` for the approximation.
        level: 0 for the approximation.
        ratio: geometric mean of the energies now, over that of the reference; 1 for no change.
        interval_95: 95 % interval of the ratio, by Welch's t over the logarithms.
        shift: difference of the mean logarithms in standard deviations of the reference.
        images: that it is of.
    """

    scale: str
    level: int
    ratio: float
    interval_95: tuple[float, float]
    shift: float
    images: int

    @property
    def changed(self) -> bool:
        """Whether the interval excludes no change."""
        low, high = self.interval_95
        return not low <= 1 <= high


def energy_changes(
    config: MonitorConfig, reference: Float64[np.ndarray, "n b"], now: Float64[np.ndarray, "m b"]
) -> tuple[EnergyChange, ...]:
    """Change of the energy of every scale, the coarsest first; empty for fewer than three images of either.

    Args:
        config: of the monitor.
        reference: (n, b) energies of sub-bands; rows with NaN are passed over.
        now: (m, b), likewise.
    """
    before, after = (_levels(config, table[~np.isnan(table).any(axis=1)]) for table in (reference, now))
    if min(len(before), len(after)) < LEAST_IMAGES:
        return ()
    levels = config.request.levels
    return tuple(_change(before[:, level], after[:, level], level, levels) for level in range(levels + 1))


def _levels(config: MonitorConfig, energies: Float64[np.ndarray, "n b"]) -> Float64[np.ndarray, "n l"]:
    """(n, levels + 1) log energies of whole levels: the mean of their sub-bands, which are of one size."""
    of_level = np.concatenate([[0], np.repeat(np.arange(1, config.request.levels + 1), 3)])
    whole = [energies[:, of_level == level].mean(axis=1) for level in range(config.request.levels + 1)]
    return log_energies(np.stack(whole, axis=1))


def _change(
    before: Float64[np.ndarray, " n"], after: Float64[np.ndarray, " m"], level: int, levels: int
) -> EnergyChange:
    difference = float(after.mean() - before.mean())
    parts = np.array([before.var(ddof=1) / len(before), after.var(ddof=1) / len(after)])
    half = 0.0
    if parts.sum() > 0:  # not all alike; the degrees of freedom are Welch's
        freedom = parts.sum() ** 2 / (parts**2 / [len(before) - 1, len(after) - 1]).sum()
        from scipy.stats import t as student  # here: it takes a second to import

        half = float(student.ppf(0.975, freedom) * math.sqrt(parts.sum()))
    spread = float(before.std(ddof=1))
    return EnergyChange(
        scale_label(level, levels),
        level,
        math.exp(difference),
        (math.exp(difference - half), math.exp(difference + half)),
        difference / spread if spread > 0 else 0.0,
        len(after),
    )
