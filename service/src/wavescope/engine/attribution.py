"""The step that every kind begins with: the pick-freeze sample of one plan, scored for all targets in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wavescope.engine import products
from wavescope.engine.plan import Plan
from wavescope.engine.products import Clean, Sample
from wavescope.engine.protocols import Runner
from wavescope.engine.scoreboard import Scored
from wavescope.engine.types import Explanation, ExplanationRequest


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One image of a request and the means to explain it.

    Attributes:
        runner: carries out the steps.
        request: every parameter.
        image: the image's place among those of the request.
        targets: the classes to be explained; ``None`` for the predicted one.
        plan: of the image.
        second: of the other image (``compare``) or of the enlarged one (``zoom``).
        planned_s: seconds that the plans took.
        clock: seconds, monotonic.
    """

    runner: Runner
    request: ExplanationRequest
    image: int
    targets: tuple[int | None, ...]
    plan: Plan
    second: Plan | None
    planned_s: float
    clock: Callable[[], float]


async def attribute(case: Case, plan: Plan, targets: tuple[int | None, ...]) -> list[Explanation]:
    """One explanation per target, without products and without an id; further targets cost no forwards.

    Args:
        case: the image's.
        plan: its own, or its second.
        targets: class indices; ``None`` for the class predicted for this plan's image.

    Raises:
        InvalidRequest: a score the model cannot give.
        ModelFailure: the model returned something that is not a number.
    """
    runner, request = case.runner, case.request
    began = case.clock()
    image, outputs = await runner.clean(plan)
    cleans = [
        products.read_clean(image, outputs, runner.details, request.score, target) for target in targets
    ]
    # The runners-up go along: scoring another class of the same images costs nothing.
    wanted = [
        entry.index for clean in cleans for entry in (clean.target, clean.runner_up) if entry is not None
    ]
    classes = tuple(dict.fromkeys(wanted))
    predicted = case.clock()
    scored = await runner.score(plan, None, request.score, classes)
    timing = {"plan_s": case.planned_s + predicted - began, "score_s": case.clock() - predicted}
    return [
        await runner.compute(
            products.build,
            plan,
            request,
            runner.details,
            clean,
            _sample(plan, scored, classes, clean, timing),
            identity="",
        )
        for clean in cleans
    ]


def _sample(
    plan: Plan, scored: Scored, classes: tuple[int, ...], clean: Clean, timing: dict[str, float]
) -> Sample:
    other = clean.runner_up
    return Sample(
        target=scored.pick_freeze(plan.n_factors, classes.index(clean.target.index)),
        runner_up=None if other is None else scored.pick_freeze(plan.n_factors, classes.index(other.index)),
        forwards=scored.done,
        timing=timing,
    )
