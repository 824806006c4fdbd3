"""Checks that each distribution declares what it imports, and imports what it declares.

    python tools/check_dependencies.py

What a distribution needs without importing it is listed here with its reason, so that the list does not outlive it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDED_WITHOUT_IMPORT: dict[str, dict[str, str]] = {
    "service": {
        "onnxruntime-gpu": "the same module as onnxruntime, of which only one can be installed",
        "onnxscript": "torch.onnx translates the model with it",
        "python-multipart": "Starlette parses forms with it",
    },
    "clients/proto": {},
    "clients/python": {},
}


def main() -> int:
    """Runs deptry in every distribution; returns 1 if one has a finding."""
    failed = False
    for distribution, needed in NEEDED_WITHOUT_IMPORT.items():
        ignored = ["--per-rule-ignores", f"DEP002={'|'.join(needed)}"] if needed else []
        command = [str(Path(sys.executable).with_name("deptry")), "src", *ignored]
        print(f"{distribution}:", flush=True)
        failed |= subprocess.run(command, cwd=ROOT / distribution, check=False).returncode != 0
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
