"""Every kind of request, as steps that a runner carries out."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

from wavescope.engine import checks, comparing, faithful, robust, sufficient
from wavescope.engine.attribution import Case, attribute
from wavescope.engine.plan import Plan
from wavescope.engine.protocols import Runner
from wavescope.engine.types import Explanation, ExplanationRequest, Indices
from wavescope.errors import InvalidRequest, WavescopeError


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


# What a kind adds to the explanation that all begin with.
SCORED: dict[str, Callable[[Case, Explanation], Awaitable[Explanation]]] = {
    "sufficient-image": sufficient.finish,
    "robustness": robust.finish,
}
COMPARED: dict[str, Callable[[Case, Explanation, Explanation], Explanation]] = {
    "compare": comparing.finish_compare,
    "zoom": comparing.finish_zoom,
}


async def explain_all(
    runner: Runner,
    inquiry: Inquiry,
    *,
    planned: Callable[[int], None] = lambda forwards: None,
    partial: Callable[[Indices, int], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Explanation, ...]:
    """Explanations of all images and targets, image by image, each as if it had been asked for alone.

    Args:
        runner: carries out the steps.
        inquiry: what is asked.
        planned: told the forwards in all, before the first; of adaptive plans the most they may take.
        partial: told the indices so far and the forwards, after every round of an adaptive plan.
        clock: seconds, monotonic.

    Raises:
        InvalidRequest: before anything is scored; names the field.
        ModelFailure: the model returned something that is not a number.
    """
    _check_other(inquiry)
    cases = [await _prepare(runner, inquiry, image, clock, partial) for image in range(len(inquiry.targets))]
    planned(sum(_forwards(case) for case in cases))
    identities = iter(inquiry.identities)
    return tuple([explanation for case in cases for explanation in await _explain(case, identities)])


async def _explain(case: Case, identities: Iterator[str]) -> list[Explanation]:
    """All explanations of one image."""
    began = case.clock()
    bases = [replace(base, id=next(identities)) for base in await attribute(case, case.plan, case.targets)]
    if case.second is not None:
        bases = await _compare(case, case.second, bases)
    finished: list[Explanation] = []
    for place, base in enumerate(bases):
        kind = base.kind
        explanation = await SCORED[kind](case, base) if kind in SCORED else base
        explanation = await faithful.finish(case, explanation)
        timing = explanation.timing | {"total_s": case.planned_s + case.clock() - began}
        # Further targets share the sample of the first.
        reused = base.forwards if place else 0
        finished.append(replace(explanation, timing=timing, reused=reused))
    return finished


async def _compare(case: Case, second: Plan, bases: list[Explanation]) -> list[Explanation]:
    kind = case.request.kind
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


async def _prepare(
    runner: Runner,
    inquiry: Inquiry,
    image: int,
    clock: Callable[[], float],
    partial: Callable[[Indices, int], None] | None,
) -> Case:
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
    return Case(runner, request, image, inquiry.targets[image], plan, second, clock() - began, clock, partial)


async def _plan(
    runner: Runner, inquiry: Inquiry, image: int, request: ExplanationRequest, *, zoom: int
) -> Plan:
    """The plan of an image; what is wrong with the image is told under the caller's name for it."""
    try:
        return await runner.plan(image, request, zoom)
    except WavescopeError as error:
        name = inquiry.images[image]
        if error.field != "image" or name == "image":
            raise
        raise type(error)(f"{name}: {error.message}", field=name, **error.limits) from error


def _forwards(case: Case) -> int:
    plans = [case.plan] if case.second is None else [case.plan, case.second]
    samples = sum(checks.sample_forwards(case.request, plan.n_factors) for plan in plans)
    return samples + len(case.targets) * checks.product_forwards(case.request, case.plan.n_factors)
