"""Kind ``robustness``: how often the label survives corruption, beside the reconstruction depth (paper, B.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wavescope.engine.attribution import ImageContext
from wavescope.engine.scoring.scoreboard import Scored
from wavescope.engine.types import Corrupted, Explanation, ModelDetails, Prediction, Robustness


async def finish(context: ImageContext, explanation: Explanation) -> Explanation:
    """The explanation with the model's answers to every corruption of the image.

    Raises:
        TimeOver: the deadline came first.
    """
    context.check_time()
    runner, target = context.runner, explanation.target.index
    names, stack = await runner.corrupt(context.position, context.request)
    predicted = await context.score(stack, None, "probability", (target,))
    return replace(
        explanation,
        robustness=_robustness(runner.details, names, predicted, target),
        forwards=explanation.forwards + predicted.done,
    )


def _robustness(
    details: ModelDetails, names: Sequence[tuple[str, int]], scored: Scored, target: int
) -> Robustness:
    corrupted = tuple(
        Corrupted(
            corruption=corruption,
            severity=severity,
            predicted=Prediction(int(index), details.labels[int(index)], float(confidence)),
            probability=float(probability),
            same_label=int(index) == target,
        )
        for (corruption, severity), index, confidence, probability in zip(
            names, scored.predicted, scored.confidence, scored.values[:, 0], strict=True
        )
    )
    return Robustness(
        share=_share(corrupted),
        shares={
            name: _share([one for one in corrupted if one.corruption == name])
            for name in dict.fromkeys(one.corruption for one in corrupted)
        },
        corrupted=corrupted,
    )


def _share(corrupted: Sequence[Corrupted]) -> float:
    return sum(one.same_label for one in corrupted) / len(corrupted)
