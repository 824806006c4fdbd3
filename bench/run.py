"""``make bench``: what an explanation costs beyond its bare forwards, and what rendering costs.

    python bench/run.py [--rounds 3] [--threads 2] [--output bench/results]

Every ratio is of times measured in this run, alternating, so that a slow spell of the machine falls on both sides.
Writes a table as Markdown and everything measured as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import efficiency, rendering, report


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="alternations of every timing (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="threads of the model, everywhere (default 2)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument(
        "--quick", action="store_true", help="a smaller explanation: to try the script, not to report"
    )
    arguments = parser.parse_args()
    results = {
        "environment": report.environment(arguments.threads),
        "rendering": rendering.measure(rounds=arguments.rounds),
        "efficiency": efficiency.measure(
            rounds=arguments.rounds, threads=arguments.threads, grid_size=8 if arguments.quick else 28
        ),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    name = report.file_name(results)
    (arguments.output / f"{name}.json").write_text(json.dumps(results, indent=2) + "\n")
    table = report.markdown(results)
    (arguments.output / f"{name}.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
