"""One record per kind of explanation, and nothing that depends on the kind outside of it."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path

import pytest

import wavescope
from wavescope.engine import explain
from wavescope.engine.kinds import DEFAULT_KIND, KINDS, find_kind
from wavescope.engine.types import Explanation, ExplanationRequest

SOURCES = Path(wavescope.__file__).parent


def _is_kind(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name == "kind"


def _names(node: ast.expr) -> set[str]:
    return {
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value in KINDS
    }


def test_no_source_compares_a_kind_with_a_name() -> None:
    compared = [
        f"{path.relative_to(SOURCES)}:{node.lineno}"
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Compare)
        and any(map(_is_kind, (node.left, *node.comparators)))
        and any(map(_names, (node.left, *node.comparators)))
    ]
    assert not compared


def test_a_comparison_with_a_name_would_be_found() -> None:
    (node,) = (
        part for part in ast.walk(ast.parse('request.kind in ("zoom",)')) if isinstance(part, ast.Compare)
    )
    assert _is_kind(node.left)
    assert _names(node.comparators[0]) == {"zoom"}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_record_names_fields_that_there_are(kind) -> None:
    request = {field.name for field in fields(ExplanationRequest)}
    assert {*kind.defaults, *kind.reference_defaults, *kind.fixed} <= request
    assert set(kind.sections) <= {field.name for field in fields(Explanation)}
    finished = [section for section in kind.sections if section in explain.COMPARISONS]
    assert len(finished) == (kind.second_image is not None)
    computed = {*explain.STEPS, *explain.COMPARISONS, "profile", "contrast", "attributions"}
    assert set(kind.sections) <= computed


@pytest.mark.parametrize("name", [None, "nonsense", 3, ["wcam"]])
def test_a_name_that_is_none_has_the_defaults_of_the_default_kind(name) -> None:
    assert find_kind(name) is DEFAULT_KIND
