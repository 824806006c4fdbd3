"""Other programs, as the image tools call them."""

from __future__ import annotations

import shutil
import subprocess


def succeeds(*command: str, timeout_s: float = 60) -> bool:
    """Whether a command exists and ends well in time."""
    if not shutil.which(command[0]):
        return False
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
