"""Errors carry their data across processes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from wavescope.errors import WavescopeError


def every_error(base: type[WavescopeError] = WavescopeError) -> Iterator[type[WavescopeError]]:
    yield base
    for child in base.__subclasses__():
        yield from every_error(child)


@pytest.mark.parametrize("error", list(every_error()))
def test_an_error_survives_pickling_with_its_field_and_limits(error: type[WavescopeError]) -> None:
    original = error("too much of 9", field="levels", maximum=6)
    copy = pickle.loads(pickle.dumps(original))
    assert type(copy) is error
    assert (copy.message, copy.field, copy.limits) == ("too much of 9", "levels", {"maximum": 6})
    assert str(copy) == "too much of 9"


def test_every_error_has_a_code_of_its_own_or_that_of_the_kind_it_is_one_of() -> None:
    codes = [error.code for error in every_error() if "code" in vars(error)]
    assert len(set(codes)) == len(codes)
