"""Counts of what explanations found, how long their stages took, and what needed no scoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from wavescope.engine.gradient_cost import GRADIENT_FORWARDS
from wavescope.engine.requests import PAPERS_ROWS, make_request
from wavescope.engine.types import Explanation, ExplanationRequest, LevelImportance
from wavescope.telemetry.counters import Counters
from wavescope.telemetry.metrics import (
    FINDING_DEPTH,
    FINDING_SCALE_SHIFT,
    FINDING_SHARE,
    FINDING_SPLIT_HALF,
    FORWARDS_SAVED,
    STAGE_DURATION,
)

STAGES: Final = ("plan", "score", "total")
SHARES_OF: Final = ("wcam", "profile")


def count_findings(
    counters: Counters, model: str, request: ExplanationRequest, found: Sequence[Explanation]
) -> None:
    """Count explanations that were computed just now.

    Findings are of default parameters alone: of others they are not comparable.

    Args:
        counters: of the process.
        model: name of the model.
        request: that the explanations are of.
        found: one for each image and target.
    """
    usual = is_usual(request)
    for explanation in found:
        if not explanation.reused:  # one sample has one duration, whatever the number of its targets
            _count_cost(counters, model, explanation)
        if usual and not explanation.partial and explanation.outcome == "explained":
            _count_finding(counters, model, explanation)


def count_cached(counters: Counters, model: str, kept: Sequence[Explanation]) -> None:
    """Count explanations that were cached: arguments as of :func:`count_findings`."""
    counters.add(FORWARDS_SAVED, _scored(kept), model=model, reason="cached")


def is_usual(request: ExplanationRequest) -> bool:
    """Check whether a request has the default parameters of its kind, whatever its classes.

    Example:
        >>> is_usual(make_request(kind="profile", target=3)), is_usual(make_request(kind="profile", seed=1))
        (True, False)
    """
    return replace(request, target=None, against=None) == make_request(kind=request.kind)


def _scored(found: Sequence[Explanation]) -> int:
    return sum(one.forwards - one.reused for one in found)


def _count_cost(counters: Counters, model: str, explanation: Explanation) -> None:
    for stage in STAGES:
        seconds = explanation.timing.get(f"{stage}_s")
        if seconds is not None:
            counters.observe(STAGE_DURATION, seconds, model=model, stage=stage)
    if explanation.screening is not None and explanation.indices is not None and not explanation.partial:
        full = PAPERS_ROWS * (len(explanation.indices.total) + 2)
        scored = explanation.forwards + GRADIENT_FORWARDS * explanation.screening.gradients
        counters.add(FORWARDS_SAVED, max(0, full - scored), model=model, reason="adaptive")


def _count_finding(counters: Counters, model: str, explanation: Explanation) -> None:
    kind = explanation.kind
    if kind in SHARES_OF and explanation.levels is not None:
        for level in explanation.levels:
            counters.observe(FINDING_SHARE, level.share, model=model, kind=kind, scale=_scale(level))
    if explanation.worth is not None and explanation.worth.split_half is not None:
        counters.observe(FINDING_SPLIT_HALF, explanation.worth.split_half, model=model, kind=kind)
    sufficiency = explanation.sufficiency
    if sufficiency is not None and sufficiency.depth is not None:
        counters.observe(FINDING_DEPTH, sufficiency.depth / len(sufficiency.order), model=model)
    if explanation.comparison is not None:
        counters.observe(FINDING_SCALE_SHIFT, explanation.comparison.scale_shift, model=model)


def _scale(level: LevelImportance) -> str:
    low, high = level.scale_px
    return f"{low}px+" if high is None else f"{low}-{high}px"
