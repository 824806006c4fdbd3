"""Kind ``sufficient-image``: the least of the image that keeps the label (paper, section 4.2 and appendix B.3)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Int32

from wavescope.core import reconstruction
from wavescope.core.reference.maps import reference_depth, reference_rank
from wavescope.core.rendering.masks import NestedMasks
from wavescope.engine.attribution import ImageContext
from wavescope.engine.plan import Plan
from wavescope.engine.scoring.scoreboard import Scored
from wavescope.engine.scoring.scorer import render_images
from wavescope.engine.types import Explanation, Kept, Preprocessing, Sufficiency


async def finish(context: ImageContext, explanation: Explanation) -> Explanation:
    """The explanation with its sufficiency: every n from 0 to K is scored, as the curve need not be monotone.

    Raises:
        TimeOver: the deadline came first.
    """
    if explanation.indices is None:
        return explanation
    runner, plan = context.runner, context.plan
    total = explanation.indices.total
    order = reference_rank(total) if plan.spec.reference else reconstruction.rank(total)
    rows = NestedMasks(order, np.arange(plan.n_factors + 1, dtype=np.int32), keep=True)
    scored = await context.score(plan, rows, "probability", (explanation.target.index,))
    sufficiency = await runner.compute(
        _sufficiency, plan, runner.details.preprocessing, explanation, order, scored
    )
    warnings = explanation.warnings
    if sufficiency.outcome == "none_suffices":
        warnings += (
            f"no number of top factors gives {explanation.target.label!r} back: the model does not predict it, or "
            "only beside coefficients that are no factors",
        )
    elif sufficiency.outcome == "empty_suffices":
        warnings += (
            f"the image without any factor is {explanation.target.label!r} to the model already: "
            "the depth says nothing of this image",
        )
    forwards = explanation.forwards + scored.done
    return replace(explanation, sufficiency=sufficiency, forwards=forwards, warnings=warnings)


def _sufficiency(
    plan: Plan,
    preprocessing: Preprocessing,
    explanation: Explanation,
    order: Int32[np.ndarray, " k"],
    scored: Scored,
) -> Sufficiency:
    assert explanation.indices is not None
    outcome, n = reconstruction.depth(scored.predicted, explanation.target.index)
    reported = n
    if plan.spec.reference:  # counts from 0, and asks for the class that the model predicts
        reported = reference_depth(scored.predicted, explanation.prediction[0].index)
        outcome, n = ("none_suffices", None) if reported is None else ("sufficient", reported + 1)
    positive = reconstruction.positive(explanation.indices.total)
    counts = [1, positive] if n is None else [1, positive, n]
    masks = NestedMasks(order, np.array(counts, dtype=np.int32), keep=True).masks(0, len(counts))
    images = render_images(plan, preprocessing, list(masks.astype(np.float64)))
    return Sufficiency(
        outcome=outcome,
        depth=reported,
        order=order,
        probability=scored.values[:, 0],
        predicted=scored.predicted,
        positive_factors=positive,
        image=None if n is None else images[2],
        top_image=images[0],
        positive_image=images[1],
        kept=None if n is None else _kept(plan, order[:n]),
    )


def _kept(plan: Plan, factors: Int32[np.ndarray, " n"]) -> Kept:
    # The reference plan travels as an image.
    packed = plan.spec.analyse(plan.array) if plan.spec.reference else plan.array
    return reconstruction.kept(packed, plan.make_partition(), factors)
