"""The reply's pydantic models: for the OpenAPI document, and for the test that holds every reply against them.

Those of an explanation and of its sections are made of the engine's types and their docstrings.
"""

from __future__ import annotations

from types import GenericAlias, NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model

from wavescope.core.maps import Importance
from wavescope.engine.docstrings import summary
from wavescope.engine.types import CropBox, Explanation, Indices, LevelImportance, Prediction
from wavescope.ingress import layout
from wavescope.ingress.schemas.descriptions import as_description

# Names of schemas that are not those of the type.
_NAMES: dict[type, str] = {
    Prediction: "ClassReply",
    LevelImportance: "LevelReply",
    Importance: "BandReply",
    CropBox: "CropReply",
    layout.SufficientImage: "SufficiencyReply",
}


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TensorReply(_Reply):
    """An array in row-major order."""

    shape: list[int]
    dtype: Literal["float32", "int32"]
    data: str = Field(description="Little-endian bytes in base64.")


class FigureReply(_Reply):
    """The figure, where ``Accept`` asked for it."""

    media_type: Literal["image/png"]
    base64: str


def _list_of(item: Any) -> Any:
    return GenericAlias(list, (item,))


def _schema_name(cls: type) -> str:
    return _NAMES.get(cls, f"{cls.__name__}Reply")


def _json_type(field: layout.ReplyField) -> Any:
    """The type of a field's value in JSON."""
    optional = NoneType in get_args(field.hint)
    found: Any = _array_type(field) if field.form else _plain_type(layout.without_none(field.hint))
    return found | None if optional else found


def _array_type(field: layout.ReplyField) -> Any:
    if field.form != "list":
        return TensorReply if field.form == "tensor" else str
    array = layout.without_none(field.hint)
    number = bool if "bool" in array.dtypes else int if "int32" in array.dtypes else float
    found: Any = list[number]
    for _ in array.dim_str.split()[1:]:
        found = list[found]
    return found


def _plain_type(hint: Any) -> Any:
    if (cls := layout.item_of(hint)) is not None:
        # An explanation holds those of second images: its own schema is resolved once it is there.
        model: Any = _schema_name(cls) if cls is Explanation else _MODELS.get(cls) or _reply_model(cls)
        return _list_of(model) if get_origin(hint) is tuple else model
    if get_origin(hint) is tuple:
        members = [member for member in get_args(hint) if member is not Ellipsis]
        entry = members[0]
        for member in members[1:]:
            entry = entry | member
        return list[entry]
    return hint


def _reply_model(cls: type, **more: Any) -> type[BaseModel]:
    """The schema of a dataclass of the reply; strict, and without further keys."""
    found = {
        field.name: (_json_type(field), Field(description=_description(field)))
        for field in layout.reply_fields(cls)
    }
    doc = as_description(summary(cls))
    model = create_model(_schema_name(cls), __base__=_Reply, __doc__=doc, **found, **more)
    _MODELS[cls] = model
    return model


def _description(field: layout.ReplyField) -> str | None:
    text = as_description(field.text)
    if field.form == "png":
        text = f"{text} PNG in base64." if text else "PNG in base64."
    return text or None


_MODELS: dict[type, type[BaseModel]] = {}
ExplanationReply = _reply_model(Explanation, figure=(FigureReply | None, None))
IndicesReply = _MODELS[Indices]
ClassReply = _MODELS[Prediction]
for _model in _MODELS.values():
    _model.model_rebuild(_types_namespace={"ExplanationReply": ExplanationReply})

BatchReply = create_model(
    "BatchReply",
    __base__=_Reply,
    __doc__="The answer to a request with images or targets: image by image, and within an image target by target.",
    explanations=(_list_of(ExplanationReply), ...),
    forwards=(
        int,
        Field(
            description="Images scored for all; a pass that several targets of one image share counts once."
        ),
    ),
)


class EstimateReply(_Reply):
    """Expected cost of an explanation."""

    forwards: int = Field(description="Images to be scored in all; with plan adaptive the most it may take.")
    expected_s: float | None = Field(
        description="Seconds of scoring on the replicas that run now; null where the model's speed is not known yet."
    )
    queue_s: float = Field(description="Seconds it would wait now before it begins.")
    cached: bool = Field(description="Whether the result is kept already, and costs nothing.")


PredictionsReply = create_model(
    "PredictionsReply",
    __base__=_Reply,
    __doc__="The most probable classes of images.",
    model=(str, ...),
    predictions=(
        _list_of(_list_of(ClassReply)),
        Field(
            description="Per image, in the order of the request, the most probable classes, the most probable first."
        ),
    ),
    warnings=(
        list[list[str]],
        Field(
            description="Per image, in the order of the request, sentences about what was assumed of its file, and "
            "about the model."
        ),
    ),
)


class JobErrorReply(_Reply):
    """Error of a failed job: the problem that a request for the same would have been refused with."""

    code: str
    message: str
    field: str | None
    limits: dict[str, Any]


class JobLinks(_Reply):
    """Addresses of a job, of its events and of its result."""

    self_: str = Field(alias="self")
    events: str
    result: str


class JobReply(_Reply):
    """Status of a job; times are RFC 3339 in UTC."""

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
    """Progress of a request: the data of the event progress."""

    forwards: int = Field(description="Images scored so far.")
    planned: int = Field(description="Images to be scored in all; with plan adaptive the most it may take.")
    elapsed_s: float = Field(description="Since the request began.")
    eta_s: float | None = Field(
        description="Seconds left at the pace so far; null before anything is scored."
    )


PartialEvent = create_model(
    "PartialEvent",
    __base__=_Reply,
    __doc__="Indices so far, a valid answer with larger errors than the last: the data of the event partial.",
    image=(int, Field(description="Place among the images of the request.")),
    forwards=(int, Field(description="Images scored of this image so far.")),
    rows=(int | None, Field(description="Complete design rows so far; null with plan adaptive.")),
    indices=(IndicesReply, Field(description="Of the first target.")),
)


class JobProgressEvent(_Reply):
    """Progress of a job: the data of its event progress."""

    forwards: int
    planned: int
    eta_s: float | None
