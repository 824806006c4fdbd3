"""Values of any of our dataclasses, drawn by the type hints that the codec goes by."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any, Literal, Union

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

TEXT = st.text(st.characters(exclude_categories=()), max_size=6)  # with unpaired surrogates
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
SCALARS = {
    bool: st.booleans(),
    int: st.integers(),
    float: st.floats() | st.integers(-3, 3),
    str: TEXT,
    bytes: st.binary(max_size=20),
    types.NoneType: st.none(),
    Any: JSON,
}
DTYPES = {"bool": ["bool"], "int32": ["int32"], "float32": ["float32"]}
DEPTH = 2  # an explanation may hold another


@st.composite
def instances(draw: st.DrawFn, cls: type, depth: int = 0) -> Any:
    """A value of a dataclass; arrays whose shapes have a letter in common share its length."""
    sides: dict[str, int] = {}
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    values = {name: draw(_values(hints[name], sides, depth, draw)) for name in fields}
    return cls(**values)


def _values(hint: Any, sides: dict[str, int], depth: int, draw: st.DrawFn) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in SCALARS:
        return SCALARS[hint]
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        if depth >= DEPTH and types.NoneType in arguments:
            return st.none()
        return st.one_of(*(_values(one, sides, depth, draw) for one in arguments))
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(_values(arguments[0], sides, depth, draw), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(_values(one, sides, depth, draw) for one in arguments))
    if origin is dict:
        return st.dictionaries(TEXT, _values(arguments[1], sides, depth, draw), max_size=3)
    if dataclasses.is_dataclass(hint):
        return instances(hint, depth + 1)
    shape = tuple(
        int(side) if side.isdigit() else sides.setdefault(side, draw(st.integers(0, 4)))
        for side in hint.dim_str.split()
    )
    dtype = draw(st.sampled_from(DTYPES.get(hint.__name__.partition("[")[0].lower(), ["float64", "float32"])))
    return np_st.arrays(dtype, shape)


def assert_same(one: Any, other: Any) -> None:
    """Equal to the bit, in type, dtype and shape, NaN too."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    elif dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, dict):
        assert list(one) == list(other)
        assert_same(list(one.values()), list(other.values()))
    elif isinstance(one, tuple | list):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs)
    elif isinstance(one, float):
        assert (math.isnan(one) and math.isnan(other)) or one.hex() == other.hex()
    else:
        assert one == other
