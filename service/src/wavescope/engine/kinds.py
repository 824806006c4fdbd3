"""Every kind of request, as steps that a runner carries out."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

from wavescope.core.scores import check_score
from wavescope.engine import checks, comparing, faithful, robust, sufficient
from wavescope.engine.attribution import Case, attribute
from wavescope.engine.deadline import Deadline, TimeOver
from wavescope.engine.events import DEAF, Listener
from wavescope.engine.plan import Plan
from wavescope.engine.protocols import Runner
from wavescope.engine.types import Explanation, ExplanationRequest
from wavescope.engine.warnings import of_left_out
from wavescope.errors import DeadlineExceeded, InvalidRequest, WavescopeError


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What is asked of the images of a request.

    Attributes:
        request: every parameter; its target is not read.
        targets: per image, the classes to be explained, as indices; ``None`` for the predicted one.
        identities: of the explanations, image by image, as many as there are targets in all.
        images: what the caller calls each image, for errors. One more than ``targets`` is what the only image is
            compared with.
    """

    request: ExplanationRequest
    targets: tuple[tuple[int | None, ...], ...]
    identities: tuple[str, ...]
    images: tuple[str, ...] = ("image",)

    @property
    def compared(self) -> bool:
        """Whether an image to compare with was given."""
        return len(self.images) > len(self.targets)


@dataclass(frozen=True, slots=True)
class Step:
    """What is found after the indices, and left out where the deadline comes first.

    Attributes:
        name: for the warning.
        finish: the explanation with it; raises TimeOver.
    """

    name: str
    finish: Callable[[Case, Explanation], Awaitable[Explanation]]


SUFFICIENCY = Step("the sufficient image", sufficient.finish)
CORRUPTIONS = Step("robustness", robust.finish)
FAITHFULNESS = Step("faithfulness", faithful.finish)

# What a kind adds to the explanation that all begin with.
STEPS: dict[str, tuple[Step, ...]] = {
    "sufficient-image": (SUFFICIENCY,),
    "robustness": (SUFFICIENCY, CORRUPTIONS),
}
COMPARED: dict[str, Callable[[Case, Explanation, Explanation], Explanation]] = {
    "compare": comparing.finish_compare,
    "zoom": comparing.finish_zoom,
}


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """One image, ready to be scored.

    Attributes:
        plan: of the image.
        second: of the other image (``compare``) or of the enlarged one (``zoom``).
        planned_s: seconds that the plans took.
    """

    plan: Plan
    second: Plan | None
    planned_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A request all of whose images are planned: nothing was scored yet, and what can be refused before is not refused.

    Attributes:
        runner: carries out the steps.
        inquiry: what is asked.
        images: in order.
        began: reading of the clock when planning began.
        clock: seconds, monotonic.
    """

    runner: Runner
    inquiry: Inquiry
    images: tuple[Laid, ...]
    began: float
    clock: Callable[[], float]

    @property
    def forwards(self) -> int:
        """Images to be scored in all; with adaptive plans the most it may take."""
        asked = zip(self.images, self.inquiry.targets, strict=True)
        return sum(_forwards(self.inquiry.request, image, len(targets)) for image, targets in asked)


async def explain_all(
    runner: Runner,
    inquiry: Inquiry,
    *,
    listener: Listener = DEAF,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Explanation, ...]:
    """Explanations of all images and targets, image by image, each as if it had been asked for alone.

    Args:
        runner: carries out the steps.
        inquiry: what is asked.
        listener: told the forwards in all, what is scored, and the indices so far.
        clock: seconds, monotonic.

    Raises:
        InvalidRequest: before anything is scored; names the field.
        ModelFailure: the model returned something that is not a number.
        DeadlineExceeded: the deadline came before there was anything to tell.
    """
    return await explain_prepared(await prepare(runner, inquiry, clock=clock), listener=listener)


async def prepare(
    runner: Runner, inquiry: Inquiry, *, clock: Callable[[], float] = time.perf_counter
) -> Prepared:
    """Plans every image; arguments as :func:`explain_all`.

    Raises:
        InvalidRequest: whatever is wrong and can be told before anything is scored; names the field.
    """
    began = clock()
    _check_other(inquiry)
    details = runner.details
    check_score(inquiry.request.score, details.outputs, classes=len(details.labels))
    images = [await _lay(runner, inquiry, image, clock) for image in range(len(inquiry.targets))]
    return Prepared(runner, inquiry, tuple(images), began, clock)


async def explain_prepared(
    prepared: Prepared, *, listener: Listener = DEAF, began: float | None = None
) -> tuple[Explanation, ...]:
    """The explanations of a prepared request; arguments and errors as :func:`explain_all`.

    Args:
        began: reading of the prepared clock from which ``deadline_s`` counts; ``None`` for when planning began.
    """
    inquiry, request, clock = prepared.inquiry, prepared.inquiry.request, prepared.clock
    listener.planned(prepared.forwards)
    allowed_s = math.inf if request.deadline_s is None else request.deadline_s
    deadline = Deadline((prepared.began if began is None else began) + allowed_s, clock)
    identities = iter(inquiry.identities)
    found: list[Explanation] = []
    for place, (laid, targets) in enumerate(zip(prepared.images, inquiry.targets, strict=True)):
        share = deadline.share(len(prepared.images) - place)
        case = Case(
            runner=prepared.runner,
            request=request,
            image=place,
            targets=targets,
            plan=laid.plan,
            second=laid.second,
            planned_s=laid.planned_s,
            clock=clock,
            listener=listener,
            deadline=share,
        )
        try:
            found += await _explain(case, identities)
        except DeadlineExceeded as late:
            if inquiry.images[place] == "image":
                raise
            name = inquiry.images[place]
            raise DeadlineExceeded(f"{name}: {late.message}", field=late.field, **late.limits) from late
    return tuple(found)


async def _explain(case: Case, identities: Iterator[str]) -> list[Explanation]:
    """All explanations of one image."""
    began = case.clock()
    first = replace(case, deadline=case.deadline.share(1 if case.second is None else 2))
    bases = [replace(base, id=next(identities)) for base in await attribute(first, case.plan, case.targets)]
    if case.second is not None:
        bases = await _compare(case, case.second, bases)
    finished: list[Explanation] = []
    for place, base in enumerate(bases):
        explanation = base
        for step in (*STEPS.get(base.kind, ()), FAITHFULNESS):
            explanation = await _take(step, case, explanation)
        timing = explanation.timing | {"total_s": case.planned_s + case.clock() - began}
        # Further targets share the sample of the first.
        reused = base.forwards if place else 0
        finished.append(replace(explanation, timing=timing, reused=reused))
    return finished


async def _take(step: Step, case: Case, explanation: Explanation) -> Explanation:
    """The explanation with what a step finds, or with the word that there was no time for it."""
    before = case.spent.forwards
    try:
        return await step.finish(case, explanation)
    except TimeOver:
        return replace(
            explanation,
            partial=True,
            forwards=explanation.forwards + case.spent.forwards - before,
            warnings=(*explanation.warnings, of_left_out(step.name)),
        )


async def _compare(case: Case, second: Plan, bases: list[Explanation]) -> list[Explanation]:
    kind = case.request.kind
    if case.deadline.over:
        raise DeadlineExceeded(
            f"deadline_s is {case.request.deadline_s:g}; it was over before the second image of kind {kind!r} was "
            "begun",
            field="deadline_s",
        )
    # The enlarged image is explained for the class of the regular one; another image for its own.
    targets = case.targets if kind == "compare" else tuple(base.target.index for base in bases)
    others = await attribute(case, second, targets)
    return [COMPARED[kind](case, base, other) for base, other in zip(bases, others, strict=True)]


def _check_other(inquiry: Inquiry) -> None:
    kind = inquiry.request.kind
    if kind == "compare" and not inquiry.compared:
        raise InvalidRequest("other is required for kind 'compare': the image to compare with", field="other")
    if kind != "compare" and inquiry.compared:
        raise InvalidRequest(f"other is the image of kind 'compare'; kind {kind!r} takes none", field="other")


async def _lay(runner: Runner, inquiry: Inquiry, image: int, clock: Callable[[], float]) -> Laid:
    began = clock()
    request = inquiry.request
    plan = await _plan(runner, inquiry, image, request, zoom=1)
    second = None
    if request.kind == "compare":
        second = await _plan(runner, inquiry, image + 1, request, zoom=1)
    elif request.kind == "zoom":
        # As a plain map: a level more than was asked for is what ``zoom`` has checked that the image allows.
        deeper = replace(request, kind="wcam", levels=request.levels + 1)
        second = await _plan(runner, inquiry, image, deeper, zoom=2)
    return Laid(plan, second, clock() - began)


async def _plan(
    runner: Runner, inquiry: Inquiry, image: int, request: ExplanationRequest, *, zoom: int
) -> Plan:
    """The plan of an image; what is wrong with the image is told under the caller's name for it."""
    try:
        return await runner.plan(image, request, zoom)
    except WavescopeError as error:
        told = named(error, inquiry.images[image])
        if told is error:
            raise
        raise told from error


def named(error: WavescopeError, image: str) -> WavescopeError:
    """An error about the field ``image`` under the caller's name for that image; any other as it is."""
    if error.field != "image" or image == "image":
        return error
    return type(error)(f"{image}: {error.message}", field=image, **error.limits)


def _forwards(request: ExplanationRequest, image: Laid, targets: int) -> int:
    plans = [image.plan] if image.second is None else [image.plan, image.second]
    samples = sum(checks.sample_forwards(request, plan.n_factors) for plan in plans)
    return samples + targets * checks.product_forwards(request, image.plan.n_factors)
