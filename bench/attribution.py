"""``make attribution``: kinds ``wcam`` and ``wam`` against each other: cost, faithfulness, the truth, another seed.

    python bench/attribution.py [--photographs chelsea …] [--models efficientnet-lite0] [--workers 1]
                                [--cache build/attribution] [--output bench/results] [--seconds 3600]

All explain the logit; every reply of two seeds is computed in turn with the others in one process, and its seconds are
of the processor. Insertion, deletion and µ-fidelity are those of the faithfulness section of a reply: of the
probability, with 50 steps and 200 subsets, over factors and over pixels. What is removed is put at the baseline of
``wavescope.core.faithfulness``: 0, no coefficient for a factor and black for a pixel. Values beyond [0, 1] are clipped
for every method, while a reply of ``wam`` leaves them as they are in its own section over factors. The full
plan of N = 8 is the first block of the design in bench/samples, and the truth the indices of all later blocks: the same
for every method, without the rows that one of them is made of. A photograph whose sample has no second block is left
out. Every run leaves a file, so that the script may be ended and started at any time. Writes attribution.md and
attribution.json.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from bench import report
from bench.screening import attributions, command, losers, metrics, runs, samples, tables
from bench.screening.samples import BLOCK, Sample
from bench.screening.subject import LEVELS, SCORE, subject
from scipy.stats import spearmanr

SEEDS = (0, 1)
# Methods by name, in the order of the tables, and what they are.
METHODS = {
    "adaptive": "`wcam`, adaptive plan of 628 forwards, prior `size`",
    "adaptive, gradients": "`wcam`, adaptive plan within 100, prior `gradients`",
    "full": "`wcam`, full plan of N = 8",
    "smoothgrad": "`wam`, `smoothgrad` of 25 samples",
    "integrated gradients": "`wam`, `integrated_gradients` of 25 samples",
    "sizes": "sizes alone, without the model",
}
# Draw nothing: another seed gives the same.
WITHOUT_SEED = ("integrated gradients", "sizes")
# Of a row: heading, digits, and whether less is better.
COST = {
    "forwards": ("forwards", 0, True),
    "gradients": ("gradients", 0, True),
    "seconds": ("seconds", 2, True),
}
FAITHFUL = {
    f"{domain}_{name}": (f"{tables.COLUMNS[name][0]}, {domain}s", 3, name in tables.LOWER)
    for domain in ("factor", "pixel")
    for name in ("insertion", "deletion", "fidelity")
}
QUALITY = {
    name: (*tables.COLUMNS[name], name in tables.LOWER)
    for name in ("correlation", "spearman", "top20", "top50", "levels")
}
AGAIN = {
    "again_correlation": ("seeds: correlation", 3, False),
    "again_spearman": ("by ranks", 3, False),
    "again_top20": ("of top 20", 0, False),
}

Row = dict[str, Any]
Columns = dict[str, tuple[str, int, bool]]


@dataclass(frozen=True, eq=False)
class Found:
    """What one method says of one photograph.

    Attributes:
        total: (K,) values of the factors.
        spatial: (h, w) its map over the image.
        cost: forwards, gradients and seconds, as far as they are known.
    """

    total: np.ndarray
    spatial: np.ndarray
    cost: dict[str, float]


class Case:
    """One photograph under one model.

    Args:
        photograph, model: their names.
        cache: folder of the runs' files.
    """

    def __init__(self, photograph: str, model: str, cache: Path) -> None:
        self.photograph, self.model, self.cache = photograph, model, cache
        self.of = (photograph, model)
        self.sample = Sample.open(samples.path_of(*self.of))  # once: it may be lengthened meanwhile

    def replies(self) -> Iterator[runs.Run]:
        """Every reply, and what µ-fidelity needs of every method."""
        for seed in SEEDS:
            yield attributions.replies(*self.of, seed)
        yield runs.subsets(*self.of)
        yield attributions.subsets(*self.of)

    def curves(self) -> Iterator[runs.Run]:
        """Of every method and seed, which needs the replies."""
        for method in METHODS:
            for found in self.found(method):
                yield runs.curves(*self.of, found.total)
                yield attributions.curves(*self.of, found.spatial)

    def found(self, method: str) -> list[Found]:
        """By every seed that is compared with the truth: two of a reply that draws something, else one."""
        if method in attributions.REPLIES:
            arrays = [attributions.replies(*self.of, seed).read(self.cache) for seed in SEEDS]
            replies = [
                Found(
                    one[f"{method}-total"],
                    one[f"{method}-spatial"],
                    {name: float(one[f"{method}-{name}"]) for name in ("forwards", "gradients")}
                    | {"seconds": float(one[f"{method}-seconds"] / one[f"{attributions.DEFAULT}-seconds"])},
                )
                for one in arrays
            ]
            return replies[:1] if method in WITHOUT_SEED else replies
        if method == "full":
            total = self.sample.total(SCORE, slice(1))
            return [self._of_indices(total, {"forwards": float(BLOCK * (len(total) + 2)), "gradients": 0.0})]
        total = losers.by_size(subject(*self.of).features)
        return [self._of_indices(total, {"forwards": 0.0, "gradients": 0.0})]

    def _of_indices(self, total: np.ndarray, cost: dict[str, float]) -> Found:
        of = subject(*self.of)
        size = of.classifier.details.preprocessing.size
        return Found(total, attributions.spatial(total, of.partition, size), cost)

    def rows(self) -> Iterator[Row]:
        """Every method: a row for each seed, and one of two seeds against each other."""
        factors, truth = subject(*self.of).partition, self.sample.total(SCORE, slice(1, None))
        known = {"photograph": self.photograph, "model": self.model, "rows": (self.sample.blocks - 1) * BLOCK}
        for method in METHODS:
            each = self.found(method)
            for found in each:
                quality = metrics.quality(found.total, truth, factors, LEVELS)
                yield known | {"method": method} | found.cost | self._faithful(found) | quality
            totals = [found.total for found in each]
            if method == "full":
                totals.append(self.sample.total(SCORE, slice(1, 2)))
            if len(totals) == 2:
                yield known | {"method": method} | again(*totals)

    def _faithful(self, found: Found) -> dict[str, float]:
        factors = runs.curves(*self.of, found.total).read(self.cache)["areas"]
        pixels = attributions.curves(*self.of, found.spatial).read(self.cache)["areas"]
        without_factors = runs.subsets(*self.of).read(self.cache)
        without_cells = attributions.subsets(*self.of).read(self.cache)
        return {
            "factor_insertion": float(factors[0]),
            "factor_deletion": float(factors[1]),
            "factor_fidelity": runs.fidelity(found.total, without_factors),
            "pixel_insertion": float(pixels[0]),
            "pixel_deletion": float(pixels[1]),
            "pixel_fidelity": runs.fidelity(attributions.cells(found.spatial), without_cells),
        }


def again(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """How the values of two seeds agree."""
    return {
        "again_correlation": float(np.corrcoef(one, other)[0, 1]),
        "again_spearman": float(spearmanr(one, other).statistic),
        "again_top20": float(metrics.overlap(one, other, 20)),
    }


def table(rows: list[Row], columns: Columns) -> list[str]:
    """Medians over photographs of each photograph's mean over seeds; in brackets the worst photograph's."""
    lines = [
        "| method | " + " | ".join(heading for heading, _, _ in columns.values()) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for method, meaning in METHODS.items():
        cells = [meaning]
        for column, (_, digits, lower) in columns.items():
            each = list(_means(rows, method, column).values())
            if not each:
                cells.append("–")
                continue
            middle, worst = np.median(each), max(each) if lower else min(each)
            digits = max(digits, 1) if column.endswith(("top20", "top50")) else digits
            shown = f"{middle:,.{digits}f}"
            cells.append(shown if column in COST else f"{shown} ({worst:,.{digits}f})")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def wins(rows: list[Row], columns: Columns) -> list[str]:
    """In how many photographs a method is better than the default, and in how many it is worse; others are equal."""
    lines = [
        "| better / worse | " + " | ".join(heading for heading, _, _ in columns.values()) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for method, meaning in METHODS.items():
        if method == attributions.DEFAULT:
            continue
        cells = [meaning]
        for column, (_, _, lower) in columns.items():
            default = _means(rows, attributions.DEFAULT, column)
            gains = [
                (default[name] - value) if lower else (value - default[name])
                for name, value in _means(rows, method, column).items()
            ]
            cells.append(f"{sum(gain > 0 for gain in gains)} / {sum(gain < 0 for gain in gains)}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _means(rows: list[Row], method: str, column: str) -> dict[str, float]:
    """By photograph, over seeds."""
    same = [row for row in rows if row["method"] == method and column in row]
    return {
        name: float(np.mean([row[column] for row in same if row["photograph"] == name]))
        for name in dict.fromkeys(row["photograph"] for row in same)
    }


def markdown(results: Row) -> list[str]:
    """The tables."""
    lines = [
        "# What gradients by wavelet coefficients are worth beside indices",
        "",
        report.made_by(results["environment"], results["command"]),
        "",
        f"784 cells of 224 px, score `{SCORE}`. Medians over photographs of means over two seeds; in brackets the "
        "worst photograph. Seconds are of the processor over those of the adaptive plan of 628 forwards, all "
        "measured in turn; of the full plan they were not measured. Areas are of the probability over that of the "
        "whole image, µ-fidelity is by ranks; what is removed is 0, no coefficient or black; values beyond [0, 1] are "
        "clipped. The truth is the logit's total indices of a full plan of N rows, none of which is among those of the "
        "full plan of 8. Values of `wam` are the "
        "sums of attributions over the same cells, which are no indices.",
    ]
    for heading, rows in command.sections(results["rows"]):
        lengths = {row["photograph"]: row["rows"] for row in rows}
        lines += [
            "",
            heading + ", ".join(f"{n} (N = {lengths[n]})" for n in lengths),
            "",
            "Cost, and how faithful the ranking is to the model.",
            "",
            *table(rows, COST | FAITHFUL),
            "",
            "Against the truth, and two seeds of a method against each other.",
            "",
            *table(rows, QUALITY | AGAIN),
            "",
            f"Of {len(lengths)} photographs, on how many a method is better, or worse, than the plan of 628.",
            "",
            *wins(rows, FAITHFUL | QUALITY),
        ]
    if results["left_out"]:
        lines += [
            "",
            "Left out, as their samples have no second block for a truth: "
            + ", ".join(results["left_out"])
            + ".",
        ]
    return lines


def main() -> None:
    """Scores what is missing, compares, writes."""
    parser = command.make_parser(__doc__, "attribution", workers=1)
    arguments = parser.parse_args()
    until = time.time() + arguments.seconds
    named = list(product(arguments.photographs, arguments.models))
    cases = [Case(*name, arguments.cache) for name in named if samples.path_of(*name).exists()]
    whole = [case for case in cases if case.sample.blocks > 1]
    for stage in (Case.replies, Case.curves):
        wanted = [run for case in whole for run in stage(case)]
        if not runs.finish(wanted, arguments.cache, workers=arguments.workers, seconds=until - time.time()):
            raise SystemExit("out of time: start it again to go on")
    results = {
        "environment": report.environment(1),
        "command": report.command(),
        "left_out": [name for name, model in named if (name, model) not in [case.of for case in whole]],
        "rows": [row for case in whole for row in case.rows()],
    }
    report.write(arguments.output, "attribution", results, markdown(results))


if __name__ == "__main__":
    main()
