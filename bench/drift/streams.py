"""Streams of images in which something changes, drawn from the bank, each with a reference of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bench.drift.bank import Arrays
from bench.drift.crops import CONDITIONS, CORRUPTIONS, SEVERITIES
from bench.drift.features import Feature, scores

FIT, CALIBRATE = 100, 200  # images of a reference
BEFORE, AFTER = 500, 500  # observations before the change, and after it
RAMP = 1000  # observations in which a ramp grows
BLACK, OTHERS = "black frame", "other photographs"
MODES = ("step", "mixture 30 %", "mixture 10 %", "ramp")
PARTS = {"step": 1.0, "mixture 30 %": 0.3, "mixture 10 %": 0.1}


@dataclass(frozen=True, eq=False)
class Streams:
    """Streams of observations.

    Attributes:
        fitted: (streams, 100) images that scores are fitted to.
        reference: (streams, 200) images that the streams are ranked among.
        images: (streams, observations).
        conditions: (streams, observations) positions in ``used``.
        used: positions of the conditions in the bank, that of ``clean`` first.
    """

    fitted: np.ndarray
    reference: np.ndarray
    images: np.ndarray
    conditions: np.ndarray
    used: tuple[int, ...]

    @property
    def items(self) -> np.ndarray:
        """(streams, observations) positions among images · used conditions, image by image."""
        return self.images * len(self.used) + self.conditions


def names(mode: str) -> tuple[str, ...]:
    """Conditions that a mode of change is measured for."""
    if mode == "ramp":
        return tuple(CORRUPTIONS)
    return (*CONDITIONS[1:], BLACK, OTHERS) if mode == "step" else CONDITIONS[1:]


def draw(
    rng: np.random.Generator,
    photograph: np.ndarray,
    streams: int,
    condition: str | None,
    mode: str,
    *,
    resample: int = 1,
) -> Streams:
    """Streams with a change, or without one.

    Args:
        rng: random numbers.
        photograph: (images,) positions of the images' photographs.
        streams: how many.
        condition: of :func:`names`; ``None`` for no change.
        mode: of :data:`MODES`.
        resample: 1 draws from the bank; of more, as many equal groups of streams draw from banks of their own, whose
            photographs are drawn from the bank's with replacement.
    """
    after = observations_of(mode)
    length = FIT + CALIBRATE + BEFORE + after
    pools = [_images(photograph, np.arange(photograph.max() + 1))]
    if resample > 1:
        count = photograph.max() + 1
        pools = [_images(photograph, rng.integers(count, size=count)) for _ in range(resample)]
    drawn = np.concatenate(
        [pool[rng.integers(len(pool), size=(streams // len(pools), length))] for pool in pools]
    )
    kinds = np.zeros(drawn.shape, np.int64)
    used = (0,)
    if condition == OTHERS:
        drawn = np.stack([_with_others(rng, photograph, length, length - after) for _ in range(streams)])
    elif mode == "ramp" and condition is not None:
        used = (0, *(CONDITIONS.index(f"{condition} {severity}") for severity in SEVERITIES))
        place = np.interp(np.arange(after) / after * SEVERITIES[-1], (0, *SEVERITIES), range(len(used)))
        kinds[:, -after:] = np.floor(place + rng.uniform(size=(len(drawn), after)))
    elif condition is not None:
        used = (0, len(CONDITIONS) if condition == BLACK else CONDITIONS.index(condition))
        kinds[:, -after:] = rng.uniform(size=(len(drawn), after)) < PARTS[mode]
    fitted, reference, images = np.split(drawn, (FIT, FIT + CALIBRATE), axis=1)
    return Streams(fitted, reference, images, kinds[:, FIT + CALIBRATE :], used)


def _images(photograph: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return np.concatenate([np.flatnonzero(photograph == one) for one in chosen])


def _with_others(rng: np.random.Generator, photograph: np.ndarray, length: int, change: int) -> np.ndarray:
    """Images of one half of the photographs, and after the change of the other half."""
    halves = np.array_split(rng.permutation(photograph.max() + 1), 2)
    before, after = (_images(photograph, half) for half in halves)
    return np.concatenate([rng.choice(before, change), rng.choice(after, length - change)])


def with_black(values: Arrays, black: Arrays) -> Arrays:
    """Prepared values with the black frame as one more condition of every image."""
    return {
        key: np.concatenate([found, np.broadcast_to(black[key], (len(found), 1, *found.shape[2:]))], axis=1)
        for key, found in values.items()
    }


def scored(feature: Feature, values: Arrays, of: Streams) -> np.ndarray:
    """(streams, images · used) scores, each stream's fitted to its own reference; those that failed are +∞."""
    chosen = {feature.key: values[feature.key][:, list(of.used)]}
    if not feature.distance:
        found = np.where(np.isnan(chosen[feature.key]), np.inf, chosen[feature.key]).reshape(-1)
        return np.broadcast_to(found, (len(of.images), len(found)))
    rows = [scores(feature, chosen, reference).reshape(-1) for reference in of.fitted]
    return np.where(np.isnan(rows), np.inf, rows)


def dense_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, from 0 on; equal values have the same.

    Example:
        >>> dense_ranks(np.array([[2.0, 1.0, 2.0, 5.0]])).tolist()
        [[1, 0, 1, 2]]
    """
    order = np.argsort(values, axis=-1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=-1)
    steps = np.zeros(values.shape, np.int64)
    steps[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    ranks = np.empty_like(steps)
    np.put_along_axis(ranks, order, np.cumsum(steps, axis=-1), axis=-1)
    return ranks


def take(values: np.ndarray, items: np.ndarray) -> np.ndarray:
    """(streams, n) of (streams, items) values, those of every stream's own items."""
    return np.take_along_axis(values, items, axis=1)


def observations_of(mode: str) -> int:
    """Observations after a change of this mode."""
    return RAMP if mode == "ramp" else AFTER
