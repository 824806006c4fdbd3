"""From complete scores to the explanation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32

from wavescope.core import estimators, maps, wavelets
from wavescope.core.bootstrap import jansen_errors
from wavescope.core.partition import Partition
from wavescope.core.scores import check_score, probabilities
from wavescope.engine.plan import Plan, warnings
from wavescope.engine.scoreboard import Scoreboard
from wavescope.engine.types import (
    Explanation,
    ExplanationRequest,
    Indices,
    LevelImportance,
    Maps,
    ModelDetails,
    Prediction,
)
from wavescope.errors import ConstantScore

TOP = 5


@dataclass(frozen=True, slots=True, eq=False)
class Clean:
    """The model's view of the unperturbed image.

    Attributes:
        image: (c, h, w) float32 in [0, 1].
        target: the class that is explained.
        prediction: the most probable classes, best first.
    """

    image: Float32[np.ndarray, "c h w"]
    target: Prediction
    prediction: tuple[Prediction, ...]


def read_clean(
    image: Float32[np.ndarray, "c h w"],
    outputs: Float[np.ndarray, " classes"],
    details: ModelDetails,
    request: ExplanationRequest,
) -> Clean:
    """Settles the target and the top classes from the outputs for the unperturbed image.

    Args:
        outputs: raw outputs of the model.
        request: its ``target`` is an index within the model's classes, or ``None`` for the predicted class.

    Raises:
        InvalidRequest: a score the model cannot give.
    """
    check_score(request.score, details.outputs, classes=len(details.labels))
    likely = probabilities(outputs[None, :], details.outputs)[0]

    def entry(index: int) -> Prediction:
        return Prediction(index, details.labels[index], float(likely[index]))

    best = [int(index) for index in np.argsort(-likely, kind="stable")[:TOP]]
    target = best[0] if request.target is None else int(request.target)
    return Clean(image, entry(target), tuple(entry(index) for index in best))


def build(
    plan: Plan,
    request: ExplanationRequest,
    details: ModelDetails,
    clean: Clean,
    board: Scoreboard,
    *,
    identity: str,
    timing: dict[str, float],
) -> Explanation:
    """The explanation of a scored plan; a constant score is an outcome, not an error."""
    parameters = replace(request, target=clean.target.index).parameters()
    explanation = Explanation(
        id=identity,
        kind=request.kind,
        model=details.name,
        outcome="constant_score",
        target=clean.target,
        prediction=clean.prediction,
        indices=None,
        maps=None,
        levels=None,
        crop=plan.crop,
        forwards=board.done,
        timing=timing,
        parameters=parameters,
        image=clean.image,
        warnings=warnings(plan.spec),
    )
    try:
        indices = _indices(board, request.seed)
    except ConstantScore as constant:
        return replace(explanation, warnings=(*explanation.warnings, constant.message))
    factors = plan.spec.make_partition()
    return replace(
        explanation,
        outcome="explained",
        indices=indices,
        maps=_maps(plan, factors, indices),
        levels=_levels(plan, factors, indices),
    )


def _indices(board: Scoreboard, seed: int) -> Indices:
    f_a, f_b, f_c = board.pick_freeze()
    errors = jansen_errors(f_a, f_b, f_c, seed=seed)
    return Indices(
        total=estimators.jansen(f_a, f_b, f_c),
        first=estimators.jansen_first(f_a, f_b, f_c),
        standard_error=None if errors is None else errors[0],
        interval_95=None if errors is None else errors[1],
    )


def _maps(plan: Plan, factors: Partition, indices: Indices) -> Maps:
    packed = maps.packed_map(factors.factors, indices.total)
    return Maps(packed, maps.spatial_map(packed, plan.spec.levels, plan.spec.shape[1:]), factors.factors)


def _levels(plan: Plan, factors: Partition, indices: Indices) -> tuple[LevelImportance, ...]:
    spec = plan.spec
    return tuple(
        LevelImportance(
            level=level,
            scale_px=wavelets.scale_px(level, spec.levels),
            sum=whole.sum,
            share=whole.share,
            mean_share=whole.mean_share,
            horizontal=oriented.get("horizontal"),
            vertical=oriented.get("vertical"),
            diagonal=oriented.get("diagonal"),
        )
        for level, (whole, oriented) in enumerate(maps.importance(factors, indices.total, spec.levels))
    )
