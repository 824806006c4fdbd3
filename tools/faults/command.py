"""What the programs that try the running service have in common: arguments, and the report they leave."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path


def make_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser of a program whose module has that docstring, with the argument ``--out``."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="also write the report here")
    return parser


def describe_machine() -> str:
    """Processor and number of cores, for reports."""
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def publish(text: str, out: Path | None) -> None:
    """Prints a report, and writes it to a file where one was asked for."""
    print(text)
    if out is not None:
        out.write_text(text)
