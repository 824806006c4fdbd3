"""Readers of JSON replies: from the JSON of an explanation to the types of a result.

The types say how each field is read. Content that is missing or of another type fails with ``KeyError``, ``TypeError``
or ``ValueError``, which the caller turns into an invalid reply. Keys that are younger than this client are ignored.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from wavescope_client._types import Explanation, Indices, Kept, Prediction, Sufficiency

Result = TypeVar("Result")
Reader = Callable[[Any], Any]
_DTYPES = {"float32": "<f4", "int32": "<i4"}


def read_explanation(content: dict[str, Any], request_id: str | None) -> Explanation:
    """An explanation; those within it have the request's id as well.

    Args:
        content: the JSON of the reply.
        request_id: of the reply.

    Raises:
        KeyError, TypeError, ValueError: the content is no explanation.
    """

    def nested(inner: dict[str, Any]) -> Explanation:
        return read_explanation(inner, request_id)

    figure = content.get("figure")
    read = {
        "sufficiency": None if content.get("sufficiency") is None else _sufficiency(content),
        "figure": None if figure is None else _bytes(figure["base64"]),
        "request_id": request_id,
    }
    return _made(Explanation, content, nested, read)


def read_prediction(content: dict[str, Any]) -> Prediction:
    """One class of a model."""
    return made(Prediction, content)


def read_indices(content: dict[str, Any]) -> Indices:
    """Sobol indices."""
    return made(Indices, content)


def made(cls: type[Result], content: dict[str, Any], **read: Any) -> Result:
    """A dataclass from the keys of its names.

    Args:
        cls: the dataclass; its types say how each value is read.
        content: JSON object with its keys; one that may be null or has a default may be missing.
        read: values that were read already.

    Raises:
        KeyError, TypeError, ValueError: a key is missing, or its value is of another type.
    """
    return _made(cls, content, None, read)


def _made(cls: type[Result], content: dict[str, Any], nested: Reader | None, read: dict[str, Any]) -> Result:
    """Make a record as :func:`made`; ``nested`` reads the explanations within."""
    values = dict(read)
    for field, hint in _typed_fields(cls):
        if field.name not in read:
            values[field.name] = _value(field, hint, content, nested)
    return cls(**values)


@cache
def _typed_fields(cls: Any) -> tuple[tuple[Field[Any], Any], ...]:
    hints = get_type_hints(cls, include_extras=True)
    return tuple((field, hints[field.name]) for field in fields(cls))


def _value(field: Field[Any], hint: Any, content: dict[str, Any], nested: Reader | None) -> Any:
    optional = NoneType in get_args(hint)
    if field.name not in content and (optional or field.default is not MISSING):
        return None if field.default is MISSING else field.default  # from a service of an earlier release
    value = content[field.name]
    if value is None and optional:
        return None
    present = next(member for member in get_args(hint) if member is not NoneType) if optional else hint
    return _read(present, value, nested)


def _read(hint: Any, value: Any, nested: Reader | None) -> Any:
    """A value of a type, from JSON."""
    if get_origin(hint) is Annotated:
        return _numbers(value, get_args(hint)[1])
    if get_origin(hint) is tuple:
        members = get_args(hint)
        if members[-1] is Ellipsis:
            return tuple(_read(members[0], entry, nested) for entry in value)
        start, end = value
        return start, end
    if hint is np.ndarray:
        return _tensor(value)
    if hint is bytes:
        return _bytes(value)
    if hint is Explanation and nested is not None:
        return nested(value)
    return _made(hint, value, nested, {}) if is_dataclass(hint) else value


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _numbers(values: list[Any], dtype: type[np.generic]) -> np.ndarray:
    array = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array


def _tensor(content: dict[str, Any]) -> np.ndarray:
    # frombuffer gives a view of immutable bytes: read-only, and no copy.
    array = np.frombuffer(_bytes(content["data"]), dtype=_DTYPES[content["dtype"]]).reshape(content["shape"])
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _sufficiency(content: dict[str, Any]) -> Sufficiency:
    """Read the section ``sufficiency`` and the keys beside it."""
    section, curve = content["sufficiency"], content["curve"]
    image, kept = content["sufficient_image"], section["kept"]
    return Sufficiency(
        outcome=section["outcome"],
        depth=content["reconstruction_depth"],
        order=_numbers(section["order"], np.int64),
        probability=_numbers(curve["probability"], np.float64),
        predicted=_numbers(curve["predicted"], np.int64),
        positive_factors=section["positive_factors"],
        image=None if image is None else _bytes(image),
        top_image=_bytes(section["top_factor_image"]),
        positive_image=_bytes(section["positive_image"]),
        kept=None if kept is None else made(Kept, kept),
    )
