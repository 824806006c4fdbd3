"""Explanations to draw: a real photograph, indices made up so that every number in them is consistent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from skimage.data import chelsea
from skimage.transform import resize

from wavescope.engine.types import (
    BandImportance,
    CropBox,
    Explanation,
    ExplanationRequest,
    Indices,
    LevelImportance,
    Maps,
    Prediction,
)
from wavescope.figures.layout import packed_bands

MakeExplanation = Callable[..., Explanation]

_TOP_5 = (
    Prediction(285, "Egyptian cat", 0.6213),
    Prediction(282, "tiger cat", 0.1741),
    Prediction(281, "tabby", 0.0932),
    Prediction(287, "lynx", 0.0117),
    Prediction(728, "plastic bag", 0.0021),
)


@pytest.fixture
def make_explanation() -> MakeExplanation:
    return _explanation


def _explanation(
    *,
    shape: tuple[int, int, int] = (3, 224, 224),
    levels: int = 3,
    grid: int = 28,
    seed: int = 0,
    skew: float = 2.0,
    offset: float = 0.0,
    constant: bool = False,
    **fields: object,
) -> Explanation:
    """An explanation of ``shape`` that favours the centre of each sub-band and the coarse scales.

    Args:
        skew: of the noise ``u**skew``; 0 gives a map without noise.
        offset: added to every index, so that a negative one makes some or all of them negative.
        **fields: replace those of the explanation.
    """
    channels, height, width = shape
    picture = np.asarray(resize(chelsea(), (height, width), anti_aliasing=True), np.float32)
    image = np.moveaxis(picture, -1, 0) if channels == 3 else picture.mean(-1)[None].repeat(channels, 0)
    packed = tuple(-(-side // 2**levels) * 2**levels for side in (height, width))
    rows, columns = (np.arange(side) * grid // side for side in packed)
    factors = (rows[:, None] * grid + columns).astype(np.int32)
    noise = np.random.default_rng(seed).random(grid * grid) ** skew
    total = offset + noise * _cell_means(_prior(packed, levels), factors, grid * grid)
    wcam = total[factors].astype(np.float32)
    request = ExplanationRequest(levels=levels, grid_size=grid)
    made = Explanation(
        id="0",
        kind="wcam",
        model="efficientnet-lite0",
        outcome="explained",
        target=_TOP_5[0],
        prediction=_TOP_5,
        indices=Indices(total, total / 2, total / 10, np.stack([0.8 * total, 1.2 * total], 1)),
        maps=Maps(wcam, _spatial(wcam, levels, (height, width)), factors),
        levels=_levels(wcam, total, factors, levels),
        crop=CropBox(0, 0, width, height),
        forwards=request.nb_design * (grid * grid + 2),
        timing={"total_s": 1.0},
        parameters=request.parameters(),
        image=np.ascontiguousarray(image),
    )
    if constant:
        made = replace(made, outcome="constant_score", indices=None, maps=None, levels=None)
    return replace(made, **fields)  # type: ignore[arg-type]


def _prior(packed: tuple[int, ...], levels: int) -> np.ndarray:
    prior = np.empty(packed)
    for band in packed_bands((packed[0], packed[1]), levels):
        rows, columns = (
            np.linspace(-1, 1, int(side)) for side in (band.bottom - band.top, band.right - band.left)
        )
        bump = np.exp(-3 * (rows[:, None] ** 2 + columns**2))
        prior[int(band.top) : int(band.bottom), int(band.left) : int(band.right)] = bump * 0.4**band.level
    return prior


def _cell_means(values: np.ndarray, factors: np.ndarray, cells: int) -> np.ndarray:
    area = np.bincount(factors.ravel(), minlength=cells)
    return np.bincount(factors.ravel(), values.ravel(), minlength=cells) / np.maximum(area, 1)


def _spatial(wcam: np.ndarray, levels: int, size: tuple[int, int]) -> np.ndarray:
    spatial = np.zeros(size, np.float32)
    for band in packed_bands(wcam.shape, levels):
        block = wcam[int(band.top) : int(band.bottom), int(band.left) : int(band.right)]
        rows, columns = (
            np.arange(side) * cells // side for side, cells in zip(size, block.shape, strict=True)
        )
        spatial += block[rows][:, columns]
    return spatial


def _levels(
    wcam: np.ndarray, total: np.ndarray, factors: np.ndarray, levels: int
) -> tuple[LevelImportance, ...]:
    area = np.bincount(factors.ravel(), minlength=len(total))
    density = (total / np.maximum(area, 1))[factors]
    bands = packed_bands(wcam.shape, levels)
    blocks = [np.s_[int(b.top) : int(b.bottom), int(b.left) : int(b.right)] for b in bands]
    sums = [float(density[block].sum()) for block in blocks]
    level_means = [
        float(
            np.mean(
                np.concatenate([wcam[s].ravel() for b, s in zip(bands, blocks, strict=True) if b.level == n])
            )
        )
        for n in range(levels + 1)
    ]
    everything, means = sum(sums), sum(level_means)

    def level(number: int) -> LevelImportance:
        parts = {
            band.orientation: BandImportance(
                sums[i], sums[i] / everything, float(wcam[blocks[i]].mean()) / means
            )
            for i, band in enumerate(bands)
            if band.level == number
        }
        own = sum(part.sum for part in parts.values())
        scale = (2**levels, None) if number == 0 else (2 ** (levels - number), 2 ** (levels - number + 1))
        return LevelImportance(
            number,
            scale,
            own,
            own / everything,
            level_means[number] / means,
            parts.get("horizontal"),
            parts.get("vertical"),
            parts.get("diagonal"),
        )

    return tuple(level(number) for number in range(levels + 1))
