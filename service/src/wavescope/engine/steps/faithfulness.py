"""Insertion, deletion and µ-fidelity of a map, over pixels and over factors (paper, appendices A.1.2 and A.2.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32, Int32

from wavescope.core import faithfulness as core
from wavescope.core.partition import factor_sums
from wavescope.core.reconstruction import rank
from wavescope.core.rendering.masks import NestedMasks, RandomSubsets
from wavescope.engine.attribution import ImageContext
from wavescope.engine.plan import Plan, pixel_plan
from wavescope.engine.types import Explanation, Faithfulness

SCORE = "probability"  # as in the paper, whatever the map explains


@dataclass(frozen=True, slots=True, eq=False)
class _Test:
    """One domain's features.

    Attributes:
        curves: plan over whose factors the curves go.
        order: of those factors, most important first.
        counts: how many of them are taken after each step.
        fraction: of the features that this is.
        subsets: plan over whose factors subsets are drawn.
        importance: (M,) of those factors.
    """

    domain: Literal["pixel", "wavelet", "fourier"]
    curves: Plan
    order: Int32[np.ndarray, " k"]
    counts: Int32[np.ndarray, " s"]
    fraction: Float[np.ndarray, " s"]
    subsets: Plan
    importance: Float[np.ndarray, " m"]
    grid_size: int | None


async def finish(context: ImageContext, explanation: Explanation) -> Explanation:
    """The explanation with its faithfulness in every domain it has a map in, where that was asked for.

    Raises:
        TimeOver: the deadline came first.
    """
    importance = explanation.importance
    if not context.request.faithfulness or importance is None or explanation.maps is None:
        return explanation
    tests: list[_Test] = []
    if explanation.maps.spatial is not None:
        spatial = explanation.maps.spatial
        tests.append(await context.runner.compute(_over_pixels, context.plan, explanation.image, spatial))
    if context.plan.spec.transform != "pixel":
        tests.append(_over_factors(context.plan, importance))
    found = [await _measure(context, explanation, test) for test in tests]
    forwards = sum(2 * len(test.counts) + core.SAMPLES for test in tests)
    return replace(explanation, faithfulness=tuple(found), forwards=explanation.forwards + forwards)


def _over_pixels(
    plan: Plan, image: Float32[np.ndarray, "c h w"], spatial: Float32[np.ndarray, "h w"]
) -> _Test:
    groups = core.rank_groups(spatial)
    steps = int(groups.max()) + 1
    cells = core.superpixels(*spatial.shape)
    return _Test(
        domain="pixel",
        curves=pixel_plan(plan, image, groups),
        order=np.arange(steps, dtype=np.int32),
        counts=np.arange(steps + 1, dtype=np.int32),
        fraction=core.counts(groups.size) / groups.size,  # groups differ by a pixel
        subsets=pixel_plan(plan, image, cells.factors),
        importance=factor_sums(spatial, cells.factors, cells.n_factors),
        grid_size=core.GRID,
    )


def _over_factors(plan: Plan, importance: Float[np.ndarray, " k"]) -> _Test:
    domain = "fourier" if plan.spec.transform == "fourier" else "wavelet"
    counts = core.counts(plan.n_factors)
    return _Test(domain, plan, rank(importance), counts, counts / plan.n_factors, plan, importance, None)


async def _measure(context: ImageContext, explanation: Explanation, test: _Test) -> Faithfulness:
    target, clean = (explanation.target.index,), explanation.target.probability
    assert clean is not None
    inserted = await context.score(
        test.curves, NestedMasks(test.order, test.counts, keep=True), SCORE, target
    )
    deleted = await context.score(
        test.curves, NestedMasks(test.order, test.counts, keep=False), SCORE, target
    )
    insertion, deletion = inserted.values[:, 0], deleted.values[:, 0]
    size = core.subset_size(test.subsets.n_factors)
    subsets = RandomSubsets(test.subsets.n_factors, size, core.SAMPLES, context.request.seed)
    removed = await context.score(test.subsets, subsets, SCORE, target)
    pearson, spearman = core.mu_fidelity(
        test.importance, subsets.masks(0, subsets.count), clean, removed.values[:, 0]
    )
    parameters: dict[str, Any] = {
        "steps": len(test.counts) - 1,
        "samples": core.SAMPLES,
        "subset": core.SUBSET,
        "grid_size": test.grid_size,
        "baseline": 0,
        "score": SCORE,
        "seed": context.request.seed,
    }
    return Faithfulness(
        domain=test.domain,
        insertion=core.area(insertion, test.fraction),
        deletion=core.area(deletion, test.fraction),
        mu_fidelity=pearson,
        mu_fidelity_spearman=spearman,
        fraction=test.fraction,
        insertion_curve=insertion,
        deletion_curve=deletion,
        parameters=parameters,
    )
