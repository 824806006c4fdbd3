"""The one table of errors."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from wavescope.errors import WavescopeError
from wavescope.ingress.problems import TABLE, encode_problem, grpc_code, http_status, problem


def subclasses(kind: type[WavescopeError]) -> Iterator[type[WavescopeError]]:
    yield kind
    for subclass in kind.__subclasses__():
        yield from subclasses(subclass)


@pytest.mark.parametrize("kind", sorted(set(subclasses(WavescopeError)), key=lambda kind: kind.__name__))
def test_every_error_is_mapped(kind: type[WavescopeError]) -> None:
    assert kind.code in TABLE
    error = kind("message", field="levels", maximum=3)
    assert 400 <= http_status(error) < 600
    assert grpc_code(error) is not grpc.StatusCode.OK
    # Callers may come again exactly where the statuses say so.
    assert kind.retryable == (http_status(error) in (429, 503, 504)) or kind.code == "weights_unavailable"


def test_every_mapped_code_is_an_errors() -> None:
    assert set(TABLE) == {kind.code for kind in subclasses(WavescopeError)}


def test_an_error_younger_than_the_table_is_internal() -> None:
    error = WavescopeError("secret")
    error.code = "unheard_of"  # type: ignore[misc]
    assert http_status(error) == 500
    assert grpc_code(error) is grpc.StatusCode.INTERNAL
    assert "secret" not in problem(error, "id")["message"]


def test_a_problem_can_be_encoded_whatever_its_text() -> None:
    assert encode_problem({"message": "\ud800 é"}) == b'{"message": "\\ud800 \\u00e9"}'
