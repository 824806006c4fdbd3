from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExplainRequest(_message.Message):
    __slots__ = ("image", "model", "kind", "target_index", "target_name", "score", "seed", "plan", "wavelet", "levels", "partition", "grid_size", "nb_design", "sampler", "estimator", "approximation", "value_policy")
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
    def __init__(self, image: _Optional[bytes] = ..., model: _Optional[str] = ..., kind: _Optional[str] = ..., target_index: _Optional[int] = ..., target_name: _Optional[str] = ..., score: _Optional[str] = ..., seed: _Optional[int] = ..., plan: _Optional[str] = ..., wavelet: _Optional[str] = ..., levels: _Optional[int] = ..., partition: _Optional[str] = ..., grid_size: _Optional[int] = ..., nb_design: _Optional[int] = ..., sampler: _Optional[str] = ..., estimator: _Optional[str] = ..., approximation: _Optional[str] = ..., value_policy: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("id", "kind", "model", "outcome", "target", "prediction", "indices", "maps", "levels", "crop", "forwards", "timing", "parameters", "warnings")
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
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[str] = ..., model: _Optional[str] = ..., outcome: _Optional[str] = ..., target: _Optional[_Union[Prediction, _Mapping]] = ..., prediction: _Optional[_Iterable[_Union[Prediction, _Mapping]]] = ..., indices: _Optional[_Union[Indices, _Mapping]] = ..., maps: _Optional[_Union[Maps, _Mapping]] = ..., levels: _Optional[_Iterable[_Union[Level, _Mapping]]] = ..., crop: _Optional[_Union[Crop, _Mapping]] = ..., forwards: _Optional[int] = ..., timing: _Optional[_Mapping[str, float]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

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
    __slots__ = ("total", "first", "standard_error", "interval_95")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_95_FIELD_NUMBER: _ClassVar[int]
    total: _containers.RepeatedScalarFieldContainer[float]
    first: _containers.RepeatedScalarFieldContainer[float]
    standard_error: _containers.RepeatedScalarFieldContainer[float]
    interval_95: _containers.RepeatedCompositeFieldContainer[Interval]
    def __init__(self, total: _Optional[_Iterable[float]] = ..., first: _Optional[_Iterable[float]] = ..., standard_error: _Optional[_Iterable[float]] = ..., interval_95: _Optional[_Iterable[_Union[Interval, _Mapping]]] = ...) -> None: ...

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
    __slots__ = ("wcam", "spatial_wcam", "factors")
    WCAM_FIELD_NUMBER: _ClassVar[int]
    SPATIAL_WCAM_FIELD_NUMBER: _ClassVar[int]
    FACTORS_FIELD_NUMBER: _ClassVar[int]
    wcam: Tensor
    spatial_wcam: Tensor
    factors: Tensor
    def __init__(self, wcam: _Optional[_Union[Tensor, _Mapping]] = ..., spatial_wcam: _Optional[_Union[Tensor, _Mapping]] = ..., factors: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

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
