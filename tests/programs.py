"""Programs that tests run and pip does not install."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final, NoReturn

import pytest

# The package of Debian and Ubuntu that brings a program.
PACKAGES: Final = {
    "amtool": "prometheus-alertmanager",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "promtool": "prometheus",
    "redis-server": "redis-server",
}


def find_program(name: str) -> str:
    """Its path, that beside this Python first; a missing one is a skip that names its package, and a failure in CI."""
    beside_python = Path(sys.executable).parent / name
    path = str(beside_python) if beside_python.exists() else shutil.which(name)
    if path is None:
        remedy = f": apt install {PACKAGES[name]}" if name in PACKAGES else ""
        do_without(f"{name} is not installed{remedy}")
    return path


def do_without(what: str) -> NoReturn:
    """Skips the test for want of something that CI has, where the test fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)
