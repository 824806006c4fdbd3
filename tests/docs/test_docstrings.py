"""First lines of docstrings: noun phrases or verb phrases that a reader would search for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("service/src/wavescope", "clients/python/src/wavescope_client")
FIRST_WORDS = (
    *("What", "Whether what", "Who", "Why", "How", "When", "Where", "Which", "That", "Those", "One that"),
    *("Of", "From", "As", "All", "It", "Nothing", "Said", "Its", "Before", "After", "Without", "With", "To"),
)
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def documented(tree: ast.Module) -> Iterator[tuple[str, Documented]]:
    """The module, and its classes, functions and methods, with their names."""
    yield "", tree
    yield from _members(tree, "")


def _members(parent: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, Documented]]:
    for node in parent.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from _members(node, f"{prefix}{node.name}.")


def faults(source: str) -> list[str]:
    """Faults of the docstrings of a module: ``name: fault``."""
    found = []
    for name, node in documented(ast.parse(source)):
        text = ast.get_docstring(node)
        if text is None:
            if isinstance(node, ast.Module | ast.ClassDef) and not re.search(r"(^|\.)_", name):
                found.append(f"{name or 'module'}: no docstring")
            continue
        first = text.splitlines()[0]
        if first.startswith(tuple(f"{word} " for word in FIRST_WORDS)) or re.search(r"\btold\b", first):
            found.append(f"{name or 'module'}: {first}")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_begin_with_what_a_reader_would_search_for(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {fault}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for fault in faults(path.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ('"""What a plan holds."""', "module: What a plan holds."),
        ('"""Plans."""\nclass Plan:\n    pass', "Plan: no docstring"),
        ('"""Plans."""\nclass Plan:\n    """Of an image."""', "Plan: Of an image."),
        ('"""Plans."""\nclass Plan:\n    """A plan."""\n    def n(self):\n        """Who asks"""', "Plan.n: Who asks"),
        ('"""Plans."""\ndef plan():\n    """A plan as it is told."""', "plan: A plan as it is told."),
        ("n = 1", "module: no docstring"),
    ],
)  # fmt: skip
def test_a_fault_is_found(source: str, fault: str) -> None:
    assert faults(source) == [fault]


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_is_told(package: str) -> None:
    """Errors are raised or sent, progress is reported, names are given: each has a verb of its own."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(r"(?<![a-z])(told|telling)(?![a-z])", line, re.IGNORECASE)
    ]
    assert not found, "\n".join(found)
