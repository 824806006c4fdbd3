"""Conversion of the fields of a request to JSON, where they are scalars or arrays of NumPy, torch or another library.

No library is imported: their scalars and arrays have ``tolist``, and numbers of other kinds ``__index__`` or
``__float__``. Values that are none of these are left as they are.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any, get_type_hints

from wavescope_client._errors import InvalidRequest
from wavescope_client._types import PredictionFields, RequestFields

_HINTS = get_type_hints(RequestFields) | get_type_hints(PredictionFields)
_INTEGERS = frozenset(
    ("target", "targets", "against", *(name for name, hint in _HINTS.items() if hint is int))
)


def plain_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the values of fields to what JSON has; whole floats become integers where integers are meant.

    Raises:
        TypeError: a value has no form in JSON; names the field.
        InvalidRequest: a number is not finite, or beyond all floats, which JSON has not and the service refuses.
    """
    plain: dict[str, Any] = {}
    for name, value in fields.items():
        found = _plain(value, name, whole=name in _INTEGERS)
        # The only class of an array or a list, such as ``logits.argmax(1)`` for one image.
        plain[name] = found[0] if name in _HINTS and isinstance(found, list) and len(found) == 1 else found
    return plain


def _plain(given: Any, name: str, *, whole: bool) -> Any:
    unpack = getattr(given, "tolist", None)
    value: Any = unpack() if callable(unpack) else given
    if isinstance(value, str):
        return str.__str__(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, f"{name}.{key}", whole=False) for key, entry in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | memoryview):
        return [_plain(entry, f"{name}[{place}]", whole=whole) for place, entry in enumerate(value)]
    try:
        return _checked(operator.index(value), name)  # pyright: ignore[reportArgumentType]  # what has none is caught below
    except TypeError:
        pass
    try:
        number = float(value) if hasattr(value, "__float__") else None
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise TypeError(f"{name} must be a number, text or a list of these, not {type(value).__name__}")
    return int(_checked(number, name)) if whole and number.is_integer() else _checked(number, name)


def _checked(number: float, name: str) -> float:
    """The number, which is finite and within what a float holds.

    Raises:
        InvalidRequest: it is not; as the service would, had it a form in JSON.
    """
    try:
        float(number)
    except OverflowError:
        shown = "so large a number"
    else:
        if math.isfinite(number):
            return number
        shown = str(number)
    raise InvalidRequest(
        f"{name} must be a finite number, not {shown}", status=422, code="invalid_request", field=name
    )
