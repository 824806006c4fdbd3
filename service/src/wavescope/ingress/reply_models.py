"""The reply's pydantic models: for the OpenAPI document, and for the test that holds every reply against them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_INTERVAL = "[low, high] of total; null below N = 4."


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ClassReply(_Reply):
    """One class of the model, with its probability where it has one."""

    index: int
    label: str
    probability: float | None


class IndicesReply(_Reply):
    """Sobol indices per factor, in factor order (row-major for a grid)."""

    total: list[float]
    first: list[float] | None = Field(description="First-order indices; null with plan adaptive.")
    standard_error: list[float] | None = Field(description="Of total; null below N = 4.")
    interval_95: list[list[float]] | None = Field(description=_INTERVAL)
    resolved: list[bool] | None = Field(
        description="Whether the factor was perturbed by itself; null with plan full, where all are. The index of one "
        "that was not is a prediction."
    )
    upper_bound: list[float] | None = Field(
        description="What total does not exceed: the upper end of its interval where resolved, else that of the "
        "smallest group that the factor was perturbed with; null with plan full."
    )


class TensorReply(_Reply):
    """An array in row-major order."""

    shape: list[int]
    dtype: Literal["float32", "int32"]
    data: str = Field(description="Little-endian bytes in base64.")


class MapsReply(_Reply):
    """The maps that the kind has; the others are null."""

    factors: TensorReply = Field(
        description="int32, the factor of each coefficient, -1 for none: in packed layout (wavelet), centred (fam), or "
        "by pixel (sobol)."
    )
    wcam: TensorReply | None = Field(
        description="Total index of each packed coefficient's factor, 0 for none."
    )
    spatial_wcam: TensorReply | None = Field(description="At the model's input size, summed over sub-bands.")
    fam: TensorReply | None = Field(
        description="Total index of each frequency's factor, in the centred Nyquist square."
    )
    sobol: TensorReply | None = Field(description="Total index of each pixel's factor.")


class BandReply(_Reply):
    """Importance of one orientation of a level."""

    sum: float
    share: float
    mean_share: float


class LevelReply(_Reply):
    """Importance of one level: 0 the approximation, 1 the coarsest detail."""

    level: int
    scale_px: list[int | None] = Field(description="[from, to]; to is null for the approximation.")
    sum: float
    share: float
    mean_share: float
    horizontal: BandReply | None
    vertical: BandReply | None
    diagonal: BandReply | None


class CropReply(_Reply):
    """What the model sees, in pixels of the original after EXIF rotation."""

    left: float
    top: float
    right: float
    bottom: float


class WorthReply(_Reply):
    """What the map is worth: figures of this very explanation."""

    variance: float = Field(description="Of the score over the design.")
    split_half: float | None = Field(
        description="Rank correlation of the indices from odd with those from even design rows, corrected to the "
        "whole design."
    )
    runner_up: ClassReply | None = Field(description="The most probable class other than the target.")
    class_contrast: float | None = Field(
        description="1 - rank correlation with the runner-up's indices: 0 for the same map."
    )


class RoundReply(_Reply):
    """Where an adaptive plan stood after a round."""

    forwards: int = Field(description="Images scored so far.")
    resolved: int = Field(description="Factors perturbed by themselves so far.")
    standard_error: float = Field(description="The largest of all indices.")


class ScreeningReply(_Reply):
    """How an adaptive plan came to its end."""

    stopped: Literal["max_forwards", "deadline_s", "standard_error", "top_k", "all_resolved"] = Field(
        description="Which limit ended it; all_resolved where nothing was left to score."
    )
    groups: int = Field(description="Groups of factors that were perturbed together.")
    rounds: list[RoundReply] = Field(description="In order; the indices were a valid answer after each.")


class RingReply(_Reply):
    """One ring of the radial profile."""

    frequency: list[float] = Field(description="[from, to) cycles per pixel.")
    mean: float = Field(description="Mean total index of the ring's frequencies.")
    share: float = Field(description="mean over the sum of all rings' means.")


class ProfileBandReply(_Reply):
    """One factor of the scale profile."""

    level: int
    orientation: str | None = Field(description="horizontal, vertical or diagonal; null for a whole level.")
    scale_px: list[int | None] = Field(description="[from, to]; to is null for the approximation.")
    total: float
    standard_error: float | None = Field(description="Of total; null below N = 4.")
    interval_95: list[float] | None = Field(description=_INTERVAL)
    share: float = Field(description="total over the sum of all.")
    share_standard_error: float | None


class CurveReply(_Reply):
    """The target's probability with the n top factors alone."""

    n: list[int] = Field(description="0 to the number of factors.")
    probability: list[float]
    predicted: list[int] = Field(description="Index of the class predicted for each.")


class KeptReply(_Reply):
    """What the sufficient image keeps of the transform."""

    coefficients: int
    coefficients_total: int
    energy_share: float = Field(description="Sum of squares of the kept ones over that of all.")
    compressed_bytes: int
    compressed_bytes_total: int = Field(description="The same for all coefficients.")


class SufficiencyReply(_Reply):
    """The least of the image that keeps the label, beside the top-level keys."""

    outcome: Literal["sufficient", "empty_suffices", "none_suffices"]
    n_factors: int
    positive_factors: int = Field(description="Factors whose index is above 1/255 of the largest.")
    top_factor_image: str = Field(description="The image of the top factor alone: PNG in base64.")
    positive_image: str = Field(description="The image of the positive factors alone: PNG in base64.")
    kept: KeptReply | None = Field(description="Null without a depth.")
    order: list[int] = Field(description="Factors by total index, largest first.")


class ScaleChangeReply(_Reply):
    """One level of a comparison."""

    level: int
    scale_px: list[int | None] = Field(description="[from, to]; to is null for the approximation.")
    share: float
    other_share: float
    change: float = Field(description="other_share - share: positive where the other image gained.")


class ComparisonReply(_Reply):
    """What changed from image to other."""

    scale_shift: float = Field(description="Total variation distance of the levels' shares, 0 to 1.")
    place_shift: float = Field(description="Total variation distance of the normalised spatial maps, 0 to 1.")
    scales: list[ScaleChangeReply]
    place_change: TensorReply = Field(description="Normalised spatial map of other minus that of image.")
    other: ExplanationReply


class CorruptedReply(_Reply):
    """The model's answer to one corrupted image."""

    corruption: str
    severity: int = Field(description="1 to 5.")
    predicted: ClassReply
    probability: float = Field(description="Of the target.")
    same_label: bool


class RobustnessReply(_Reply):
    """How often the label survives corruption."""

    share: float = Field(description="Of the corrupted images that are given the target's label.")
    shares: dict[str, float] = Field(description="The same per corruption, over its severities.")
    corrupted: list[CorruptedReply]


class ZoomLevelReply(_Reply):
    """One level of the regular and of the zoomed image."""

    level: int
    scale_px: list[float | None] = Field(description="[from, to] in pixels of the regular image.")
    share: float | None = Field(description="Null for the level that only the zoomed image has.")
    mean_share: float | None
    zoomed_share: float
    zoomed_mean_share: float


class ZoomReply(_Reply):
    """What becomes visible when the image is enlarged twice."""

    new_share: float = Field(description="Of the importance in the newly visible scale, by sums.")
    new_mean_share: float = Field(description="The same by means per coefficient.")
    levels: list[ZoomLevelReply]
    zoomed: ExplanationReply


class FaithfulnessReply(_Reply):
    """How well the map tells what the model uses, in one domain."""

    domain: Literal["pixel", "wavelet", "fourier"]
    insertion: float = Field(description="Area under insertion_curve; higher is better.")
    deletion: float = Field(description="Area under deletion_curve; lower is better.")
    mu_fidelity: float | None = Field(
        description="Pearson correlation of the importance of random subsets with what removing them costs."
    )
    mu_fidelity_spearman: float | None = Field(description="The same by ranks.")
    fraction: list[float] = Field(description="Of the features inserted or deleted.")
    insertion_curve: list[float]
    deletion_curve: list[float]
    parameters: dict[str, Any]


class FigureReply(_Reply):
    """The figure, where ``Accept`` asked for it."""

    media_type: Literal["image/png"]
    base64: str


class ExplanationReply(_Reply):
    """A whole explanation.

    What the kind does not have is null; so are indices, maps and everything made of them when the outcome is
    constant_score.
    """

    id: str
    kind: str
    model: str
    precision: str = Field(description="What the model computed in, such as float32.")
    outcome: Literal["explained", "constant_score"]
    target: ClassReply
    prediction: list[ClassReply]
    indices: IndicesReply | None
    maps: MapsReply | None
    levels: list[LevelReply] | None = Field(description="In the wavelet domain, from the approximation.")
    worth: WorthReply | None
    radial: list[RingReply] | None = Field(description="Kind fam.")
    profile: list[ProfileBandReply] | None = Field(description="Kind profile.")
    reconstruction_depth: int | None = Field(
        description="Kinds sufficient-image and robustness: the smallest number of top factors whose image has the "
        "target's label; null if there is none."
    )
    sufficient_image: str | None = Field(description="The image of these factors alone: PNG in base64.")
    curve: CurveReply | None = Field(description="Kinds sufficient-image and robustness.")
    sufficiency: SufficiencyReply | None = Field(description="Kinds sufficient-image and robustness.")
    comparison: ComparisonReply | None = Field(description="Kind compare.")
    robustness: RobustnessReply | None = Field(description="Kind robustness.")
    zoom: ZoomReply | None = Field(description="Kind zoom.")
    faithfulness: list[FaithfulnessReply] | None = Field(
        description="Where it was asked for; one per domain."
    )
    screening: ScreeningReply | None = Field(description="Plan adaptive.")
    partial: bool = Field(
        description="Whether a deadline ended it early: what it has is valid, and made of fewer rows than asked for."
    )
    cached: bool = Field(description="Whether it is kept from an earlier request for the same.")
    crop: CropReply
    forwards: int = Field(description="Images scored, the clean predictions not counted.")
    timing: dict[str, float]
    parameters: dict[str, Any]
    warnings: list[str]
    figure: FigureReply | None = None


class BatchReply(_Reply):
    """The answer to a request with images or targets: image by image, and within an image target by target."""

    explanations: list[ExplanationReply]
    forwards: int = Field(
        description="Images scored for all; a pass that several targets of one image share counts once."
    )


class EstimateReply(_Reply):
    """What an explanation would cost."""

    forwards: int = Field(description="Images to be scored in all; with plan adaptive the most it may take.")
    expected_s: float | None = Field(
        description="Seconds of scoring on the replicas that run now; null where the model's speed is not known yet."
    )
    queue_s: float = Field(description="Seconds it would wait now before it begins.")
    cached: bool = Field(description="Whether the result is kept already, and costs nothing.")


class PredictionsReply(_Reply):
    """What a model says of images."""

    model: str
    predictions: list[list[ClassReply]] = Field(
        description="Per image, in the order of the request, the most probable classes, the most probable first."
    )


class JobErrorReply(_Reply):
    """Why a job failed: the problem that a request for the same would have been refused with."""

    code: str
    message: str
    field: str | None
    limits: dict[str, Any]


class JobLinks(_Reply):
    """Where more is told of a job."""

    self_: str = Field(alias="self")
    events: str
    result: str


class JobReply(_Reply):
    """What is told of a job; times are RFC 3339 in UTC."""

    id: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    kind: str
    model: str
    images: int
    created_at: str
    started_at: str | None
    finished_at: str | None
    forwards: int = Field(description="Images scored so far.")
    planned: int = Field(description="Images to be scored in all; 0 before that is known.")
    eta_s: float | None = Field(
        description="Seconds left at the pace so far; null before anything is scored, and once it has ended."
    )
    error: JobErrorReply | None = Field(description="Of a job that failed.")
    links: JobLinks


class ProgressEvent(_Reply):
    """How far a request has come: the data of the event progress."""

    forwards: int = Field(description="Images scored so far.")
    planned: int = Field(description="Images to be scored in all; with plan adaptive the most it may take.")
    elapsed_s: float = Field(description="Since the request began.")
    eta_s: float | None = Field(
        description="Seconds left at the pace so far; null before anything is scored."
    )


class PartialEvent(_Reply):
    """Indices so far, a valid answer with larger errors than the last: the data of the event partial."""

    image: int = Field(description="Place among the images of the request.")
    forwards: int = Field(description="Images scored of this image so far.")
    rows: int | None = Field(description="Complete design rows so far; null with plan adaptive.")
    indices: IndicesReply = Field(description="Of the first target.")


class JobProgressEvent(_Reply):
    """How far a job has come: the data of its event progress."""

    forwards: int
    planned: int
    eta_s: float | None
