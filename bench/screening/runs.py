"""Everything that is scored, as runs that each leave one file: a finished run is never computed again."""

from __future__ import annotations

import ast
import hashlib
import inspect
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType

import numpy as np
from bench.screening.losers import WITHOUT, group_members
from bench.screening.subject import SCORE, Given, Subject, subject

import wavescope
from wavescope.core.adaptive import estimator, factor_features, gaussian_process, importance_sampling
from wavescope.core.faithfulness import SAMPLES, area, counts, mu_fidelity, subset_size
from wavescope.core.reconstruction import rank
from wavescope.core.rendering.masks import NestedMasks, PickFreezeRows, RandomSubsets
from wavescope.core.sobol.design import make_design
from wavescope.engine import adaptive as engine_adaptive
from wavescope.engine.plan import Plan

Arrays = dict[str, np.ndarray]

# Design rows of one run of the full plan: half a minute on one core.
PIECE = 4
GROUP_ROWS = 8
# Random rows of the methods that need no pick-freeze design, and their seed, apart from all others.
RANDOM_ROWS, RANDOM_SEED = 2048, 500
GRADIENT_ROWS = 16
SUBSETS_SEED = 0
PRIORS = ("size", "gradients")
# What the indices of an adaptive plan follow from.
PLAN = (factor_features, gaussian_process, importance_sampling, estimator, engine_adaptive)


@dataclass(frozen=True)
class Run:
    """Something to be scored of one photograph.

    Attributes:
        name: of its file.
        work: makes the file's arrays of the subject and ``arguments``.
    """

    photograph: str
    model: str
    name: str
    work: Callable[..., Arrays]
    arguments: tuple[object, ...]

    def path(self, cache: Path) -> Path:
        """Its file."""
        return cache / self.model / self.photograph / f"{self.name}.npz"

    def read(self, cache: Path) -> Arrays:
        """What it left."""
        with np.load(self.path(cache)) as stored:
            return dict(stored)


def finish(runs: Iterable[Run], cache: Path, *, workers: int, seconds: float) -> bool:
    """Computes the runs that have no file yet, each on one core; whether all have one now.

    Args:
        workers: processes.
        seconds: no run begins later.
    """
    left = list(dict.fromkeys(run for run in runs if not run.path(cache).exists()))
    if left:
        # Small matrices: threads of their own would wait for each other, and for those of the model.
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            list(pool.map(partial(_compute, cache=cache, until=time.time() + seconds), left))
    return all(run.path(cache).exists() for run in left)


def _compute(run: Run, cache: Path, until: float) -> None:
    if time.time() > until:
        return
    arrays = run.work(subject(run.photograph, run.model), *run.arguments)
    path = run.path(cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # names are no arguments of its own
    unfinished.replace(path)


# ---- full plans ----------------------------------------------------------------------------------
def full(photograph: str, model: str, seed: int, rows: int) -> list[Run]:
    """A full plan, ``PIECE`` design rows a run; of a longer plan of the same seed it is the beginning."""
    return [
        Run(photograph, model, f"full-{SCORE}-{seed}-{start}", _full, (seed, rows, start))
        for start in range(0, rows, PIECE)
    ]


def read_full(pieces: list[Run], cache: Path) -> np.ndarray:
    """(N, K + 2) scores of A, B, C⁽¹⁾ …, design row by design row."""
    return np.concatenate([piece.read(cache)["scores"] for piece in pieces])


def _full(of: Subject, seed: int, rows: int, start: int) -> Arrays:
    plan = of.plan(rows, seed)
    width = plan.n_factors + 2
    scores = of.score(plan, None, start * width, min(start + PIECE, rows) * width)
    return {"scores": scores.reshape(-1, width)}


# ---- adaptive plans ------------------------------------------------------------------------------
def adaptive(
    photograph: str,
    model: str,
    seed: int,
    budget: int | None,
    without: str = "nothing",
    score: str = SCORE,
) -> Run:
    """The adaptive plan as anybody calls it; without a budget it ends by its own accuracy; or without a part."""
    name = f"adaptive-{version()}-{score}-{seed}-{budget}-without-{without}".replace(" ", "-")
    return Run(photograph, model, name, _adaptive, (seed, budget, without, score))


@cache
def version(modules: tuple[ModuleType, ...] = PLAN) -> str:
    """Of the code, but for comments and docstrings: another version's scores are no finished run of this one."""
    trees = "".join(ast.dump(_without_docstrings(inspect.getsource(module))) for module in modules)
    return hashlib.sha256(trees.encode()).hexdigest()[:8]


def _without_docstrings(source: str) -> ast.Module:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = node.body[ast.get_docstring(node) is not None :]
    return tree


def _adaptive(of: Subject, seed: int, budget: int | None, without: str, score: str) -> Arrays:
    with WITHOUT[without]():
        found = wavescope.explain(
            of.image,
            model=of.classifier,
            plan="adaptive",
            max_forwards=budget,
            seed=seed,
            score=score,
            prior="size",
        )
    indices = found.indices
    assert indices is not None
    assert indices.interval_95 is not None
    assert indices.resolved is not None
    assert indices.upper_bound is not None
    assert found.screening is not None
    last = found.screening.rounds[-1]
    return {
        "total": indices.total,
        "interval": indices.interval_95,
        "resolved": indices.resolved,
        "bound": indices.upper_bound,
        "forwards": np.asarray(found.forwards),
        "stopped": np.asarray(found.screening.stopped),
        "expected": np.asarray([last.correlation, last.level_error]),
        "warnings": np.asarray(found.warnings, dtype=str),
    }


def priors(photograph: str, model: str, seed: int, budget: int) -> Run:
    """The adaptive plan of a logit with every prior, one after the other, and the seconds of each."""
    return Run(photograph, model, f"priors-{version()}-{seed}-{budget}", _priors, (seed, budget))


def _priors(of: Subject, seed: int, budget: int) -> Arrays:
    def explain(prior: str, most: int) -> wavescope.Explanation:
        return wavescope.explain(
            of.image,
            model=of.classifier,
            plan="adaptive",
            max_forwards=most,
            seed=seed,
            score="logit",
            prior=prior,
            against=of.against,
        )

    arrays: Arrays = {}
    for prior in PRIORS:
        explain(prior, 32)  # sessions are made, and threads are there
    for prior in PRIORS:
        began = time.process_time()
        found = explain(prior, budget)
        arrays[f"{prior}-seconds"] = np.asarray(time.process_time() - began)
        assert found.indices is not None
        assert found.contrast is not None
        assert found.contrast.indices is not None
        assert found.screening is not None
        for part, indices in (("target", found.indices), ("contrast", found.contrast.indices)):
            assert indices.interval_95 is not None
            arrays |= {f"{prior}-{part}": indices.total, f"{prior}-{part}-interval": indices.interval_95}
        arrays[f"{prior}-forwards"] = np.asarray(found.forwards)
        arrays[f"{prior}-gradients"] = np.asarray(found.screening.gradients)
    return arrays


# ---- rows of other methods -----------------------------------------------------------------------
def groups(photograph: str, model: str, seed: int) -> Run:
    """A_j with the columns of whole sub-bands, and of quarters of them, from B_j."""
    return Run(photograph, model, f"groups-{seed}", _groups, (seed,))


def _groups(of: Subject, seed: int) -> Arrays:
    members = tuple(group.astype(np.int32) for group in group_members(of.features)[0])
    plan = of.plan(GROUP_ROWS, seed)
    base = np.repeat(np.arange(GROUP_ROWS, dtype=np.int32), len(members))
    moved = np.tile(np.arange(len(members), dtype=np.int32) + plan.n_factors, GROUP_ROWS)
    rows = PickFreezeRows(base, moved, members)
    return {"scores": of.score(plan, rows, 0, rows.count).reshape(GROUP_ROWS, -1)}


def random(photograph: str, model: str, seed: int) -> Run:
    """Rows of a scrambled Sobol sequence, each on its own."""
    return Run(photograph, model, f"random-{seed}", _random, (seed,))


def random_masks(n_factors: int, seed: int) -> np.ndarray:
    """(rows, K) mask values."""
    return make_design("sobol", n_factors, RANDOM_ROWS, RANDOM_SEED + seed).a.astype(np.float32)


def _random(of: Subject, seed: int) -> Arrays:
    plan = of.plan(1, 0)
    return {"scores": of.score(plan, Given(random_masks(plan.n_factors, seed)), 0, RANDOM_ROWS)}


def gradients(photograph: str, model: str, seed: int) -> Run:
    """Derivatives by every mask value: needs the weights, and torch."""
    return Run(photograph, model, f"gradients-{seed}", _gradients, (seed,))


def _gradients(of: Subject, seed: int) -> Arrays:
    from bench.screening.gradients import squared_derivatives  # loads torch

    squares, logits = squared_derivatives(of, GRADIENT_ROWS, seed)
    return {"squares": squares.astype(np.float32), "logits": logits}


# ---- what a ranking is worth ---------------------------------------------------------------------
def curves(photograph: str, model: str, total: np.ndarray) -> Run:
    """Insertion and deletion of factors by index: areas over the probability of the whole image."""
    order = rank(total)
    name = f"curves-{hashlib.sha256(order.tobytes()).hexdigest()[:16]}"
    return Run(photograph, model, name, _curves, (tuple(order.tolist()),))


def _curves(of: Subject, order: tuple[int, ...]) -> Arrays:
    steps = counts(len(order))
    return areas(of, of.plan(1, 0), np.asarray(order, dtype=np.int32), steps, steps / len(order))


def areas(of: Subject, plan: Plan, order: np.ndarray, steps: np.ndarray, fraction: np.ndarray) -> Arrays:
    """Areas under the curves of insertion and deletion, over the probability of the whole image.

    Args:
        of: the photograph under the model.
        plan: of the features.
        order: (K,) the features, the most important first.
        steps: (s,) how many of them are inserted, or deleted.
        fraction: (s,) of the image that these are.
    """
    found = [
        of.score(plan, NestedMasks(order, steps, keep=keep), 0, len(steps), "probability").astype(np.float64)
        for keep in (True, False)
    ]
    whole = found[0][-1]
    return {
        "areas": np.asarray([area(curve, fraction) / whole for curve in found]),
        "probability": np.asarray(whole),
    }


def subsets(photograph: str, model: str) -> Run:
    """Probabilities of images that lack random subsets of the factors, and of the whole: for µ-fidelity."""
    return Run(photograph, model, "subsets", _subsets, ())


def _subsets(of: Subject) -> Arrays:
    return without_subsets(of, of.plan(1, 0))


def without_subsets(of: Subject, plan: Plan) -> Arrays:
    """Probabilities of images that lack random subsets of the features of a plan, and of the whole."""
    rows = random_subsets(plan.n_factors)
    whole = NestedMasks(
        np.arange(plan.n_factors, dtype=np.int32), np.asarray([plan.n_factors], dtype=np.int32), keep=True
    )
    return {
        "probabilities": of.score(plan, rows, 0, rows.count, "probability"),
        "whole": of.score(plan, whole, 0, 1, "probability")[0],
    }


def random_subsets(n_factors: int) -> RandomSubsets:
    """Those of the faithfulness section of a reply."""
    return RandomSubsets(n_factors, subset_size(n_factors), SAMPLES, SUBSETS_SEED)


def fidelity(total: np.ndarray, found: Arrays) -> float:
    """µ-fidelity by ranks of K indices, of what :func:`subsets` left."""
    rows = random_subsets(len(total))
    masks = rows.masks(0, rows.count)
    by_ranks = mu_fidelity(total, masks, float(found["whole"]), found["probabilities"])[1]
    assert by_ranks is not None
    return by_ranks
