"""The request: one pydantic model under both transports, and its way to an :class:`ExplanationRequest`.

Types are strict: ``"28"``, ``true`` and ``28.5`` are refused for ``grid_size`` instead of being converted.
What depends on the image or on the model (levels, cost, labels) is the engine's to refuse.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from wavescope.engine.checks import MAX_SEED
from wavescope.engine.choices import KINDS, MAX_ADAPTIVE_FACTORS
from wavescope.engine.requests import make_request
from wavescope.engine.types import ExplanationRequest
from wavescope.ingress.complaints import LIST_TAG, ONE_TAG, json_type

DEFAULT_MODEL = "efficientnet-lite0"
MAX_TARGET_CHARS = 256
# What an image may cost is a setting; this keeps the field within a message's 32 bits.
MAX_FORWARDS = 10**9
MAX_TOP_CLASSES = 100


def _check_target(value: Any) -> Any:
    # Before the union, whose own messages would name its branches, such as ``target.int``.
    if isinstance(value, bool | float | list | dict):
        found = {"found": json_type(value)}
        raise PydanticCustomError("target", "must be a class index or a class name, not {found}", found)
    if isinstance(value, str) and len(value) > MAX_TARGET_CHARS:
        limits = {"most": MAX_TARGET_CHARS, "found": len(value)}
        raise PydanticCustomError("target", "must have at most {most} characters, not {found}", limits)
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise PydanticCustomError("target", "must be text that UTF-8 can hold") from error
    return value


def _tag(value: Any) -> str:
    return LIST_TAG if isinstance(value, list) else ONE_TAG


Target = Annotated[int | str | None, BeforeValidator(_check_target)]
Targets = Annotated[list[Target], Field(min_length=1)]
# A discriminator, because a plain union would tell the errors of both branches at once.
TargetEntry = Annotated[
    Annotated[Target, Tag(ONE_TAG)] | Annotated[Targets, Tag(LIST_TAG)], Discriminator(_tag)
]


def _told_default(name: str) -> str:
    """Which default a field has for which kind, in words."""

    def default(kind: str, compat: str | None = None) -> Any:
        return getattr(make_request(kind=kind, compat=compat), name)

    usual = getattr(make_request(), name)
    told = [f"Default {_shown(usual)}"]
    told += [f"{_shown(default(kind))} for kind {kind}" for kind in KINDS if default(kind) != usual]
    reference = {kind: default(kind, "reference") for kind in KINDS}
    changed = {kind: value for kind, value in reference.items() if value != default(kind)}
    if len(changed) == len(KINDS):
        told.append(f"{_shown(reference['wcam'])} for compat reference")
    else:
        told += [f"{_shown(value)} for kind {kind} with compat reference" for kind, value in changed.items()]
    return ", ".join(told) + "."


def _shown(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _field(name: str, description: str, *, settled: bool = False, **constraints: Any) -> Any:
    """A field whose default is the engine's.

    Args:
        settled: the description says itself what the default depends on.

    Where the default depends on other fields the document shows none: who sent the one shown for all kinds would
    override those of the others.
    """
    default, told = getattr(make_request(), name), "" if settled else _told_default(name)
    varies = settled or "," in told
    description = f"{description} {told}" if told and varies else description
    extra = (lambda schema: schema.pop("default", None)) if varies else None
    return Field(default, description=description, json_schema_extra=extra, **constraints)


class Strict(BaseModel):
    """What a body holds: fields that are known alone, their types as JSON has them."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ExplanationFields(BaseModel):
    """Every field of a request but the images."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, title="Fields")

    model: str = Field(DEFAULT_MODEL, min_length=1, max_length=128, description="Name of a registered model.")
    kind: Literal["wcam", "fam", "sobol", "sufficient-image", "profile", "compare", "robustness", "zoom"] = (
        Field("wcam", description="What is asked, in the words of this operation's description.")
    )
    target: Target = Field(
        None, description="Class index or name, for every image; null explains the predicted class."
    )
    targets: Annotated[list[TargetEntry], Field(min_length=1)] | None = Field(
        None,
        description=(
            "Makes the request a batch. With image: several classes, scored in one pass. With images: one entry per "
            "image, in the same order; an entry is a class, a list of classes, or null for the predicted class."
        ),
    )
    score: Literal["probability", "logit", "log_probability", "margin"] = _field(
        "score", "The scalar of the target class that is explained."
    )
    seed: int = _field("seed", "Of the design, the bootstrap and whatever else is drawn.", ge=0, le=MAX_SEED)
    plan: Literal["full", "adaptive"] = _field(
        "plan",
        "full is exactly the paper's design; adaptive perturbs by themselves only the factors where that tells most, "
        "and predicts the others. Default adaptive for kinds wcam, sufficient-image, compare and robustness with "
        "partition grid or aligned and a grid_size of 9 to 64, and wherever one of max_forwards, standard_error and "
        "top_k is given; else full, and wherever nb_design, compat, latin_hypercube or an estimator other than jansen "
        "is given. A deadline_s ends either.",
        settled=True,
    )
    wavelet: str = _field("wavelet", "Any discrete wavelet of PyWavelets.", min_length=1, max_length=32)
    levels: int = _field("levels", "Dyadic levels.", ge=1, le=16)
    partition: Literal["grid", "aligned", "subbands", "levels", "circle", "square"] = _field(
        "partition",
        "How coefficients are grouped into factors: grid, aligned, subbands or levels in the wavelet domain "
        "(profile: subbands or levels), circle, square or grid for fam, grid for sobol.",
    )
    grid_size: int = _field(
        "grid_size", "Cells per side for grid and aligned, rings for circle and square.", ge=1, le=1024
    )
    nb_design: int = _field(
        "nb_design",
        "N, rows of A and of B; a power of two for Sobol. Default 8 with plan full, for kind zoom 4. With plan "
        "adaptive rows of A alone: unless given, the power of two of at most an eighth of max_forwards, 8 to 256.",
        settled=True,
        ge=1,
        le=65_536,
    )
    sampler: Literal["sobol", "halton", "latin_hypercube", "monte_carlo"] = _field(
        "sampler", "Of the design."
    )
    estimator: Literal["jansen", "homma", "janon", "glen", "saltelli"] = _field(
        "estimator", "Of the total index."
    )
    approximation: Literal["perturb", "keep", "drop"] = _field(
        "approximation", "Perturb the approximation like any other band, keep it at 1, or drop it to 0."
    )
    value_policy: Literal["clip", "minmax", "none"] = _field(
        "value_policy", "What becomes of values that leave [0, 1]."
    )
    baseline: Literal["zero", "mean", "blur"] = _field(
        "baseline", "What a masked pixel becomes, for kind sobol."
    )
    faithfulness: bool = _field(
        "faithfulness", "Measure insertion, deletion and µ-fidelity of the map as well."
    )
    compat: Literal["reference"] | None = Field(
        None, description="reference computes as the authors' code does, and sets its defaults."
    )
    max_forwards: int | None = _field(
        "max_forwards",
        "Plan adaptive alone, there 628 by default: the most images that are scored of one image.",
        settled=True,
        ge=32,
        le=MAX_FORWARDS,
    )
    deadline_s: float | None = _field(
        "deadline_s",
        "Seconds from the request's arrival, waiting included, after which what is known is the answer, marked as "
        "partial; the images of a batch share them. A full plan needs two whole design rows by then, kinds compare and "
        "zoom both images.",
        gt=0,
        allow_inf_nan=False,
    )
    standard_error: float | None = _field(
        "standard_error", "Plan adaptive alone: stop once no index has a larger one.", gt=0, le=1
    )
    top_k: int | None = _field(
        "top_k",
        "Plan adaptive alone: stop once the k largest indices are the same factors three rounds in a row.",
        ge=1,
        le=MAX_ADAPTIVE_FACTORS,
    )

    def to_request(self) -> ExplanationRequest:
        """The engine's request: what was given, and the defaults of its kind for everything else."""
        given = {name: getattr(self, name) for name in self.model_fields_set & _REQUEST_FIELDS}
        # Null is nowhere a value: it leaves a field to the default, which a kind or a plan may settle.
        return make_request(**{name: value for name, value in given.items() if value is not None})


_REQUEST_FIELDS = set(make_request().parameters())


class ImageBody(BaseModel):
    """The encoded image file in base64."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, title="Image")

    base64: str = Field(
        description="The file's bytes in standard base64, without a data: prefix.",
        json_schema_extra={"format": "byte"},
    )


class ExplanationBody(ExplanationFields):
    """A whole JSON request: one image in `image`, or a batch in `images`."""

    model_config = ConfigDict(title="ExplanationRequest")

    image: ImageBody | None = Field(None, description="The image; required where images is absent.")
    images: Annotated[list[ImageBody], Field(min_length=1)] | None = Field(
        None,
        description="Makes the request a batch: each image is explained for target, its entry of targets, or its own "
        "predicted class.",
    )
    other: ImageBody | None = Field(
        None, description="Kind compare alone, and required there: the image that image is compared with."
    )


class PredictionFields(BaseModel):
    """Every field of a request for predictions but the images."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, title="PredictionFields")

    model: str = Field(DEFAULT_MODEL, min_length=1, max_length=128, description="Name of a registered model.")
    top_k: int = Field(5, ge=1, le=MAX_TOP_CLASSES, description="Classes that are told of each image.")


class PredictionBody(PredictionFields):
    """A whole JSON request for predictions."""

    model_config = ConfigDict(title="PredictionRequest")

    image: ImageBody | None = Field(None, description="The image; required where images is absent.")
    images: Annotated[list[ImageBody], Field(min_length=1)] | None = Field(
        None, description="Several images instead of image."
    )
