"""Validation errors of pydantic as one :class:`InvalidRequest` in the service's own words."""

from __future__ import annotations

import json
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from wavescope.errors import InvalidRequest

MAX_COMPLAINTS = 5
# Pydantic puts the tags of a union's branches into the path of an error; angle brackets, as no field has them.
ONE_TAG, LIST_TAG = "<one>", "<list>"
_MAX_SHOWN_CHARS = 64

_JSON_TYPES = (
    (bool, "true or false"),
    (int, "an integer"),
    (float, "a number with a fraction"),
    (str, "a string"),
    (list, "a list"),
    (dict, "an object"),
)
_EXPECTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a string",
    "list_type": "a list",
    "model_type": "a JSON object",
    "dict_type": "a JSON object",
}
# By pydantic's name: the bound's key in its context, the words, and the name of the limit.
_BOUNDS = {
    "greater_than_equal": ("ge", "at least", "minimum"),
    "greater_than": ("gt", "more than", "exclusive_minimum"),
    "less_than_equal": ("le", "at most", "maximum"),
    "less_than": ("lt", "less than", "exclusive_maximum"),
}


def json_type(value: Any) -> str:
    """The JSON type of a value, in words."""
    if value is None:
        return "null"
    return next((name for kind, name in _JSON_TYPES if isinstance(value, kind)), type(value).__name__)


def complain(schema: type[BaseModel], error: ValidationError) -> InvalidRequest:
    """The error to raise: ``field`` and limits of the first complaint, the message of the first five."""
    found = [_describe(schema, details) for details in error.errors(include_url=False)]
    field, _, limits = found[0]
    message = "; ".join(text for _, text, _ in found[:MAX_COMPLAINTS])
    if len(found) > MAX_COMPLAINTS:
        message += f"; and {len(found) - MAX_COMPLAINTS} more"
    return InvalidRequest(message, field=field or None, **limits)


def _describe(schema: type[BaseModel], details: ErrorDetails) -> tuple[str, str, dict[str, Any]]:
    """(field, message, limits) of one complaint."""
    field = _path(details["loc"])
    name, kind, value = field or "the request", details["type"], details["input"]
    context = details.get("ctx", {})
    match kind:
        case "missing":
            return field, f"{name} is required", {}
        case "extra_forbidden":
            known = _fields_at(schema, details["loc"])
            return field, f"{name} is not a field; the fields are {', '.join(known)}", {"supported": known}
        case "literal_error":
            supported, optional = _literals(_annotation_at(schema, details["loc"]))
            expected = context["expected"] + (" or null" if optional else "")
            return field, f"{name} must be {expected}, not {_shown(value)}", {"supported": supported}
        case _ if kind in _BOUNDS:
            key, words, limit = _BOUNDS[kind]
            return (
                field,
                f"{name} must be {words} {context[key]:.16g}, not {_shown(value)}",
                {limit: context[key]},
            )
        case "finite_number":
            return field, f"{name} must be a finite number, not {_shown(value)}", {}
        case "string_too_long":
            limit = context["max_length"]
            message = f"{name} must have at most {limit} characters, not {len(value)}"
            return field, message, {"maximum_chars": limit}
        case "too_short":  # a list
            return field, f"{name} must not be empty", {"minimum_entries": context["min_length"]}
        case "string_too_short":
            return field, f"{name} must not be empty", {"minimum_chars": context["min_length"]}
        case "string_unicode":
            return field, f"{name} must be text that UTF-8 can hold", {}
        case "target":  # of the schema's own check
            return field, f"{name} {details['msg']}", {}
        case _ if kind in _EXPECTED:
            form = _form_at(schema, details["loc"]) if kind == "model_type" else ""
            return field, f"{name} must be {_EXPECTED[kind]}{form}, not {_type_shown(value)}", {}
        case _:
            return field, f"{name}: {details['msg']}", {}


def _path(location: tuple[int | str, ...]) -> str:
    """The path of a value, as one would write it: ``images[1].base64``."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif location[0] != "targets" or part not in (ONE_TAG, LIST_TAG):
            path += f".{_printable(part)}" if path else _printable(part)
    return path


def _literals(annotation: Any) -> tuple[list[Any], bool]:
    """(values, whether null is one) of a literal type."""
    values, optional = [], False
    for argument in get_args(annotation):
        if argument is type(None):
            optional = True
        else:
            values += get_args(argument) or [argument]
    return values, optional


def _fields_at(schema: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The fields of the object that an unknown one was found in."""
    for part in location[:-1]:
        if isinstance(part, str):
            schema = _model_in(_field(schema, part)) or schema
    return [field.alias or name for name, field in schema.model_fields.items()]


def _annotation_at(schema: type[BaseModel], location: tuple[int | str, ...]) -> Any:
    """The annotation of the field at a place, however deep."""
    names = [part for part in location if isinstance(part, str)]
    for part in names[:-1]:
        schema = _model_in(_field(schema, part)) or schema
    return _field(schema, names[-1])


def _field(schema: type[BaseModel], name: str) -> Any:
    """The annotation of a field by the name that it has in JSON; ``None`` where there is none."""
    found = schema.model_fields.get(name) or next(
        (field for field in schema.model_fields.values() if field.alias == name), None
    )
    return None if found is None else found.annotation


def _form_at(schema: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """The way to write the object at a place, where one text is all that it takes; else empty."""
    if not location:
        return ""
    fields = _fields_at(schema, (*location, ""))
    return f', {{"{fields[0]}": "…"}}' if len(fields) == 1 else ""


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in an annotation, such as ``list[Model] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(argument) for argument in get_args(annotation))
    return next((model for model in found if model is not None), None)


def _type_shown(value: Any) -> str:
    """The type of a value, with the value where that is short."""
    if value is None or isinstance(value, list | dict):
        return json_type(value)
    return f"{json_type(value)} ({_shown(value)})"


def _shown(value: Any) -> str:
    """A value as the caller wrote it, shortened."""
    if isinstance(value, list | dict):
        return json_type(value)
    # An integer of thousands of digits cannot be written in decimal by Python at all.
    if isinstance(value, int) and value.bit_length() > 128:
        return "so large a number"
    text = json.dumps(value[:_MAX_SHOWN_CHARS] if isinstance(value, str) else value, ensure_ascii=False)
    return _printable(text)


def _printable(text: str) -> str:
    """Text that can be encoded, shortened."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "…"
