"""What the adaptive plan was chosen over, and the adaptive plan with a part taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from heapq import heapify, heappop, heappush
from unittest.mock import patch

import numpy as np

from wavescope.core.adaptive import estimator, gaussian_process
from wavescope.core.adaptive.estimator import AdaptiveEstimator, Estimate
from wavescope.core.adaptive.factor_features import FactorFeatures

LAMBDAS = np.logspace(-2, 3, 26)


# ---- the adaptive plan without a part -------------------------------------------------------------
def _plain(self: AdaptiveEstimator, target: int = 0) -> Estimate:
    """Jansen's index of every factor that was perturbed; the others share what is left of their smallest group's."""
    sample = self._sample(target)  # stands in for a method
    index = sample.means / self.variance(target)
    total, resolved = np.zeros(self.n_factors), np.zeros(self.n_factors, dtype=bool)
    single = sample.substituted < self.n_factors
    resolved[sample.substituted[single]] = True
    total[sample.substituted[single]] = index[single]
    for substituted, of_group in zip(sample.substituted[~single], index[~single], strict=True):
        members = self.groups[substituted - self.n_factors]  # quarters come after the whole sub-bands
        rest = members[~resolved[members]]
        if len(rest):
            total[rest] = max(of_group - total[members[resolved[members]]].sum(), 0) / len(rest)
    nothing = np.zeros(self.n_factors)
    return Estimate(
        total, nothing, np.stack([nothing, nothing], axis=-1), resolved, nothing, nothing, nothing, 0.0, 1.0
    )


@contextmanager
def _constants(**values: float) -> Iterator[None]:
    with ExitStack() as stack:
        for name, value in values.items():
            stack.enter_context(patch.object(gaussian_process, name, value))
        yield


WITHOUT: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "nothing": nullcontext,
    "the field in its answer": lambda: patch.object(AdaptiveEstimator, "estimate", _plain),
    "drawing rows by sensitivity": lambda: patch.object(
        estimator, "sensitivity", lambda score, rows: np.ones(len(rows))
    ),
    "groups": lambda: patch.object(AdaptiveEstimator, "_make_groups", lambda self, features: []),
    "places": lambda: _constants(PLACE_SD=0.0, BAND_PLACE_SD=0.0),
    "sizes": lambda: _constants(SLOPE=0.0, SLOPE_SD=0.0),
}


# ---- other ways to the same indices ---------------------------------------------------------------
def by_size(features: FactorFeatures) -> np.ndarray:
    """The field before anything is scored, but for what all have in common."""
    return np.where(features.size > 0, features.size, 0) ** gaussian_process.SLOPE


def group_members(features: FactorFeatures) -> tuple[list[np.ndarray], list[list[int]]]:
    """Sub-bands, then their quarters of the image; and the quarters of every sub-band."""
    bands = np.unique(features.band)
    groups = [np.flatnonzero(features.band == band) for band in bands]
    children: list[list[int]] = []
    for band in range(len(bands)):
        whole = groups[band]
        quarters = [whole[features.quarter[whole] == quarter] for quarter in range(4)]
        quarters = [members for members in quarters if len(members)]
        children.append(list(range(len(groups), len(groups) + len(quarters))))
        groups += quarters
    return groups, children


def group_screening(
    sample: np.ndarray, moved: np.ndarray, features: FactorFeatures, *, rows: int, budget: int
) -> np.ndarray:
    """Sub-bands, then the quarters of the best, then single factors of the best of these: S_T of each, no model.

    Args:
        sample: (N, K + 2) scores of a full plan.
        moved: (N', groups) scores of A_j with a group's columns from B_j.
        traits: of the factors.
        rows: design rows for every index.
        budget: forwards.
    """
    groups, children = group_members(features)
    variance = sample[:rows, :2].var(ddof=1)
    single = ((sample[:rows, :1] - sample[:rows, 2:]) ** 2).mean(axis=0) / 2 / variance
    together = ((sample[:rows, :1] - moved[:rows]) ** 2).mean(axis=0) / 2 / variance
    total = np.zeros(len(single))
    spent = rows * (2 + len(children))
    for band in range(len(children)):
        total[groups[band]] = together[band] / len(groups[band])
    heap = [(-together[band], band) for band in range(len(children))]
    heapify(heap)
    while heap:
        _, group = heappop(heap)
        splits = group < len(children)
        cost = rows * (len(children[group]) if splits else len(groups[group]))
        if spent + cost > budget:
            if splits:
                break
            continue
        spent += cost
        if not splits:
            total[groups[group]] = single[groups[group]]
            continue
        for quarter in children[group]:
            total[groups[quarter]] = together[quarter] / len(groups[quarter])
            heappush(heap, (-together[quarter], quarter))
    return total


def by_correlation(masks: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Squared correlation of the score with every mask value over random rows."""
    centred, off = masks - masks.mean(axis=0), scores - scores.mean()
    return (centred.T @ off) ** 2 / ((centred**2).sum(axis=0) * (off**2).sum())


def by_hsic(masks: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Hilbert-Schmidt independence criterion over random rows (Novello et al. 2022).

    Kernels: of a mask value, the Sobolev kernel of order 1, whose mean is 0 for uniform values (da Veiga 2021); of the
    score, Gaussian with its standard deviation.
    """
    n = len(scores)
    kernel = np.exp(-((scores[:, None] - scores[None]) ** 2) / (2 * scores.var()))
    kernel = (kernel - kernel.mean(axis=0) - kernel.mean(axis=1)[:, None] + kernel.mean()).astype(np.float32)
    found = np.empty(masks.shape[1])
    for k, column in enumerate(masks.T.astype(np.float32)):
        # (x - ½)(y - ½) + (|x - y|² - |x - y| + 1/6) / 2, of which a centred kernel leaves -|x - y| / 2.
        apart = np.abs(column[:, None] - column[None])
        found[k] = -float(np.vdot(apart, kernel)) / 2 / n**2
    return np.maximum(found, 0)


def by_regression(masks: np.ndarray, scores: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Bayesian linear regression over random rows, slopes of prior variance ∝ size²; the mean square of each slope.

    How large slopes are against the noise follows from the marginal likelihood.
    """
    x, y = masks - masks.mean(axis=0), scores - scores.mean()
    prior = size**2 / np.mean(size**2)
    values, vectors = np.linalg.eigh((x * prior) @ x.T)
    seen = vectors.T @ y

    def evidence(ridge: float) -> float:
        spread = values.clip(0) + ridge
        return -len(y) / 2 * float(np.log((seen**2 / spread).mean())) - float(np.log(spread).sum()) / 2

    ridge = max(LAMBDAS, key=evidence)
    spread = values.clip(0) + ridge
    slopes = prior * (x.T @ (vectors @ (seen / spread)))
    explained = (((vectors / np.sqrt(spread)).T @ (x * prior)) ** 2).sum(axis=0)
    return slopes**2 + (seen**2 / spread).mean() * (prior - explained)
