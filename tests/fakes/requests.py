"""Values of the fields of a request, made of their types, choices and limits."""

from __future__ import annotations

from dataclasses import fields
from types import NoneType
from typing import Any, get_args, get_type_hints

from hypothesis import strategies as st

from wavescope.engine.choices import CHOICES
from wavescope.engine.types import CLASS_FIELDS, ExplanationRequest

FIELDS = {field.name: field for field in fields(ExplanationRequest)}
# Of many choices these serve tests as well as all.
_WAVELETS = ("haar", "db4")


def another_value(name: str, value: Any) -> Any:
    """A valid value of a field other than ``value``."""
    if name in CHOICES:
        choices = _WAVELETS if name == "wavelet" else CHOICES[name]
        return next(choice for choice in choices if choice not in (None, value))
    hint = get_type_hints(ExplanationRequest)[name]
    if hint is bool:
        return not value
    limits = FIELDS[name].metadata
    if value is None:
        return limits.get("le", limits.get("ge", 7))
    others = (value + 1, value - 1, value / 2)
    return next(each for each in others if limits.get("ge", each) <= each <= limits.get("le", each))


def values_of(name: str) -> st.SearchStrategy[Any]:
    """Every valid value of a field, but null."""
    if name in CHOICES:
        choices = _WAVELETS if name == "wavelet" else CHOICES[name]
        return st.sampled_from([choice for choice in choices if choice is not None])
    (kind, *_) = set(get_args(hint := get_type_hints(ExplanationRequest)[name]) or (hint,)) - {NoneType}
    limits = FIELDS[name].metadata
    if name in CLASS_FIELDS:
        return st.integers(0, 2**31) | st.text("ab é漢", max_size=20)
    if kind is bool:
        return st.booleans()
    if kind is int:
        return st.integers(limits["ge"], limits["le"])
    most = limits.get("le", limits.get("lt", 1e9))
    return st.floats(max(limits.get("ge", 0.0), 1e-9), most, exclude_max="lt" in limits)
