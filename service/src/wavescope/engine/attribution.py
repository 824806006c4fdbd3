"""The step that every kind begins with: one plan, full or adaptive, scored for all targets in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from wavescope.core.survey import Survey
from wavescope.engine import adaptive, products
from wavescope.engine.plan import Plan
from wavescope.engine.products import Clean, Found
from wavescope.engine.protocols import Runner
from wavescope.engine.types import Explanation, ExplanationRequest, Indices, Prediction
from wavescope.errors import ConstantScore

Find = Callable[[], Found]


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
        partial: told the indices so far, of the first class, and the forwards, after every round of an adaptive plan.
    """

    runner: Runner
    request: ExplanationRequest
    image: int
    targets: tuple[int | None, ...]
    plan: Plan
    second: Plan | None
    planned_s: float
    clock: Callable[[], float]
    partial: Callable[[Indices, int], None] | None


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
    finds, forwards = await (_survey if request.plan == "adaptive" else _sample)(case, plan, cleans, classes)
    timing = {"plan_s": case.planned_s + predicted - began, "score_s": case.clock() - predicted}
    return [
        await runner.compute(
            products.build, plan, request, runner.details, clean, find, forwards=forwards, timing=timing
        )
        for clean, find in zip(cleans, finds, strict=True)
    ]


async def _sample(
    case: Case, plan: Plan, cleans: list[Clean], classes: tuple[int, ...]
) -> tuple[list[Find], int]:
    """The full pick-freeze sample: what it says of every target, and its forwards."""
    scored = await case.runner.score(plan, None, case.request.score, classes)

    def scores(entry: Prediction | None) -> products.Scores | None:
        return None if entry is None else scored.pick_freeze(plan.n_factors, classes.index(entry.index))

    def find(clean: Clean) -> Find:
        target = scores(clean.target)
        assert target is not None
        return partial(products.of_sample, case.request, target, scores(clean.runner_up))

    return [find(clean) for clean in cleans], scored.done


async def _survey(
    case: Case, plan: Plan, cleans: list[Clean], classes: tuple[int, ...]
) -> tuple[list[Find], int]:
    """The adaptive plan: what it says of every target, and its forwards."""
    runner, request = case.runner, case.request

    def tell(survey: Survey) -> None:
        if case.partial is not None:
            case.partial(products.survey_indices(survey, 0), survey.spent)

    try:
        survey, screening = await adaptive.screen(
            runner, plan, request, classes, clock=case.clock, partial=tell
        )
    except ConstantScore as constant:
        return [partial(_fail, constant) for _ in cleans], plan.spec.nb_design
    return [
        partial(
            products.of_survey,
            survey,
            screening,
            classes.index(clean.target.index),
            None if clean.runner_up is None else classes.index(clean.runner_up.index),
        )
        for clean in cleans
    ], survey.spent


def _fail(error: ConstantScore) -> Found:
    raise error
