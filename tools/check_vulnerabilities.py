"""Checks the locked requirements against the advisories that pip-audit knows, where their database can be asked.

    python tools/check_vulnerabilities.py [--strict]

pip-audit ends well when it could not ask: it is believed only where it finds the known hole of an old package. Without
the database nothing is checked; that is a warning, as on a machine without a network, and a failure with ``--strict``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKED = ("cpu", "gpu", "build", "dev")
CANARY = "urllib3==1.24.1"  # CVE-2019-11324 and later ones
CANARY_S = 15
AUDIT_S = 300
NOT_CHECKED = (
    "WARNING: requirements NOT CHECKED for vulnerabilities: the database does not answer. This is no pass: run "
    "'python tools/check_vulnerabilities.py --strict' where it does."
)
# Advisories that do not concern us, each with its reason.
ACCEPTED: dict[str, str] = {}


def main(words: Sequence[str] | None = None) -> int:
    """Prints what is known of each package; returns 1 if there is a finding, or a package that is unknown there."""
    parser = argparse.ArgumentParser(description="Checks the locked requirements for known vulnerabilities.")
    parser.add_argument("--strict", action="store_true", help="fail where the database does not answer")
    strict: bool = parser.parse_args(words).strict
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder) / "canary.txt"
        canary.write_text(f"{CANARY}\n")
        if not _findings(_audit([canary], CANARY_S, hashed=False)):
            print(NOT_CHECKED, file=sys.stderr)
            return int(strict)
    failed = False
    for name in LOCKED:  # one by one: they need not agree on versions
        packages = _audit([ROOT / f"requirements/{name}.txt"], AUDIT_S)
        unknown = [package["name"] for package in packages if "skip_reason" in package]
        findings = [finding for finding in _findings(packages) if finding[2] not in ACCEPTED]
        for package, version, advisory in findings:
            print(f"requirements/{name}.txt: {package} {version}: {advisory}")
        if unknown or not packages:
            print(f"requirements/{name}.txt: not checked: {', '.join(unknown) or 'everything'}")
        failed |= bool(findings or unknown or not packages)
    return int(failed)


def _audit(files: list[Path], timeout_s: float, *, hashed: bool = True) -> list[dict[str, Any]]:
    """pip-audit's packages; none where it gave no answer."""
    command = [
        str(Path(sys.executable).with_name("pip-audit")),
        "--format",
        "json",
        "--progress-spinner",
        "off",
    ]
    command += ["--disable-pip", "--require-hashes" if hashed else "--no-deps"]
    for file in files:
        command += ["--requirement", str(file)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, check=False)
        return json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, json.JSONDecodeError, KeyError):
        return []


def _findings(packages: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [
        (package["name"], package["version"], advisory["id"])
        for package in packages
        for advisory in package.get("vulns", ())
    ]


if __name__ == "__main__":
    raise SystemExit(main())
