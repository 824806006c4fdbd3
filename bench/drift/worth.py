"""What an alarm is worth: does evidence come from changes that harm the model, and what of images that change label."""

from __future__ import annotations

from typing import Any

import numpy as np
from bench.drift.bank import Arrays
from bench.drift.crops import BENIGN, CONDITIONS, CORRUPTED, MODELS
from bench.drift.features import FEATURES, scores
from bench.drift.study import auc, evidence_rate
from scipy.stats import rankdata, spearmanr

SPLITS = 50
HARM = 0.10  # share of labels changed, from which a change counts as harmful
REPLICATES = 1000


def harm(predicted: np.ndarray) -> np.ndarray:
    """(conditions,) share of the images whose label is another than under the first condition, ``clean``.

    Example:
        >>> harm(np.array([[3, 3, 4], [5, 5, 5]])).tolist()
        [0.0, 0.0, 0.5]
    """
    return (predicted != predicted[:, :1]).mean(axis=0)


def rates(values: Arrays, *, splits: int = SPLITS) -> dict[str, list[float]]:
    """Evidence an image of every feature, condition by condition but for the first: means over random halves."""
    found = {name: np.zeros((splits, len(CONDITIONS) - 1)) for name in FEATURES}
    images = len(values["confidence"])
    for split in range(splits):
        fitted, held = np.array_split(np.random.default_rng([split, 41]).permutation(images), 2)
        for name, feature in FEATURES.items():
            scored = scores(feature, values, fitted)[held]
            found[name][split] = [
                evidence_rate(scored[:, 0], column, two_sided=feature.two_sided) for column in scored[:, 1:].T
            ]
    return {name: each.mean(axis=0).tolist() for name, each in found.items()}


def worth(bank: Arrays, values: Arrays) -> dict[str, Any]:
    """Harm of every condition, evidence of every feature, and whether the one orders the other."""
    harms = harm(bank["predicted"])[1:]
    evidence = rates(values)
    harmful = harms >= HARM
    groups = {
        "all": np.ones(len(harms), bool),
        "input": np.isin(CONDITIONS[1:], (*CORRUPTED, *BENIGN)),
        "model": np.isin(CONDITIONS[1:], MODELS),
    }
    ordered: dict[str, dict[str, float | None]] = {}
    for name, each in evidence.items():
        rate = np.array(each)
        ordered[name] = {"spearman": float(spearmanr(rate, harms).statistic)}
        for group, of in groups.items():
            known = harmful[of].any() and not harmful[of].all()
            ordered[name][f"auc {group}"] = auc(rate[of & ~harmful], rate[of & harmful]) if known else None
    return {
        "harm": dict(zip(CONDITIONS[1:], harms.tolist(), strict=True)),
        "rates": {name: dict(zip(CONDITIONS[1:], each, strict=True)) for name, each in evidence.items()},
        "order": ordered,
    }


# ---- which images change their label -------------------------------------------------------------
def label_changes(
    bank: Arrays, values: Arrays, depth: np.ndarray | None = None, images: np.ndarray | None = None
) -> dict[str, Any]:
    """AUC of numbers of the clean image for "its label changes under corruption", with intervals by photograph.

    An AUC above one half says that images of large values keep their label.

    Args:
        bank: arrays of the bank.
        values: prepared arrays.
        depth: reconstruction depths of some images; ``None`` for all others' numbers of all images.
        images: which these are.
    """
    chosen = np.arange(len(bank["predicted"])) if images is None else images
    columns = [CONDITIONS.index(name) for name in CORRUPTED]
    changed = bank["predicted"][chosen][:, columns] != bank["predicted"][chosen, :1]
    everything = np.arange(len(bank["predicted"]))
    signals = {
        "confidence": values["confidence"][chosen, 0],
        "fineness": values["fineness"][chosen, 0],
        "reliance": scores(FEATURES["reliance"], values, everything)[chosen, 0],
        "entropy": bank["entropy"][chosen, 0].astype(np.float64),
    }
    if depth is not None:
        signals["depth"] = depth
    photograph = bank["photograph"][chosen]
    groups = [np.flatnonzero(photograph == one) for one in np.unique(photograph)]
    rng = np.random.default_rng(43)
    draws = [
        np.concatenate([groups[at] for at in rng.integers(len(groups), size=len(groups))])
        for _ in range(REPLICATES)
    ]
    found: dict[str, Any] = {}
    for name, signal in signals.items():
        drawn = [pooled_auc(signal[of], changed[of]) for of in draws]
        found[name] = {
            "auc": pooled_auc(signal, changed),
            "interval_95": np.quantile(drawn, (0.025, 0.975)).tolist(),
        }
    differences = {}
    for name in signals:
        if name != "confidence":
            drawn = [
                strength(pooled_auc(signals[name][of], changed[of]), found[name]["auc"])
                - strength(pooled_auc(signals["confidence"][of], changed[of]), found["confidence"]["auc"])
                for of in draws
            ]
            differences[name] = np.quantile(drawn, (0.025, 0.975)).tolist()
    return {
        "images": len(chosen),
        "photographs": len(groups),
        "changed": float(changed.mean()),
        "signals": found,
        "less_than_confidence": differences,
    }


def strength(value: float, whole: float) -> float:
    """AUC in the direction that the whole sample has."""
    return value if whole >= 0.5 else 1 - value


def pooled_auc(signal: np.ndarray, changed: np.ndarray) -> float:
    """Mean over conditions of the probability that an image which keeps its label has the larger signal.

    Args:
        signal: (images,).
        changed: (images, conditions) whether the label changes.

    Example:
        >>> pooled_auc(np.array([0.9, 0.2, 0.5]), np.array([[False], [True], [False]]))
        1.0
    """
    ranks = rankdata(signal)
    kept = (~changed).sum(axis=0)
    lost = len(signal) - kept
    fit = (kept > 0) & (lost > 0)
    sums = (ranks[:, None] * ~changed).sum(axis=0)
    return float(((sums - kept * (kept + 1) / 2)[fit] / (kept * lost)[fit]).mean())
