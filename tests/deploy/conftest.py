"""Tools that deployment files are checked with, where they are installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.programs import find_program

ROOT = Path(__file__).parents[2]

Tool = Callable[[str], str]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def tool() -> Tool:
    """Gives a tool's path; a missing one is a skip that names it, and a failure in CI."""
    return find_program
