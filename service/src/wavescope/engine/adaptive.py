"""The adaptive plan: rounds of scoring, each asked for by the indices so far, until one of its limits is reached."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import numpy as np
from jaxtyping import Float, Float32

from wavescope.core.adaptive.estimator import AdaptiveEstimator, Estimate, RowSelection
from wavescope.core.adaptive.factor_features import (
    FactorFeatures,
    fourier_features,
    pixel_features,
    wavelet_features,
)
from wavescope.core.rendering.masks import DerivativeRows, PickFreezeRows
from wavescope.core.rendering.pixel import baseline_image
from wavescope.engine.deadline import Deadline
from wavescope.engine.gradient_cost import gradient_forwards
from wavescope.engine.plan import Plan
from wavescope.engine.protocols import Runner
from wavescope.engine.types import ExplanationRequest, Round, Screening, Stop
from wavescope.engine.warnings import of_flat_rows, of_infinite_rows, of_late_gradients, of_no_gradients
from wavescope.errors import InvalidRequest, NoGradients

# Rounds in a row with the same largest factors before they count as settled.
SETTLED = 3
# The first answer comes within this share of the budget, or after four rows of A: fewer say nothing of V's error.
FIRST_SHARE = 0.1
LEAST_FIRST = 4
# Gradients take this share of the budget, and are of at most so many rows.
GRADIENT_SHARE = 0.25
MOST_GRADIENTS = 16

Find = Callable[[], Estimate]


async def screen(
    runner: Runner,
    plan: Plan,
    request: ExplanationRequest,
    steps: Float32[np.ndarray, "k n"],
    *,
    score: Callable[[PickFreezeRows], Awaitable[Float[np.ndarray, "m t"]]],
    derive: Callable[[DerivativeRows, int], Awaitable[Float[np.ndarray, "m k"]]],
    deadline: Deadline,
    report: Callable[[int, Find], None],
    prior_named: bool = False,
) -> tuple[AdaptiveEstimator, Screening, str | None]:
    """Scores what the indices of the first class ask for; those of the others follow from the same images.

    Args:
        runner: computes.
        plan: its N rows of A are scored first.
        request: with the limits, and the prior, which is not ``auto``.
        steps: a_jk − b_jk of the plan's design.
        score: scores of rows for every class.
        derive: derivatives of the first class's score by every mask value, and the forwards that each row costs.
        deadline: no round begins later, and no gradients.
        report: called with the forwards so far and a function that computes a valid answer of the first class, in any
            thread: first from the sizes of the factors and some rows of A, then from the gradients, and after every
            round.
        prior_named: whether the caller named prior ``gradients``, and did not leave it to ``auto``.

    Returns:
        What estimates the indices, how the plan ended, and where gradients were asked for that are no prior, the
        sentence that says why; or why they are a prior of fewer rows.

    Raises:
        InvalidRequest: gradients were named as the prior, and none of them is finite.
        ConstantScore: the first class's score does not vary over the rows of A; the reported functions raise it too.
        ModelFailure: the model returned something that is not a number.
    """
    assert request.max_forwards is not None
    rows = plan.spec.nb_design
    few = min(rows, first_rows(request.max_forwards))
    values = await score(_rows_of_a(0, few))
    report(few, partial(_from_prior, plan, request, steps, values))
    derivatives, budget, differentiated, without = None, request.max_forwards, 0, None
    if request.prior == "gradients" and deadline.over:
        without = of_late_gradients()
    elif request.prior == "gradients":
        cost = gradient_forwards(runner.details.outputs, request.score)
        count = gradient_rows(request, cost)
        try:
            derivatives = await derive(DerivativeRows(np.arange(count, dtype=np.int32)), cost)
        except NoGradients as error:  # which shows only where the model's graph is differentiated
            without = of_no_gradients(str(error.limits.get("reason", error.message)))
        else:
            budget -= count * cost
            differentiated = count
            finite = np.isfinite(derivatives).all(axis=1)
            if prior_named and not finite.any():
                raise _no_finite_prior(runner.details.name, request.score, count)
            derivatives, without = _usable(derivatives[finite], request.score, count)
        report(few, partial(_from_prior, plan, request, steps, values, derivatives))
    if few < rows:
        values = np.concatenate([values, await score(_rows_of_a(few, rows))])
    estimator = await runner.compute(_start, plan, request, steps, values, derivatives, budget)
    rounds: list[Round] = []
    leaders: list[frozenset[int]] = []
    selection = estimator.select_groups()
    stopped: Stop | None = None
    while stopped is None:
        if len(selection):
            estimator.add_scores(selection, await score(_pick_freeze_rows(selection, estimator)))
        estimate = await runner.compute(estimator.estimate)
        rounds.append(
            Round(
                estimator.spent,
                int(estimate.resolved.sum()),
                float(estimate.standard_error.max()),
                estimate.correlation,
                estimate.level_error,
            )
        )
        report(estimator.spent, partial(_same, estimate))
        leaders.append(_leaders(estimate, request.top_k))
        stopped = _stop(request, rounds[-1], leaders) if estimator.perturbed or estimator.exhausted else None
        if stopped is None:
            selection = await runner.compute(estimator.select_round)
            if not len(selection):
                stopped = "all_resolved" if estimator.exhausted else "max_forwards"
            elif deadline.over:
                stopped = "deadline_s"
    prior = "size" if derivatives is None else "gradients"
    screening = Screening(stopped, len(estimator.groups), tuple(rounds), prior, differentiated)
    return estimator, screening, without


def first_rows(budget: int) -> int:
    """Rows of A that are scored before the first answer: a power of two, over which a Sobol design is even."""
    return 2 ** max(int(budget * FIRST_SHARE).bit_length() - 1, LEAST_FIRST.bit_length() - 1)


def gradient_rows(request: ExplanationRequest, cost: int) -> int:
    """Number of rows of A whose gradients are computed: a power of two.

    Args:
        request: with the budget.
        cost: of one gradient, in forwards; all together take at most a quarter of the budget, and one at least.
    """
    assert request.max_forwards is not None
    affordable = int(request.max_forwards * GRADIENT_SHARE / cost)
    return 2 ** (min(affordable, request.nb_design, MOST_GRADIENTS).bit_length() - 1)


def factor_features(plan: Plan) -> FactorFeatures:
    """Features of a plan's factors, known before anything is scored."""
    factors, spec = plan.make_partition(), plan.spec
    if spec.transform == "fourier":
        return fourier_features(plan.array, factors)
    if spec.transform == "pixel":
        return pixel_features(plan.array - baseline_image(spec.baseline, plan.array), factors)
    return wavelet_features(plan.array, factors, spec.levels)


def _usable(
    finite: Float[np.ndarray, "d k"], score: str, rows: int
) -> tuple[Float[np.ndarray, "d k"] | None, str | None]:
    """The derivatives that are a prior, ``None`` where there are none, and the warning about those that are not.

    Args:
        finite: derivatives of the rows whose derivatives are finite.
        score: which scalar.
        rows: number of rows that were differentiated.
    """
    infinite = rows - len(finite)
    if infinite == rows:
        return None, of_infinite_rows(score, infinite, rows)
    if not finite.any():
        return None, of_flat_rows(score, rows, infinite)
    return finite, of_infinite_rows(score, infinite, rows) if infinite else None


def _no_finite_prior(model: str, score: str, rows: int) -> InvalidRequest:
    return InvalidRequest(
        f"prior is 'gradients', but derivatives of the {score} of model {model!r} are not finite at any of {rows} rows"
        "; take prior 'size', or 'auto'",
        field="prior",
        supported=["auto", "size"],
    )


def _rows_of_a(start: int, stop: int) -> PickFreezeRows:
    return PickFreezeRows(np.arange(start, stop, dtype=np.int32), np.full(stop - start, -1, dtype=np.int32))


def _start(
    plan: Plan,
    request: ExplanationRequest,
    steps: Float32[np.ndarray, "k n"],
    rows: Float[np.ndarray, "m t"],
    derivatives: Float[np.ndarray, "d k"] | None,
    budget: int,
) -> AdaptiveEstimator:
    return AdaptiveEstimator(
        factor_features(plan),
        rows,
        request.score,
        budget=budget,
        seed=request.seed,
        step=steps[:, : len(rows)].T,
        derivatives=derivatives,
    )


def _from_prior(
    plan: Plan,
    request: ExplanationRequest,
    steps: Float32[np.ndarray, "k n"],
    rows: Float[np.ndarray, "m t"],
    derivatives: Float[np.ndarray, "d k"] | None = None,
) -> Estimate:
    """The estimate before any factor is perturbed: the prior, with its errors."""
    assert request.max_forwards is not None
    return _start(plan, request, steps, rows, derivatives, request.max_forwards).estimate()


def _same(estimate: Estimate) -> Estimate:
    return estimate


def _pick_freeze_rows(selection: RowSelection, estimator: AdaptiveEstimator) -> PickFreezeRows:
    groups = tuple(members.astype(np.int32) for members in estimator.groups)
    # Groups travel with the round that perturbs them alone.
    with_groups = bool((selection.substituted >= estimator.n_factors).any())
    return PickFreezeRows(
        selection.base.astype(np.int32), selection.substituted.astype(np.int32), groups if with_groups else ()
    )


def _leaders(estimate: Estimate, top_k: int | None) -> frozenset[int]:
    return frozenset(np.argsort(-estimate.total, kind="stable")[: top_k or 0].tolist())


def _stop(request: ExplanationRequest, last: Round, leaders: list[frozenset[int]]) -> Stop | None:
    """The goal of the caller's that is reached, once a factor was perturbed by itself; ``None`` for none."""
    if request.standard_error is not None and last.standard_error <= request.standard_error:
        return "standard_error"
    if request.accuracy is not None and last.accurate(request.accuracy):
        return "accuracy"
    if request.top_k is not None and len(leaders) >= SETTLED and len(set(leaders[-SETTLED:])) == 1:
        return "top_k"
    return None
