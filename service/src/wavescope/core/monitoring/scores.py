"""The scalar scores of an image that are watched, and the measurements they are made of.

| signal | score | unusual | needs |
|---|---|---|---|
| ``input`` | squared Mahalanobis distance of the log energies of the image's sub-bands | large | no forward |
| ``confidence`` | probability of the predicted class | both | the prediction |
| ``reliance`` | squared Mahalanobis distance of the shares of importance, in log ratios | large | a profile |
| ``fineness`` | mean level of the importance, 0 for the approximation | both | a profile |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from wavescope.core.monitoring.conformal import Signal
from wavescope.core.monitoring.covariance import Distance, fit_distance
from wavescope.core.wavelets import bands
from wavescope.errors import InvalidRequest

SIGNALS = {
    signal.name: signal
    for signal in (
        Signal("input", 0.25),
        Signal("confidence", 0.25, two_sided=True),
        Signal("reliance", 0.25),
        Signal("fineness", 0.25, two_sided=True),
    )
}
LEAST_SHARE = 1e-3  # is added to every share, so that one of 0 has a logarithm
# Energy of the rounding of pixels in [0, 1] to 8 bits, which every orthonormal wavelet spreads evenly: less is no
# signal.
LEAST_ENERGY = 1 / (12 * 255**2)


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """Measurements of an image. A part that was not asked for is ``None``, whether or not the image is good.

    Attributes:
        energies: (b,) of its sub-bands, see :func:`band_energies`.
        confidence: probability of the predicted class.
        shares: (b,) of the importance, of the sub-bands of its profile; their sum is 1.
        failed: signals that were asked for and have no value: the image could not be decoded, its score is constant,
            the model failed.
    """

    energies: Float64[np.ndarray, " b"] | None = None
    confidence: float | None = None
    shares: Float64[np.ndarray, " b"] | None = None
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """Makes scores of measurements; fitted to the first part of a reference, see :func:`fit`.

    Attributes:
        levels: (b,) level of every sub-band of the profile.
        input: of log energies; ``None`` where none were measured.
        reliance: of log ratios of shares; ``None`` where there were no profiles.
    """

    levels: Int[np.ndarray, " b"]
    input: Distance | None
    reliance: Distance | None

    def scores(self, measurement: Measurement) -> dict[str, float]:
        """Score of every signal that was asked for; +∞ for those that failed, the most unusual score there is.

        Raises:
            InvalidRequest: a measurement is out of range, or of a kind that the reference did not have.
        """
        found: dict[str, float] = {}
        if measurement.energies is not None:
            distance = _fitted(self.input, "energies")
            found["input"] = distance.squared(
                log_energies(_of(distance.mean, measurement.energies, "energies"))
            )
        if measurement.confidence is not None:
            found["confidence"] = _confidence(measurement.confidence)
        if measurement.shares is not None:
            distance = _fitted(self.reliance, "shares")
            shares = _of(self.levels, measurement.shares, "shares")
            found["reliance"] = distance.squared(log_ratios(shares))
            found["fineness"] = fineness(shares, self.levels)
        for name in measurement.failed:
            if name not in SIGNALS:
                raise InvalidRequest(
                    f"failed has {name!r}; signals are {', '.join(SIGNALS)}",
                    field="failed",
                    supported=list(SIGNALS),
                )
            found[name] = math.inf
        return found


def fit(measurements: Sequence[Measurement], levels: Int[np.ndarray, " b"]) -> Scorer:
    """The scores of a reference: what they are distances from.

    Args:
        measurements: of the images of the reference's first part, which the test then does not see again; those that
            failed are passed over. A kind of measurement that none of them has is not watched.
        levels: (b,) level of every sub-band of the profile, 0 for the approximation.

    Raises:
        InvalidRequest: too few images, fewer than three for each dimension (10 for ``input``, 9 for ``reliance``,
            with 10 sub-bands); values out of range; or nothing varies.
    """
    energies = [
        one.energies for one in measurements if one.energies is not None and "input" not in one.failed
    ]
    shares = [one.shares for one in measurements if one.shares is not None and "reliance" not in one.failed]
    logs = [log_energies(_of(energies[0], row, "energies")) for row in energies]
    ratios = [log_ratios(_of(levels, row, "shares")) for row in shares]
    return Scorer(
        levels,
        fit_distance(np.array(logs), field="reference.fit.energies") if logs else None,
        fit_distance(np.array(ratios), field="reference.fit.shares") if ratios else None,
    )


def band_energies(coefficients: Float[np.ndarray, "c H W"], levels: int) -> Float64[np.ndarray, " b"]:
    """(3·levels + 1,) mean squared coefficient of every sub-band, over all channels.

    Args:
        coefficients: packed, as of :func:`wavescope.core.wavelets.analyse`, of an image in [0, 1].
        levels: of the transform.

    Example:
        >>> band_energies(np.full((3, 4, 4), 0.5), 1).tolist()
        [0.25, 0.25, 0.25, 0.25]
    """
    _, height, width = coefficients.shape
    found = [coefficients[(slice(None), *band.slices)] for band in bands(height, width, levels)]
    return np.array([np.mean(np.square(part, dtype=np.float64)) for part in found])


def log_energies(energies: Float[np.ndarray, "*n b"]) -> Float64[np.ndarray, "*n b"]:
    """Natural logarithms of energies, of which that of 8-bit rounding is the least.

    Raises:
        InvalidRequest: an energy is negative or not finite.

    Example:
        >>> log_energies(np.array([0.0, 1.0])).round(3).tolist()
        [-13.567, 0.0]
    """
    if not (np.isfinite(energies).all() and (energies >= 0).all()):
        raise InvalidRequest("energies must be finite and not negative", field="energies", minimum=0)
    return np.log(energies + LEAST_ENERGY)


def log_ratios(shares: Float[np.ndarray, " b"]) -> Float64[np.ndarray, " b1"]:
    """(b − 1,) isometric log ratios of shares plus 0.001: coordinates that need not add up to 1.

    z_i = √(i / (i + 1)) ln(geometric mean of the first i / the next one) (Egozcue et al. 2003,
    doi:10.1023/A:1023818214614).

    Raises:
        InvalidRequest: there are fewer than two shares, one is negative or not finite, or their sum is not 1.

    Example:
        >>> log_ratios(np.array([0.5, 0.25, 0.25])).round(3).tolist()
        [0.489, 0.282]
    """
    if len(shares) < 2 or not (np.isfinite(shares).all() and (shares >= 0).all()):
        raise InvalidRequest(
            "shares must be at least two numbers, finite and not negative", field="shares", minimum=0
        )
    if abs(float(shares.sum()) - 1) > 1e-6:
        raise InvalidRequest(
            f"shares add up to {float(shares.sum()):g}; their sum must be 1", field="shares", sum=1
        )
    logs = np.log(shares + LEAST_SHARE)
    count = np.arange(1, len(shares))
    return np.sqrt(count / (count + 1)) * (np.cumsum(logs)[:-1] / count - logs[1:])


def fineness(shares: Float[np.ndarray, " b"], levels: Int[np.ndarray, " b"]) -> float:
    """Σ level · share: from 0, all importance in the approximation, to the number of levels, all in the finest.

    Example:
        >>> fineness(np.array([0.5, 0.25, 0.25]), np.array([0, 1, 2]))
        0.75
    """
    return float(levels @ shares)


def bounded_values(measurement: Measurement, n_bands: int) -> dict[str, float]:
    """Signals within [0, 1] for the bounded-mean test: every share, what is left of it, and 1 − confidence.

    ``share.3.up`` rises with the share of sub-band 3, ``share.3.down`` falls with it. Failed ones are +∞: all of
    them where ``reliance`` did.

    Args:
        measurement: of an image.
        n_bands: sub-bands of a profile.

    Raises:
        InvalidRequest: the confidence is not a probability, or there are not so many shares.

    Example:
        >>> bounded_values(Measurement(confidence=0.75, shares=np.array([0.25, 0.75])), 2)
        {'doubt': 0.25, 'share.0.up': 0.25, 'share.0.down': 0.75, 'share.1.up': 0.75, 'share.1.down': 0.25}
    """
    found: dict[str, float] = {}
    if "confidence" in measurement.failed:
        found["doubt"] = math.inf
    elif measurement.confidence is not None:
        found["doubt"] = 1 - _confidence(measurement.confidence)
    failed = "reliance" in measurement.failed
    if failed or measurement.shares is not None:
        shares = np.zeros(n_bands) if failed or measurement.shares is None else measurement.shares
        for index, share in enumerate(_of(np.zeros(n_bands), shares, "shares")):
            found[f"share.{index}.up"] = math.inf if failed else float(share)
            found[f"share.{index}.down"] = math.inf if failed else 1 - float(share)
    return found


def _confidence(value: float) -> float:
    if not 0 <= value <= 1:
        raise InvalidRequest(
            f"confidence is {value:g}; it must be within 0..1", field="confidence", minimum=0, maximum=1
        )
    return value


def _fitted(distance: Distance | None, field: str) -> Distance:
    if distance is None:
        raise InvalidRequest(
            f"{field} were measured, but not of the reference: collect a reference that has them", field=field
        )
    return distance


def _of(like: np.ndarray, given: Float64[np.ndarray, " b"], field: str) -> Float64[np.ndarray, " b"]:
    if given.shape != like.shape:
        raise InvalidRequest(
            f"{field} are {len(given)}; there are {len(like)} sub-bands", field=field, count=len(like)
        )
    return given
