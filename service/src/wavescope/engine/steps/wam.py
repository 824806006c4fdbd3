"""Kind ``wam``: gradients of the score by the wavelet coefficients (Kasmi et al. 2025).

Source: "One Wave To Explain Them All: A Unifying Perspective On Feature Attribution", https://arxiv.org/abs/2410.01482.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
from jaxtyping import Float

from wavescope.core import maps, wavelets
from wavescope.core.gradients import GradientPath, GradientSums, Method
from wavescope.core.partition import factor_sums
from wavescope.core.rendering.pixel import Baseline, baseline_image
from wavescope.core.scores import scores
from wavescope.core.sobol.diagnostics import reliability
from wavescope.engine.attribution import ImageContext
from wavescope.engine.checks import ignored_fields, with_infinite_gradient, without_gradients
from wavescope.engine.gradient_cost import gradient_forwards
from wavescope.engine.plan import Plan
from wavescope.engine.products import (
    CleanPrediction,
    base_explanation,
    level_importance,
    read_clean,
)
from wavescope.engine.types import (
    Attributions,
    Explanation,
    ExplanationRequest,
    LevelMap,
    Maps,
    ModelDetails,
)
from wavescope.engine.warnings import (
    of_attributions,
    of_ended_samples,
    of_ignored,
    of_no_gradient,
    of_no_path,
)
from wavescope.errors import DeadlineExceeded, InfiniteGradient, NoGradients

# Samples of noise that have a mean worth the name.
LEAST_SAMPLES = 2
# Of an image in [0, 1] that went through a transform and back; a step of 16 bits is larger.
ROUNDED = 1e-5


async def attribute(context: ImageContext, plan: Plan, targets: tuple[int | None, ...]) -> list[Explanation]:
    """One explanation per target, without products and without an id; each target takes gradients of its own.

    Args:
        context: of the image.
        plan: its own.
        targets: class indices; ``None`` for the predicted class.

    Raises:
        InvalidRequest: the model has no gradients, which showed only now; or one of them is not finite.
        ModelFailure: the model returned something that is not a number.
        DeadlineExceeded: too few samples were differentiated by then.
    """
    runner, request = context.runner, context.request
    began = context.clock()
    image, outputs = await runner.clean(plan)
    cleans = [read_clean(image, outputs, runner.details, request, target) for target in targets]
    timing = {"plan_s": context.planned_s + context.clock() - began}
    found: list[Explanation] = []
    for position, clean in enumerate(cleans):
        part = replace(context, deadline=context.deadline.share(len(cleans) - position))
        before = context.clock()
        sums = await _differentiate(part, plan, clean.target.index)
        timed = timing | {"score_s": context.clock() - before}
        found.append(
            await runner.compute(_build, plan, request, runner.details, clean, outputs, sums, timing=timed)
        )
    return found


def gradient_path(request: ExplanationRequest) -> GradientPath:
    """Images at which a checked request differentiates the model."""
    return GradientPath(
        method=cast("Method", request.method),
        samples=request.samples,
        noise=request.noise,
        seed=request.seed,
        baseline=cast("Baseline", request.baseline),
    )


async def _differentiate(context: ImageContext, plan: Plan, target: int) -> GradientSums:
    """Sums over all samples, or of noise over those that were differentiated before the deadline."""
    request = context.request
    cost, known = gradient_forwards(context.runner.details.outputs, request.score), 0

    def report(samples: int) -> bool:
        nonlocal known
        if samples > known:
            context.listener.scored(cost * (samples - known))
            known = samples
        return not context.deadline.over

    path = gradient_path(request)
    sums = None
    if not context.deadline.over:
        try:
            sums = await context.runner.gradients(plan, path, request.score, target, on_samples=report)
        except NoGradients as error:
            reason = str(error.limits.get("reason", error.message))
            raise without_gradients(request.kind, context.runner.details.name, reason) from error
        except InfiniteGradient as error:
            raise with_infinite_gradient(request.kind, error) from error
    done, needed = 0 if sums is None else sums.samples, path.samples if path.signed else LEAST_SAMPLES
    if sums is None or done < min(needed, path.samples):
        raise DeadlineExceeded(
            f"deadline_s is {request.deadline_s:g}; it was over after {done} of {path.samples} samples, and method "
            f"{path.method!r} needs {needed}: raise deadline_s, or lower samples",
            field="deadline_s",
            complete_samples=done,
            minimum_samples=needed,
        )
    return sums


def _build(
    plan: Plan,
    request: ExplanationRequest,
    details: ModelDetails,
    clean: CleanPrediction,
    outputs: Float[np.ndarray, " classes"],
    sums: GradientSums,
    *,
    timing: dict[str, float],
) -> Explanation:
    """The explanation of one class from the sums of its samples."""
    path, spec = gradient_path(request), plan.spec
    forwards = gradient_forwards(details.outputs, request.score) * sums.samples
    base = base_explanation(plan, request, details, clean, forwards=forwards, timing=timing)
    base = replace(base, warnings=(*base.warnings, *of_ignored(request, ignored_fields(request))))
    if path.signed and np.abs(clean.image - baseline_image(path.baseline, clean.image)).max() <= ROUNDED:
        return replace(base, warnings=(*base.warnings, of_no_path(path.baseline)))
    if not sums.coefficients.any():
        return replace(base, warnings=(*base.warnings, of_no_gradient(request.score, sums.samples)))
    exact = outputs[None, :].astype(np.float64)
    own = (clean.target.index,)
    score = float(scores(exact, details.outputs, request.score, own, binary=details.binary)[0, 0])
    factors = plan.make_partition()
    scale = 1.0 if path.signed else 1 / sums.samples
    packed = np.abs(sums.coefficients) * scale
    first = float(sums.scores[0])
    attributions = Attributions(
        method=path.method,
        samples=sums.samples,
        factors=factor_sums(packed, factors.factors, factors.n_factors),
        signed=sums.factors if path.signed else None,
        standard_error=None if path.signed else sums.mean_errors(),
        split_half=None if path.signed or sums.samples < LEAST_SAMPLES else reliability(sums.odd, sums.even),
        score=score,
        baseline_score=first if path.signed else None,
        completeness_error=float(sums.coefficients.sum()) - (score - first) if path.signed else None,
        level_maps=tuple(
            LevelMap(level, wavelets.scale_px(level, spec.levels), found)
            for level, found in enumerate(maps.level_maps(packed, spec.levels))
        ),
    )
    wam = packed.astype(np.float32)
    drawn = Maps(
        factors.factors,
        wam=wam,
        spatial_wam=maps.spatial_map(wam, spec.levels, (spec.shape[1], spec.shape[2])),
    )
    ended = sums.samples < request.samples
    explained = replace(
        base,
        outcome="explained",
        attributions=attributions,
        maps=drawn,
        levels=level_importance(maps.coefficient_importance(packed, spec.levels), spec.levels),
        partial=ended,
    )
    further = of_attributions(attributions, request, path.signed or float(np.ptp(clean.image)) > ROUNDED)
    if ended:
        further += (of_ended_samples(sums.samples, request.samples),)
    return replace(explained, warnings=(*base.warnings, *further))
