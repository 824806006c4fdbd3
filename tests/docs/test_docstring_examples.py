"""Every example in a docstring of the service prints what it says, and the clients' run against a service."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client.test_docstrings import DOCUMENTED

ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "service" / "src"
CLIENT = ROOT / "clients" / "python" / "src"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PROMPT = re.compile(r"^ *>>> ", re.MULTILINE)


def docstrings(source: Path) -> Iterator[tuple[Path, str, str]]:
    """Path, name and text of every docstring with an example; read, as doctest misses what decorators wrap."""
    for path in sorted(source.rglob("*.py")):
        found = list(_docstrings(ast.parse(path.read_text("utf-8")), ""))
        for name, text in found:
            if PROMPT.search(text):
                yield path, name, text


def _docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield name, ast.get_docstring(node) or ""
    for child in ast.iter_child_nodes(node):
        inner = getattr(child, "name", None) if isinstance(child, ast.stmt) else None
        yield from _docstrings(child, ".".join(part for part in (name, inner) if part))


def module_of(path: Path, source: Path) -> str:
    return ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")


EXAMPLES = {
    f"{module_of(path, SERVICE)}:{name}": (module_of(path, SERVICE), text)
    for path, name, text in docstrings(SERVICE)
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_a_docstring_prints_its_output(name: str) -> None:
    module, text = EXAMPLES[name]
    names = dict(vars(importlib.import_module(module)))
    report: list[str] = []
    examples = doctest.DocTestParser().get_doctest(text, names, name, None, None)
    doctest.DocTestRunner(optionflags=FLAGS).run(examples, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize("source", [SERVICE, CLIENT])
def test_every_example_stands_in_a_docstring(source: Path) -> None:
    shown = sum(len(PROMPT.findall(path.read_text("utf-8"))) for path in source.rglob("*.py"))
    assert shown == sum(len(PROMPT.findall(text)) for _, _, text in docstrings(source)) > 0


def test_every_example_of_the_clients_runs_against_a_service() -> None:
    run = {inspect.getdoc(documented) for documented in DOCUMENTED.values()}
    assert [f"{path.name}: {name}" for path, name, text in docstrings(CLIENT) if text not in run] == []
