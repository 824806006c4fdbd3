"""``make accuracy``: whether the adaptive plan is as accurate as it says, on scores whose indices are known.

    python bench/accuracy.py [--seeds 4] [--output bench/results]

The scores are random networks of one hidden layer over the mask values of a photograph's 784 factors: their weights are
such that total indices are those measured on EfficientNet-Lite0 (bench/samples), more or less, and they interact and
saturate. Their indices are known from 256 design rows of a plan of its own. Writes accuracy.md and accuracy.json.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is loaded

import numpy as np
from bench import report
from bench.screening import metrics, samples
from bench.screening.photographs import DEVELOPED
from bench.screening.samples import Sample
from bench.screening.subject import LEVELS, subject

from wavescope.core.adaptive.estimator import AdaptiveEstimator, RowSelection
from wavescope.core.adaptive.factor_features import FactorFeatures
from wavescope.core.partition import Partition
from wavescope.core.sobol.design import Design, make_design
from wavescope.engine.requests import independent_rows
from wavescope.models.spec import DEFAULT_MODEL

BUDGETS = (157, 314, 628, 1256)
HIDDEN, GAIN, OFFSET = 48, 2.5, 1.5
TRUE_ROWS, TRUE_SEED = 256, 99
LEAST = 1e-7

Row = dict[str, Any]
Score = Callable[[np.ndarray], np.ndarray]


class Network:
    """A score of K mask values: Σ_h c_h tanh(w_h (m − 1/2) + b_h).

    Args:
        total: (K,) about its total indices.
        seed: of its weights.
    """

    def __init__(self, total: np.ndarray, seed: int) -> None:
        rng = np.random.default_rng(seed)
        weights = rng.standard_normal((HIDDEN, len(total))) * np.sqrt(np.maximum(total, LEAST))
        weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True) / 12)  # of standard deviation 1 over masks
        self._weights = weights * GAIN * rng.uniform(0.5, 1.5, (HIDDEN, 1))
        self._offsets = rng.standard_normal(HIDDEN) * OFFSET
        self._out = rng.standard_normal(HIDDEN) / np.sqrt(HIDDEN)

    def __call__(self, masks: np.ndarray) -> np.ndarray:
        """(n,) scores of (n, K) masks."""
        return np.tanh((masks - 0.5) @ self._weights.T + self._offsets) @ self._out

    def total(self) -> np.ndarray:
        """(K,) Jansen's total indices of ``TRUE_ROWS`` random rows."""
        rng = np.random.default_rng(TRUE_SEED)
        a, b = rng.random((2, TRUE_ROWS, self._weights.shape[1]))
        inside = (a - 0.5) @ self._weights.T + self._offsets
        effects = np.zeros(a.shape[1])
        for row, step, before in zip(inside, b - a, np.tanh(inside) @ self._out, strict=True):
            moved = np.tanh(row + step[:, None] * self._weights.T) @ self._out
            effects += (moved - before) ** 2 / 2
        return effects / TRUE_ROWS / np.concatenate([self(a), self(b)]).var(ddof=1)


def explain(score: Score, features: FactorFeatures, budget: int, seed: int) -> AdaptiveEstimator:
    """The adaptive plan, taken to the end of its budget."""
    design = make_design("sobol", len(features.size), independent_rows(budget), seed)
    estimator = AdaptiveEstimator(
        features, score(design.a)[:, None], "logit", budget=budget, seed=seed, step=design.a - design.b
    )
    selection = estimator.select_groups()
    while True:
        if len(selection):
            estimator.add_scores(selection, score(masks(design, estimator, selection))[:, None])
        selection = estimator.select_round()
        if not len(selection):
            return estimator


def masks(design: Design, estimator: AdaptiveEstimator, selection: RowSelection) -> np.ndarray:
    """(m, K) rows of A with the columns of a factor or a group from B."""
    found = design.a[selection.base].copy()
    for row, base, one in zip(found, selection.base, selection.substituted, strict=True):
        columns = [one] if one < estimator.n_factors else estimator.groups[one - estimator.n_factors]
        row[columns] = design.b[base][columns]
    return found


def measure(photograph: str, seeds: int) -> list[Row]:
    """Expected and true accuracy of every budget and seed."""
    of = subject(photograph, DEFAULT_MODEL.name)
    factors: Partition = of.partition
    like = Sample.open(samples.path_of(photograph, DEFAULT_MODEL.name)).total("logit")
    score = Network(like, DEVELOPED.index(photograph))
    truth, found = score.total(), []
    for budget, seed in product(BUDGETS, range(seeds)):
        estimate = explain(score, of.features, budget, seed).estimate()
        held = metrics.held(estimate.interval_95, truth)
        found.append(
            {"photograph": photograph, "budget": budget, "seed": seed}
            | metrics.quality(estimate.total, truth, factors, LEVELS)
            | {
                "covered50": float(held[metrics.largest(truth, 50)].mean()),
                "expected_correlation": estimate.correlation,
                "expected_levels": estimate.level_error,
            }
        )
    return found


def markdown(results: Row) -> list[str]:
    """The table: means over photographs and seeds; in brackets the worst run."""
    lines = [
        "# Whether the adaptive plan is as accurate as it says",
        "",
        report.made_by(results["environment"], results["command"]),
        "",
        "Random networks with about the total indices of photographs: "
        f"{', '.join(DEVELOPED)}. Means over networks and seeds; in brackets the worst.",
        "",
        "| forwards | expected correlation | true | expected level error | true | of top 20 | of top 50 "
        "| covered, top 50 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for budget in BUDGETS:
        rows = [row for row in results["rows"] if row["budget"] == budget]

        def mean(name: str, rows: list[Row] = rows) -> float:
            return float(np.mean([row[name] for row in rows]))

        worst = min(row["correlation"] for row in rows), max(row["levels"] for row in rows)
        lines.append(
            f"| {budget:,} | {mean('expected_correlation'):.3f} | {mean('correlation'):.3f} ({worst[0]:.3f}) | "
            f"{mean('expected_levels'):.3f} | {mean('levels'):.3f} ({worst[1]:.3f}) | {mean('top20'):.1f} | "
            f"{mean('top50'):.1f} | {mean('covered50'):.2f} |"
        )
    return lines


def main() -> None:
    """Measures, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--output", type=Path, default=report.RESULTS)
    arguments = parser.parse_args()
    results = {
        "environment": report.environment(1),
        "command": report.command(),
        "rows": [row for photograph in DEVELOPED for row in measure(photograph, arguments.seeds)],
    }
    report.write(arguments.output, "accuracy", results, markdown(results))


if __name__ == "__main__":
    main()
