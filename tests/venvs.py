"""Virtual environments of their own for packages whose requirements exclude ours; built once, outside the checkout."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

from tests.programs import do_without

FOLDER = Path.home() / ".cache" / "wavescope-test-venvs"
BUILD_S = 900


def python_of(requirements: Path) -> Path:
    """The Python of an environment that holds what a requirements file asks for.

    Where it cannot be built the test is skipped, and fails in CI.
    """
    text = requirements.read_bytes() + sys.version.encode()
    folder = FOLDER / hashlib.sha256(text).hexdigest()[:16]
    python, complete = folder / "bin" / "python", folder / "complete"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run beside each other
        if not complete.exists():
            try:
                _build(folder, python, requirements)
            except (subprocess.SubprocessError, OSError) as error:
                told = f"{requirements.name} cannot be installed: {_reason(error)}"
                do_without(told)
            complete.touch()
    return python


def _build(folder: Path, python: Path, requirements: Path) -> None:
    for command in (
        [sys.executable, "-m", "venv", "--clear", folder],
        [python, "-m", "pip", "install", "--quiet", "--requirement", requirements],
    ):
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=BUILD_S)


def _reason(error: Exception) -> str:
    lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
