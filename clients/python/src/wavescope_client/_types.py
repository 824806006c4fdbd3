"""The result, as frozen dataclasses with read-only NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np


class RequestFields(TypedDict, total=False):
    """Every field of a request but the image; what is absent has the service's default, the paper's.

    The service checks names and values, so fields that are younger than this client pass.
    """

    model: str
    kind: str
    target: int | str | None
    score: Literal["probability", "logit", "log_probability", "margin"]
    seed: int
    plan: str
    wavelet: str
    levels: int
    partition: Literal["grid", "aligned", "subbands", "levels"]
    grid_size: int
    nb_design: int
    sampler: str
    estimator: str
    approximation: Literal["perturb", "keep", "drop"]
    value_policy: Literal["clip", "minmax", "none"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """One class, with its probability on the unperturbed image (``None`` where the model has none)."""

    index: int
    label: str
    probability: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Indices:
    """Sobol indices per factor, in factor order (row-major for a grid).

    Attributes:
        total: (K,) float64 total indices.
        first: (K,) float64 first-order indices.
        standard_error: (K,) float64, of ``total``; ``None`` below N = 4.
        interval_95: (K, 2) float64 low and high, of ``total``; ``None`` below N = 4.
    """

    total: np.ndarray
    first: np.ndarray
    standard_error: np.ndarray | None
    interval_95: np.ndarray | None


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """The maps.

    Attributes:
        wcam: (H, W) float32, the total index of each packed coefficient's factor, 0 where it has none.
        spatial_wcam: (h, w) float32 at the model's input size, summed over sub-bands.
        factors: (H, W) int32, the factor of each packed coefficient, -1 for none.
    """

    wcam: np.ndarray
    spatial_wcam: np.ndarray
    factors: np.ndarray


@dataclass(frozen=True, slots=True)
class Band:
    """Importance of one orientation: sum of total indices, its share, and the share of the mean."""

    sum: float
    share: float
    mean_share: float


@dataclass(frozen=True, slots=True)
class Level:
    """Importance of one level: 0 the approximation, 1 the coarsest detail.

    Attributes:
        scale_px: (from, to) of the scales it holds, px; ``to`` is ``None`` for the approximation.
        horizontal, vertical, diagonal: ``None`` for the approximation.
    """

    level: int
    scale_px: tuple[int, int | None]
    sum: float
    share: float
    mean_share: float
    horizontal: Band | None
    vertical: Band | None
    diagonal: Band | None


@dataclass(frozen=True, slots=True)
class Crop:
    """What the model saw, in pixels of the original after EXIF rotation."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explanation:
    """What the service answered.

    ``indices``, ``maps`` and ``levels`` are ``None`` when ``outcome`` is ``constant_score``.

    Attributes:
        figure: the bytes of a PNG file, ``None`` when it was not asked for.
        request_id: names the request in the service's log.
    """

    id: str
    kind: str
    model: str
    outcome: str
    target: Prediction
    prediction: tuple[Prediction, ...]
    indices: Indices | None
    maps: Maps | None
    levels: tuple[Level, ...] | None
    crop: Crop
    forwards: int
    timing: Mapping[str, float]
    parameters: Mapping[str, Any]
    warnings: tuple[str, ...]
    figure: bytes | None = field(default=None, repr=False)
    request_id: str | None = None

    def save_png(self, path: str | PathLike[str]) -> Path:
        """Write the figure that came with the explanation.

        Raises:
            ValueError: it was not asked for.
            OSError: the file cannot be written.
        """
        if self.figure is None:
            raise ValueError("this explanation came without its figure: ask with explain(..., figure=True)")
        path = Path(path)
        path.write_bytes(self.figure)
        return path
