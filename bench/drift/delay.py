"""How soon each detector sees a change by each feature, at equal rates of false alarms.

Every pair of detector and feature gets the threshold at which 1 % of 2,000 unchanged streams alarm within their first
1,000 observations. That is more than a user could do, who has no 2,000 streams of which it is known that nothing
changes; it compares how much the statistics see, and not what they promise.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from bench.drift import detectors
from bench.drift.bank import Arrays
from bench.drift.features import FEATURES
from bench.drift.streams import BEFORE, Streams, dense_ranks, draw, scored, take

RISK, WITHIN = 0.01, 1000
LOOK_EVERY = 10  # observations, of the Kolmogorov-Smirnov test
STREAMS, NULL_STREAMS, BOUNDED_STREAMS = 500, 2000, 200
BANKS = 25  # of photographs drawn anew, for the intervals
PROFILED = 0.2  # of the observations of the combined monitor
TOLERANCES = (0.0, 0.03)
COMBINED = "combined"
SIGNALS = tuple(name for name, feature in FEATURES.items() if feature.ours)
# Signals within [0, 1] of the bounded-mean test.
BOUNDED = {"confidence": "confidence", "profile": "shares"}

Statistics = dict[tuple[str, str], np.ndarray]
First = dict[tuple[str, str], np.ndarray]


def statistics(values: Arrays, of: Streams, rng: np.random.Generator, *, bounded: int = 0) -> Statistics:
    """(observations, streams) statistics of every feature and detector.

    Args:
        values: prepared arrays.
        of: streams.
        rng: breaks ties, and chooses what is profiled.
        bounded: so many of the streams go through the bounded-mean test; 0 leaves it out.
    """
    found: Statistics = {}
    ranked: dict[str, np.ndarray] = {}
    width = len(of.used)
    reference = of.reference * width  # of the first condition
    for name, feature in FEATURES.items():
        values_of = scored(feature, values, of)
        ranks = dense_ranks(values_of)
        ranked[name] = ranks
        levels = int(ranks.max()) + 1
        pair = take(ranks, reference), take(ranks, of.items)
        found[name, "conformal"] = detectors.conformal(*pair, rng, levels=levels, two_sided=feature.two_sided)
        found[name, "KS windows"] = detectors.kolmogorov_smirnov(*pair, levels=levels, every=LOOK_EVERY)
        finite = np.minimum(values_of, 1e3 * np.abs(values_of[np.isfinite(values_of)]).max())
        exact = take(finite, reference), take(finite, of.items)
        found[name, "CUSUM"] = detectors.cusum(*exact, two_sided=feature.two_sided)
        found[name, "MMD"] = detectors.mmd(_kernel(values, feature.key, of.used), reference, of.items)
    found[COMBINED, "conformal"] = combined(ranked, of, rng)
    for name, key in BOUNDED.items() if bounded else ():
        for tolerance in TOLERANCES:
            found[name, f"bounded mean, ε = {tolerance:g}"] = _bounded(values[key], of, tolerance, bounded)
    return found


def combined(
    ranked: dict[str, np.ndarray], of: Streams, rng: np.random.Generator, *, profiled: float = PROFILED
) -> np.ndarray:
    """The largest R of the service's four signals, of which two are of profiles, which a fifth of the images get."""
    largest = np.zeros(of.images.T.shape)
    reference = of.reference * len(of.used)
    streams, observations = of.images.shape
    asked = rng.uniform(size=(streams, observations)) < profiled
    # Observations with a profile first, in their order; the others behind them are never read.
    order = np.argsort(~asked, axis=1, kind="stable")
    seen = np.cumsum(asked.astype(np.int64), axis=1).T
    for name in SIGNALS:
        ranks, feature = ranked[name], FEATURES[name]
        items = of.items
        if feature.forwards is None:
            items = take(items, order)[:, : int(seen[-1].max())]
        levels = int(ranks.max()) + 1
        r = detectors.conformal(
            take(ranks, reference), take(ranks, items), rng, levels=levels, two_sided=feature.two_sided
        )
        if feature.forwards is None:
            before = np.concatenate([np.zeros((1, streams)), r])
            r = np.take_along_axis(before, seen, axis=0)
        np.maximum(largest, r, out=largest)
    return largest


def _bounded(values: np.ndarray, of: Streams, tolerance: float, streams: int) -> np.ndarray:
    """(observations, streams) R of the bounded-mean test, of some of the streams."""
    chosen = values[:, list(of.used)]
    if chosen.ndim == 2:
        signals = 1 - chosen[..., None]
    else:
        signals = np.concatenate([chosen, 1 - chosen], axis=-1)
    signals = np.where(np.isnan(signals), 1.0, signals).reshape(-1, signals.shape[-1])
    items = of.items[:: len(of.items) // streams][:streams]
    reference = signals[(of.reference * len(of.used))[:: len(of.items) // streams][:streams]]
    return detectors.bounded_mean(reference, lambda t: signals[items[:, t]], items.shape[1], tolerance)


def _kernel(values: Arrays, key: str, used: tuple[int, ...]) -> np.ndarray:
    """Kernel of all images under the conditions used; failed ones are like nothing but themselves."""
    chosen = values[key][:, list(used)]
    clean = chosen[:, 0]
    rows = chosen.reshape(-1, *chosen.shape[2:])
    failed = np.isnan(rows.reshape(len(rows), -1)).any(axis=1)
    kernel = detectors.gaussian_kernel(np.where(np.isnan(rows), 0, rows), clean)
    kernel[failed], kernel[:, failed] = 0, 0
    kernel[failed, failed] = 1
    return kernel


def null_maxima(
    values: Arrays, photograph: np.ndarray, number: int, *, streams: int = BOUNDED_STREAMS
) -> First:
    """(streams,) largest statistics of a block of unchanged streams, the bounded-mean test's of half of them."""
    rng = np.random.default_rng([number, 47])
    of = draw(rng, photograph, 2 * streams, None, "step")
    found = statistics(values, of, rng, bounded=streams)
    return {pair: statistic[:WITHIN].max(axis=0) for pair, statistic in found.items()}


def null_thresholds(blocks: Iterable[First]) -> dict[tuple[str, str], float]:
    """Thresholds that the stated part of the streams, and no more, have reached."""
    pairs: dict[tuple[str, str], list[np.ndarray]] = {}
    for block in blocks:
        for pair, maxima in block.items():
            pairs.setdefault(pair, []).append(maxima)
    return {
        pair: float(np.nextafter(np.quantile(np.concatenate(each), 1 - RISK, method="higher"), np.inf))
        for pair, each in pairs.items()
    }


def firsts(
    values: Arrays,
    photograph: np.ndarray,
    thresholds: dict[tuple[str, str], float],
    condition: str,
    mode: str,
    *,
    resample: int = 1,
) -> First:
    """(streams,) first alarms after the change, from 1; 0 for none, −1 for one before the change."""
    rng = np.random.default_rng([zlib.crc32(f"{condition} {mode}".encode()), resample, 53])
    of = draw(rng, photograph, STREAMS, condition, mode, resample=resample)
    found: First = {}
    for pair, statistic in statistics(
        values, of, rng, bounded=BOUNDED_STREAMS if resample == 1 else 0
    ).items():
        first = detectors.first_at_least(statistic, thresholds[pair])
        found[pair] = np.where((first > 0) & (first <= BEFORE), -1, np.maximum(first - BEFORE, 0))
    return found


def median_delay(first: np.ndarray) -> float:
    """Median over the streams without an alarm before the change; infinite where fewer than half see it.

    Example:
        >>> median_delay(np.array([4, 6, 0, -1])), median_delay(np.array([4, 0, 0]))
        (6.0, inf)
    """
    kept = first[first >= 0]
    return float(np.median(np.where(kept > 0, kept, np.inf))) if len(kept) else np.inf


def cell(first: np.ndarray, resampled: np.ndarray | None, *, within: int) -> dict[str, Any]:
    """Median delay, part detected within so many observations, and an interval from banks of their own."""
    kept = first[first >= 0]
    late = (kept == 0) | (kept > within)
    result: dict[str, Any] = {
        "delay": _finite(median_delay(np.where(first > within, 0, first))),
        "detected": float(1 - late.mean()),
        "early": float((first < 0).mean()),
    }
    if resampled is not None:
        # A bank whose photographs are drawn with replacement is more uniform than the bank: its delays are less. So
        # only their spread counts, about the median of the bank itself.
        medians = np.array(
            [median_delay(np.where(one > within, 0, one)) for one in np.array_split(resampled, BANKS)]
        )
        low, middle, high = np.quantile(medians, (0.05, 0.5, 0.95), method="nearest")
        known = result["delay"] is not None and np.isfinite(middle)
        result["interval_90"] = (
            [_finite(float(result["delay"] * end / middle)) for end in (low, high)] if known else None
        )
    return result


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
