"""Measurement of an observation, as it is kept in the log."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from wavescope.core.monitoring.draws import raw
from wavescope.core.monitoring.scores import Measurement
from wavescope.engine.monitors.config import PROFILE_SIGNALS, MonitorConfig
from wavescope.engine.types import ExplanationRequest, ModelDetails

Outcome = Literal["observed", "constant_score", "undecodable", "failed", "expired"]
OUTCOMES: tuple[Outcome, ...] = ("observed", "constant_score", "undecodable", "failed", "expired")
NUMERICS = "1"  # another one where measurements of the same image become other numbers
PROFILE = 2  # purpose of a draw, beside those of :mod:`wavescope.core.monitoring.draws`


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Measurement of one image.

    Attributes:
        outcome: ``observed``; or why something is missing. ``expired`` was not measured at all, for no reason of its
            own, and says nothing.
        revision: of model, preprocessing and profile: those of another revision are not comparable.
        profiled: whether a profile was asked for.
        energies: (b,) of the image's sub-bands.
        confidence: probability of the predicted class.
        predicted: index of the predicted class.
        shares: (k,) of the importance, of the factors of its profile.
        forwards: images scored for it.
        reason: sentence why something is missing; empty for ``observed``.
    """

    outcome: Outcome
    revision: str
    profiled: bool
    energies: Float64[np.ndarray, " b"] | None = None
    confidence: float | None = None
    predicted: int | None = None
    shares: Float64[np.ndarray, " k"] | None = None
    forwards: int = 0
    reason: str = ""

    @property
    def measurement(self) -> Measurement:
        """The measurement as the tests take it: what was asked for and is missing has failed."""
        if self.outcome == "expired":
            return Measurement()
        failed = [
            name
            for name, value in (("input", self.energies), ("confidence", self.confidence))
            if value is None
        ]
        if self.profiled and self.shares is None:
            failed += PROFILE_SIGNALS
        return Measurement(self.energies, self.confidence, self.shares, tuple(failed))


def is_profiled(config: MonitorConfig, seq: int, *, reference: bool) -> bool:
    """Whether an observation gets a profile: all of the reference, and a share of the stream, drawn by number.

    Args:
        config: of the monitor.
        seq: number of the observation.
        reference: whether the observation is of the reference.
    """
    rate = config.sample.profile_rate
    if reference or rate in (0.0, 1.0):
        return rate > 0
    word = int(raw(config.request.seed, seq, "profile", PROFILE, 1)[0])
    return word < rate * 2.0**64


def revision_of(details: ModelDetails, request: ExplanationRequest) -> str:
    """Digest of all that the numbers of an observation follow from, beside its image."""
    parts = {
        "model": details.revision or f"{details.name} {details.runtime} {details.precision}",
        "preprocessing": asdict(details.preprocessing),
        "outputs": details.outputs,
        "request": request.parameters(),
        "numerics": NUMERICS,
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
