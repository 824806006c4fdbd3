"""The command line: ``wavescope serve``, ``explain``, ``watch``, ``models`` and ``keys``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

EXIT_INTERRUPTED = 130  # 128 + SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments; ``None`` for those of the process.

    Returns:
        The exit status: 0, 2 for an error that the caller can mend, 3 for an alarm of ``watch``, 130 when interrupted.
    """
    try:
        from wavescope.cli.commands import run  # takes a second, in which it may be interrupted too

        return run(argv)
    except KeyboardInterrupt:
        sys.stderr.write("wavescope: interrupted\n")
        return EXIT_INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    from wavescope.cli import commands

    return commands.build_parser()
