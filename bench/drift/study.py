"""The choice of the profile's form: how well clean and changed images differ by it, an image and 1,000 forwards."""

from __future__ import annotations

from typing import Any

import numpy as np
from bench.drift.bank import PARTITIONS, STUDY_CONDITIONS, Arrays
from bench.drift.features import FEATURES, prepared_profile, scores, shares_of

from wavescope.core.monitoring.conformal import KAPPAS

ROWS = (1, 2, 4, 8)
SPLITS = 200
SIGNALS = ("reliance", "fineness")


def auc(clean: np.ndarray, changed: np.ndarray, *, two_sided: bool = False) -> float:
    """Probability that a changed image's score is above a clean one's; with two sides, distances from the median.

    Example:
        >>> auc(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
        0.875
    """
    if two_sided:
        middle = np.median(clean)
        clean, changed = np.abs(clean - middle), np.abs(changed - middle)
    below = np.searchsorted(np.sort(clean), changed, "left") + np.searchsorted(
        np.sort(clean), changed, "right"
    )
    return float(below.mean() / (2 * len(clean)))


def evidence_rate(clean: np.ndarray, changed: np.ndarray, *, two_sided: bool = False) -> float:
    """Growth of the conformal test's ln R an image after the change, of its best bettor; at least 0.

    Args:
        clean: (n,) scores that the others are ranked among.
        changed: (m,) scores.
        two_sided: whether either side is unusual.
    """
    order = np.sort(clean)
    above = len(order) - np.searchsorted(order, changed, "right")
    equal = np.searchsorted(order, changed, "right") - np.searchsorted(order, changed, "left")
    thetas = (np.arange(16) + 0.5) / 16
    p = (above[:, None] + thetas * (equal[:, None] + 1)) / (len(order) + 1)
    sides = (p, 1 - p) if two_sided else (p,)
    return max(0.0, *(float((np.log(k) + (k - 1) * np.log(side)).mean()) for k in KAPPAS for side in sides))


def forwards(partition: str, rows: int) -> int:
    """Forwards of a profile and of the prediction of the image as it is."""
    return rows * ({"subbands": 10, "levels": 4}[partition] + 2) + 1


def of_form(found: Arrays, partition: str, rows: int) -> dict[str, Any]:
    """A row of the table: means over random halves of the images, of which one is the reference."""
    scored_rows = found[f"study/{partition}/scores"]
    values = prepared_profile(scored_rows, partition, rows)
    shares, full = values["shares"], shares_of(scored_rows)
    result: dict[str, Any] = {"partition": partition, "rows": rows, "forwards": forwards(partition, rows)}
    result["images"] = len(shares)
    result["spread"] = float(shares[:, 0].std(axis=0).mean())
    result["error"] = float(np.sqrt(((shares - full)[:, 0] ** 2).mean()))
    cells: dict[str, dict[str, list[float]]] = {
        name: {condition: [] for condition in STUDY_CONDITIONS[1:]} for name in SIGNALS
    }
    rates = {name: {condition: list[float]() for condition in STUDY_CONDITIONS[1:]} for name in SIGNALS}
    for split in range(SPLITS):
        order = np.random.default_rng([split, 37]).permutation(len(shares))
        fit, held = np.array_split(order, 2)
        for name in SIGNALS:
            scored = scores(FEATURES[name], values, fit)[held]
            sides = FEATURES[name].two_sided
            for at, condition in enumerate(STUDY_CONDITIONS[1:], 1):
                cells[name][condition].append(auc(scored[:, 0], scored[:, at], two_sided=sides))
                rates[name][condition].append(evidence_rate(scored[:, 0], scored[:, at], two_sided=sides))
    result["auc"] = {n: {c: float(np.mean(v)) for c, v in row.items()} for n, row in cells.items()}
    result["rate"] = {n: {c: float(np.mean(v)) for c, v in row.items()} for n, row in rates.items()}
    return result


def table(found: Arrays) -> list[dict[str, Any]]:
    """Every partition with every number of design rows."""
    return [of_form(found, partition, rows) for partition in PARTITIONS for rows in ROWS]


def mean_rate(row: dict[str, Any]) -> float:
    """Evidence an image of the better signal, on average over conditions."""
    return float(np.mean([max(row["rate"][name][c] for name in SIGNALS) for c in STUDY_CONDITIONS[1:]]))
