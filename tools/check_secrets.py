"""Checks that no file that is, or could be, committed has a secret in it: a key of ours, or what detect-secrets knows.

    python tools/check_secrets.py

What only looks like one is listed here with its reason, so that the list does not outlive it.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import default_settings

ROOT = Path(__file__).resolve().parent.parent
OUR_KEY = re.compile(rb"wsk_[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")
# Digests of packages by the thousand; pictures and arrays.
SKIPPED = re.compile(r"requirements/.*\.txt|.*\.(png|npz|lock)")
LOOKS_LIKE_ONE = {
    "docs/reference/openapi.json": "identities in example replies",
    "tests/client/test_client.py": "a key made up for the test",
    "tests/remote/test_hosts.py": "a URL that is refused",
}


def main() -> int:
    """Prints each finding; returns 1 if there is one."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = [name for name in listed.stdout.decode().split("\0") if name and not SKIPPED.fullmatch(name)]
    files = [name for name in names if (ROOT / name).is_file()]
    found = {
        name: [(0, "API key of a Wavescope service")]
        for name in files
        if OUR_KEY.search((ROOT / name).read_bytes())
    }
    for name, secret in _scan(files):
        found.setdefault(name, []).append((secret.line_number, secret.type))
    findings = [
        f"{name}:{line}: {kind}"
        for name, secrets in found.items()
        if name not in LOOKS_LIKE_ONE
        for line, kind in sorted(secrets)
    ]
    findings += [
        f"{name}: nothing looks like a secret any more" for name in LOOKS_LIKE_ONE if name not in found
    ]
    for finding in sorted(findings):
        print(finding)
    print(f"{len(files)} files, {len(findings)} findings")
    return int(bool(findings))


def _scan(files: list[str]) -> SecretsCollection:
    """Nothing is sent anywhere to find out whether it is valid."""
    secrets = SecretsCollection(root=str(ROOT))
    with default_settings() as settings:
        settings.disable_plugins("HexHighEntropyString")  # digests of files are everywhere
        settings.disable_filters("detect_secrets.filters.common.is_ignored_due_to_verification_policies")
        secrets.scan_files(*files)
    return secrets


if __name__ == "__main__":
    raise SystemExit(main())
