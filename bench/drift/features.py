"""What is watched: scalar scores of the bank's images, of one reference; those of the service, and others'.

Those of the service are scored by its own code; the others in the same way, so that detectors can be exchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wavescope.core.monitoring.covariance import fit_distance
from wavescope.core.monitoring.scores import fineness, log_energies, log_ratios

LEVELS = {"subbands": np.array([0, *np.repeat([1, 2, 3], 3)]), "levels": np.arange(4)}
TINY = 1e-12


def shares_of(scores: np.ndarray, rows: int | None = None) -> np.ndarray:
    """(…, K) shares of the importance, from (…, N, K + 1) scores of A and every C, the first ``rows`` design rows.

    Jansen's total indices are the mean squares of A − C over a variance that all of them have in common. Scores that
    do not vary give NaN.

    Example:
        >>> shares_of(np.array([[0.0, 1.0, 2.0]])).round(2).tolist()
        [0.2, 0.8]
    """
    exact = scores[..., :rows, :].astype(np.float64)
    effects = ((exact[..., 1:] - exact[..., :1]) ** 2).mean(axis=-2)
    total = effects.sum(axis=-1, keepdims=True)
    return np.divide(effects, total, out=np.full_like(effects, np.nan), where=total > TINY)


@dataclass(frozen=True)
class Feature:
    """A signal: what it is made of, and how unusual values look.

    Attributes:
        key: of :func:`prepared` arrays.
        distance: whether its score is the squared Mahalanobis distance of a vector.
        two_sided: whether small scores are unusual as well as large ones.
        forwards: of an image; ``None`` for those of a profile.
        ours: whether the service watches it.
    """

    key: str
    distance: bool
    two_sided: bool
    forwards: int | None
    ours: bool = True


FEATURES = {
    "input": Feature("energies", True, False, 0),
    "confidence": Feature("confidence", False, True, 1),
    "reliance": Feature("ratios", True, False, None),
    "fineness": Feature("fineness", False, True, None),
    "Laplacian variance": Feature("laplacian", False, True, 0, False),
    "softmax (BBSD)": Feature("bbsd", True, True, 1, False),
    "embedding": Feature("embedding", True, True, 1, False),
}


def prepared(bank: dict[str, np.ndarray], partition: str, rows: int | None = None) -> dict[str, np.ndarray]:
    """(images, conditions, …) what scores are computed from.

    Args:
        bank: arrays of the bank.
        partition: of its profiles.
        rows: design rows of the profile; all by default.
    """
    return _prepared({key: found for key, found in bank.items() if "/" not in key}, partition, rows)


def prepared_black(bank: dict[str, np.ndarray], partition: str) -> dict[str, np.ndarray]:
    """(…) what scores of the black frame are computed from; NaN where a profile has nothing to say."""
    of_black = {
        key.removeprefix("black/"): found[None, None]
        for key, found in bank.items()
        if key.startswith("black/")
    }
    return {key: found[0, 0] for key, found in _prepared(of_black, partition, None).items()}


def prepared_profile(scored: np.ndarray, partition: str, rows: int | None) -> dict[str, np.ndarray]:
    """(…) what scores of profiles are computed from, of (…, N, K + 1) scores of A and every C."""
    shares = shares_of(scored, rows)
    return {
        "shares": shares,
        "ratios": _each(log_ratios, shares),
        "fineness": _each(lambda row: np.array(fineness(row, LEVELS[partition])), shares),
    }


def _prepared(bank: dict[str, np.ndarray], partition: str, rows: int | None) -> dict[str, np.ndarray]:
    return prepared_profile(bank["scores"], partition, rows) | {
        "energies": log_energies(bank["energies"].astype(np.float64)),
        "confidence": bank["confidence"].astype(np.float64),
        "laplacian": np.log(bank["laplacian"].astype(np.float64) + TINY),
        "bbsd": bank["bbsd"].astype(np.float64),
        "embedding": bank["embedding"].astype(np.float64),
    }


def scores(feature: Feature, values: dict[str, np.ndarray], reference: np.ndarray) -> np.ndarray:
    """(images, conditions) scores, fitted to the images ``reference`` of the first condition."""
    found = values[feature.key]
    if not feature.distance:
        return found
    distance = fit_distance(found[reference, 0], field=feature.key)
    inverse = np.linalg.inv(distance.root)
    return (((found - distance.mean) @ inverse.T) ** 2).sum(axis=-1)


def _each(function: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    """A function of every row; NaN where the row is."""
    flat = rows.reshape(-1, rows.shape[-1])
    some = function(np.full(rows.shape[-1], 1 / rows.shape[-1]))
    found = [np.full_like(some, np.nan) if np.isnan(row).any() else function(row) for row in flat]
    return np.stack(found).reshape(*rows.shape[:-1], *some.shape)
