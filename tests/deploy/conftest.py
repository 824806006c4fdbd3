"""Tools that deployment files are checked with, where they are installed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

Tool = Callable[[str], str]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def tool() -> Tool:
    """Gives a tool's path; a missing one is a skip that names it, and a failure in CI."""

    def find(name: str) -> str:
        beside_python = Path(sys.executable).parent / name
        path = str(beside_python) if beside_python.exists() else shutil.which(name)
        if path:
            return path
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")

    return find
