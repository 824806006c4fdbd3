"""``make precision``: how far indices of a model in a lower precision are from those of float32, score by score.

    python bench/precision.py [--photographs chelsea …] [--candidates TEXT …] [--workers 2] [--cache build/precision]
                              [--output bench/results] [--seconds 3600]

The full plan of eight rows whose float32 effects ``make scores`` keeps in bench/samples is scored again by other
runtimes: the same images, so that every difference is of the precision. A lower precision is offered where on ten
photographs or more 95 % of the factors move by no more than their standard error. Every run leaves a file, so that the
script may be ended and started at any time. Writes precision.md and precision.json.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from bench import report
from bench.runtimes import CANDIDATES, Candidate, Run
from bench.screening import command, metrics, runs, samples
from bench.screening.models import load
from bench.screening.samples import BLOCK, Sample
from bench.screening.subject import LEVELS, Subject, scalar, subject

from wavescope.core.sobol.bootstrap import index_errors
from wavescope.core.sobol.estimators import ESTIMATORS, Scores
from wavescope.engine.types import ModelDetails
from wavescope.models.spec import DEFAULT_MODEL

LOWER = ("OpenVINO float32", "OpenVINO bfloat16", "ONNX Runtime int8, static, QDQ")
SCORES = ("logit", "contrast", "probability", "log_probability")
TOP = 50
# Of the factors that may move by more than their standard error.
ALLOWED = 0.05

Row = dict[str, Any]


@dataclass(frozen=True)
class Runtime:
    """The default model by another runtime, as a classifier."""

    run: Run
    details: ModelDetails

    def to_device(self, array: np.ndarray) -> np.ndarray:
        """The array as it is."""
        return np.asarray(array)

    def forward(self, images: np.ndarray) -> np.ndarray:
        """Logits."""
        return np.asarray(self.run(np.ascontiguousarray(images, np.float32)))


def candidate_of(name: str) -> Candidate:
    """The candidate of that name."""
    return next(candidate for candidate in CANDIDATES if candidate.name == name)


@cache
def runtime(name: str, folder: Path) -> Runtime:
    """The named candidate on one thread, once a process."""
    return Runtime(candidate_of(name).load(folder, 1), load(DEFAULT_MODEL.name).details)


def answers(photograph: str, name: str, folder: Path) -> runs.Run:
    """What the candidate returns for the first rows of the photograph's design."""
    run_name = f"answers-{name.replace(' ', '-').replace(',', '')}"
    return runs.Run(photograph, DEFAULT_MODEL.name, run_name, _answers, (name, folder))


def _answers(plain: Subject, name: str, folder: Path) -> runs.Arrays:
    of = Subject(plain.photograph, runtime(name, folder))
    stored = Sample.open(samples.path_of(plain.photograph, DEFAULT_MODEL.name))
    of.target, of.against = stored.target, stored.against
    plan = of.plan(samples.ROWS, samples.SEED)
    width = plan.n_factors + 2
    return {"answers": of.answers(plan, None, 0, BLOCK * width).reshape(BLOCK, width, -1)}


def compare(photograph: str, name: str, folder: Path) -> list[Row]:
    """How far each score's indices are from those of float32."""
    stored = Sample.open(samples.path_of(photograph, DEFAULT_MODEL.name))
    partition = subject(photograph, DEFAULT_MODEL.name).partition
    returned = answers(photograph, name, folder).read(folder)["answers"]
    found: list[Row] = []
    for score in SCORES:
        values = scalar(returned, score)
        scores = Scores(values[:, 0], values[:, 1], values[:, 2:].T)
        total, plain = ESTIMATORS["jansen"].total(scores), stored.total(score, slice(1))
        errors = index_errors(ESTIMATORS["jansen"], scores, seed=0)
        assert errors is not None
        moved = np.abs(total - plain) > errors[0]
        found.append(
            {"photograph": photograph, "candidate": name, "score": score}
            | {"moved": float(moved.mean()), "moved50": float(moved[metrics.largest(plain, TOP)].mean())}
            | metrics.quality(total, plain, partition, LEVELS)
        )
    return found


def table(rows: list[Row]) -> list[str]:
    """Medians over photographs, in brackets the worst."""
    lines = [
        "| runtime | score | moved by more than a standard error: of all | of the 50 largest | correlation | of top 20 "
        "| level error | photographs with at most 5 % moved |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, score in product(
        dict.fromkeys(row["candidate"] for row in rows), dict.fromkeys(row["score"] for row in rows)
    ):
        same = [row for row in rows if (row["candidate"], row["score"]) == (name, score)]

        def cell(column: str, digits: int, worst: Any, same: list[Row] = same) -> str:
            values = [row[column] for row in same]
            return f"{np.median(values):.{digits}f} ({worst(values):.{digits}f})"

        within = sum(row["moved"] <= ALLOWED for row in same)
        cells = [
            cell("moved", 2, max),
            cell("moved50", 2, max),
            cell("correlation", 3, min),
            cell("top20", 0, min),
            cell("levels", 3, max),
            f"{within} of {len(same)}",
        ]
        lines.append(f"| {name} | {score} | " + " | ".join(cells) + " |")
    return lines


def markdown(results: Row) -> list[str]:
    """The table."""
    return [
        "# Indices in a lower precision",
        "",
        report.made_by(results["environment"], results["command"]),
        "",
        f"`wcam` over 784 cells of 224 px, full plan of N = {BLOCK}: the same images by ONNX Runtime in float32 and by "
        "the runtime named, on "
        + ", ".join(dict.fromkeys(row["photograph"] for row in results["rows"]))
        + ". Medians over photographs; in brackets the worst. "
        "Standard errors are of the indices in the lower precision.",
        "",
        *table(results["rows"]),
    ]


def main() -> None:
    """Scores what is missing, compares, writes."""
    parser = command.make_parser(__doc__, "precision", workers=2, models=False)
    parser.add_argument("--candidates", nargs="+", default=list(LOWER))
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    for name in arguments.candidates:
        if missing := [package for package in candidate_of(name).needs if not find_spec(package)]:
            raise SystemExit(f"{name} needs {', '.join(missing)}")
        prepare, done = candidate_of(name).prepare, arguments.cache / f"{name}.prepared"
        if prepare is not None and not done.exists():
            prepare(arguments.cache)
            done.touch()
    cases = [
        (photograph, name, arguments.cache)
        for photograph, name in product(arguments.photographs, arguments.candidates)
        if samples.path_of(photograph, DEFAULT_MODEL.name).exists()
    ]
    wanted = [answers(*case) for case in cases]
    if not runs.finish(wanted, arguments.cache, workers=arguments.workers, seconds=arguments.seconds):
        raise SystemExit("out of time: start it again to go on")
    results = {
        "environment": report.environment(1),
        "command": report.command(),
        "rows": [row for case in cases for row in compare(*case)],
    }
    report.write(arguments.output, "precision", results, markdown(results))


if __name__ == "__main__":
    main()
