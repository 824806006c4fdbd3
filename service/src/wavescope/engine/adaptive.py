"""The adaptive plan: rounds of scoring, each asked for by the indices so far, until one of its limits is reached."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wavescope.core.pixel import baseline_image
from wavescope.core.rows import Moved
from wavescope.core.survey import Estimate, Picks, Survey
from wavescope.core.traits import Traits, fourier_traits, pixel_traits, wavelet_traits
from wavescope.engine.plan import Plan
from wavescope.engine.protocols import Runner
from wavescope.engine.types import ExplanationRequest, Round, Screening, Stop

# Rounds in a row with the same largest factors before they count as settled.
SETTLED = 3


async def screen(
    runner: Runner,
    plan: Plan,
    request: ExplanationRequest,
    classes: tuple[int, ...],
    *,
    clock: Callable[[], float],
    partial: Callable[[Survey], None],
) -> tuple[Survey, Screening]:
    """Scores what the indices of the first class ask for; those of the others follow from the same images.

    Args:
        runner: scores.
        plan: its N rows of A are scored first.
        request: with the limits.
        classes: class indices.
        clock: seconds, monotonic.
        partial: told the survey after every round: its indices are a valid answer.

    Raises:
        ConstantScore: the first class's score does not vary over the rows of A.
        ModelFailure: the model returned something that is not a number.
    """
    assert request.max_forwards is not None
    began = clock()
    rows = plan.spec.nb_design
    first = Moved(np.arange(rows, dtype=np.int32), np.full(rows, -1, dtype=np.int32))
    scored = await runner.score(plan, first, request.score, classes)
    survey = await runner.compute(
        Survey,
        traits(plan),
        scored.values,
        request.score,
        budget=request.max_forwards,
        seed=request.seed,
    )
    rounds: list[Round] = []
    leaders: list[frozenset[int]] = []
    picks = survey.groups_first()
    stopped: Stop | None = None
    while stopped is None:
        if len(picks):
            scored = await runner.score(plan, _moved(picks, survey), request.score, classes)
            survey.take(picks, scored.values)
        estimate = await runner.compute(survey.estimate)
        rounds.append(Round(survey.spent, int(estimate.resolved.sum()), float(estimate.standard_error.max())))
        partial(survey)
        leaders.append(_leaders(estimate, request.top_k))
        stopped = _stop(request, rounds[-1], leaders, clock() - began)
        if stopped is None:
            picks = await runner.compute(survey.next_round)
            if not len(picks):
                stopped = "all_resolved" if survey.exhausted else "max_forwards"
    return survey, Screening(stopped, len(survey.groups), tuple(rounds))


def traits(plan: Plan) -> Traits:
    """What is known of a plan's factors before anything is scored."""
    factors, spec = plan.make_partition(), plan.spec
    if spec.transform == "fourier":
        return fourier_traits(plan.array, factors)
    if spec.transform == "pixel":
        return pixel_traits(plan.array - baseline_image(spec.baseline, plan.array), factors)
    return wavelet_traits(plan.array, factors, spec.levels)


def _moved(picks: Picks, survey: Survey) -> Moved:
    groups = tuple(members.astype(np.int32) for members in survey.groups)
    # Groups travel with the round that perturbs them alone.
    with_groups = bool((picks.moved >= survey.n_factors).any())
    return Moved(picks.base.astype(np.int32), picks.moved.astype(np.int32), groups if with_groups else ())


def _leaders(estimate: Estimate, top_k: int | None) -> frozenset[int]:
    return frozenset(np.argsort(-estimate.total, kind="stable")[: top_k or 0].tolist())


def _stop(
    request: ExplanationRequest, last: Round, leaders: list[frozenset[int]], elapsed_s: float
) -> Stop | None:
    """Which limit of the caller's is reached, if any."""
    if request.standard_error is not None and last.resolved and last.standard_error <= request.standard_error:
        return "standard_error"
    if request.top_k is not None and len(leaders) >= SETTLED and len(set(leaders[-SETTLED:])) == 1:
        return "top_k"
    if request.deadline_s is not None and elapsed_s >= request.deadline_s:
        return "deadline_s"
    return None
