"""The request: one pydantic model under both transports, and its way to an :class:`ExplanationRequest`.

Types are strict: ``"28"``, ``true`` and ``28.5`` are refused for ``grid_size`` instead of being converted.
What depends on the image or on the model (levels, cost, labels) is the engine's to refuse.
"""

from __future__ import annotations

import binascii
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from wavescope.engine.plan import MAX_SEED
from wavescope.engine.types import ExplanationRequest
from wavescope.errors import InvalidRequest
from wavescope.ingress.complaints import complain, json_type

DEFAULT_MODEL = "efficientnet-lite0"
MAX_TARGET_CHARS = 256
_DEFAULTS = ExplanationRequest()
Model = TypeVar("Model", bound=BaseModel)


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


Target = Annotated[int | str | None, BeforeValidator(_check_target)]


class ExplanationFields(BaseModel):
    """Every field of a request but the image."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, title="Fields")

    model: str = Field(DEFAULT_MODEL, min_length=1, max_length=128, description="Name of a registered model.")
    kind: Literal["wcam"] = Field("wcam", description="The product.")
    target: Target = Field(None, description="Class index or name; null explains the predicted class.")
    score: Literal["probability", "logit", "log_probability", "margin"] = Field(
        "probability", description="The scalar of the target class that is explained."
    )
    seed: int = Field(_DEFAULTS.seed, ge=0, le=MAX_SEED, description="Of the design and of the bootstrap.")
    plan: Literal["full"] = Field("full", description="full is exactly the paper's design.")
    wavelet: str = Field(
        _DEFAULTS.wavelet, min_length=1, max_length=32, description="Any discrete wavelet of PyWavelets."
    )
    levels: int = Field(_DEFAULTS.levels, ge=1, le=16, description="Dyadic levels.")
    partition: Literal["grid", "aligned", "subbands", "levels"] = Field(
        "grid", description="How coefficients are grouped into factors."
    )
    grid_size: int = Field(
        _DEFAULTS.grid_size, ge=1, le=1024, description="Cells per side, for grid and aligned."
    )
    nb_design: int = Field(
        _DEFAULTS.nb_design, ge=1, le=65_536, description="N, rows of A and of B; a power of two for Sobol."
    )
    sampler: Literal["sobol"] = Field("sobol", description="Of the design.")
    estimator: Literal["jansen"] = Field("jansen", description="Of the total index.")
    approximation: Literal["perturb", "keep", "drop"] = Field(
        "perturb", description="Perturb the approximation like any other band, keep it at 1, or drop it to 0."
    )
    value_policy: Literal["clip", "minmax", "none"] = Field(
        "clip", description="What becomes of values that leave [0, 1]."
    )

    def to_request(self) -> ExplanationRequest:
        """The engine's request: every field but the model."""
        return ExplanationRequest(**self.model_dump(include=_REQUEST_FIELDS))


_REQUEST_FIELDS = set(_DEFAULTS.parameters())


class ImageBody(BaseModel):
    """The encoded image file in base64."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, title="Image")

    base64: str = Field(description="The file's bytes in standard base64, without a data: prefix.")


class ExplanationBody(ExplanationFields):
    """A whole JSON request."""

    model_config = ConfigDict(title="ExplanationRequest")

    image: ImageBody


@dataclass(frozen=True, slots=True)
class Parsed:
    """A valid request.

    Attributes:
        model: name of the model, not yet looked up.
        image: the encoded file, not yet decoded.
        request: everything else.
    """

    model: str
    image: bytes
    request: ExplanationRequest


def parse_json(body: bytes) -> Parsed:
    """Read a JSON request with its image in base64.

    Raises:
        InvalidRequest: no JSON object, or a field is missing, unknown, of a wrong type or out of range.
    """
    valid = validate(ExplanationBody, load_json(body, "the body"))
    return Parsed(valid.model, decode_base64(valid.image.base64), valid.to_request())


def parse_parts(image: bytes, request_json: bytes | None) -> Parsed:
    """Read a multipart request: the image file, and JSON of the fields where there are any.

    Raises:
        InvalidRequest: as :func:`parse_json`, or an empty image.
    """
    content = {} if request_json is None else load_json(request_json, "the part 'request'")
    if isinstance(content, dict) and "image" in content:
        raise InvalidRequest(
            "image comes in its own part of a multipart request, not in the part 'request'", field="image"
        )
    return parse_fields(content, image)


def parse_fields(content: Any, image: bytes) -> Parsed:
    """Validate the fields that came beside an image.

    Raises:
        InvalidRequest: as :func:`parse_json`, or an empty image.
    """
    valid = validate(ExplanationFields, content)
    if not image:
        raise InvalidRequest("image is empty", field="image")
    return Parsed(valid.model, image, valid.to_request())


def validate(schema: type[Model], content: Any) -> Model:
    """An instance of ``schema``.

    Raises:
        InvalidRequest: naming the first field at fault, and in its message the first five.
    """
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise complain(schema, error) from error


def load_json(body: bytes, what: str) -> Any:
    """Parse JSON strictly: UTF-8, no NaN, no Infinity.

    Raises:
        InvalidRequest: it is no JSON; ``what`` names it in the message.
    """

    def refuse(constant: str) -> NoReturn:
        raise InvalidRequest(f"{what} is not valid JSON: {constant} is not a JSON number")

    try:
        return json.loads(body.decode("utf-8"), parse_constant=refuse)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{what} is not valid JSON: it is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidRequest(f"{what} is not valid JSON: {error.msg} at {place}") from error
    except (RecursionError, ValueError) as error:  # nested too deep, or an integer of thousands of digits
        raise InvalidRequest(f"{what} is JSON nested too deep, or with too long a number") from error


def decode_base64(text: str) -> bytes:
    """The bytes behind standard base64; line breaks are allowed, since tools wrap their lines.

    Raises:
        InvalidRequest: it is empty, a data URL, or not base64.
    """
    field = "image.base64"
    if text.startswith("data:"):
        raise InvalidRequest(f"{field} must be base64 alone, without 'data:…;base64,'", field=field)
    if any(space in text for space in "\n\r\t "):
        text = "".join(text.split())
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:  # ValueError: characters beyond ASCII
        raise InvalidRequest(f"{field} is not standard base64: {str(error)[:120]}", field=field) from error
    if not data:
        raise InvalidRequest(f"{field} is empty", field=field)
    return data
