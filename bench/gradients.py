"""``make gradient-prior``: the adaptive plan with gradients as its prior against sizes, at equal cost.

    python bench/gradients.py [--photographs chelsea …] [--models efficientnet-lite0] [--budgets 100 314 628]
                              [--workers 2] [--cache build/gradients] [--output bench/results] [--seconds 3600]

Both plans run one after the other in one process, within the same ``max_forwards``, of which gradients take three
each; their seconds are of the processor. They are held against the full designs of ``make scores`` in bench/samples.
Every pair leaves a file, so that the script may be ended and started at any time. Writes gradients.md and
gradients.json.
"""

from __future__ import annotations

import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from bench import report
from bench.screening import command, metrics, runs, samples, tables
from bench.screening.samples import Sample
from bench.screening.subject import LEVELS, subject

BUDGETS, SEEDS = (100, 314, 628), (0, 1)
SCORE = "logit"
COLUMNS = ("correlation", "spearman", "top20", "top50", "levels", "covered50")
# What is held against what: the target's indices, and those of its contrast with the runner-up.
PARTS = ("target", "contrast")

Row = dict[str, Any]


def compare(photograph: str, model: str, budget: int, cache: Path) -> list[Row]:
    """Rows of the tables of one photograph: both priors, both parts, every seed."""
    sample, factors = Sample.open(samples.path_of(photograph, model)), subject(photograph, model).partition
    truths = {"target": sample.total(SCORE), "contrast": sample.total("contrast")}
    found: list[Row] = []
    for seed, prior, part in product(SEEDS, runs.PRIORS, PARTS):
        arrays = runs.priors(photograph, model, seed, budget).read(cache)
        truth = truths[part]
        held = metrics.held(arrays[f"{prior}-{part}-interval"], truth)
        found.append(
            {"photograph": photograph, "model": model, "budget": budget, "seed": seed}
            | {"prior": prior, "part": part}
            | metrics.quality(arrays[f"{prior}-{part}"], truth, factors, LEVELS)
            | {"covered50": float(held[metrics.largest(truth, 50)].mean())}
            | {name: float(arrays[f"{prior}-{name}"]) for name in ("forwards", "gradients", "seconds")}
        )
    return found


def table(rows: list[Row], part: str) -> list[str]:
    """Medians over photographs of each photograph's mean over seeds; seconds are over those of the sizes' prior."""
    heads = [tables.COLUMNS[column][0] for column in COLUMNS]
    lines = ["| `max_forwards` | prior | forwards | gradients | " + " | ".join(heads) + " | seconds |"]
    lines.append("|---" * (len(COLUMNS) + 5) + "|")
    for budget, prior in product(dict.fromkeys(row["budget"] for row in rows), runs.PRIORS):

        def middle(column: str, prior: str = prior, budget: int = budget) -> float:
            same = [
                row for row in rows if (row["budget"], row["prior"], row["part"]) == (budget, prior, part)
            ]
            names = dict.fromkeys(row["photograph"] for row in same)
            each = [np.mean([row[column] for row in same if row["photograph"] == name]) for name in names]
            return float(np.median(each))

        cells = [f"{budget:,}", f"`{prior}`", f"{middle('forwards'):.0f}", f"{middle('gradients'):.0f}"]
        for column in COLUMNS:
            digits = tables.COLUMNS[column][1] or 1
            cells.append(f"{middle(column):.{digits}f}")
        cells.append(f"{middle('seconds') / middle('seconds', 'size'):.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def markdown(results: Row) -> list[str]:
    """The tables."""
    lines = [
        "# Gradients as the prior of the adaptive plan",
        "",
        report.made_by(results["environment"], results["command"]),
        "",
        f"`wcam` over 784 cells of 224 px, score `{SCORE}`, seeds {', '.join(map(str, SEEDS))}. Medians over "
        "photographs; seconds of the processor over those of the prior `size`, both measured in turn.",
    ]
    for heading, rows in command.sections(results["rows"]):
        lines += [
            "",
            heading + ", ".join(dict.fromkeys(r["photograph"] for r in rows)),
        ]
        lines += ["", "Indices of the target's score.", "", *table(rows, "target")]
        lines += ["", "Indices of the contrast with the runner-up, from the same images.", ""]
        lines += table(rows, "contrast")
    return lines


def main() -> None:
    """Scores what is missing, compares, writes."""
    parser = command.make_parser(__doc__, "gradients", workers=2)
    parser.add_argument("--budgets", nargs="+", type=int, default=list(BUDGETS))
    arguments = parser.parse_args()
    until = time.time() + arguments.seconds
    cases = list(product(arguments.photographs, arguments.models, arguments.budgets))
    wanted = [runs.priors(name, model, seed, budget) for name, model, budget in cases for seed in SEEDS]
    if not runs.finish(wanted, arguments.cache, workers=arguments.workers, seconds=until - time.time()):
        raise SystemExit("out of time: start it again to go on")
    results = {
        "environment": report.environment(1),
        "command": report.command(),
        "rows": [row for case in cases for row in compare(*case, arguments.cache)],
    }
    report.write(arguments.output, "gradients", results, markdown(results))


if __name__ == "__main__":
    main()
