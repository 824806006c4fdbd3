"""The request: one pydantic model under both transports, and its way to an :class:`ExplanationRequest`.

Types are strict: ``"28"``, ``true`` and ``28.5`` are refused for ``grid_size`` instead of being converted.
What depends on the image or on the model (levels, cost, labels) is the engine's to refuse.
"""

from __future__ import annotations

import dataclasses
import json
import math
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, create_model
from pydantic_core import PydanticCustomError

from wavescope.engine.choices import ADAPTIVE_ACCURACY, ADAPTIVE_FORWARDS, CHOICES, MANY_CHOICES
from wavescope.engine.docstrings import attribute_texts
from wavescope.engine.kinds import DEFAULT_KIND, KINDS
from wavescope.engine.requests import make_request
from wavescope.engine.types import CLASS_FIELDS, ExplanationRequest
from wavescope.engine.values import as_float
from wavescope.ingress.schemas.descriptions import as_description
from wavescope.ingress.schemas.validation_errors import LIST_TAG, ONE_TAG, json_type
from wavescope.models.spec import DEFAULT_MODEL

MAX_TARGET_CHARS = 256
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


def _within_floats(value: Any) -> Any:
    # Such integers would be refused as being none of a float's, without the limit of the field.
    integer = isinstance(value, int) and not isinstance(value, bool)
    return found if integer and math.isinf(found := as_float(value)) else value


def _tag(value: Any) -> str:
    return LIST_TAG if isinstance(value, list) else ONE_TAG


CheckedTarget = Annotated[int | str | None, BeforeValidator(_check_target)]
Targets = Annotated[list[CheckedTarget], Field(min_length=1)]
# A discriminator, because a plain union would report the errors of both branches at once.
TargetEntry = Annotated[
    Annotated[CheckedTarget, Tag(ONE_TAG)] | Annotated[Targets, Tag(LIST_TAG)], Discriminator(_tag)
]


# Where the default of a field depends on others of the request: said in words, after the field's own text.
_DEFAULT_TEXTS = {
    "plan": "Default adaptive for kinds "
    + ", ".join(kind.name for kind in KINDS.values() if kind.adaptive)
    + " with partition grid or aligned and a grid_size of 9 to 64, and wherever one of max_forwards, standard_error, "
    "top_k, accuracy and a prior other than auto is given; else full, and wherever nb_design, compat, latin_hypercube "
    "or an estimator other than jansen is given.",
    "nb_design": "Default 8 with plan full, for kind zoom 4. With plan adaptive, unless given, the power of two of at "
    "most an eighth of max_forwards, 8 to 256.",
    "max_forwards": f"Default {ADAPTIVE_FORWARDS} with plan adaptive.",
    "accuracy": f"Default {ADAPTIVE_ACCURACY:g} with plan adaptive where none of max_forwards, standard_error and "
    "top_k is given.",
    "target": "",
    "against": "",
    "compat": "",
    "kind": "",
}


def _default_text(name: str) -> str:
    """The defaults of a field by kind, in words; empty where the one default is that of all kinds."""

    def default(kind: str, compat: str | None = None) -> Any:
        return getattr(make_request(kind=kind, compat=compat), name)

    usual = getattr(make_request(), name)
    parts = [f"Default {_as_text(usual)}"]
    parts += [f"{_as_text(default(kind))} for kind {kind}" for kind in KINDS if default(kind) != usual]
    reference = {kind: default(kind, "reference") for kind in KINDS}
    changed = {kind: value for kind, value in reference.items() if value != default(kind)}
    if len(changed) == len(KINDS):
        parts.append(f"{_as_text(reference[DEFAULT_KIND.name])} for compat reference")
    else:
        parts += [
            f"{_as_text(value)} for kind {kind} with compat reference" for kind, value in changed.items()
        ]
    return ", ".join(parts) + "." if len(parts) > 1 else ""


def _as_text(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _annotation(name: str, hint: Any) -> Any:
    """The type of a field in a body: its choices, where there are few enough to list."""
    choices = [choice for choice in CHOICES.get(name, ()) if choice is not None]
    if name in CLASS_FIELDS:
        return CheckedTarget
    if float in (hint, *get_args(hint)):
        return Annotated[hint, BeforeValidator(_within_floats)]
    if not 0 < len(choices) <= MANY_CHOICES:
        return hint
    listed: Any = Literal[tuple(choices)]
    return listed | None if NoneType in get_args(hint) else listed


def _request_field(field: dataclasses.Field[Any]) -> Any:
    """A field of :class:`ExplanationRequest` as one of a body.

    Where the default depends on other fields the document shows none: a caller who sent the one shown for all kinds
    would override those of the others.
    """
    default = getattr(make_request(), field.name)
    text = attribute_texts(ExplanationRequest).get(field.name, "")
    defaults = _DEFAULT_TEXTS.get(field.name, _default_text(field.name))
    description = " ".join(filter(None, [as_description(text), defaults]))
    extra = (lambda schema: schema.pop("default", None)) if defaults else None
    return Field(default, description=description, json_schema_extra=extra, **field.metadata)


def _request_fields() -> dict[str, Any]:
    """Every field of :class:`ExplanationRequest`, with its type and limits: the one source of the request's schema."""
    hints = get_type_hints(ExplanationRequest)
    return {
        field.name: (_annotation(field.name, hints[field.name]), _request_field(field))
        for field in dataclasses.fields(ExplanationRequest)
    }


class Strict(BaseModel):
    """A body: known fields alone, of exactly the types of JSON."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _ModelField(Strict):
    model: str = Field(
        DEFAULT_MODEL.name, min_length=1, max_length=128, description="Name of a registered model."
    )


_RequestFields = create_model("_RequestFields", __base__=_ModelField, **_request_fields())


class ExplanationFields(_RequestFields):
    """Every field of a request but the images."""

    model_config = ConfigDict(title="Fields")

    targets: Annotated[list[TargetEntry], Field(min_length=1)] | None = Field(
        None,
        description=(
            "Makes the request a batch. With image: several classes, scored in one pass; plan adaptive follows the "
            "score of the first. With images: one entry per image, in the same "
            "order; an entry is a class, a list of classes, or null for the predicted class."
        ),
    )

    def to_request(self) -> ExplanationRequest:
        """The engine's request: what was given, and the defaults of its kind for everything else."""
        names = {field.name for field in dataclasses.fields(ExplanationRequest)}
        given = {name: getattr(self, name) for name in self.model_fields_set & names}
        # Null is nowhere a value: it leaves a field to the default, which a kind or a plan may settle.
        return make_request(**{name: value for name, value in given.items() if value is not None})


class ImageBody(Strict):
    """The encoded image file in base64."""

    model_config = ConfigDict(title="Image")

    base64: str = Field(
        description="The file's bytes in base64. Line breaks, the alphabet of URLs, absent padding and a browser's "
        "data:…;base64, before it are taken as well.",
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


class PredictionFields(_ModelField):
    """Every field of a request for predictions but the images."""

    model_config = ConfigDict(title="PredictionFields")

    top_k: int = Field(5, ge=1, le=MAX_TOP_CLASSES, description="Number of classes of each image.")


class PredictionBody(PredictionFields):
    """A whole JSON request for predictions."""

    model_config = ConfigDict(title="PredictionRequest")

    image: ImageBody | None = Field(None, description="The image; required where images is absent.")
    images: Annotated[list[ImageBody], Field(min_length=1)] | None = Field(
        None, description="Several images instead of image."
    )
