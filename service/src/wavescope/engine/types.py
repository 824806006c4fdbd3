"""Domain types that cross the boundaries between the engine and what surrounds it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32, Int32

from wavescope.core.maps import Importance as BandImportance

Outputs = Literal["logits", "probabilities", "sigmoid"]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From a decoded image to the model's input: resize, centre crop, then ``(x - mean) / std``.

    Attributes:
        size: (height, width) of the model's input, px.
        resize: the shorter side is resized to this many px before the crop; ``None`` resizes to ``size`` directly.
        mean: per channel, in units of [0, 1]. Its length is the number of channels (1 grey, 3 RGB).
        std: per channel, in units of [0, 1], positive.
        interpolation: the resampling filter.
    """

    size: tuple[int, int] = (224, 224)
    resize: int | None = 256
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the model's input."""
        return (len(self.mean), *self.size)


@dataclass(frozen=True, slots=True)
class CropBox:
    """What the model sees, in pixels of the original after EXIF rotation; fractional where resizing makes it so."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded, preprocessed image before normalisation.

    Attributes:
        pixels: (channels, height, width) float32 in [0, 1], at the model's input size.
        crop: the part of the original that ``pixels`` shows.
        original_size: (height, width) of the EXIF-rotated original, px.
    """

    pixels: Float32[np.ndarray, "c h w"]
    crop: CropBox
    original_size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """What a loaded model says of itself.

    Attributes:
        outputs: what its raw output is; decides which scores can be had.
        labels: class names in index order.
        device: where it runs, such as ``cpu`` or ``cuda:0``.
        precision: what it computes in, such as ``float32``.
        runtime: what runs it, such as ``onnxruntime 1.22.0``.
        batch_size: the device batch it was measured to like best, images.
    """

    name: str
    preprocessing: Preprocessing
    outputs: Outputs
    labels: tuple[str, ...]
    device: str
    precision: str
    runtime: str
    batch_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationRequest:
    """Every parameter of an explanation but the image and the model; the defaults are the paper's.

    Attributes:
        kind: the product asked for.
        target: class index or name; ``None`` explains the predicted class.
        score: the scalar that is explained.
        seed: of the design and of the bootstrap; 0 is a seed like any other.
        plan: ``full`` is exactly the paper's design.
        wavelet: any discrete wavelet of PyWavelets.
        levels: dyadic levels, 1..max for the model's input size.
        partition: how coefficients are grouped into factors.
        grid_size: cells per side for ``grid`` and ``aligned``.
        nb_design: N, rows of A and of B; a power of two for Sobol.
        sampler: of the design.
        estimator: of the total index.
        approximation: ``perturb`` like any other band, ``keep`` at 1, or ``drop`` to 0.
        value_policy: what becomes of values that leave [0, 1].
    """

    kind: str = "wcam"
    target: int | str | None = None
    score: str = "probability"
    seed: int = 0
    plan: str = "full"
    wavelet: str = "haar"
    levels: int = 3
    partition: str = "grid"
    grid_size: int = 28
    nb_design: int = 8
    sampler: str = "sobol"
    estimator: str = "jansen"
    approximation: str = "perturb"
    value_policy: str = "clip"

    def parameters(self) -> dict[str, Any]:
        """All effective parameters, JSON-ready."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Prediction:
    """One class of the model with its probability on the unperturbed image (``None`` where it has none)."""

    index: int
    label: str
    probability: float | None


@dataclass(frozen=True, slots=True)
class LevelImportance:
    """Importance of one level, 0 the approximation, 1 the coarsest detail, L the finest (paper, Table 1).

    Attributes:
        scale_px: [from, to] of the scales it holds, px; ``to`` is ``None`` for the approximation.
        sum: Σ_k S_Tk · |cell_k ∩ level| / |cell_k|.
        share: ``sum`` over all levels' sums.
        mean_share: mean per coefficient of the map of indices, normalised over levels.
        horizontal, vertical, diagonal: the same three numbers per orientation; ``None`` for the approximation.
    """

    level: int
    scale_px: tuple[int, int | None]
    sum: float
    share: float
    mean_share: float
    horizontal: BandImportance | None
    vertical: BandImportance | None
    diagonal: BandImportance | None


@dataclass(frozen=True, slots=True)
class Indices:
    """Sobol indices per factor, in factor order (row-major for a grid).

    Attributes:
        total: (K,) total indices.
        first: (K,) first-order indices.
        standard_error: (K,) of ``total``; ``None`` below N = 4.
        interval_95: (K, 2) of ``total``; ``None`` below N = 4.
    """

    total: Float[np.ndarray, " k"]
    first: Float[np.ndarray, " k"]
    standard_error: Float[np.ndarray, " k"] | None
    interval_95: Float[np.ndarray, "k 2"] | None


@dataclass(frozen=True, slots=True)
class Maps:
    """Arrays for drawing and for machines.

    Attributes:
        wcam: (H, W) float32, the total index of each packed coefficient's factor (0 where it has none).
        spatial_wcam: (h, w) float32 at the model's input size, summed over sub-bands.
        factors: (H, W) int32, the factor of each packed coefficient, -1 for none.
    """

    wcam: Float32[np.ndarray, "H W"]
    spatial_wcam: Float32[np.ndarray, "h w"]
    factors: Int32[np.ndarray, "H W"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The reply to an :class:`ExplanationRequest`.

    ``indices``, ``maps`` and ``levels`` are ``None`` when ``outcome`` is ``constant_score``.
    """

    id: str
    kind: str
    model: str
    outcome: Literal["explained", "constant_score"]
    target: Prediction
    prediction: tuple[Prediction, ...]
    indices: Indices | None
    maps: Maps | None
    levels: tuple[LevelImportance, ...] | None
    crop: CropBox
    forwards: int
    timing: dict[str, float]
    parameters: dict[str, Any]
    image: Float32[np.ndarray, "c h w"]
    warnings: tuple[str, ...] = field(default=())
