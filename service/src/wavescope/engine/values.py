"""Values of a request as plain ones of Python, where a caller gave scalars or arrays of NumPy, torch and the like.

No library is imported: their scalars and arrays have ``tolist``, and numbers of other kinds ``__index__`` or
``__float__``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast, get_args, get_type_hints

from wavescope.engine.types import ExplanationRequest, Target
from wavescope.errors import InvalidRequest

_WORDS: Final = {int: "an integer", float: "a number", bool: "True or False", str: "text"}
_MAX_SHOWN_CHARS: Final = 64
_MAX_SHOWN_BITS: Final = 128


def plain_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a request but its target, as plain values; those that are ``None`` are left to their defaults.

    Raises:
        InvalidRequest: a value has another type than its field, which is named. Whole floats are integers.
    """
    hints = get_type_hints(ExplanationRequest)
    return {
        name: plain_value(value, name, _type_of(hints[name]))
        for name, value in given.items()
        if value is not None
    }


def plain_value(value: Any, field: str, expected: type) -> Any:
    """One value as ``int``, ``float``, ``bool`` or ``str``.

    Raises:
        InvalidRequest: it is of another type.

    Example:
        >>> import numpy as np
        >>> plain_value(np.int64(3), "levels", int), plain_value(np.float32(0.5), "deadline_s", float)
        (3, 0.5)
    """
    found = _scalar(value)
    if isinstance(found, str) and expected is str:
        return str.__str__(found)
    if isinstance(found, bool) and expected is bool:
        return found
    if isinstance(found, int | float) and not isinstance(found, bool):
        if expected is float:
            return as_float(found)
        if expected is int and (isinstance(found, int) or found.is_integer()):
            return int(found)
    raise _refusal(value, field, f"must be {_WORDS[expected]}")


def plain_target(value: Any, field: str) -> Target:
    """One class, by index or name, ``None`` for the predicted one; an array or a list of one element is that element.

    Raises:
        InvalidRequest: it is something else, or several classes.
    """
    listed = plain_targets(value, field)
    if len(listed) > 1:
        if field == "target":
            remedy = "explained: give them to explain_batch, explain_batch([image], targets=[[…]])"
        else:
            remedy = "taken"
        raise InvalidRequest(f"{field} is {len(listed)} classes, and one is {remedy}", field=field)
    return listed[0]


def plain_targets(value: Any, field: str) -> list[Target]:
    """Classes of one image: one, or those of a list or an array.

    Raises:
        InvalidRequest: there is none, or one of them is neither an index nor a name.
    """
    found = value if isinstance(value, str) else _unpacked(value)
    if isinstance(found, Iterable) and not isinstance(found, str | bytes | Mapping):
        entries: list[Any] = list(cast("Iterable[Any]", found))
        if not entries:
            raise InvalidRequest(f"{field} is an empty list; None is for the predicted class", field=field)
        return [_one_target(entry, f"{field}[{place}]") for place, entry in enumerate(entries)]
    return [_one_target(value, field)]


def _one_target(value: Any, field: str) -> Target:
    found = _scalar(value)
    if isinstance(found, float) and found.is_integer():
        return int(found)
    if isinstance(found, str):
        return str.__str__(found)
    if found is None or (isinstance(found, int) and not isinstance(found, bool)):
        return found
    raise _refusal(value, field, "must be a class index or name")


def shown_number(value: float) -> str:
    """A number as a message shows it; Python writes no integer of thousands of digits."""
    if isinstance(value, int):
        return str(value) if value.bit_length() <= _MAX_SHOWN_BITS else "so large a number"
    return f"{value:.16g}"


def as_float(value: float) -> float:
    """The number as a float; one beyond all floats as infinity, which every field refuses."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _type_of(hint: Any) -> type:
    """The type of a field that is given: ``int`` of ``int | None``."""
    return next((kind for kind in get_args(hint) if kind in _WORDS), hint)


def _scalar(value: Any) -> Any:
    """A scalar as a plain one; anything else as it is."""
    found = _unpacked(value)
    if found is None or isinstance(found, bool | int | float | str | bytes):
        return found
    try:
        return operator.index(found)
    except TypeError:
        pass
    try:
        return float(found)
    except (TypeError, ValueError, OverflowError):
        return found


def _unpacked(value: Any) -> Any:
    """Lists and scalars of Python that are in an array, a tensor, or a scalar of NumPy."""
    unpack = getattr(value, "tolist", None)
    return unpack() if callable(unpack) and not isinstance(value, type) else value


def _refusal(value: Any, field: str, expected: str) -> InvalidRequest:
    shape = getattr(value, "shape", ())
    if shape:
        found = f"an array of shape ({', '.join(map(str, shape))})"
    elif isinstance(plain := _unpacked(value), int | float) and not isinstance(plain, bool):
        found = shown_number(plain)
    elif isinstance(plain, bool | str):
        found = repr(plain)[:_MAX_SHOWN_CHARS]
    else:
        found = f"a {type(value).__name__}"
    return InvalidRequest(f"{field} {expected}, not {found}", field=field)
