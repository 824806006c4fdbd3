"""``make scores``: which score's map another seed would confirm, in full and adaptive plans of as many forwards.

    python bench/scores.py [--photographs chelsea …] [--models efficientnet-lite0] [--rows 64] [--workers 2]
                           [--cache build/scores] [--output bench/results] [--seconds 3600]

One full design of each photograph is scored once for all scores, block by block; the blocks are kept in bench/samples,
so that the script may be ended and started at any time, and the design be made longer later. Eight of its rows against
eight others say how far a full plan of N = 8 repeats. The adaptive plan of 628 forwards runs with each score and two
seeds of its own and is held against all rows of the design. Insertion, deletion and µ-fidelity are of the probability
whatever is explained. Writes scores.md and scores.json.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from bench import report
from bench.screening import command, metrics, runs, samples, tables
from bench.screening.samples import BLOCK, Sample
from bench.screening.subject import LEVELS, SCALARS, subject

from wavescope.core.scores import SCORES

BUDGET, SEEDS = 628, (0, 1)
COLUMNS = ("correlation", "spearman", "top20", "top50", "levels")
MEANINGS = {
    "contrast": "logit less that of the runner-up",
    "centred": "logit less the mean of all logits: what softmax outputs give",
    "median": "logit less the median of all logits",
}

Row = dict[str, Any]


def needed(photograph: str, model: str) -> list[runs.Run]:
    """The adaptive plans, the curves of full plans of eight rows, and random subsets."""
    sample = Sample.open(samples.path_of(photograph, model))
    return [
        *(
            runs.adaptive(photograph, model, seed, BUDGET, score=score)
            for seed, score in product(SEEDS, SCORES)
        ),
        *(runs.curves(photograph, model, sample.total(score, slice(1))) for score in SCALARS),
        runs.subsets(photograph, model),
    ]


def compare(photograph: str, model: str, cache: Path) -> list[Row]:
    """Rows of the tables of one photograph."""
    sample, factors = Sample.open(samples.path_of(photograph, model)), subject(photograph, model).partition
    known = {"photograph": photograph, "model": model, "rows": sample.blocks * BLOCK}
    found: list[Row] = []
    for score in SCALARS:
        truth = sample.total(score)
        for block in range(0, sample.blocks - 1, 2):
            one, other = (sample.total(score, slice(at, at + 1)) for at in (block, block + 1))
            found.append(
                known | {"what": "eight", "score": score} | metrics.quality(one, other, factors, LEVELS)
            )
        halves = metrics.quality(*sample.halves(score), factors, LEVELS)
        found.append(known | {"what": "halves", "score": score} | halves)
        one = sample.total(score, slice(1))
        areas = runs.curves(photograph, model, one).read(cache)["areas"]
        found.append(
            known
            | {"what": "faithful", "score": score, "insertion": float(areas[0]), "deletion": float(areas[1])}
            | {"fidelity": runs.fidelity(one, runs.subsets(photograph, model).read(cache))}
        )
        for seed in SEEDS if score in SCORES else ():
            arrays = runs.adaptive(photograph, model, seed, BUDGET, score=score).read(cache)
            held = metrics.held(arrays["interval"], truth)
            found.append(
                known
                | {"what": "adaptive", "score": score, "seed": seed}
                | metrics.quality(arrays["total"], truth, factors, LEVELS)
                | {"covered50": float(held[metrics.largest(truth, 50)].mean())}
            )
    return found


def table(rows: list[Row], what: str, columns: tuple[str, ...]) -> list[str]:
    """Medians over photographs of each photograph's median; in brackets the worst photograph's."""
    lines = [
        "| score | " + " | ".join(tables.COLUMNS[column][0] for column in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for score in SCALARS:
        same = [row for row in rows if (row["what"], row["score"]) == (what, score)]
        if not same:
            continue
        cells = [f"`{score}`" if score in SCORES else score]
        for column in columns:
            each = [
                float(np.median([row[column] for row in same if row["photograph"] == name]))
                for name in dict.fromkeys(row["photograph"] for row in same)
            ]
            digits = tables.COLUMNS[column][1]
            digits = digits if column in tables.LOWER else min(digits, 2)
            worst = max(each) if column in tables.LOWER else min(each)
            cells.append(f"{np.median(each):.{digits}f} ({worst:.{digits}f})")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def markdown(results: Row) -> list[str]:
    """The tables."""
    lines = [
        "# Which score's map repeats",
        "",
        report.made_by(results["environment"], results["command"]),
        "",
        "`wcam` over 784 cells of 224 px. Medians over photographs; in brackets the worst photograph. Insertion and "
        "deletion are of the probability, whatever is explained, over that of the whole image; µ-fidelity by ranks.",
        "",
        *(f"- {name}: {meaning}." for name, meaning in MEANINGS.items()),
    ]
    for heading, rows in command.sections(results["rows"]):
        lengths = {row["photograph"]: row["rows"] for row in rows}
        lines += [
            "",
            heading + ", ".join(f"{n} (N = {lengths[n]})" for n in lengths),
            "",
            "Full plans: eight design rows against eight others.",
            "",
            *table(rows, "eight", COLUMNS),
            "",
            "Half of all rows against the other half: how well the truth below is known.",
            "",
            *table(rows, "halves", COLUMNS),
            "",
            "Faithfulness of the full plan of eight rows.",
            "",
            *table(rows, "faithful", ("insertion", "deletion", "fidelity")),
            "",
            f"The adaptive plan of {BUDGET} forwards, seeds {', '.join(map(str, SEEDS))}, against all rows.",
            "",
            *table(rows, "adaptive", (*COLUMNS, "covered50")),
        ]
    return lines


def main() -> None:
    """Scores what is missing, compares, writes."""
    parser = command.make_parser(__doc__, "scores", workers=2)
    parser.add_argument(
        "--rows", type=int, default=64, help=f"of the design, at most {samples.ROWS} (default 64)"
    )
    arguments = parser.parse_args()
    cases = list(product(arguments.photographs, arguments.models))
    until = time.time() + arguments.seconds
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # processes run side by side
    lengthen = partial(samples.lengthen, rows=arguments.rows, until=until)
    with ProcessPoolExecutor(arguments.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        whole = all(list(pool.map(lengthen, cases)))
    if not whole or not runs.finish(
        [run for case in cases for run in needed(*case)],
        arguments.cache,
        workers=arguments.workers,
        seconds=until - time.time(),
    ):
        raise SystemExit("out of time: start it again to go on")
    results = {
        "environment": report.environment(1),
        "command": report.command(),
        "rows": [row for case in cases for row in compare(*case, arguments.cache)],
    }
    report.write(arguments.output, "scores", results, markdown(results))


if __name__ == "__main__":
    main()
