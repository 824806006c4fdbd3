"""What tests here have in common: no patched constants, one fake of a Ray handle, deadlines that bound hangs alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
OURS = re.compile(r"(wavescope\w*|bench|tools|tests)(\.|$)")
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]+")
ASSIGNED = re.compile(r"^\s*(\w+)(?:\.\w+)*\.(_?[A-Z][A-Z0-9_]+) *(?:\w+)?= ", re.MULTILINE)
# Functions that wait, and where their arguments say how long.
WAITS = {"wait_for": 1, "wait": 0, "join": 0, "timeout": 0, "settimeout": 0, "result": 0}
LEAST_DEADLINE_S = 60.0
PATCHES = {"setattr", "delattr", "patch", "object"}


def modules() -> Iterator[tuple[str, str]]:
    """Name and text of every module of the tests."""
    for path in sorted(TESTS.rglob("*.py")):
        yield str(path.relative_to(TESTS)), path.read_text("utf-8")


def patched_constants(text: str) -> list[str]:
    """Constants of this repository's modules that the module sets: by a fixture, by a mock or by assignment."""
    tree = ast.parse(text)
    ours = {alias.asname or alias.name.partition(".")[0] for alias in _imported(tree)}
    found = [f"{name}.{constant}" for name, constant in ASSIGNED.findall(text) if name in ours]
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or _last_name(call.func) not in PATCHES or not call.args:
            continue
        where, *rest = (
            str(given.value) if isinstance(given, ast.Constant) else ast.unparse(given) for given in call.args
        )
        module, _, name = where.rpartition(".")
        if OURS.match(module) and CONSTANT.fullmatch(name):
            found.append(where)
        elif rest and CONSTANT.fullmatch(rest[0]) and where.partition(".")[0] in ours:
            found.append(f"{where}.{rest[0]}")
    return found


def _imported(tree: ast.Module) -> Iterator[ast.alias]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias for alias in node.names if OURS.match(alias.name))
        elif isinstance(node, ast.ImportFrom) and OURS.match(node.module or ""):
            yield from node.names


def _last_name(function: ast.expr) -> str:
    return ast.unparse(function).rpartition(".")[2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('from wavescope.core import maps\nmonkeypatch.setattr(maps, "TOP", 1)', ["maps.TOP"]),
        ('from wavescope.core import maps as m\nmonkeypatch.setattr(\n    m,\n    "_TOP", 1\n)', ["m._TOP"]),
        ('import wavescope.core\nmonkeypatch.setattr(wavescope.core, "TOP", 1)', ["wavescope.core.TOP"]),
        ('monkeypatch.setattr("wavescope.core.maps.TOP_S", 1)', ["wavescope.core.maps.TOP_S"]),
        ('mock.patch("wavescope_client._http.TOP", 1)', ["wavescope_client._http.TOP"]),
        ("from tools import fuzz\nfuzz.TOP = 3", ["fuzz.TOP"]),
        ('from wavescope.core import maps\nPROGRAM = """\nmaps.TOP = 3\n"""', ["maps.TOP"]),
        ('from wavescope.core import maps\nmonkeypatch.setattr(maps, "top", 1)', []),
        ('from ray.serve import constants\nmonkeypatch.setattr(constants, "TOP", 1)', []),
        ('monkeypatch.setattr("huggingface_hub.constants.CACHE", 1)', []),
        ("from wavescope.core import maps\nassert maps.TOP == 3\nTOP = 4", []),
    ],
)
def test_patched_constants_are_seen(text: str, found: list[str]) -> None:
    assert patched_constants(text) == found


def test_no_test_patches_a_constant() -> None:
    """A value that a test shortens is an argument, with the constant as its default."""
    found = {name: constants for name, text in modules() if (constants := patched_constants(text))}
    assert not found


def deadlines(text: str) -> list[float]:
    """Seconds that the module waits at most, where they are written as numbers."""
    return [
        float(given.value)
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call)
        for given in [
            *(call.args[WAITS[_last_name(call.func)] :][:1] if _last_name(call.func) in WAITS else []),
            *(keyword.value for keyword in call.keywords if keyword.arg == "timeout"),
        ]
        if isinstance(given, ast.Constant) and isinstance(given.value, int | float)
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("asyncio.run(asyncio.wait_for(work(), 30))", [30.0]),
        ("assert event.wait(5) and thread.join(timeout=10)", [5.0, 10.0]),
        ("async def test():\n    async with asyncio.timeout(2.5):\n        await work", [2.5]),
        ('event.wait(DEADLINE_S) or ", ".join(names) or Options(timeout_s=5)', []),
    ],
)
def test_deadlines_are_seen(text: str, found: list[float]) -> None:
    assert deadlines(text) == found


def test_a_deadline_bounds_hangs_and_not_speed() -> None:
    """A machine with other work needs many times as long; waits of a second and less are meant to pass."""
    short = {name: [s for s in deadlines(text) if 1.0 < s < LEAST_DEADLINE_S] for name, text in modules()}
    assert {name: found for name, found in short.items() if found} == {}


def test_a_ray_handle_has_one_fake() -> None:
    """Others are subclasses of ``FakeHandle``, whose ``send`` they change."""
    found = [
        (name, node.name)
        for name, text in modules()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
        and any(getattr(member, "name", None) == "remote" for member in node.body)
    ]
    assert found == [("fakes/handles.py", "FakeMethod")]
