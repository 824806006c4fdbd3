"""Parsing of the fields and files that a transport received into a valid request."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from wavescope.engine.kinds import OTHER_KINDS, find_kind
from wavescope.errors import InvalidRequest
from wavescope.ingress.plane import ExplainRequest, IngressLimits, PredictRequest, Target
from wavescope.ingress.schemas.base64_text import decode_base64
from wavescope.ingress.schemas.request import (
    ExplanationBody,
    ExplanationFields,
    ImageBody,
    PredictionBody,
    PredictionFields,
)
from wavescope.ingress.schemas.validation_errors import complain

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Files:
    """The encoded images of a request, not yet decoded; ``None`` where one was not sent."""

    image: bytes | None = None
    images: tuple[bytes, ...] | None = None
    other: bytes | None = None


def parse_json(body: bytes, limits: IngressLimits) -> ExplainRequest:
    """Read a JSON request with its images in base64.

    Raises:
        InvalidRequest: no JSON object; or a field is missing, unknown, of a wrong type, out of range or at odds with
            another.
    """
    valid = validate(ExplanationBody, load_json(body, "the body"))
    image, images = _both_decoded(valid)
    return settle(valid, Files(image, images, _decoded(valid.other, "other")), limits)


def parse_prediction_json(body: bytes, limits: IngressLimits) -> PredictRequest:
    """Read a JSON request for predictions; raises as :func:`parse_json`."""
    valid = validate(PredictionBody, load_json(body, "the body"))
    return settle_prediction(valid, Files(*_both_decoded(valid)), limits)


def parse_parts(files: Files, request_json: bytes | None, limits: IngressLimits) -> ExplainRequest:
    """Read a multipart request: the image files, and JSON of the fields where there are any.

    Raises:
        InvalidRequest: as :func:`parse_json`, or an empty image.
    """
    return parse_fields(_fields_beside(files, request_json), files, limits)


def parse_prediction_parts(files: Files, request_json: bytes | None, limits: IngressLimits) -> PredictRequest:
    """Read a multipart request for predictions; raises as :func:`parse_parts`."""
    fields = validate(PredictionFields, _fields_beside(files, request_json))
    return settle_prediction(fields, files, limits)


def _fields_beside(files: Files, request_json: bytes | None) -> Any:
    content = {} if request_json is None else load_json(request_json, "the part 'request'")
    for name in Files.__dataclass_fields__:
        if isinstance(content, dict) and name in content:
            raise InvalidRequest(
                f"{name} comes in its own part of a multipart request, not in the part 'request'", field=name
            )
    return content


def parse_fields(content: Any, files: Files, limits: IngressLimits) -> ExplainRequest:
    """Validate the fields that came beside image files.

    Raises:
        InvalidRequest: as :func:`parse_json`, or an empty image.
    """
    return settle(validate(ExplanationFields, content), files, limits)


def settle_prediction(fields: PredictionFields, files: Files, limits: IngressLimits) -> PredictRequest:
    """Hold the fields of a request for predictions and its images against each other.

    Raises:
        InvalidRequest: they do not go together, an image is empty, or there are too many.
    """
    if files.other is not None:
        raise InvalidRequest(f"other is for explanations of kind {OTHER_KINDS} alone", field="other")
    return PredictRequest(fields.model, _images(files, limits), fields.top_k)


def settle(fields: ExplanationFields, files: Files, limits: IngressLimits) -> ExplainRequest:
    """Hold the fields and the images against each other.

    Raises:
        InvalidRequest: they do not go together, an image is empty, or there are too many.
    """
    request = fields.to_request()
    if find_kind(request.kind).takes_other:
        _check_comparison(fields, files)
    elif files.other is not None:
        raise InvalidRequest(
            f"other is for kind {OTHER_KINDS} alone, not for kind {request.kind}", field="other"
        )
    images = _images(files, limits)
    if fields.targets is not None and request.target is not None:
        raise InvalidRequest("target and targets exclude each other: give one of them", field="targets")
    if fields.targets is None:
        targets: tuple[tuple[Target, ...], ...] = ((request.target,),) * len(images)
    elif files.images is None:
        targets = (_one_image(fields.targets),)
    else:
        targets = _paired(fields.targets, len(images))
    most = max(map(len, targets))
    if most > limits.max_targets:
        raise InvalidRequest(
            f"targets holds {most} classes for one image; at most {limits.max_targets} are explained in one request",
            field="targets",
            max_targets=limits.max_targets,
        )
    batch = files.images is not None or fields.targets is not None
    if files.other is not None:
        images = (*images, files.other)
    return ExplainRequest(fields.model, images, targets, request, batch)


def _check_comparison(fields: ExplanationFields, files: Files) -> None:
    for name, value in (("images", files.images), ("targets", fields.targets)):
        if value is not None:
            raise InvalidRequest(
                f"{name} is not for kind {OTHER_KINDS}, which takes image and other", field=name
            )
    if files.other is None:
        raise InvalidRequest(
            f"other is required for kind {OTHER_KINDS}: the image to compare with", field="other"
        )
    if not files.other:
        raise InvalidRequest("other is empty", field="other")


def _images(files: Files, limits: IngressLimits) -> tuple[bytes, ...]:
    if files.image is not None and files.images is not None:
        raise InvalidRequest("image and images exclude each other: give one of them", field="images")
    if files.images is None:
        if files.image is None:
            raise InvalidRequest("image is required, or images for a batch", field="image")
        if not files.image:
            raise InvalidRequest("image is empty", field="image")
        return (files.image,)
    if len(files.images) > limits.max_images:
        raise InvalidRequest(
            f"images holds {len(files.images)} images; at most {limits.max_images} are taken in one request",
            field="images",
            max_images=limits.max_images,
        )
    for position, image in enumerate(files.images):
        if not image:
            raise InvalidRequest(f"images[{position}] is empty", field=f"images[{position}]")
    return files.images


def _one_image(targets: list[Any]) -> tuple[Target, ...]:
    """The classes of the one image in ``image``."""
    for position, entry in enumerate(targets):
        if isinstance(entry, list):
            name = f"targets[{position}]"
            raise InvalidRequest(
                f"{name} must be a class index or a class name, not a list: lists are for images", field=name
            )
    return tuple(targets)


def _paired(targets: list[Any], n_images: int) -> tuple[tuple[Target, ...], ...]:
    """The classes of each image in ``images``."""
    if len(targets) != n_images:
        raise InvalidRequest(
            f"targets must have one entry per image: it has {len(targets)} and images has {n_images} "
            "(an entry may be a list of several classes)",
            field="targets",
            targets=len(targets),
            images=n_images,
        )
    return tuple(tuple(entry) if isinstance(entry, list) else (entry,) for entry in targets)


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
    """Parse JSON strictly: UTF-8, with or without its mark, no NaN, no Infinity, no name twice in one object.

    Raises:
        InvalidRequest: it is no JSON; ``what`` names it in the message. Or a name is there twice, of which each reader
            would take another.
    """

    def refuse(constant: str) -> NoReturn:
        raise InvalidRequest(f"{what} is not valid JSON: {constant} is not a JSON number")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise InvalidRequest(f"{what} has the name {name[:64]!r} twice in one object", field=name[:64])

    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=refuse, object_pairs_hook=unique)
    except UnicodeDecodeError as error:
        why = (
            "it is UTF-16: send UTF-8"
            if body.startswith((b"\xff\xfe", b"\xfe\xff"))
            else f"it is not UTF-8 at byte {error.start}"
        )
        raise InvalidRequest(f"{what} is not valid JSON: {why}") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidRequest(f"{what} is not valid JSON: {error.msg} at {place}") from error
    except (RecursionError, ValueError) as error:  # nested too deep, or an integer of thousands of digits
        raise InvalidRequest(f"{what} is JSON nested too deep, or with too long a number") from error


def _both_decoded(body: ExplanationBody | PredictionBody) -> tuple[bytes | None, tuple[bytes, ...] | None]:
    images = None
    if body.images is not None:
        images = tuple(decode_base64(image.base64, f"images[{i}]") for i, image in enumerate(body.images))
    return _decoded(body.image, "image"), images


def _decoded(image: ImageBody | None, name: str) -> bytes | None:
    return None if image is None else decode_base64(image.base64, name)
