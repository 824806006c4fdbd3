"""The check of locked requirements passes without its database, and never in silence."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).parents[1] / "tools/check_vulnerabilities.py"
HOLE = {"name": "urllib3", "version": "1.24.1", "vulns": [{"id": "CVE-2019-11324"}]}
SAFE = {"name": "numpy", "version": "2.0.0", "vulns": []}


def check(answers: list[list[dict[str, Any]]], *words: str) -> int:
    """The exit status, with pip-audit's answers one after the other: to the canary, then to each file."""
    tool = runpy.run_path(str(TOOL), run_name="tool")
    main, told = tool["main"], iter(answers)
    main.__globals__["_audit"] = lambda *_, **__: next(told)
    return main(words)


@pytest.mark.parametrize(("words", "status"), [((), 0), (("--strict",), 1)])
def test_without_the_database_it_warns_and_fails_where_it_is_to_be_strict(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], status: int
) -> None:
    assert check([[]], *words) == status
    assert capsys.readouterr().err.startswith("WARNING: requirements NOT CHECKED")


@pytest.mark.parametrize("words", [(), ("--strict",)])
def test_with_the_database_a_hole_fails_and_none_passes(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert check([[HOLE], [SAFE], [SAFE], [SAFE], [SAFE]], *words) == 0
    assert capsys.readouterr() == ("", "")
    assert check([[HOLE], [SAFE], [HOLE], [SAFE], [SAFE]], *words) == 1
    assert "urllib3 1.24.1: CVE-2019-11324" in capsys.readouterr().out


def test_what_the_database_does_not_know_fails(capsys: pytest.CaptureFixture[str]) -> None:
    unknown = {"name": "torch", "skip_reason": "not on PyPI"}
    assert check([[HOLE], [SAFE], [unknown], [], [SAFE]]) == 1
    out = capsys.readouterr().out
    assert "not checked: torch" in out
    assert "not checked: everything" in out
