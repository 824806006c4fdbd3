"""The explanation of every kind of request, as steps that a runner carries out."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

from wavescope.core.scores import AUTO, check_score, resolve_score
from wavescope.engine.attribution import ImageContext, attribute
from wavescope.engine.checks import check_against, check_gradients, resolve_prior
from wavescope.engine.deadline import Deadline, TimeOver
from wavescope.engine.events import NULL_LISTENER, Listener
from wavescope.engine.kinds import KINDS, OTHER_KINDS, find_kind
from wavescope.engine.plan import Plan
from wavescope.engine.products import read_clean
from wavescope.engine.protocols import Runner
from wavescope.engine.steps import comparison, faithfulness, robustness, sufficient_image, wam
from wavescope.engine.types import Explanation, ExplanationRequest
from wavescope.engine.warnings import of_left_out
from wavescope.errors import DeadlineExceeded, InvalidRequest, WavescopeError


@dataclass(frozen=True, slots=True)
class ResolvedRequest:
    """A request whose classes are indices of one model; the images are the runner's.

    Attributes:
        request: every parameter; its target is not read, and the class to be contrasted with is an index.
        targets: per image, the classes to be explained, as indices; ``None`` for the predicted one.
        identities: of the explanations, image by image, as many as there are targets in all.
        image_names: the caller's name of each image, for errors. One more than ``targets`` is of what the only image is
            compared with.
    """

    request: ExplanationRequest
    targets: tuple[tuple[int | None, ...], ...]
    identities: tuple[str, ...]
    image_names: tuple[str, ...] = ("image",)

    @property
    def compared(self) -> bool:
        """Whether an image to compare with was given."""
        return len(self.image_names) > len(self.targets)


@dataclass(frozen=True, slots=True)
class Step:
    """A section that is computed after the indices, and left out where the deadline comes first.

    Attributes:
        name: for the warning.
        finish: the explanation with it; raises TimeOver.
    """

    name: str
    finish: Callable[[ImageContext, Explanation], Awaitable[Explanation]]


SUFFICIENCY = Step("the sufficient image", sufficient_image.finish)
CORRUPTIONS = Step("robustness", robustness.finish)
FAITHFULNESS = Step("faithfulness", faithfulness.finish)

# By the section that they add to the explanation that every kind begins with.
STEPS: dict[str, Step] = {"sufficiency": SUFFICIENCY, "robustness": CORRUPTIONS}
# By the section that holds the explanation of the second image.
COMPARISONS: dict[str, Callable[[ImageContext, Explanation, Explanation], Explanation]] = {
    "comparison": comparison.finish_compare,
    "zoom": comparison.finish_zoom,
}


@dataclass(frozen=True, slots=True, eq=False)
class PlannedRequest:
    """A request all of whose images are planned: every check that is possible before scoring has passed.

    Attributes:
        resolved: the request; its score and its prior are what the model gives, not ``auto``.
        contexts: of its images, in order.
        began: reading of the clock when planning began.
        clock: seconds, monotonic.
    """

    resolved: ResolvedRequest
    contexts: tuple[ImageContext, ...]
    began: float
    clock: Callable[[], float]

    @property
    def forwards(self) -> int:
        """Images to be scored in all; with adaptive plans the most it may take."""
        return sum(context.forwards for context in self.contexts)


async def explain_all(
    runner: Runner,
    resolved: ResolvedRequest,
    *,
    listener: Listener = NULL_LISTENER,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Explanation, ...]:
    """Explanations of all images and targets, image by image, each image as if it had been asked for alone.

    Of several targets of an image the first is explained as if alone, and with a full plan or gradients every other.
    An adaptive plan follows the score of the first: others are explained from its rows.

    Args:
        runner: carries out the steps.
        resolved: the request.
        listener: hears of the forwards in all, of every score, and of the indices so far.
        clock: seconds, monotonic.

    Raises:
        InvalidRequest: before anything is scored; names the field.
        ModelFailure: the model returned something that is not a number.
        DeadlineExceeded: the deadline came before there were any indices.
    """
    return await explain_planned(await plan_request(runner, resolved, clock=clock), listener=listener)


async def plan_request(
    runner: Runner, resolved: ResolvedRequest, *, clock: Callable[[], float] = time.perf_counter
) -> PlannedRequest:
    """Plans every image; arguments as :func:`explain_all`.

    Raises:
        InvalidRequest: whatever is wrong and can be found before anything is scored; names the field.
    """
    began = clock()
    _check_other(resolved)
    details = runner.details
    score = resolve_score(resolved.request.score, details.outputs)
    check_score(score, details.outputs, classes=len(details.labels))
    check_gradients(resolved.request, details)
    prior, named = resolve_prior(resolved.request, details), resolved.request.prior != AUTO
    resolved = replace(resolved, request=replace(resolved.request, score=score, prior=prior))
    for targets in resolved.targets:
        check_against(_index(resolved.request.against), targets, details)
    contexts = [
        await _plan_image(runner, resolved, position, clock, prior_named=named)
        for position in range(len(resolved.targets))
    ]
    return PlannedRequest(resolved, tuple(contexts), began, clock)


async def explain_planned(
    planned: PlannedRequest, *, listener: Listener = NULL_LISTENER, began: float | None = None
) -> tuple[Explanation, ...]:
    """The explanations of a planned request; arguments and errors as :func:`explain_all`.

    Args:
        began: reading of the request's clock from which ``deadline_s`` counts; ``None`` for when planning began.
    """
    resolved = planned.resolved
    listener.planned(planned.forwards)
    allowed_s = math.inf if resolved.request.deadline_s is None else resolved.request.deadline_s
    deadline = Deadline((planned.began if began is None else began) + allowed_s, planned.clock)
    await _check_predicted(planned)
    identities = iter(resolved.identities)
    explanations: list[Explanation] = []
    for position, context in enumerate(planned.contexts):
        share = deadline.share(len(planned.contexts) - position)
        begun = replace(context, deadline=share, listener=listener)
        try:
            explanations += await _explain(begun, identities)
        except DeadlineExceeded as late:
            name = resolved.image_names[position]
            if name == "image":
                raise
            raise DeadlineExceeded(f"{name}: {late.message}", field=late.field, **late.limits) from late
    return tuple(explanations)


async def _check_predicted(planned: PlannedRequest) -> None:
    """Refuses a batch that contrasts an image's predicted class with itself, before anything is scored.

    Of one image it is found in time where its prediction is read.
    """
    request = planned.resolved.request
    if request.against is None or len(planned.contexts) < 2:
        return
    for context in planned.contexts:
        if None in context.targets:
            image, outputs = await context.runner.clean(context.plan)
            name = planned.resolved.image_names[context.position]
            try:
                read_clean(image, outputs, context.runner.details, request, None)
            except InvalidRequest as error:
                raise InvalidRequest(f"{name}: {error.message}", field=error.field, **error.limits) from error


def _index(given: int | str | None) -> int | None:
    """The index of a class that was found among the model's."""
    return None if given is None else int(given)


async def _explain(context: ImageContext, identities: Iterator[str]) -> list[Explanation]:
    """Explain one image for all its targets."""
    began = context.clock()
    first = replace(context, deadline=context.deadline.share(1 if context.second is None else 2))
    kind = KINDS[context.request.kind]
    begin = wam.attribute if kind.gradients else attribute
    bases = [replace(base, id=next(identities)) for base in await begin(first, context.plan, context.targets)]
    if context.second is not None:
        bases = await _compare(context, context.second, bases)
    steps = [STEPS[section] for section in kind.sections if section in STEPS]
    finished: list[Explanation] = []
    for number, base in enumerate(bases):
        explanation = base
        for step in (*steps, FAITHFULNESS):
            explanation = await _finish(step, context, explanation)
        timing = explanation.timing | {"total_s": context.planned_s + context.clock() - began}
        # Further targets share the sample of the first, but no gradients.
        reused = base.forwards if number and not kind.gradients else 0
        finished.append(replace(explanation, timing=timing, reused=reused))
    return finished


async def _finish(step: Step, context: ImageContext, explanation: Explanation) -> Explanation:
    """The explanation with the section of a step, or with a warning that there was no time for it."""
    before = context.spent.forwards
    try:
        return await step.finish(context, explanation)
    except TimeOver:
        return replace(
            explanation,
            partial=True,
            forwards=explanation.forwards + context.spent.forwards - before,
            warnings=(*explanation.warnings, of_left_out(step.name)),
        )


async def _compare(context: ImageContext, second: Plan, bases: list[Explanation]) -> list[Explanation]:
    kind = KINDS[context.request.kind]
    if context.deadline.over:
        raise DeadlineExceeded(
            f"deadline_s is {context.request.deadline_s:g}; it was over before the second image of kind {kind.name!r} "
            "was begun",
            field="deadline_s",
        )
    assert kind.second_image is not None
    targets = tuple(base.target.index for base in bases) if kind.second_image.same_class else context.targets
    others = await attribute(context, second, targets)
    (finish,) = (COMPARISONS[section] for section in kind.sections if section in COMPARISONS)
    return [finish(context, base, other) for base, other in zip(bases, others, strict=True)]


def _check_other(resolved: ResolvedRequest) -> None:
    kind = find_kind(resolved.request.kind)
    if kind.takes_other and not resolved.compared:
        raise InvalidRequest(
            f"other is required for kind {kind.name!r}: the image to compare with", field="other"
        )
    if resolved.compared and not kind.takes_other:
        raise InvalidRequest(
            f"other is the image of kind {OTHER_KINDS!r}; kind {resolved.request.kind!r} takes none",
            field="other",
        )


async def _plan_image(
    runner: Runner,
    resolved: ResolvedRequest,
    position: int,
    clock: Callable[[], float],
    *,
    prior_named: bool,
) -> ImageContext:
    began = clock()
    request = resolved.request
    plan = await _plan_one(runner, resolved, position, request, zoom=1)
    wanted, second = find_kind(request.kind).second_image, None
    if wanted is not None:
        adapted = replace(
            request, kind=wanted.planned_as or request.kind, levels=request.levels + wanted.extra_levels
        )
        other = position + 1 if wanted.given else position
        second = await _plan_one(runner, resolved, other, adapted, zoom=wanted.enlargement)
    return ImageContext(
        runner=runner,
        request=request,
        position=position,
        targets=resolved.targets[position],
        plan=plan,
        second=second,
        planned_s=clock() - began,
        clock=clock,
        deadline=Deadline(math.inf, clock),
        prior_named=prior_named,
    )


async def _plan_one(
    runner: Runner, resolved: ResolvedRequest, position: int, request: ExplanationRequest, *, zoom: int
) -> Plan:
    """The plan of an image; errors about the image bear the caller's name for it."""
    try:
        return await runner.plan(position, request, zoom)
    except WavescopeError as error:
        renamed = rename_image(error, resolved.image_names[position])
        if renamed is error:
            raise
        raise renamed from error


def rename_image(error: WavescopeError, image_name: str) -> WavescopeError:
    """An error about the field ``image`` under the caller's name for that image; any other as it is."""
    if error.field != "image" or image_name == "image":
        return error
    return type(error)(f"{image_name}: {error.message}", field=image_name, **error.limits)
