"""``make bench``: what an explanation costs beyond its bare forwards, and what the service adds.

    python bench/run.py [--rounds 3] [--threads 2] [--only efficiency memory] [--output bench/results]

Every ratio is of times measured in this run, alternating, so that a slow spell of the machine falls on both sides.
Writes a table as Markdown and everything measured as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).parent.parent))
from bench import (
    adaptive,
    concurrency,
    efficiency,
    memory,
    rendering,
    replicas,
    report,
    round_trip,
    two_cores,
)
from bench.setup import Setup

from wavescope.engine.threads import bound_for_good


class Section(Protocol):
    """A module of this folder that measures one thing."""

    @property
    def NAME(self) -> str:  # noqa: N802  # a constant of the module
        """Of its results, and for ``--only``."""
        ...

    def measure(self, setup: Setup) -> dict[str, Any]:
        """Everything measured, JSON-ready."""
        ...

    def markdown(self, results: dict[str, Any]) -> list[str]:
        """Lines of its table, from a heading of the second level on."""
        ...


# In the order of the table; the last two end the service of the others for one of its own.
SECTIONS: tuple[Section, ...] = (
    efficiency,
    adaptive,
    concurrency,
    replicas,
    round_trip,
    rendering,
    memory,
    two_cores,
)


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="alternations of every timing (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="threads of the model, everywhere (default 2)")
    parser.add_argument(
        "--only", nargs="+", choices=[section.NAME for section in SECTIONS], metavar="SECTION"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="folder of the report (default: bench/results; build/bench for single sections)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="smaller explanations: to try the script, not to report"
    )
    arguments = parser.parse_args()
    bound_for_good()  # as in replicas, for the sections that render without an explanation
    chosen = [section for section in SECTIONS if arguments.only is None or section.NAME in arguments.only]
    env = report.environment(arguments.threads)
    results: dict[str, Any] = {"environment": env, "took_s": {}}
    with Setup(rounds=arguments.rounds, threads=arguments.threads, quick=arguments.quick) as setup:
        for section in chosen:
            began = time.perf_counter()
            results[section.NAME] = section.measure(setup)
            results["took_s"][section.NAME] = time.perf_counter() - began
    lines = report.head(env, sum(results["took_s"].values()))
    for section in chosen:
        lines += ["", *section.markdown(results[section.NAME])]
    root = Path(__file__).parent
    output = arguments.output or (root / "results" if arguments.only is None else root.parent / "build/bench")
    output.mkdir(parents=True, exist_ok=True)
    name = report.file_name(env)
    (output / f"{name}.json").write_text(json.dumps(results, indent=2) + "\n")
    table = "\n".join(lines) + "\n"
    (output / f"{name}.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
