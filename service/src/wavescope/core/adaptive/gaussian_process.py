"""Gaussian process over the logarithms of total indices: a few measured ones predict all others (kriging).

Total indices are never negative and span five orders of magnitude, and estimates of them err by factors: their
logarithms are added up. Before anything is scored a factor's log index grows with the log of its size, is shifted alike
within a level and a sub-band, and varies smoothly over the image in all sub-bands at once, for the model looks at
things, not at coefficients. Measured ones, singly or as the sum over a group, then correct all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import cholesky, solve_triangular

from wavescope.core.adaptive.factor_features import FactorFeatures

# Standard deviations of the parts of a log index, lengths in sides of the image. Fitted by marginal likelihood to full
# designs of N = 64 of six photographs, of their logits; results hardly depend on them (``make adaptive``).
SLOPE, SLOPE_SD = 1.0, 0.2
LEVEL_SD, BAND_SD = 0.3, 0.3
# Of as many coefficients of the same size fine detail weighs less: the finest level, the next, all coarser ones.
LEVEL_MEANS = (-1.0, 0.0, 0.45)
PLACE_SD, PLACE_LENGTH = 0.6, 0.11
BAND_PLACE_SD, BAND_PLACE_LENGTH = 0.3, 0.17
# Fitted: 0.46. So narrow, intervals held 0.91 of the largest indices of known saturating scores where these hold 0.95;
# the indices of photographs are the same.
OWN_SD = 0.8


@dataclass(frozen=True, slots=True)
class PriorConstants:
    """Standard deviations of the parts of a log index; lengths in sides of the image.

    Attributes:
        slope, slope_sd: of the log index by the log of the factor's size.
        steepness_slope, steepness_slope_sd: the same by the log of its steepness, where that is known.
        level_sd, band_sd: shifts of a level and of a sub-band.
        place_sd, place_length: field over the image, of all sub-bands.
        band_place_sd, band_place_length: the same of one sub-band.
        own_sd: of each factor by itself.
        level_means: mean shifts of the finest level, of the next and of all coarser ones, where there are several.
    """

    slope: float = SLOPE
    slope_sd: float = SLOPE_SD
    steepness_slope: float = 0.0
    steepness_slope_sd: float = 0.0
    level_sd: float = LEVEL_SD
    band_sd: float = BAND_SD
    place_sd: float = PLACE_SD
    place_length: float = PLACE_LENGTH
    band_place_sd: float = BAND_PLACE_SD
    band_place_length: float = BAND_PLACE_LENGTH
    own_sd: float = OWN_SD
    level_means: tuple[float, float, float] = LEVEL_MEANS


SIZE_PRIOR = PriorConstants()
# Fitted as the others, with derivatives at 16 rows. The index of a linear score grows with the square of its exact
# derivative, a slope of 2; of 16 rows the fit is 1.1.
# Fitted ``own_sd``: 0.46, with which intervals held fewer of the largest indices (``make gradient-prior``).
GRADIENT_PRIOR = PriorConstants(
    slope=0.4,
    slope_sd=0.15,
    steepness_slope=1.1,
    steepness_slope_sd=0.15,
    level_sd=0.25,
    band_sd=0.15,
    place_sd=0.3,
    place_length=0.12,
    band_place_sd=0.17,
    band_place_length=0.13,
    own_sd=0.6,
    level_means=(-0.45, 0.15, 0.15),
)
SCALE_SD = 3.0  # of what all have in common: how strongly the score varies
TYPICAL = -7.0
# A group's index is less than the sum of its members' where they act together (0.3 to 1.3 of it, median 0.9).
TOGETHER, TOGETHER_SD = -0.15, 0.3
# Linearised sums settle in a few steps.
STEPS = 10
# Measured factors may scatter about what is predicted by a multiple of ``own_sd``, as those of photographs do not. A
# multiple is taken where the logarithm of the likelihood of what was measured is higher by so much.
SCATTERS, SCATTER_EVIDENCE = (1.0, 2.0, 4.0), 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Measurements:
    """Measured log indices, of factors and of groups.

    Attributes:
        factors: of each, the factors that were perturbed together; one for a single factor.
        log: (m,) logarithm of the estimate.
        variance: (m,) of its error.
    """

    factors: tuple[Int[np.ndarray, " _"], ...]
    log: Float[np.ndarray, " m"]
    variance: Float[np.ndarray, " m"]

    @property
    def single(self) -> Bool[np.ndarray, " m"]:
        """(m,) which of them are of a single factor."""
        return np.asarray([len(group) == 1 for group in self.factors], dtype=bool)

    @property
    def alone(self) -> Int[np.ndarray, " s"]:
        """The factors that were measured by themselves."""
        return np.asarray([group[0] for group in self.factors if len(group) == 1], dtype=int)

    def with_sum(self, count: int) -> Measurements:
        """These, and that all ``count`` factors together have an index of 1."""
        return Measurements(
            (*self.factors, np.arange(count)), np.append(self.log, 0.0), np.append(self.variance, 0.0)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Posterior of K log indices, given measured ones.

    Attributes:
        mean: (K,).
        variance: (K,).
        prior: (K, K) covariance before anything was measured.
        gain: (m, K) prior − gainᵀ gain is the covariance now.
    """

    mean: Float[np.ndarray, " k"]
    variance: Float[np.ndarray, " k"]
    prior: Float[np.ndarray, "k k"]
    gain: Float[np.ndarray, "m k"]

    @property
    def expected(self) -> Float[np.ndarray, " k"]:
        """(K,) means of the indices themselves, which are log-normal."""
        return np.exp(self.mean + self.variance / 2)

    def correlation(self, inert: int = 0) -> float:
        """Correlation that the expected indices have with the true ones, 0 to 1, if the posterior is right.

        √(var(mean) / (var(mean) + mean(variance))). The mean correlation over draws of the posterior is higher, since
        an error of the largest index in proportion to its size leaves it the largest. A single factor has nothing to
        be correlated with: 1.

        Args:
            inert: further factors, which are known to be 0.
        """
        expected = np.concatenate([self.expected, np.zeros(inert)])
        if len(expected) == 1:
            return 1.0
        error = float((self.expected**2 * np.expm1(np.minimum(self.variance, 50))).sum()) / len(expected)
        signal = float(expected.var())
        return float(np.sqrt(signal / (signal + error))) if signal > 0 else 0.0

    def share_error(self, of: Int[np.ndarray, " k"]) -> float:
        """Half the sum of the expected differences of shares of the sum of all indices, 0 to 1.

        Args:
            of: the part, as a level, that each factor belongs to.
        """
        share = self.expected / self.expected.sum()
        inside = (of[:, None] == np.unique(of)).astype(float)
        slopes = share[:, None] * (inside - share @ inside)  # of the shares by the logs
        explained = self.gain @ slopes
        variance = (slopes * (self.prior @ slopes)).sum(axis=0) - (explained**2).sum(axis=0)
        # The mean of |x| of a normal x.
        return float(min(np.sqrt(2 / np.pi * np.maximum(variance, 0)).sum() / 2, 1))


class GaussianProcess:
    """Gaussian process over the log indices of one image's factors.

    Args:
        features: of the factors, every ``size`` positive.
        steepness: (K,) positive, see :func:`wavescope.core.adaptive.factor_features.steepness`; ``None`` where no
            derivatives are known.
        finest: the finest level of the transform, 0 where it has one level; ``None`` for the finest of the factors.
    """

    def __init__(
        self,
        features: FactorFeatures,
        steepness: Float[np.ndarray, " k"] | None = None,
        *,
        finest: int | None = None,
    ) -> None:
        constants = SIZE_PRIOR if steepness is None else GRADIENT_PRIOR
        self._own_sd = constants.own_sd
        size = np.log(features.size)
        size = size - size.mean()
        self.mean: Float[np.ndarray, " k"] = TYPICAL + constants.slope * size
        slopes = constants.slope_sd**2 * np.outer(size, size)
        if steepness is not None:
            steep = np.log(steepness)
            steep = steep - steep.mean()
            self.mean = self.mean + constants.steepness_slope * steep
            slopes += constants.steepness_slope_sd**2 * np.outer(steep, steep)
        finest = int(features.level.max()) if finest is None else finest
        if finest > 0:
            finer = np.minimum(finest - features.level, len(constants.level_means) - 1)
            self.mean = self.mean + np.asarray(constants.level_means)[finer]
        squared = ((features.place[:, None] - features.place[None]) ** 2).sum(axis=-1)
        level = features.level[:, None] == features.level[None]
        band = features.band[:, None] == features.band[None]
        covariance = (
            SCALE_SD**2
            + constants.level_sd**2 * level
            + constants.band_sd**2 * band
            + constants.place_sd**2 * np.exp(-squared / (2 * constants.place_length**2))
            + constants.band_place_sd**2 * band * np.exp(-squared / (2 * constants.band_place_length**2))
            + slopes
        )
        covariance[np.diag_indices_from(covariance)] += constants.own_sd**2
        self._covariance: Float[np.ndarray, "k k"] = covariance

    def scatter(self, measured: Measurements) -> float:
        """Multiple of each factor's own standard deviation that the single factors measured are likeliest by."""
        single, factors = measured.single, measured.alone
        if not len(factors):
            return 1.0
        off = measured.log[single] - self.mean[factors]
        among = self._covariance[np.ix_(factors, factors)] + np.diag(measured.variance[single])
        likely: list[float] = []
        for scatter in SCATTERS:
            root = cholesky(self._scattered(among, scatter), lower=True)
            white = solve_triangular(root, off, lower=True)
            likely.append(-float(white @ white) / 2 - float(np.log(np.diag(root)).sum()))
        best = int(np.argmax(likely))
        return SCATTERS[best] if likely[best] > likely[0] + SCATTER_EVIDENCE else 1.0

    def posterior(self, measured: Measurements, *, scatter: float = 1.0, steps: int = STEPS) -> Posterior:
        """Computes the log indices given the measured ones.

        The log of a sum is taken as linear about the last mean (Gauss-Newton), ``steps`` times.

        Args:
            measured: indices of factors and of groups.
            scatter: multiple of each factor's own standard deviation, see :meth:`scatter`.
            steps: of the iteration.
        """
        covariance, own_sd = self._scattered(self._covariance, scatter), scatter * self._own_sd
        mean = self.mean
        variance: Float[np.ndarray, " k"] = np.diag(covariance)
        if not measured.factors:
            return Posterior(mean, variance, covariance, np.zeros((0, len(mean))))
        single, factors = measured.single, measured.alone
        groups = [group for group in measured.factors if len(group) > 1]
        alone = np.isin(np.arange(len(mean)), factors)
        order = np.concatenate([np.flatnonzero(single), np.flatnonzero(~single)])
        log, noise = measured.log[order], measured.variance[order] + TOGETHER_SD**2 * ~single[order]
        about, gain = mean, np.zeros((0, len(mean)))
        for step in range(steps if groups else 1):
            # Half steps after the second: a group that its members contradict would be approached from side to side.
            about = mean if step < 2 else (about + mean) / 2
            # Members that were measured have less of a part of their own left.
            slopes, sums = _linear(groups, about, np.minimum(variance, own_sd**2))
            # (K, m) covariance of every log index with what was measured, and (m, m) of that with itself
            covered = np.hstack([covariance[:, factors], covariance @ slopes.T])
            among = np.vstack([covered[factors], slopes @ covered])
            root = cholesky(among + np.diag(noise), lower=True)
            gain = solve_triangular(root, covered.T, lower=True)  # (m, K)
            off = log - np.concatenate([self.mean[factors], sums + slopes @ (self.mean - about)])
            mean = self.mean + gain.T @ solve_triangular(root, off, lower=True)
            variance = np.diag(covariance) - (gain**2).sum(axis=0)
            # What a sum says of one member's own part is little: it may be any other's that is large.
            variance = np.where(alone, variance, np.maximum(variance, own_sd**2))
        return Posterior(mean, variance, covariance, gain)

    def _scattered(self, covariance: Float[np.ndarray, "s s"], scatter: float) -> Float[np.ndarray, "s s"]:
        """The covariance of single factors with each one's own standard deviation times ``scatter``."""
        return covariance + (scatter**2 - 1) * self._own_sd**2 * np.eye(len(covariance))


def _linear(
    groups: list[Int[np.ndarray, " _"]], mean: Float[np.ndarray, " k"], own: Float[np.ndarray, " k"]
) -> tuple[Float[np.ndarray, "g k"], Float[np.ndarray, " g"]]:
    """Slopes and value of every group's log index about ``mean``."""
    slopes, sums = np.zeros((len(groups), len(mean))), np.empty(len(groups))
    for index, group in enumerate(groups):
        # The mean of a log-normal index is exp(mean + variance / 2), of which each member has a part of its own.
        logs = mean[group] + own[group] / 2
        largest = logs.max()
        weights = np.exp(logs - largest)
        slopes[index, group] = weights / weights.sum()
        sums[index] = TOGETHER + largest + np.log(weights.sum())
    return slopes, sums
