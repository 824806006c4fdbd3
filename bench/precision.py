"""``make precision``: how far indices of a model in a lower precision are from those of float32, score by score.

    python bench/precision.py [--photographs chelsea …] [--candidates TEXT …] [--workers 2] [--cache build/precision]
                              [--output bench/results]

The full plan of eight rows whose float32 effects ``make scores`` keeps in bench/samples is scored again by other
runtimes: the same images, so that every difference is of the precision. A lower precision is offered where on ten
photographs or more 95 % of the factors move by no more than their standard error. Every run leaves a file, so that the
script may be ended and started at any time. Writes precision.md and precision.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from bench import report
from bench.runtimes import CANDIDATES, Candidate, Run
from bench.screening import metrics, samples
from bench.screening.models import load
from bench.screening.photographs import DEVELOPED, HELD_OUT
from bench.screening.samples import BLOCK, Sample
from bench.screening.subject import LEVELS, Subject, scalar

from wavescope.core.sobol.bootstrap import index_errors
from wavescope.core.sobol.estimators import ESTIMATORS, Scores
from wavescope.engine.types import ModelDetails
from wavescope.models.spec import DEFAULT_MODEL

RESULTS = Path(__file__).parent / "results"
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


def path_of(photograph: str, name: str, folder: Path) -> Path:
    """Where the answers are kept."""
    return folder / f"{photograph}-{name.replace(' ', '-').replace(',', '')}.npy"


def finish(case: tuple[str, str], folder: Path) -> None:
    """Scores the first rows of the photograph's design by the candidate, unless they are kept."""
    photograph, name = case
    if (path := path_of(photograph, name, folder)).exists():
        return
    stored = Sample.open(samples.path_of(photograph, DEFAULT_MODEL.name))
    of = Subject(photograph, runtime(name, folder))
    of.target, of.against = stored.target, stored.against
    plan = of.plan(samples.ROWS, samples.SEED)
    width = plan.n_factors + 2
    np.save(path, of.answers(plan, None, 0, BLOCK * width).reshape(BLOCK, width, -1))


def compare(photograph: str, name: str, folder: Path) -> list[Row]:
    """How far each score's indices are from those of float32."""
    stored = Sample.open(samples.path_of(photograph, DEFAULT_MODEL.name))
    partition = Subject(photograph, load(DEFAULT_MODEL.name)).partition
    answers = np.load(path_of(photograph, name, folder))
    found: list[Row] = []
    for score in SCORES:
        values = scalar(answers, score)
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


def main() -> None:
    """Scores what is missing, compares, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kept = [name for name in (*DEVELOPED, *HELD_OUT) if samples.path_of(name, DEFAULT_MODEL.name).exists()]
    parser.add_argument("--photographs", nargs="+", default=kept)
    parser.add_argument("--candidates", nargs="+", default=list(LOWER))
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each (default 2)")
    parser.add_argument("--cache", type=Path, default=Path("build/precision"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # processes run side by side
    for name in arguments.candidates:
        if missing := [package for package in candidate_of(name).needs if not find_spec(package)]:
            raise SystemExit(f"{name} needs {', '.join(missing)}")
        prepare, done = candidate_of(name).prepare, arguments.cache / f"{name}.prepared"
        if prepare is not None and not done.exists():
            prepare(arguments.cache)
            done.touch()
    cases = list(product(arguments.photographs, arguments.candidates))
    with ProcessPoolExecutor(arguments.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(partial(finish, folder=arguments.cache), cases))
    rows = [row for case in cases for row in compare(*case, arguments.cache)]
    environment = report.environment(1)
    lines = [
        "# Indices in a lower precision",
        "",
        report.made_by(environment, " ".join(["python bench/precision.py", *sys.argv[1:]])),
        "",
        f"`wcam` over 784 cells of 224 px, full plan of N = {BLOCK}: the same images by ONNX Runtime in float32 and by "
        "the runtime named, on "
        + ", ".join(arguments.photographs)
        + ". Medians over photographs; in brackets the worst. "
        "Standard errors are of the indices in the lower precision.",
        "",
        *table(rows),
    ]
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "precision.json").write_text(
        json.dumps({"environment": environment, "rows": rows}, indent=1) + "\n"
    )
    (arguments.output / "precision.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
