"""Types of a request and of its result, the source of the JSON schema, the client's types and the protocol check."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32

from wavescope.core.gradients import Method
from wavescope.core.maps import Importance as BandImportance
from wavescope.core.reconstruction import Kept
from wavescope.core.scores import AUTO
from wavescope.engine.class_names import distinct_names
from wavescope.engine.limits import (
    LEAST_FORWARDS,
    MAX_ADAPTIVE_FACTORS,
    MAX_FORWARDS,
    MAX_GRID_SIZE,
    MAX_LEVELS,
    MAX_NB_DESIGN,
    MAX_SAMPLES,
    MAX_SEED,
)

Outputs = Literal["logits", "probabilities", "sigmoid"]
Target = int | str | None  # a class by its index or its label; None for the predicted one
# Fields of a request that are one: by one rule, with the same errors.
CLASS_FIELDS = ("target", "against")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Preprocessing of a decoded image for the model: resize, centre crop, then ``(x - mean) / std``.

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
    """The crop that the model sees, in pixels of the original after EXIF rotation; may be fractional after resizing."""

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
        assumptions: sentences about what was assumed of the file, such as the range of its samples.
    """

    pixels: Float32[np.ndarray, "c h w"]
    crop: CropBox
    original_size: tuple[int, int]
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """Metadata of a loaded model.

    Attributes:
        outputs: kind of its raw output; decides which scores can be had.
        labels: class names in index order; those of several classes are given their indices: ``crane (134)``.
        device: device that it runs on, such as ``cpu`` or ``cuda:0``.
        precision: number format that it computes in, such as ``float32``.
        runtime: library that runs it, such as ``onnxruntime 1.22.0``.
        batch_size: the device batch that was measured to be fastest, images.
        revision: digest of the model: two models of one revision give the same scores; empty where unknown.
        seconds_per_image: time per image in full device batches, measured when it was loaded; ``None`` where not.
        threshold: probability from which a binary model, one of a single output, predicts its positive class, index 1;
            ``None`` for models of more outputs.
        warnings: sentences about contradictions between a model's declaration and its outputs.
        no_gradients: reason why it has no gradients, such as an operator without a derivative; ``None`` where it has
            some, as far as is known before the first is asked for.
    """

    name: str
    preprocessing: Preprocessing
    outputs: Outputs
    labels: tuple[str, ...]
    device: str
    precision: str
    runtime: str
    batch_size: int
    revision: str = ""
    seconds_per_image: float | None = None
    threshold: float | None = None
    warnings: tuple[str, ...] = ()
    no_gradients: str | None = "its runtime computes no gradients"

    def __post_init__(self) -> None:
        """See :func:`wavescope.engine.class_names.distinct_names`."""
        object.__setattr__(self, "labels", distinct_names(self.labels))

    @property
    def binary(self) -> bool:
        """Whether its two classes are made of one output."""
        return self.threshold is not None

    @property
    def gradients(self) -> bool:
        """Gradients, whether it has some: as far as is known before the first is asked for."""
        return self.no_gradients is None


def limited(default: Any, **limits: Any) -> Any:
    """A field of a request with its limits, named as pydantic does: ``ge``, ``gt``, ``le``, ``max_length``."""
    return field(default=default, metadata=limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationRequest:
    """Every effective parameter of an explanation but the image and the model.

    The defaults are those of ``wcam``; :func:`wavescope.engine.requests.make_request` knows those of every kind. Help
    texts of the command line, the schema of the HTTP request and the client's types are made of this class.

    Attributes:
        kind: kind of explanation.
        target: class index or name, for every image; ``None`` explains the predicted class. Text is a name; digits
            are an index where no class has that name. ``index:2`` and ``name:2`` say which is meant.
        against: class that the target is contrasted with, written as ``target``; ``None`` for the runner-up, the most
            probable other class. Kinds ``wcam``, ``fam``, ``sobol`` and ``profile``.
        score: the scalar of the target class that is explained; ``auto`` is ``logit`` from logits, ``log_probability``
            from probabilities, ``logit`` from sigmoid outputs, and the reply names which.
        seed: seed of the sampling design, of the bootstrap and of everything else that is drawn.
        plan: ``full`` is exactly the paper's design; ``adaptive`` perturbs by themselves only the factors where that
            improves the indices most, and predicts the others. A ``deadline_s`` ends either.
        prior: plan ``adaptive`` alone: what its indices are predicted from before a factor is perturbed. ``size``: the
            size of its coefficients; ``gradients``: derivatives of the score by every mask value at some rows of A,
            each charged as three forwards, or as four where outputs must be known before the score's derivatives are;
            ``auto`` is ``gradients`` where the model has them, else ``size``, and the reply names which.
        wavelet: any discrete wavelet of PyWavelets.
        levels: dyadic levels of the wavelet transform; the size of the image bounds them further.
        partition: grouping of coefficients into factors: ``grid``, ``aligned``, ``subbands`` or ``levels`` in the
            wavelet domain (``profile``: ``subbands`` or ``levels``), ``circle``, ``square`` or ``grid`` for ``fam``,
            ``grid`` for ``sobol``.
        grid_size: cells per side for ``grid`` and ``aligned``, rings for ``circle`` and ``square``.
        nb_design: N, rows of A and of B; a power of two for Sobol. With plan ``adaptive`` rows of A alone.
        sampler: sampling scheme of the pick-freeze design.
        estimator: estimator of the total Sobol indices.
        approximation: perturb the approximation like any other band, keep it at 1, or drop it to 0.
        value_policy: treatment of values that leave [0, 1]: clipped, rescaled to the image's range, or left.
        baseline: value of a masked pixel, for kind ``sobol``; for kind ``wam`` the image that integrated gradients
            begin at.
        faithfulness: measure insertion, deletion and µ-fidelity of the map as well.
        compat: ``reference`` computes as the authors' code does, and sets its defaults.
        max_forwards: plan ``adaptive`` alone: the most images that are scored of one image, gradients at the rate of
            ``prior`` among them.
        deadline_s: seconds from the request's arrival, waiting included, after which the answer is made of the scores
            so far and marked as partial; ``None`` for no deadline. The images of a batch share it. A full plan needs
            two whole design rows by then, kinds ``compare`` and ``zoom`` both images. No round of an adaptive plan and
            no chunk of anything else begins afterwards.
        standard_error: plan ``adaptive`` alone: stop once no index has a larger one.
        top_k: plan ``adaptive`` alone: stop once the k largest indices are the same factors three rounds in a row.
        accuracy: plan ``adaptive`` alone: stop once the indices are expected to correlate with the true ones at least
            so much, and the shares of levels to err by no more than what it lacks of 1; ``None`` for no such goal.
        method: of kind ``wam``: ``smoothgrad`` is the mean size of the gradient over noisy images;
            ``integrated_gradients`` its integral from the ``baseline`` to the image.
        samples: of kind ``wam``: images at which the model is differentiated, for each class anew.
        noise: of kind ``wam`` with ``smoothgrad``: standard deviation of the noise, as a share of the range of the
            image's values.
    """

    kind: str = "wcam"
    target: int | str | None = None
    against: int | str | None = None
    score: str = AUTO
    seed: int = limited(0, ge=0, le=MAX_SEED)
    plan: str = "full"
    prior: str = AUTO
    wavelet: str = limited("haar", min_length=1, max_length=32)
    levels: int = limited(3, ge=1, le=MAX_LEVELS)
    partition: str = "grid"
    grid_size: int = limited(28, ge=1, le=MAX_GRID_SIZE)
    nb_design: int = limited(8, ge=1, le=MAX_NB_DESIGN)
    sampler: str = "sobol"
    estimator: str = "jansen"
    approximation: str = "perturb"
    value_policy: str = "clip"
    baseline: str = "zero"
    faithfulness: bool = False
    compat: str | None = None
    max_forwards: int | None = limited(None, ge=LEAST_FORWARDS, le=MAX_FORWARDS)
    deadline_s: float | None = limited(None, gt=0, allow_inf_nan=False)
    standard_error: float | None = limited(None, gt=0, le=1)
    top_k: int | None = limited(None, ge=1, le=MAX_ADAPTIVE_FACTORS)
    accuracy: float | None = limited(None, ge=0.5, lt=1)
    method: str = "smoothgrad"
    samples: int = limited(25, ge=1, le=MAX_SAMPLES)
    noise: float = limited(0.25, ge=0, le=1)

    def parameters(self) -> dict[str, Any]:
        """Effective parameters, JSON-ready."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Prediction:
    """One class of the model, with its probability on the unperturbed image (``None`` where the model has none)."""

    index: int
    label: str
    probability: float | None


@dataclass(frozen=True, slots=True)
class LevelImportance:
    """Importance of one level, 0 the approximation, 1 the coarsest detail, L the finest (paper, Table 1).

    Attributes:
        scale_px: [from, to] of the scales it holds, px; ``to`` is ``None`` for the approximation.
        sum: Σ_k S_Tk · |cell_k ∩ level| / |cell_k|: the total indices of the cells, each by its part in this level; of
            kind ``wam`` the attributions of its coefficients.
        share: ``sum`` over all levels' sums.
        mean_share: mean per coefficient of the map of indices or attributions, normalised over levels.
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
        first: (K,) first-order indices; ``None`` for the adaptive plan, which scores no row of B.
        standard_error: (K,) standard errors of ``total``; ``None`` below N = 4.
        interval_95: (K, 2) 95 % intervals of ``total``, low and high; ``None`` below N = 4.
        resolved: (K,) whether the factor was perturbed by itself; ``None`` for the full plan, where all are. The index
            of one that was not is a prediction.
        upper_bound: (K,) upper bound of ``total``: the upper end of its interval where resolved, else that of the
            smallest group that the factor was perturbed with; ``None`` for the full plan.
        effect: signed effect of every factor, which is not an index: the slope of the score against the mask value, in
            units of the score. Positive where more of the factor raises it; ``None`` for a factor that was not
            perturbed by itself.
        effect_error: standard errors of ``effect``; ``None`` below N = 4, and for a factor that was perturbed by itself
            from fewer than 4 rows.
    """

    total: Float[np.ndarray, " k"]
    first: Float[np.ndarray, " k"] | None
    standard_error: Float[np.ndarray, " k"] | None
    interval_95: Float[np.ndarray, "k 2"] | None
    resolved: Bool[np.ndarray, " k"] | None = None
    upper_bound: Float[np.ndarray, " k"] | None = None
    effect: tuple[float | None, ...] | None = None
    effect_error: tuple[float | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class Maps:
    """The maps that the kind has; the others are ``None``.

    Attributes:
        factors: (H, W), the factor of each coefficient, -1 for none: in packed layout (wavelet), centred
            (Fourier: frequency 0 at (h // 2, w // 2)), or by pixel.
        wcam: (H, W), the total index of each packed coefficient's factor (0 where it has none).
        spatial_wcam: (h, w) at the model's input size, summed over sub-bands.
        fam: (h, w), the total index of each frequency's factor, in the centred Nyquist square.
        sobol: (h, w), the total index of each pixel's factor.
        wam: (H, W), the attribution of each packed coefficient, at least 0.
        spatial_wam: (h, w) at the model's input size, attributions summed over sub-bands.
    """

    factors: Int32[np.ndarray, "H W"]
    wcam: Float32[np.ndarray, "H W"] | None = None
    spatial_wcam: Float32[np.ndarray, "h w"] | None = None
    fam: Float32[np.ndarray, "h w"] | None = None
    sobol: Float32[np.ndarray, "h w"] | None = None
    wam: Float32[np.ndarray, "H W"] | None = None
    spatial_wam: Float32[np.ndarray, "h w"] | None = None

    @property
    def packed(self) -> Float32[np.ndarray, "H W"] | None:
        """The map over packed coefficients, where the kind has one."""
        return self.wcam if self.wcam is not None else self.wam

    @property
    def spatial(self) -> Float32[np.ndarray, "h w"] | None:
        """The map over the image's pixels, where the kind has one."""
        found = (self.spatial_wcam, self.spatial_wam, self.sobol)
        return next((each for each in found if each is not None), None)


@dataclass(frozen=True, slots=True)
class Worth:
    """Diagnostics of the map: figures of this very explanation.

    Attributes:
        variance: V of the score over the design.
        split_half: Spearman correlation of the indices from odd with those from even design rows, corrected to the
            whole design (Spearman-Brown); ``None`` with a single row, or where ranks are all tied.
        runner_up: the most probable class other than the target; ``None`` for a model of one class.
        class_contrast: 1 - Spearman correlation with the runner-up's indices: 0 for the same map, 1 for an unrelated
            one; ``None`` without a runner-up, and where the scores of two classes mirror each other, as p and 1 - p do.
    """

    variance: float
    split_half: float | None
    runner_up: Prediction | None
    class_contrast: float | None


@dataclass(frozen=True, slots=True)
class Contrast:
    """The reason for the target and not for another class: indices of the difference of their logits, z_t - z_a.

    From the same images as the other indices, whatever the score. A positive signed effect speaks for the target.

    Attributes:
        against: the other class.
        outcome: ``explained``, or ``constant_score`` where the difference did not vary; then the other fields but
            ``warnings`` are ``None``.
        indices: Sobol indices of every factor.
        map: (h, w), the total index as in the kind's own map over pixels or frequencies: ``maps.spatial_wcam``,
            ``maps.fam`` or ``maps.sobol``.
        levels: importance per level, for the kinds in the wavelet domain.
        radial: the radial profile of kind ``fam``.
        warnings: sentences about limits of these indices.
    """

    against: Prediction
    outcome: Literal["explained", "constant_score"]
    indices: Indices | None
    map: Float32[np.ndarray, "h w"] | None
    levels: tuple[LevelImportance, ...] | None
    radial: tuple[Ring, ...] | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LevelMap:
    """Attributions of one level over the image (kind ``wam``).

    Attributes:
        level: 0 the approximation, 1 the coarsest detail, L the finest.
        scale_px: [from, to] of the scales it holds, px; ``to`` is ``None`` for the approximation.
        map: (h, w) at the level's own resolution, summed over orientations.
    """

    level: int
    scale_px: tuple[int, int | None]
    map: Float32[np.ndarray, "h w"]


@dataclass(frozen=True, slots=True)
class Attributions:
    """Gradient attributions of the wavelet coefficients (kind ``wam``), which are no Sobol indices.

    Attributes:
        method: how they were computed.
        samples: images at which the model was differentiated.
        factors: (K,), attribution of every factor: the sum of those of its coefficients in ``maps.wam``, at least 0.
        signed: (K,), the same with signs, positive where the coefficients raise the score above that of the baseline;
            ``None`` for ``smoothgrad``, whose sizes have none.
        standard_error: (K,), standard errors of ``factors`` over the noise; ``None`` for ``integrated_gradients``, and
            below 4 samples.
        split_half: Spearman correlation of ``factors`` from odd with those from even samples, corrected to all of them
            (Spearman-Brown); ``None`` for ``integrated_gradients``, for a single sample, and where ranks are all tied.
        score: score of the image.
        baseline_score: score of the baseline; ``None`` for ``smoothgrad``.
        completeness_error: sum of the signed attributions of all coefficients, less ``score`` - ``baseline_score``,
            which it is with enough samples; ``None`` for ``smoothgrad``.
        level_maps: level by level, from the approximation.
    """

    method: Method
    samples: int
    factors: Float[np.ndarray, " k"]
    signed: Float[np.ndarray, " k"] | None
    standard_error: Float[np.ndarray, " k"] | None
    split_half: float | None
    score: float
    baseline_score: float | None
    completeness_error: float | None
    level_maps: tuple[LevelMap, ...]


Stop = Literal["max_forwards", "deadline_s", "standard_error", "top_k", "accuracy", "all_resolved"]


@dataclass(frozen=True, slots=True)
class Round:
    """State of an adaptive plan after a round.

    Attributes:
        forwards: images scored so far.
        resolved: factors perturbed by themselves so far.
        standard_error: the largest standard error of all indices.
        correlation: expected of the indices with the true ones, 0 to 1.
        level_error: expected half sum of the differences of the shares of levels, 0 to 1.
    """

    forwards: int
    resolved: int
    standard_error: float
    correlation: float
    level_error: float

    def accurate(self, accuracy: float) -> bool:
        """Whether the goal :attr:`ExplanationRequest.accuracy` is reached."""
        return self.correlation >= accuracy and self.level_error <= 1 - accuracy


@dataclass(frozen=True, slots=True)
class Screening:
    """The end of an adaptive plan, and its rounds.

    Attributes:
        stopped: the limit that ended it; ``all_resolved`` where nothing was left to score.
        groups: groups of factors that were perturbed together.
        rounds: states after each round, in order; the indices were a valid answer after each. Of several targets they
            are of the first, whom the plan follows, and the last is of the target itself.
        prior: what the indices were predicted from before any factor was perturbed: ``size`` too where gradients were
            asked for and were 0 everywhere, or could not be had, which a warning says.
        gradients: images whose gradients were computed for that; they are not among ``forwards``.
    """

    stopped: Stop
    groups: int
    rounds: tuple[Round, ...]
    prior: Literal["size", "gradients"] = "size"
    gradients: int = 0


@dataclass(frozen=True, slots=True)
class Ring:
    """One ring of the radial profile (kind ``fam``).

    Attributes:
        frequency: [from, to) cycles per pixel.
        mean: mean over the ring's frequencies of their factor's total index.
        share: ``mean`` over all rings' means.
    """

    frequency: tuple[float, float]
    mean: float
    share: float


@dataclass(frozen=True, slots=True)
class ProfileBand:
    """One factor of the scale profile (kind ``profile``).

    Attributes:
        level: 0 the approximation, 1 the coarsest detail, L the finest.
        orientation: orientation of the sub-band; ``None`` where a factor is a whole level (partition ``levels``).
        scale_px: [from, to] of the scales it holds, px; ``to`` is ``None`` for the approximation.
        total: total index.
        standard_error, interval_95: standard error and 95 % interval of ``total``; ``None`` below N = 4.
        share: ``total`` over the sum of all.
        share_standard_error: standard error of ``share``; ``None`` below N = 4.
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
class Sufficiency:
    """The least of the image that keeps the label (paper, section 4.2 and appendix B.3).

    Attributes:
        outcome: ``sufficient``; ``empty_suffices`` where the image without any factor has the label already;
            ``none_suffices`` where no n does.
        depth: the reconstruction depth: the smallest n whose image has the target's label; 0 where the empty image has
            it; ``None`` if no n does.
        order: (K,), factors by total index, largest first, ties in factor order.
        probability: (K + 1,), probability of the target with the n top factors alone, n = 0..K.
        predicted: (K + 1,), the class predicted for each.
        positive_factors: number of factors whose index is positive: above 1/255 of the largest.
        image: (c, h, w) in [0, 1], the image of the ``depth`` top factors; ``None`` without a depth.
        top_image: the image of the top factor alone.
        positive_image: the image of the positive factors alone.
        kept: share of the transform that ``image`` keeps; ``None`` without a depth.
    """

    outcome: Literal["sufficient", "empty_suffices", "none_suffices"]
    depth: int | None
    order: Int32[np.ndarray, " k"]
    probability: Float[np.ndarray, " n"]
    predicted: Int32[np.ndarray, " n"]
    positive_factors: int
    image: Float32[np.ndarray, "c h w"] | None
    top_image: Float32[np.ndarray, "c h w"]
    positive_image: Float32[np.ndarray, "c h w"]
    kept: Kept | None


@dataclass(frozen=True, slots=True)
class ScaleChange:
    """One level of a comparison.

    Attributes:
        scale_px: [from, to] of the scales it holds, px; ``to`` is ``None`` for the approximation.
        share, other_share: share of the importance of all levels, in the image and in the other one.
        change: ``other_share`` - ``share``: positive where the other image gained.
    """

    level: int
    scale_px: tuple[int, int | None]
    share: float
    other_share: float
    change: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences of the importance from ``image`` to ``other`` (kind ``compare``).

    Attributes:
        scale_shift: total variation distance of the levels' shares, 0..1.
        place_shift: total variation distance of the normalised spatial maps, 0..1.
        scales: level by level.
        place_change: (h, w), normalised spatial map of ``other`` minus that of ``image``.
        other: the explanation of the other image.
    """

    scale_shift: float
    place_shift: float
    scales: tuple[ScaleChange, ...]
    place_change: Float32[np.ndarray, "h w"]
    other: Explanation


@dataclass(frozen=True, slots=True)
class Corrupted:
    """The model's answer to one corrupted image.

    Attributes:
        severity: 1..5.
        predicted: the class it is given, with its probability.
        probability: probability of the target.
        same_label: whether ``predicted`` is the target.
    """

    corruption: str
    severity: int
    predicted: Prediction
    probability: float
    same_label: bool


@dataclass(frozen=True, slots=True)
class Robustness:
    """Rate at which the label survives corruption (paper, appendix B.3).

    Attributes:
        share: share of the corrupted images that are given the target's label.
        shares: the same per corruption, over its severities.
        corrupted: every corruption and severity.
    """

    share: float
    shares: dict[str, float]
    corrupted: tuple[Corrupted, ...]


@dataclass(frozen=True, slots=True)
class ZoomLevel:
    """One level of the regular and of the zoomed image.

    Attributes:
        scale_px: [from, to] in pixels of the regular image: [0.5, 1] for the finest level of the zoomed one, and ``to``
            is ``None`` for the approximation.
        share, mean_share: shares of the regular image; ``None`` for the level that only the zoomed image has.
        zoomed_share, zoomed_mean_share: shares of the zoomed image.
    """

    level: int
    scale_px: tuple[float, float | None]
    share: float | None
    mean_share: float | None
    zoomed_share: float
    zoomed_mean_share: float


@dataclass(frozen=True, slots=True)
class Zoom:
    """Importance of the scale that becomes visible when the image is enlarged twice (paper, 4.3 and B.4).

    Attributes:
        new_share: share of the importance in the newly visible scale, by sums.
        new_mean_share: the same by means per coefficient, as in Table 1.
        levels: level by level.
        zoomed: the explanation of the enlarged image.
    """

    new_share: float
    new_mean_share: float
    levels: tuple[ZoomLevel, ...]
    zoomed: Explanation


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Faithfulness of the map to the model, in one domain (paper, equations 8 to 10).

    Attributes:
        domain: ``pixel`` for the spatial map; ``wavelet`` or ``fourier`` for the factors' indices.
        insertion: area under ``insertion_curve``; higher is better.
        deletion: area under ``deletion_curve``; lower is better.
        mu_fidelity: Pearson correlation of the importance of random subsets with what removing them costs; ``None``
            where either does not vary.
        mu_fidelity_spearman: the same by ranks.
        fraction: (steps + 1,) share of the features inserted or deleted, 0..1.
        insertion_curve, deletion_curve: (steps + 1,) probability of the target.
        parameters: steps, samples, subset, grid_size (pixel only), baseline, score, seed.
    """

    domain: Literal["pixel", "wavelet", "fourier"]
    insertion: float
    deletion: float
    mu_fidelity: float | None
    mu_fidelity_spearman: float | None
    fraction: Float[np.ndarray, " s"]
    insertion_curve: Float[np.ndarray, " s"]
    deletion_curve: Float[np.ndarray, " s"]
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A whole explanation.

    Fields that the kind does not have are ``None``; so are ``indices``, ``attributions``, ``maps`` and everything made
    of them when ``outcome`` is ``constant_score``.

    Attributes:
        id: identity of the explanation.
        kind: kind of explanation.
        model: name of the model.
        precision: number format that the model computed in, such as ``float32``.
        outcome: ``explained``, or ``constant_score`` where the score did not vary.
        target: the class that is explained.
        prediction: the most probable classes of the unperturbed image, best first.
        indices: Sobol indices of every factor; ``None`` for kind ``wam``.
        maps: the indices or attributions as arrays over coefficients, frequencies or pixels.
        levels: importance per level, from the approximation, for the kinds in the wavelet domain.
        worth: diagnostics of the map.
        contrast: the target against another class, of kinds ``wcam``, ``fam``, ``sobol`` and ``profile``. Unless
            ``against`` is given, ``None`` for a model of one class or one output, for the margin of two classes, which
            is the difference already, and for softmax probabilities.
        radial: the radial profile of kind ``fam``.
        profile: the sub-bands or levels of kind ``profile``.
        sufficiency: sufficient image of kinds ``sufficient-image`` and ``robustness``.
        comparison: differences between the two images of kind ``compare``.
        robustness: answers to corrupted images of kind ``robustness``.
        zoom: newly visible scale of kind ``zoom``.
        attributions: gradient attributions of kind ``wam``.
        faithfulness: one entry per domain, where it was asked for.
        screening: rounds and end of plan ``adaptive``.
        partial: whether a deadline ended it early: valid, and made of fewer rows than asked for.
        cached: whether it is the cached result of an earlier request for the same, so that nothing was scored.
        crop: the part of the original that the model sees.
        forwards: images scored, the clean predictions not counted; a gradient of kind ``wam`` counts as three, whose
            time it takes, and as four where outputs must be known before the score's derivatives are.
        timing: seconds by stage.
        parameters: all effective parameters.
        warnings: sentences about limits of this very explanation.
        image: (c, h, w) in [0, 1], the crop that is explained.
        reused: those of ``forwards`` that were scored already for an earlier class of the same image and request.
    """

    id: str
    kind: str
    model: str
    precision: str = "float32"
    outcome: Literal["explained", "constant_score"]
    target: Prediction
    prediction: tuple[Prediction, ...]
    indices: Indices | None
    maps: Maps | None
    levels: tuple[LevelImportance, ...] | None
    worth: Worth | None = None
    contrast: Contrast | None = None
    radial: tuple[Ring, ...] | None = None
    profile: tuple[ProfileBand, ...] | None = None
    sufficiency: Sufficiency | None = None
    comparison: Comparison | None = None
    robustness: Robustness | None = None
    zoom: Zoom | None = None
    attributions: Attributions | None = None
    faithfulness: tuple[Faithfulness, ...] | None = None
    screening: Screening | None = None
    partial: bool = False
    cached: bool = False
    crop: CropBox
    forwards: int
    timing: dict[str, float]
    parameters: dict[str, Any]
    warnings: tuple[str, ...] = field(default=())
    image: Float32[np.ndarray, "c h w"]
    reused: int = 0

    @property
    def importance(self) -> Float[np.ndarray, " k"] | None:
        """(K,) importance of every factor: total indices, or attributions."""
        if self.attributions is not None:
            return self.attributions.factors
        return None if self.indices is None else self.indices.total
