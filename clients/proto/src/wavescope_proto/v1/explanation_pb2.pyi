from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExplainRequest(_message.Message):
    __slots__ = ("image", "model", "kind", "target_index", "target_name", "score", "seed", "plan", "wavelet", "levels", "partition", "grid_size", "nb_design", "sampler", "estimator", "approximation", "value_policy", "other", "images", "targets", "baseline", "faithfulness", "compat", "max_forwards", "deadline_s", "standard_error", "top_k", "against_index", "against_name", "prior", "method", "samples", "noise", "accuracy")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TARGET_INDEX_FIELD_NUMBER: _ClassVar[int]
    TARGET_NAME_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    WAVELET_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    GRID_SIZE_FIELD_NUMBER: _ClassVar[int]
    NB_DESIGN_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    ESTIMATOR_FIELD_NUMBER: _ClassVar[int]
    APPROXIMATION_FIELD_NUMBER: _ClassVar[int]
    VALUE_POLICY_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    FAITHFULNESS_FIELD_NUMBER: _ClassVar[int]
    COMPAT_FIELD_NUMBER: _ClassVar[int]
    MAX_FORWARDS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_S_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    AGAINST_INDEX_FIELD_NUMBER: _ClassVar[int]
    AGAINST_NAME_FIELD_NUMBER: _ClassVar[int]
    PRIOR_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    NOISE_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    model: str
    kind: str
    target_index: int
    target_name: str
    score: str
    seed: int
    plan: str
    wavelet: str
    levels: int
    partition: str
    grid_size: int
    nb_design: int
    sampler: str
    estimator: str
    approximation: str
    value_policy: str
    other: bytes
    images: _containers.RepeatedScalarFieldContainer[bytes]
    targets: _containers.RepeatedCompositeFieldContainer[TargetList]
    baseline: str
    faithfulness: bool
    compat: str
    max_forwards: int
    deadline_s: float
    standard_error: float
    top_k: int
    against_index: int
    against_name: str
    prior: str
    method: str
    samples: int
    noise: float
    accuracy: float
    def __init__(self, image: _Optional[bytes] = ..., model: _Optional[str] = ..., kind: _Optional[str] = ..., target_index: _Optional[int] = ..., target_name: _Optional[str] = ..., score: _Optional[str] = ..., seed: _Optional[int] = ..., plan: _Optional[str] = ..., wavelet: _Optional[str] = ..., levels: _Optional[int] = ..., partition: _Optional[str] = ..., grid_size: _Optional[int] = ..., nb_design: _Optional[int] = ..., sampler: _Optional[str] = ..., estimator: _Optional[str] = ..., approximation: _Optional[str] = ..., value_policy: _Optional[str] = ..., other: _Optional[bytes] = ..., images: _Optional[_Iterable[bytes]] = ..., targets: _Optional[_Iterable[_Union[TargetList, _Mapping]]] = ..., baseline: _Optional[str] = ..., faithfulness: bool = ..., compat: _Optional[str] = ..., max_forwards: _Optional[int] = ..., deadline_s: _Optional[float] = ..., standard_error: _Optional[float] = ..., top_k: _Optional[int] = ..., against_index: _Optional[int] = ..., against_name: _Optional[str] = ..., prior: _Optional[str] = ..., method: _Optional[str] = ..., samples: _Optional[int] = ..., noise: _Optional[float] = ..., accuracy: _Optional[float] = ...) -> None: ...

class TargetList(_message.Message):
    __slots__ = ("targets",)
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    targets: _containers.RepeatedCompositeFieldContainer[Target]
    def __init__(self, targets: _Optional[_Iterable[_Union[Target, _Mapping]]] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("index", "name")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    index: int
    name: str
    def __init__(self, index: _Optional[int] = ..., name: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("id", "kind", "model", "outcome", "target", "prediction", "indices", "maps", "levels", "crop", "forwards", "timing", "parameters", "warnings", "worth", "radial", "profile", "reconstruction_depth", "sufficient_image", "curve", "sufficiency", "comparison", "robustness", "zoom", "faithfulness", "explanations", "screening", "precision", "partial", "cached", "contrast", "attributions")
    class TimingEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    MAPS_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    CROP_FIELD_NUMBER: _ClassVar[int]
    FORWARDS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    WORTH_FIELD_NUMBER: _ClassVar[int]
    RADIAL_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    RECONSTRUCTION_DEPTH_FIELD_NUMBER: _ClassVar[int]
    SUFFICIENT_IMAGE_FIELD_NUMBER: _ClassVar[int]
    CURVE_FIELD_NUMBER: _ClassVar[int]
    SUFFICIENCY_FIELD_NUMBER: _ClassVar[int]
    COMPARISON_FIELD_NUMBER: _ClassVar[int]
    ROBUSTNESS_FIELD_NUMBER: _ClassVar[int]
    ZOOM_FIELD_NUMBER: _ClassVar[int]
    FAITHFULNESS_FIELD_NUMBER: _ClassVar[int]
    EXPLANATIONS_FIELD_NUMBER: _ClassVar[int]
    SCREENING_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    CONTRAST_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: str
    model: str
    outcome: str
    target: Prediction
    prediction: _containers.RepeatedCompositeFieldContainer[Prediction]
    indices: Indices
    maps: Maps
    levels: _containers.RepeatedCompositeFieldContainer[Level]
    crop: Crop
    forwards: int
    timing: _containers.ScalarMap[str, float]
    parameters: _struct_pb2.Struct
    warnings: _containers.RepeatedScalarFieldContainer[str]
    worth: Worth
    radial: _containers.RepeatedCompositeFieldContainer[Ring]
    profile: _containers.RepeatedCompositeFieldContainer[ProfileBand]
    reconstruction_depth: int
    sufficient_image: bytes
    curve: Curve
    sufficiency: Sufficiency
    comparison: Comparison
    robustness: Robustness
    zoom: Zoom
    faithfulness: _containers.RepeatedCompositeFieldContainer[Faithfulness]
    explanations: _containers.RepeatedCompositeFieldContainer[ExplainResponse]
    screening: Screening
    precision: str
    partial: bool
    cached: bool
    contrast: Contrast
    attributions: Attributions
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[str] = ..., model: _Optional[str] = ..., outcome: _Optional[str] = ..., target: _Optional[_Union[Prediction, _Mapping]] = ..., prediction: _Optional[_Iterable[_Union[Prediction, _Mapping]]] = ..., indices: _Optional[_Union[Indices, _Mapping]] = ..., maps: _Optional[_Union[Maps, _Mapping]] = ..., levels: _Optional[_Iterable[_Union[Level, _Mapping]]] = ..., crop: _Optional[_Union[Crop, _Mapping]] = ..., forwards: _Optional[int] = ..., timing: _Optional[_Mapping[str, float]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ..., worth: _Optional[_Union[Worth, _Mapping]] = ..., radial: _Optional[_Iterable[_Union[Ring, _Mapping]]] = ..., profile: _Optional[_Iterable[_Union[ProfileBand, _Mapping]]] = ..., reconstruction_depth: _Optional[int] = ..., sufficient_image: _Optional[bytes] = ..., curve: _Optional[_Union[Curve, _Mapping]] = ..., sufficiency: _Optional[_Union[Sufficiency, _Mapping]] = ..., comparison: _Optional[_Union[Comparison, _Mapping]] = ..., robustness: _Optional[_Union[Robustness, _Mapping]] = ..., zoom: _Optional[_Union[Zoom, _Mapping]] = ..., faithfulness: _Optional[_Iterable[_Union[Faithfulness, _Mapping]]] = ..., explanations: _Optional[_Iterable[_Union[ExplainResponse, _Mapping]]] = ..., screening: _Optional[_Union[Screening, _Mapping]] = ..., precision: _Optional[str] = ..., partial: bool = ..., cached: bool = ..., contrast: _Optional[_Union[Contrast, _Mapping]] = ..., attributions: _Optional[_Union[Attributions, _Mapping]] = ...) -> None: ...

class Attributions(_message.Message):
    __slots__ = ("method", "samples", "factors", "signed", "standard_error", "split_half", "score", "baseline_score", "completeness_error", "level_maps")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    FACTORS_FIELD_NUMBER: _ClassVar[int]
    SIGNED_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    SPLIT_HALF_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    BASELINE_SCORE_FIELD_NUMBER: _ClassVar[int]
    COMPLETENESS_ERROR_FIELD_NUMBER: _ClassVar[int]
    LEVEL_MAPS_FIELD_NUMBER: _ClassVar[int]
    method: str
    samples: int
    factors: _containers.RepeatedScalarFieldContainer[float]
    signed: _containers.RepeatedScalarFieldContainer[float]
    standard_error: _containers.RepeatedScalarFieldContainer[float]
    split_half: float
    score: float
    baseline_score: float
    completeness_error: float
    level_maps: _containers.RepeatedCompositeFieldContainer[LevelMap]
    def __init__(self, method: _Optional[str] = ..., samples: _Optional[int] = ..., factors: _Optional[_Iterable[float]] = ..., signed: _Optional[_Iterable[float]] = ..., standard_error: _Optional[_Iterable[float]] = ..., split_half: _Optional[float] = ..., score: _Optional[float] = ..., baseline_score: _Optional[float] = ..., completeness_error: _Optional[float] = ..., level_maps: _Optional[_Iterable[_Union[LevelMap, _Mapping]]] = ...) -> None: ...

class LevelMap(_message.Message):
    __slots__ = ("level", "scale_from_px", "scale_to_px", "map")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    SCALE_FROM_PX_FIELD_NUMBER: _ClassVar[int]
    SCALE_TO_PX_FIELD_NUMBER: _ClassVar[int]
    MAP_FIELD_NUMBER: _ClassVar[int]
    level: int
    scale_from_px: int
    scale_to_px: int
    map: Tensor
    def __init__(self, level: _Optional[int] = ..., scale_from_px: _Optional[int] = ..., scale_to_px: _Optional[int] = ..., map: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class Contrast(_message.Message):
    __slots__ = ("against", "outcome", "indices", "map", "levels", "radial", "warnings")
    AGAINST_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    MAP_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    RADIAL_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    against: Prediction
    outcome: str
    indices: Indices
    map: Tensor
    levels: _containers.RepeatedCompositeFieldContainer[Level]
    radial: _containers.RepeatedCompositeFieldContainer[Ring]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, against: _Optional[_Union[Prediction, _Mapping]] = ..., outcome: _Optional[str] = ..., indices: _Optional[_Union[Indices, _Mapping]] = ..., map: _Optional[_Union[Tensor, _Mapping]] = ..., levels: _Optional[_Iterable[_Union[Level, _Mapping]]] = ..., radial: _Optional[_Iterable[_Union[Ring, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("index", "label", "probability")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    index: int
    label: str
    probability: float
    def __init__(self, index: _Optional[int] = ..., label: _Optional[str] = ..., probability: _Optional[float] = ...) -> None: ...

class Indices(_message.Message):
    __slots__ = ("total", "first", "standard_error", "interval_95", "resolved", "upper_bound", "effects")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_95_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_FIELD_NUMBER: _ClassVar[int]
    UPPER_BOUND_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    total: _containers.RepeatedScalarFieldContainer[float]
    first: _containers.RepeatedScalarFieldContainer[float]
    standard_error: _containers.RepeatedScalarFieldContainer[float]
    interval_95: _containers.RepeatedCompositeFieldContainer[Interval]
    resolved: _containers.RepeatedScalarFieldContainer[bool]
    upper_bound: _containers.RepeatedScalarFieldContainer[float]
    effects: _containers.RepeatedCompositeFieldContainer[Effect]
    def __init__(self, total: _Optional[_Iterable[float]] = ..., first: _Optional[_Iterable[float]] = ..., standard_error: _Optional[_Iterable[float]] = ..., interval_95: _Optional[_Iterable[_Union[Interval, _Mapping]]] = ..., resolved: _Optional[_Iterable[bool]] = ..., upper_bound: _Optional[_Iterable[float]] = ..., effects: _Optional[_Iterable[_Union[Effect, _Mapping]]] = ...) -> None: ...

class Effect(_message.Message):
    __slots__ = ("slope", "standard_error")
    SLOPE_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    slope: float
    standard_error: float
    def __init__(self, slope: _Optional[float] = ..., standard_error: _Optional[float] = ...) -> None: ...

class Interval(_message.Message):
    __slots__ = ("low", "high")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    low: float
    high: float
    def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class Tensor(_message.Message):
    __slots__ = ("shape", "dtype", "data")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    dtype: str
    data: bytes
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., dtype: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class Maps(_message.Message):
    __slots__ = ("wcam", "spatial_wcam", "factors", "fam", "sobol", "wam", "spatial_wam")
    WCAM_FIELD_NUMBER: _ClassVar[int]
    SPATIAL_WCAM_FIELD_NUMBER: _ClassVar[int]
    FACTORS_FIELD_NUMBER: _ClassVar[int]
    FAM_FIELD_NUMBER: _ClassVar[int]
    SOBOL_FIELD_NUMBER: _ClassVar[int]
    WAM_FIELD_NUMBER: _ClassVar[int]
    SPATIAL_WAM_FIELD_NUMBER: _ClassVar[int]
    wcam: Tensor
    spatial_wcam: Tensor
    factors: Tensor
    fam: Tensor
    sobol: Tensor
    wam: Tensor
    spatial_wam: Tensor
    def __init__(self, wcam: _Optional[_Union[Tensor, _Mapping]] = ..., spatial_wcam: _Optional[_Union[Tensor, _Mapping]] = ..., factors: _Optional[_Union[Tensor, _Mapping]] = ..., fam: _Optional[_Union[Tensor, _Mapping]] = ..., sobol: _Optional[_Union[Tensor, _Mapping]] = ..., wam: _Optional[_Union[Tensor, _Mapping]] = ..., spatial_wam: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class Importance(_message.Message):
    __slots__ = ("sum", "share", "mean_share")
    SUM_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    MEAN_SHARE_FIELD_NUMBER: _ClassVar[int]
    sum: float
    share: float
    mean_share: float
    def __init__(self, sum: _Optional[float] = ..., share: _Optional[float] = ..., mean_share: _Optional[float] = ...) -> None: ...

class Level(_message.Message):
    __slots__ = ("level", "scale_from_px", "scale_to_px", "importance", "horizontal", "vertical", "diagonal")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    SCALE_FROM_PX_FIELD_NUMBER: _ClassVar[int]
    SCALE_TO_PX_FIELD_NUMBER: _ClassVar[int]
    IMPORTANCE_FIELD_NUMBER: _ClassVar[int]
    HORIZONTAL_FIELD_NUMBER: _ClassVar[int]
    VERTICAL_FIELD_NUMBER: _ClassVar[int]
    DIAGONAL_FIELD_NUMBER: _ClassVar[int]
    level: int
    scale_from_px: int
    scale_to_px: int
    importance: Importance
    horizontal: Importance
    vertical: Importance
    diagonal: Importance
    def __init__(self, level: _Optional[int] = ..., scale_from_px: _Optional[int] = ..., scale_to_px: _Optional[int] = ..., importance: _Optional[_Union[Importance, _Mapping]] = ..., horizontal: _Optional[_Union[Importance, _Mapping]] = ..., vertical: _Optional[_Union[Importance, _Mapping]] = ..., diagonal: _Optional[_Union[Importance, _Mapping]] = ...) -> None: ...

class Crop(_message.Message):
    __slots__ = ("left", "top", "right", "bottom")
    LEFT_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    BOTTOM_FIELD_NUMBER: _ClassVar[int]
    left: float
    top: float
    right: float
    bottom: float
    def __init__(self, left: _Optional[float] = ..., top: _Optional[float] = ..., right: _Optional[float] = ..., bottom: _Optional[float] = ...) -> None: ...

class Screening(_message.Message):
    __slots__ = ("stopped", "groups", "rounds", "prior", "gradients")
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    PRIOR_FIELD_NUMBER: _ClassVar[int]
    GRADIENTS_FIELD_NUMBER: _ClassVar[int]
    stopped: str
    groups: int
    rounds: _containers.RepeatedCompositeFieldContainer[Round]
    prior: str
    gradients: int
    def __init__(self, stopped: _Optional[str] = ..., groups: _Optional[int] = ..., rounds: _Optional[_Iterable[_Union[Round, _Mapping]]] = ..., prior: _Optional[str] = ..., gradients: _Optional[int] = ...) -> None: ...

class Round(_message.Message):
    __slots__ = ("forwards", "resolved", "standard_error", "correlation", "level_error")
    FORWARDS_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_FIELD_NUMBER: _ClassVar[int]
    LEVEL_ERROR_FIELD_NUMBER: _ClassVar[int]
    forwards: int
    resolved: int
    standard_error: float
    correlation: float
    level_error: float
    def __init__(self, forwards: _Optional[int] = ..., resolved: _Optional[int] = ..., standard_error: _Optional[float] = ..., correlation: _Optional[float] = ..., level_error: _Optional[float] = ...) -> None: ...

class Worth(_message.Message):
    __slots__ = ("variance", "split_half", "runner_up", "class_contrast")
    VARIANCE_FIELD_NUMBER: _ClassVar[int]
    SPLIT_HALF_FIELD_NUMBER: _ClassVar[int]
    RUNNER_UP_FIELD_NUMBER: _ClassVar[int]
    CLASS_CONTRAST_FIELD_NUMBER: _ClassVar[int]
    variance: float
    split_half: float
    runner_up: Prediction
    class_contrast: float
    def __init__(self, variance: _Optional[float] = ..., split_half: _Optional[float] = ..., runner_up: _Optional[_Union[Prediction, _Mapping]] = ..., class_contrast: _Optional[float] = ...) -> None: ...

class Ring(_message.Message):
    __slots__ = ("frequency_from", "frequency_to", "mean", "share")
    FREQUENCY_FROM_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_TO_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    frequency_from: float
    frequency_to: float
    mean: float
    share: float
    def __init__(self, frequency_from: _Optional[float] = ..., frequency_to: _Optional[float] = ..., mean: _Optional[float] = ..., share: _Optional[float] = ...) -> None: ...

class ProfileBand(_message.Message):
    __slots__ = ("level", "orientation", "scale_from_px", "scale_to_px", "total", "standard_error", "interval_95", "share", "share_standard_error")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    ORIENTATION_FIELD_NUMBER: _ClassVar[int]
    SCALE_FROM_PX_FIELD_NUMBER: _ClassVar[int]
    SCALE_TO_PX_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_95_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    SHARE_STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    level: int
    orientation: str
    scale_from_px: int
    scale_to_px: int
    total: float
    standard_error: float
    interval_95: Interval
    share: float
    share_standard_error: float
    def __init__(self, level: _Optional[int] = ..., orientation: _Optional[str] = ..., scale_from_px: _Optional[int] = ..., scale_to_px: _Optional[int] = ..., total: _Optional[float] = ..., standard_error: _Optional[float] = ..., interval_95: _Optional[_Union[Interval, _Mapping]] = ..., share: _Optional[float] = ..., share_standard_error: _Optional[float] = ...) -> None: ...

class Curve(_message.Message):
    __slots__ = ("n", "probability", "predicted")
    N_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIELD_NUMBER: _ClassVar[int]
    n: _containers.RepeatedScalarFieldContainer[int]
    probability: _containers.RepeatedScalarFieldContainer[float]
    predicted: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, n: _Optional[_Iterable[int]] = ..., probability: _Optional[_Iterable[float]] = ..., predicted: _Optional[_Iterable[int]] = ...) -> None: ...

class Sufficiency(_message.Message):
    __slots__ = ("outcome", "n_factors", "positive_factors", "top_factor_image", "positive_image", "kept", "order")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    N_FACTORS_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_FACTORS_FIELD_NUMBER: _ClassVar[int]
    TOP_FACTOR_IMAGE_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_IMAGE_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    outcome: str
    n_factors: int
    positive_factors: int
    top_factor_image: bytes
    positive_image: bytes
    kept: Kept
    order: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, outcome: _Optional[str] = ..., n_factors: _Optional[int] = ..., positive_factors: _Optional[int] = ..., top_factor_image: _Optional[bytes] = ..., positive_image: _Optional[bytes] = ..., kept: _Optional[_Union[Kept, _Mapping]] = ..., order: _Optional[_Iterable[int]] = ...) -> None: ...

class Kept(_message.Message):
    __slots__ = ("coefficients", "coefficients_total", "energy_share", "compressed_bytes", "compressed_bytes_total")
    COEFFICIENTS_FIELD_NUMBER: _ClassVar[int]
    COEFFICIENTS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    ENERGY_SHARE_FIELD_NUMBER: _ClassVar[int]
    COMPRESSED_BYTES_FIELD_NUMBER: _ClassVar[int]
    COMPRESSED_BYTES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    coefficients: int
    coefficients_total: int
    energy_share: float
    compressed_bytes: int
    compressed_bytes_total: int
    def __init__(self, coefficients: _Optional[int] = ..., coefficients_total: _Optional[int] = ..., energy_share: _Optional[float] = ..., compressed_bytes: _Optional[int] = ..., compressed_bytes_total: _Optional[int] = ...) -> None: ...

class Comparison(_message.Message):
    __slots__ = ("scale_shift", "place_shift", "scales", "place_change", "other")
    SCALE_SHIFT_FIELD_NUMBER: _ClassVar[int]
    PLACE_SHIFT_FIELD_NUMBER: _ClassVar[int]
    SCALES_FIELD_NUMBER: _ClassVar[int]
    PLACE_CHANGE_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    scale_shift: float
    place_shift: float
    scales: _containers.RepeatedCompositeFieldContainer[ScaleChange]
    place_change: Tensor
    other: ExplainResponse
    def __init__(self, scale_shift: _Optional[float] = ..., place_shift: _Optional[float] = ..., scales: _Optional[_Iterable[_Union[ScaleChange, _Mapping]]] = ..., place_change: _Optional[_Union[Tensor, _Mapping]] = ..., other: _Optional[_Union[ExplainResponse, _Mapping]] = ...) -> None: ...

class ScaleChange(_message.Message):
    __slots__ = ("level", "scale_from_px", "scale_to_px", "share", "other_share", "change")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    SCALE_FROM_PX_FIELD_NUMBER: _ClassVar[int]
    SCALE_TO_PX_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    OTHER_SHARE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    level: int
    scale_from_px: int
    scale_to_px: int
    share: float
    other_share: float
    change: float
    def __init__(self, level: _Optional[int] = ..., scale_from_px: _Optional[int] = ..., scale_to_px: _Optional[int] = ..., share: _Optional[float] = ..., other_share: _Optional[float] = ..., change: _Optional[float] = ...) -> None: ...

class Robustness(_message.Message):
    __slots__ = ("share", "shares", "corrupted")
    class SharesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SHARE_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    CORRUPTED_FIELD_NUMBER: _ClassVar[int]
    share: float
    shares: _containers.ScalarMap[str, float]
    corrupted: _containers.RepeatedCompositeFieldContainer[Corrupted]
    def __init__(self, share: _Optional[float] = ..., shares: _Optional[_Mapping[str, float]] = ..., corrupted: _Optional[_Iterable[_Union[Corrupted, _Mapping]]] = ...) -> None: ...

class Corrupted(_message.Message):
    __slots__ = ("corruption", "severity", "predicted", "probability", "same_label")
    CORRUPTION_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    SAME_LABEL_FIELD_NUMBER: _ClassVar[int]
    corruption: str
    severity: int
    predicted: Prediction
    probability: float
    same_label: bool
    def __init__(self, corruption: _Optional[str] = ..., severity: _Optional[int] = ..., predicted: _Optional[_Union[Prediction, _Mapping]] = ..., probability: _Optional[float] = ..., same_label: bool = ...) -> None: ...

class Zoom(_message.Message):
    __slots__ = ("new_share", "new_mean_share", "levels", "zoomed")
    NEW_SHARE_FIELD_NUMBER: _ClassVar[int]
    NEW_MEAN_SHARE_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    ZOOMED_FIELD_NUMBER: _ClassVar[int]
    new_share: float
    new_mean_share: float
    levels: _containers.RepeatedCompositeFieldContainer[ZoomLevel]
    zoomed: ExplainResponse
    def __init__(self, new_share: _Optional[float] = ..., new_mean_share: _Optional[float] = ..., levels: _Optional[_Iterable[_Union[ZoomLevel, _Mapping]]] = ..., zoomed: _Optional[_Union[ExplainResponse, _Mapping]] = ...) -> None: ...

class ZoomLevel(_message.Message):
    __slots__ = ("level", "scale_from_px", "scale_to_px", "share", "mean_share", "zoomed_share", "zoomed_mean_share")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    SCALE_FROM_PX_FIELD_NUMBER: _ClassVar[int]
    SCALE_TO_PX_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    MEAN_SHARE_FIELD_NUMBER: _ClassVar[int]
    ZOOMED_SHARE_FIELD_NUMBER: _ClassVar[int]
    ZOOMED_MEAN_SHARE_FIELD_NUMBER: _ClassVar[int]
    level: int
    scale_from_px: float
    scale_to_px: float
    share: float
    mean_share: float
    zoomed_share: float
    zoomed_mean_share: float
    def __init__(self, level: _Optional[int] = ..., scale_from_px: _Optional[float] = ..., scale_to_px: _Optional[float] = ..., share: _Optional[float] = ..., mean_share: _Optional[float] = ..., zoomed_share: _Optional[float] = ..., zoomed_mean_share: _Optional[float] = ...) -> None: ...

class Faithfulness(_message.Message):
    __slots__ = ("domain", "insertion", "deletion", "mu_fidelity", "mu_fidelity_spearman", "fraction", "insertion_curve", "deletion_curve", "parameters")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    INSERTION_FIELD_NUMBER: _ClassVar[int]
    DELETION_FIELD_NUMBER: _ClassVar[int]
    MU_FIDELITY_FIELD_NUMBER: _ClassVar[int]
    MU_FIDELITY_SPEARMAN_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    INSERTION_CURVE_FIELD_NUMBER: _ClassVar[int]
    DELETION_CURVE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    domain: str
    insertion: float
    deletion: float
    mu_fidelity: float
    mu_fidelity_spearman: float
    fraction: _containers.RepeatedScalarFieldContainer[float]
    insertion_curve: _containers.RepeatedScalarFieldContainer[float]
    deletion_curve: _containers.RepeatedScalarFieldContainer[float]
    parameters: _struct_pb2.Struct
    def __init__(self, domain: _Optional[str] = ..., insertion: _Optional[float] = ..., deletion: _Optional[float] = ..., mu_fidelity: _Optional[float] = ..., mu_fidelity_spearman: _Optional[float] = ..., fraction: _Optional[_Iterable[float]] = ..., insertion_curve: _Optional[_Iterable[float]] = ..., deletion_curve: _Optional[_Iterable[float]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class ExplainStreamRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: ExplainRequest
    def __init__(self, request: _Optional[_Union[ExplainRequest, _Mapping]] = ...) -> None: ...

class ExplainStreamResponse(_message.Message):
    __slots__ = ("progress", "partial", "result")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    partial: PartialIndices
    result: ExplainResponse
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., partial: _Optional[_Union[PartialIndices, _Mapping]] = ..., result: _Optional[_Union[ExplainResponse, _Mapping]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("forwards", "planned", "elapsed_s", "eta_s")
    FORWARDS_FIELD_NUMBER: _ClassVar[int]
    PLANNED_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_S_FIELD_NUMBER: _ClassVar[int]
    ETA_S_FIELD_NUMBER: _ClassVar[int]
    forwards: int
    planned: int
    elapsed_s: float
    eta_s: float
    def __init__(self, forwards: _Optional[int] = ..., planned: _Optional[int] = ..., elapsed_s: _Optional[float] = ..., eta_s: _Optional[float] = ...) -> None: ...

class PartialIndices(_message.Message):
    __slots__ = ("image", "forwards", "rows", "indices")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    FORWARDS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    image: int
    forwards: int
    rows: int
    indices: Indices
    def __init__(self, image: _Optional[int] = ..., forwards: _Optional[int] = ..., rows: _Optional[int] = ..., indices: _Optional[_Union[Indices, _Mapping]] = ...) -> None: ...

class EstimateRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: ExplainRequest
    def __init__(self, request: _Optional[_Union[ExplainRequest, _Mapping]] = ...) -> None: ...

class EstimateResponse(_message.Message):
    __slots__ = ("forwards", "expected_s", "queue_s", "cached")
    FORWARDS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_S_FIELD_NUMBER: _ClassVar[int]
    QUEUE_S_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    forwards: int
    expected_s: float
    queue_s: float
    cached: bool
    def __init__(self, forwards: _Optional[int] = ..., expected_s: _Optional[float] = ..., queue_s: _Optional[float] = ..., cached: bool = ...) -> None: ...

class PredictRequest(_message.Message):
    __slots__ = ("image", "images", "model", "top_k")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    images: _containers.RepeatedScalarFieldContainer[bytes]
    model: str
    top_k: int
    def __init__(self, image: _Optional[bytes] = ..., images: _Optional[_Iterable[bytes]] = ..., model: _Optional[str] = ..., top_k: _Optional[int] = ...) -> None: ...

class PredictResponse(_message.Message):
    __slots__ = ("model", "predictions")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    predictions: _containers.RepeatedCompositeFieldContainer[TopClasses]
    def __init__(self, model: _Optional[str] = ..., predictions: _Optional[_Iterable[_Union[TopClasses, _Mapping]]] = ...) -> None: ...

class TopClasses(_message.Message):
    __slots__ = ("top", "warnings")
    TOP_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    top: _containers.RepeatedCompositeFieldContainer[Prediction]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, top: _Optional[_Iterable[_Union[Prediction, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "ready", "details")
    NAME_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    name: str
    ready: bool
    details: _struct_pb2.Struct
    def __init__(self, name: _Optional[str] = ..., ready: bool = ..., details: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("id", "state", "kind", "model", "images", "created_at", "started_at", "finished_at", "forwards", "planned", "eta_s", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    FORWARDS_FIELD_NUMBER: _ClassVar[int]
    PLANNED_FIELD_NUMBER: _ClassVar[int]
    ETA_S_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: str
    kind: str
    model: str
    images: int
    created_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    forwards: int
    planned: int
    eta_s: float
    error: JobError
    def __init__(self, id: _Optional[str] = ..., state: _Optional[str] = ..., kind: _Optional[str] = ..., model: _Optional[str] = ..., images: _Optional[int] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., forwards: _Optional[int] = ..., planned: _Optional[int] = ..., eta_s: _Optional[float] = ..., error: _Optional[_Union[JobError, _Mapping]] = ...) -> None: ...

class JobError(_message.Message):
    __slots__ = ("code", "message", "field", "limits")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    field: str
    limits: _struct_pb2.Struct
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., field: _Optional[str] = ..., limits: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class SubmitJobRequest(_message.Message):
    __slots__ = ("request", "idempotency_key")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    request: ExplainRequest
    idempotency_key: str
    def __init__(self, request: _Optional[_Union[ExplainRequest, _Mapping]] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class SubmitJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class WatchJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class WatchJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class GetJobResultRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetJobResultResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: ExplainResponse
    def __init__(self, result: _Optional[_Union[ExplainResponse, _Mapping]] = ...) -> None: ...

class CancelJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class CancelJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...
