"""``make adaptive``: how near the adaptive plan comes to the truth, against the full plan and what it was chosen over.

    python bench/adaptive.py [--photographs chelsea …] [--seeds 0 1] [--models efficientnet-lite0] [--workers 4]
                             [--cache build/adaptive] [--output bench/results]

The truth is the full plan of a seed of its own whose effects ``make scores`` keeps in bench/samples, lengthened by it.
Every run leaves a file in the cache: a finished one is never computed again, so that the script may be ended and
started at any time. About 20,000 forwards a photograph. Writes adaptive.md and adaptive.json; without --output, the
tables of docs/adaptive.md too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from bench import report
from bench.screening import command, losers, metrics, runs, samples, tables
from bench.screening.photographs import DEVELOPED
from bench.screening.samples import BLOCK, Sample
from bench.screening.subject import LEVELS, SCORE, Subject, subject

import wavescope
from wavescope.core.sobol.bootstrap import index_errors
from wavescope.core.sobol.estimators import ESTIMATORS, Scores, jansen
from wavescope.engine.gradient_cost import GRADIENT_FORWARDS
from wavescope.models.spec import DEFAULT_MODEL

if TYPE_CHECKING:
    from bench.setup import Setup

NAME = "adaptive"
PAGE = Path(__file__).parents[1] / "docs" / "adaptive.md"
ROWS = (1, 2, 4, 8, 16)
DEFAULT = "default"
BUDGETS = (157, 314, 628, 1256)
# The defaults of both plans.
DEFAULTS = (6288, 628)
# A twentieth of the forwards of the full plan of 8 and 16 rows.
PAIRS = ((6288, 314), (12576, 628))
LOSERS_BUDGETS = (314, 628, 1256)
# Of the adaptive plan without a part: every run is scored anew.
WITHOUT_BUDGETS = (314, 628)

Row = dict[str, Any]


class Case:
    """One photograph under one model, with its files.

    Args:
        photograph, model: their names.
        seeds: of the runs.
        cache: folder of the runs' files.
    """

    def __init__(self, photograph: str, model: str, seeds: list[int], cache: Path) -> None:
        self.photograph, self.model, self.seeds, self.cache = photograph, model, seeds, cache
        self.of = (photograph, model)
        self.sample = Sample.open(samples.path_of(photograph, model))
        self.truth = self.sample.truth(SCORE)

    def needed(self) -> Iterator[runs.Run]:
        """Every run but the curves, which follow from the others' indices."""
        yield from runs.full(*self.of, self.seeds[0], max(ROWS))
        for seed, budget in product(self.seeds, (*BUDGETS, None)):
            yield runs.adaptive(*self.of, seed, budget)
        if self.photograph not in DEVELOPED:
            return
        yield runs.groups(*self.of, self.seeds[0])
        yield runs.random(*self.of, self.seeds[0])
        if self.model == DEFAULT_MODEL.name:
            yield runs.gradients(*self.of, self.seeds[0])
        for budget, seed, part in product(WITHOUT_BUDGETS, self.seeds, list(losers.WITHOUT)[1:]):
            yield runs.adaptive(*self.of, seed, budget, part)

    def curves(self) -> Iterator[runs.Run]:
        """Insertion and deletion by every full and adaptive plan, and by the truth."""
        yield runs.curves(*self.of, self.truth.total)
        for _, total, _ in self._full(self.seeds[0]):
            yield runs.curves(*self.of, total)
        for seed in self.seeds:
            for budget in (*BUDGETS, None):
                yield runs.curves(*self.of, runs.adaptive(*self.of, seed, budget).read(self.cache)["total"])

    def rows(self) -> Iterator[Row]:
        """Quality of every method, run by run."""
        for n, total, interval in self._full(self.seeds[0]):
            found = {} if interval is None else metrics.coverage(interval, self.truth)
            yield self._row("full", n * (len(total) + 2), self.seeds[0], total) | self._areas(total) | found
        for seed, budget in product(self.seeds, (*BUDGETS, None)):
            arrays = runs.adaptive(*self.of, seed, budget).read(self.cache)
            total, open_ = arrays["total"], ~arrays["resolved"]
            yield (
                self._row("adaptive" if budget else DEFAULT, budget or 0, seed, total)
                | self._areas(total)
                | metrics.coverage(arrays["interval"], self.truth)
                | {
                    "spent": int(arrays["forwards"]),
                    "resolved": int((~open_).sum()),
                    "bounded": float((self.truth.total <= arrays["bound"])[open_].mean())
                    if open_.any()
                    else None,
                    "stopped": str(arrays["stopped"]),
                    "expected": [float(x) for x in arrays["expected"]],
                    "warnings": [str(warning) for warning in arrays["warnings"]],
                }
            )
        if self.photograph in DEVELOPED:
            yield from self._losers(self.seeds[0])

    def facts(self) -> Row:
        """Of the truth: what it is, and how well it is known."""
        of = subject(*self.of)
        whole = runs.curves(*self.of, self.truth.total).read(self.cache)
        halves = metrics.quality(*self.sample.halves(SCORE), of.partition, LEVELS)
        r = halves["correlation"]
        return {
            "photograph": self.photograph,
            "model": self.model,
            "class": of.classifier.details.labels[self.sample.target],
            "rows": self.sample.blocks * BLOCK,
            "probability": float(whole["probability"]),
            "variance": self.sample.variance(SCORE),
            **{name: halves[name] for name in ("correlation", "spearman", "top20", "top50", "levels")},
            # Spearman-Brown: the reliability of both halves together; its root bounds what correlates with them.
            "reachable": float(np.sqrt(2 * r / (1 + r))),
            "insertion": float(whole["areas"][0]),
            "deletion": float(whole["areas"][1]),
        }

    def _full(self, seed: int) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
        """(N, indices, intervals) of every beginning of the full plan."""
        sample = runs.read_full(runs.full(*self.of, seed, max(ROWS)), self.cache)
        for n in ROWS:
            errors = index_errors(ESTIMATORS["jansen"], _scores(sample[:n]), seed=seed)
            yield n, _jansen(sample[:n]), None if errors is None else errors[1]

    def _losers(self, seed: int) -> Iterator[Row]:
        of = subject(*self.of)
        sample = runs.read_full(runs.full(*self.of, seed, max(ROWS)), self.cache)
        moved = runs.groups(*self.of, seed).read(self.cache)["scores"]
        scores = runs.random(*self.of, seed).read(self.cache)["scores"]
        masks = runs.random_masks(sample.shape[1] - 2, seed).astype(np.float64)
        yield self._row("sizes alone", 0, seed, losers.by_size(of.features))
        for budget in LOSERS_BUDGETS:
            for n in (2, 4, 8):
                total = losers.group_screening(sample, moved, of.features, rows=n, budget=budget)
                yield self._row(f"groups to cells, {n} rows", budget, seed, total)
            some = masks[:budget], scores[:budget]
            yield self._row("squared correlation", budget, seed, losers.by_correlation(*some))
            yield self._row("HSIC", budget, seed, losers.by_hsic(*some))
            yield self._row("regression", budget, seed, losers.by_regression(*some, of.features.size))
        for budget, each, part in product(WITHOUT_BUDGETS, self.seeds, list(losers.WITHOUT)[1:]):
            arrays = runs.adaptive(*self.of, each, budget, part).read(self.cache)
            yield self._row(f"adaptive without {part}", budget, each, arrays["total"])
        if self.model == DEFAULT_MODEL.name:
            squares = runs.gradients(*self.of, seed).read(self.cache)["squares"]
            for n in (4, 8, 16):
                yield self._row(
                    f"derivatives, {n} rows", GRADIENT_FORWARDS * n, seed, squares[:n].mean(axis=0)
                )

    def _row(self, method: str, forwards: int, seed: int, total: np.ndarray) -> Row:
        of = "developed" if self.photograph in DEVELOPED else "held out"
        known = {"set": of, "photograph": self.photograph, "model": self.model}
        return (
            known
            | {"method": method, "forwards": forwards, "seed": seed}
            | metrics.quality(total, self.truth.total, subject(*self.of).partition, LEVELS)
        )

    def _areas(self, total: np.ndarray) -> dict[str, float]:
        insertion, deletion = runs.curves(*self.of, total).read(self.cache)["areas"]
        return {"insertion": float(insertion), "deletion": float(deletion)}


def _scores(sample: np.ndarray) -> Scores:
    return Scores(sample[:, 0], sample[:, 1], sample[:, 2:].T)


def _jansen(sample: np.ndarray) -> np.ndarray:
    return np.asarray(jansen(_scores(sample)))


# ---- the section of make bench ---------------------------------------------------------------------
def measure(setup: Setup) -> dict[str, Any]:
    """One photograph: the full plan at N = 8 between two adaptive plans of a twentieth of its forwards."""
    name, model = "chelsea", DEFAULT_MODEL.name
    of = Subject(name, setup.model)
    truth = Sample.open(samples.path_of(name, model)).truth(SCORE)
    rows = 4 if setup.quick else 8
    ours: dict[str, Any] = {"plan": "adaptive", "max_forwards": 314}
    sides = [("adaptive", ours), ("full", {"plan": "full", "nb_design": rows}), ("adaptive", ours)]
    wavescope.explain(of.image, model=setup.model, grid_size=4, nb_design=4, plan="full")  # warm
    found: dict[str, dict[str, float]] = {}
    forwards: dict[str, int] = {}
    seconds: dict[str, list[float]] = {"full": [], "adaptive": []}
    for side, fields in sides:
        began = time.perf_counter()
        explained = wavescope.explain(of.image, model=setup.model, score=SCORE, **fields)
        seconds[side].append(time.perf_counter() - began)
        forwards[side] = explained.forwards
        indices = explained.indices
        assert indices is not None
        assert indices.interval_95 is not None
        found[side] = metrics.quality(indices.total, truth.total, of.partition, LEVELS)
        found[side] |= metrics.coverage(indices.interval_95, truth)
    return {
        "photograph": name,
        "forwards": forwards,
        "seconds": seconds,
        "times_faster": seconds["full"][0] / median(seconds["adaptive"]),
        "quality": found,
    }


def markdown(results: dict[str, Any]) -> list[str]:
    """The section's table."""
    shown = [metric for metric in tables.COLUMNS if metric in results["quality"]["full"]]
    lines = [
        f"## Adaptive plan: {results['photograph']}, against a full plan of many rows of another seed",
        "",
        "| plan | forwards | s | " + " | ".join(tables.COLUMNS[metric][0] for metric in shown) + " |",
        "|---" * (len(shown) + 3) + "|",
    ]
    for side, quality in results["quality"].items():
        cells = [f"{quality[metric]:.{tables.COLUMNS[metric][1]}f}" for metric in shown]
        seconds = f"{median(results['seconds'][side]):.1f}"
        lines.append(f"| {side} | {results['forwards'][side]:,} | {seconds} | " + " | ".join(cells) + " |")
    return [
        *lines,
        "",
        f"{results['times_faster']:.1f} times faster, end to end. More photographs, seeds and budgets: "
        "`make adaptive`.",
    ]


# ---- all of it -----------------------------------------------------------------------------------
def main() -> None:
    """Scores what is missing, compares, writes."""
    parser = command.make_parser(__doc__, "adaptive", workers=4)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    arguments = parser.parse_args()
    until = time.monotonic() + arguments.seconds
    cases = [
        Case(photograph, model, arguments.seeds, arguments.cache)
        for model in arguments.models
        for photograph in arguments.photographs
    ]
    for missing in (Case.needed, Case.curves):
        left = [run for case in cases for run in missing(case)]
        seconds = until - time.monotonic()
        if not runs.finish(left, arguments.cache, workers=arguments.workers, seconds=seconds):
            raise SystemExit("out of time: start it again to go on")
    rows = [row for case in cases for row in case.rows()]
    results = {
        "environment": report.environment(1),
        "command": report.command(),
        "truth": {"seed": samples.SEED},
        "seeds": arguments.seeds,
        "photographs": [case.facts() for case in cases],
        "rows": rows,
    }
    made = _markdown(results)
    report.write(arguments.output, "adaptive", results, made)
    if arguments.output == report.RESULTS:
        PAGE.write_text(tables.refreshed(PAGE.read_text("utf-8"), "\n".join(made)))


def _markdown(results: dict[str, Any]) -> list[str]:
    lines = [
        "# The adaptive plan against the truth",
        "",
        report.made_by(results["environment"], results["command"]),
        "",
        f"`wcam` at its defaults, score `{SCORE}`. Truth: the full plan of seed {samples.SEED}. Runs: seeds "
        f"{', '.join(map(str, results['seeds']))}, of full plans the first. Medians over photographs and seeds; in "
        "brackets least and most. Columns: [docs/adaptive.md](../../docs/adaptive.md).",
    ]
    for model in dict.fromkeys(row["model"] for row in results["rows"]):
        rows = [row for row in results["rows"] if row["model"] == model]
        known = [row for row in results["photographs"] if row["model"] == model]
        lines += _of_model("" if model == DEFAULT_MODEL.name else f"{model}: ", rows, known)
    return lines


def _of_model(name: str, rows: list[Row], known: list[Row]) -> list[str]:
    summary = tables.medians(rows)
    lines: list[str] = []
    for of in ("developed", "held out"):
        here = [row for row in rows if row["set"] == of]
        if not here:
            continue
        names = dict.fromkeys(row["photograph"] for row in here)
        lines += ["", _heading(f"{name}{TITLES[of]}: {', '.join(names)}"), "", *tables.frontier(summary, of)]
        lines += [
            "",
            "Adaptive / full: the defaults first, then a twentieth of the forwards. ✓ where the median is as good or "
            "better; in brackets in how many runs it is.",
            "",
            *tables.bar(summary, rows, of, (DEFAULTS, *PAIRS)),
            "",
            "Plans of the defaults, which end where they expect to be accurate enough, or at 628 forwards.",
            "",
            *tables.defaults([row for row in here if row["method"] == DEFAULT]),
        ]
    lines += [
        "",
        _heading(f"{name}correlation, photograph by photograph, adaptive / full, mean of the seeds"),
        "",
    ]
    lines += tables.photographs(rows, PAIRS)
    lines += ["", _heading(f"{name}how well the truth is known"), "", *tables.truths(known)]
    if chosen := tables.losers(summary, "developed", LOSERS_BUDGETS):
        lines += ["", _heading(f"{name}other methods, on the photographs it was developed on"), "", *chosen]
    return lines


def _heading(text: str) -> str:
    return f"## {text[0].upper()}{text[1:]}"


TITLES = {"developed": "photographs it was developed on", "held out": "photographs it never saw"}


if __name__ == "__main__":
    main()
