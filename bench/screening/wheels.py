"""Wheels of PyPI that are downloaded once, without being installed."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

WHEELS = Path(__file__).parents[2] / "build" / "wheels"


@cache
def wheel(requirement: str) -> Path:
    """The wheel of a requirement, downloaded where it is not there yet."""
    folder = WHEELS / requirement
    if not (wheels := sorted(folder.glob("*.whl"))):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "--dest", str(folder), requirement], check=True)
        wheels = sorted(folder.glob("*.whl"))
    return wheels[0]
