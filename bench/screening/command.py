"""What commands over photographs have in common: their arguments, and the sections of their tables."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.report import RESULTS
from bench.screening.photographs import DEVELOPED, HELD_OUT

from wavescope.models.spec import DEFAULT_MODEL

Row = dict[str, Any]


def make_parser(
    description: str | None, name: str, *, workers: int, models: bool = True
) -> argparse.ArgumentParser:
    """Parser of the arguments that all of them have.

    Args:
        description: of the command.
        name: of its cache.
        workers: processes by default.
        models: whether it is of several.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photographs", nargs="+", default=[*DEVELOPED, *HELD_OUT])
    if models:
        parser.add_argument("--models", nargs="+", default=[DEFAULT_MODEL.name])
    parser.add_argument(
        "--workers", type=int, default=workers, help=f"processes of one thread each (default {workers})"
    )
    parser.add_argument("--cache", type=Path, default=Path("build") / name)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing later, then stop")
    return parser


def sections(rows: list[Row]) -> Iterator[tuple[str, list[Row]]]:
    """By model, and by whether anything was fitted to the photographs: the beginning of a heading, and the rows."""
    for model in dict.fromkeys(row["model"] for row in rows):
        for title, names in (("developed on", DEVELOPED), ("never fitted to", HELD_OUT)):
            same = [row for row in rows if row["model"] == model and row["photograph"] in names]
            if same:
                yield f"## {model}, photographs {title}: ", same
