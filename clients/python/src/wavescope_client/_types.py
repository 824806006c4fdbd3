"""The result, as frozen dataclasses with read-only NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

Target = int | str | None
"""A class by index or by name; ``None`` for the predicted one."""


class RequestFields(TypedDict, total=False):
    """Every field of a request but the images; what is absent has the service's default for the kind.

    The service checks names and values, so fields that are younger than this client pass.
    """

    model: str
    kind: Literal["wcam", "fam", "sobol", "sufficient-image", "profile", "compare", "robustness", "zoom"]
    target: Target
    score: Literal["probability", "logit", "log_probability", "margin"]
    seed: int
    plan: Literal["full", "adaptive"]
    wavelet: str
    levels: int
    partition: Literal["grid", "aligned", "subbands", "levels", "circle", "square"]
    grid_size: int
    nb_design: int
    sampler: Literal["sobol", "halton", "latin_hypercube", "monte_carlo"]
    estimator: Literal["jansen", "homma", "janon", "glen", "saltelli"]
    approximation: Literal["perturb", "keep", "drop"]
    value_policy: Literal["clip", "minmax", "none"]
    baseline: Literal["zero", "mean", "blur"]
    faithfulness: bool
    compat: Literal["reference"] | None
    max_forwards: int
    deadline_s: float
    standard_error: float
    top_k: int


class PredictionFields(TypedDict, total=False):
    """The fields of a prediction but the images; what is absent has the service's default."""

    model: str
    top_k: int


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
        first: (K,) float64 first-order indices; ``None`` for the adaptive plan.
        standard_error: (K,) float64, of ``total``; ``None`` below N = 4.
        interval_95: (K, 2) float64 low and high, of ``total``; ``None`` below N = 4.
        resolved: (K,) bool, whether the factor was perturbed by itself, where its index is otherwise a prediction;
            ``None`` for the full plan, where all are.
        upper_bound: (K,) float64, what ``total`` does not exceed; ``None`` for the full plan.
    """

    total: np.ndarray
    first: np.ndarray | None
    standard_error: np.ndarray | None
    interval_95: np.ndarray | None
    resolved: np.ndarray | None
    upper_bound: np.ndarray | None


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """The maps; what the kind does not have is ``None``.

    Attributes:
        factors: (H, W) int32, the factor of each coefficient, -1 for none: in packed layout (wavelet), centred
            (``fam``), or by pixel (``sobol``).
        wcam: (H, W) float32, the total index of each packed coefficient's factor, 0 where it has none.
        spatial_wcam: (h, w) float32 at the model's input size, summed over sub-bands.
        fam: (h, w) float32, the total index of each frequency's factor, in the centred Nyquist square.
        sobol: (h, w) float32, the total index of each pixel's factor.
    """

    factors: np.ndarray
    wcam: np.ndarray | None
    spatial_wcam: np.ndarray | None
    fam: np.ndarray | None
    sobol: np.ndarray | None


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


@dataclass(frozen=True, slots=True)
class Worth:
    """What the map is worth: figures of this very explanation.

    Attributes:
        variance: of the score over the design.
        split_half: rank correlation of the indices from odd with those from even design rows, corrected to the whole
            design.
        runner_up: the most probable class other than the target.
        class_contrast: 1 - rank correlation with the runner-up's indices: 0 for the same map.
    """

    variance: float
    split_half: float | None
    runner_up: Prediction | None
    class_contrast: float | None


@dataclass(frozen=True, slots=True)
class Round:
    """Where an adaptive plan stood: images scored, factors perturbed by themselves, the largest standard error."""

    forwards: int
    resolved: int
    standard_error: float


@dataclass(frozen=True, slots=True)
class Screening:
    """How an adaptive plan came to its end.

    Attributes:
        stopped: the field of the request that ended it; ``all_resolved`` where nothing was left to score.
        groups: groups of factors that were perturbed together.
        rounds: in order; the indices were a valid answer after each.
    """

    stopped: str
    groups: int
    rounds: tuple[Round, ...]


@dataclass(frozen=True, slots=True)
class Ring:
    """One ring of the radial profile: [from, to) cycles per pixel, its mean total index, and that over all rings'."""

    frequency: tuple[float, float]
    mean: float
    share: float


@dataclass(frozen=True, slots=True)
class ProfileBand:
    """One factor of the scale profile.

    Attributes:
        level: 0 the approximation, 1 the coarsest detail.
        orientation: ``None`` where the factor is a whole level.
        scale_px: (from, to) of the scales it holds, px; ``to`` is ``None`` for the approximation.
        total: total index.
        standard_error, interval_95: of ``total``; ``None`` below N = 4.
        share: ``total`` over the sum of all.
        share_standard_error: ``None`` below N = 4.
    """

    level: int
    orientation: str | None
    scale_px: tuple[int, int | None]
    total: float
    standard_error: float | None
    interval_95: tuple[float, float] | None
    share: float
    share_standard_error: float | None


@dataclass(frozen=True, slots=True)
class Kept:
    """What the sufficient image keeps of the transform: coefficients, their share of the energy, bytes compressed."""

    coefficients: int
    coefficients_total: int
    energy_share: float
    compressed_bytes: int
    compressed_bytes_total: int


@dataclass(frozen=True, slots=True, eq=False)
class Sufficiency:
    """The least of the image that keeps the label.

    Attributes:
        outcome: ``sufficient``, ``empty_suffices`` or ``none_suffices``.
        depth: the reconstruction depth, the smallest number of top factors whose image has the target's label; ``None``
            if there is none.
        order: (K,) int64, factors by total index, largest first.
        probability: (K + 1,) float64, of the target with the n top factors alone, n = 0..K.
        predicted: (K + 1,) int64, the class predicted for each.
        positive_factors: factors whose index is above 1/255 of the largest.
        image: of the ``depth`` top factors, the bytes of a PNG file; ``None`` without a depth.
        top_image: of the top factor alone, the same.
        positive_image: of the positive factors alone, the same.
        kept: of ``image``; ``None`` without a depth.
    """

    outcome: str
    depth: int | None
    order: np.ndarray
    probability: np.ndarray
    predicted: np.ndarray
    positive_factors: int
    image: bytes | None = field(repr=False)
    top_image: bytes = field(repr=False)
    positive_image: bytes = field(repr=False)
    kept: Kept | None


@dataclass(frozen=True, slots=True)
class ScaleChange:
    """One level of a comparison; ``change`` is positive where the other image gained."""

    level: int
    scale_px: tuple[int, int | None]
    share: float
    other_share: float
    change: float


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What changed from the image to the other one.

    Attributes:
        scale_shift: total variation distance of the levels' shares, 0..1.
        place_shift: total variation distance of the normalised spatial maps, 0..1.
        scales: level by level.
        place_change: (h, w) float32, normalised spatial map of the other image minus that of the image.
        other: the explanation of the other image.
    """

    scale_shift: float
    place_shift: float
    scales: tuple[ScaleChange, ...]
    place_change: np.ndarray
    other: Explanation


@dataclass(frozen=True, slots=True)
class Corrupted:
    """The model's answer to one corrupted image; ``probability`` is the target's."""

    corruption: str
    severity: int
    predicted: Prediction
    probability: float
    same_label: bool


@dataclass(frozen=True, slots=True)
class Robustness:
    """How often the label survives corruption: of all corrupted images, and per corruption."""

    share: float
    shares: Mapping[str, float]
    corrupted: tuple[Corrupted, ...]


@dataclass(frozen=True, slots=True)
class ZoomLevel:
    """One level of the regular and of the zoomed image.

    Attributes:
        scale_px: in pixels of the regular image.
        share, mean_share: ``None`` for the level that only the zoomed image has.
    """

    level: int
    scale_px: tuple[float, float | None]
    share: float | None
    mean_share: float | None
    zoomed_share: float
    zoomed_mean_share: float


@dataclass(frozen=True, slots=True, eq=False)
class Zoom:
    """What becomes visible when the image is enlarged twice.

    Attributes:
        new_share: of the importance in the newly visible scale, by sums.
        new_mean_share: the same by means per coefficient.
        levels: level by level.
        zoomed: the explanation of the enlarged image.
    """

    new_share: float
    new_mean_share: float
    levels: tuple[ZoomLevel, ...]
    zoomed: Explanation


@dataclass(frozen=True, slots=True, eq=False)
class Faithfulness:
    """How well the map tells what the model uses, in one domain.

    Attributes:
        domain: ``pixel``, ``wavelet`` or ``fourier``.
        insertion: area under ``insertion_curve``; higher is better.
        deletion: area under ``deletion_curve``; lower is better.
        mu_fidelity: Pearson correlation of the importance of random subsets with what removing them costs.
        mu_fidelity_spearman: the same by ranks.
        fraction: (steps + 1,) float64, of the features inserted or deleted.
        insertion_curve, deletion_curve: (steps + 1,) float64, probability of the target.
        parameters: how it was measured.
    """

    domain: str
    insertion: float
    deletion: float
    mu_fidelity: float | None
    mu_fidelity_spearman: float | None
    fraction: np.ndarray
    insertion_curve: np.ndarray
    deletion_curve: np.ndarray
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explanation:
    """What the service answered.

    What the kind does not have is ``None``; so are ``indices``, ``maps`` and everything made of them when ``outcome``
    is ``constant_score``.

    Attributes:
        levels: importance per level, for the kinds in the wavelet domain.
        radial: the radial profile of kind ``fam``.
        profile: the sub-bands of kind ``profile``.
        sufficiency: of kinds ``sufficient-image`` and ``robustness``.
        faithfulness: one entry per domain, where it was asked for.
        screening: of the adaptive plan.
        precision: what the model computed in, such as ``float32``; ``None`` from an older service.
        forwards: images scored, the clean predictions not counted.
        partial: whether a deadline ended it early: valid, with larger errors than were asked for.
        cached: whether the service had it already, so that nothing was scored.
        figure: the bytes of a PNG file, ``None`` when it was not asked for.
        request_id: names the request in the service's log.
    """

    id: str
    kind: str
    model: str
    precision: str | None
    outcome: str
    target: Prediction
    prediction: tuple[Prediction, ...]
    indices: Indices | None
    maps: Maps | None
    levels: tuple[Level, ...] | None
    worth: Worth | None
    radial: tuple[Ring, ...] | None
    profile: tuple[ProfileBand, ...] | None
    sufficiency: Sufficiency | None
    comparison: Comparison | None
    robustness: Robustness | None
    zoom: Zoom | None
    faithfulness: tuple[Faithfulness, ...] | None
    screening: Screening | None
    crop: Crop
    forwards: int
    timing: Mapping[str, float]
    parameters: Mapping[str, Any]
    warnings: tuple[str, ...]
    partial: bool = False
    cached: bool = False
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
