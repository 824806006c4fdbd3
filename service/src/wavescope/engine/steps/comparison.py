"""Kinds ``compare`` and ``zoom``: two explanations side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wavescope.core.comparison import place_shift, scale_shift
from wavescope.engine.attribution import ImageContext
from wavescope.engine.types import Comparison, Explanation, LevelImportance, ScaleChange, Zoom, ZoomLevel
from wavescope.engine.warnings import of_two_classes


def finish_compare(context: ImageContext, explanation: Explanation, other: Explanation) -> Explanation:
    """The explanation with what changed to the other image.

    Each image is explained for its own predicted class, unless a target was asked for.
    """
    del context
    other = replace(other, id=f"{explanation.id}-other", timing=other.timing | {"total_s": _total_s(other)})
    forwards = explanation.forwards + other.forwards
    explanation = replace(explanation, forwards=forwards, partial=explanation.partial or other.partial)
    if explanation.levels is None or other.levels is None:
        return replace(
            explanation,
            warnings=(
                *explanation.warnings,
                *_of_other(other),
                "one of the two has no map: nothing to compare",
            ),
        )
    assert explanation.maps is not None
    assert explanation.maps.spatial_wcam is not None
    assert other.maps is not None
    assert other.maps.spatial_wcam is not None
    shares, other_shares = (
        np.array([level.share for level in levels]) for levels in (explanation.levels, other.levels)
    )
    place, change = place_shift(explanation.maps.spatial_wcam, other.maps.spatial_wcam)
    comparison = Comparison(
        scale_shift=scale_shift(shares, other_shares),
        place_shift=place,
        scales=tuple(
            ScaleChange(one.level, one.scale_px, one.share, two.share, two.share - one.share)
            for one, two in zip(explanation.levels, other.levels, strict=True)
        ),
        place_change=change,
        other=other,
    )
    warnings = (*explanation.warnings, *of_two_classes(explanation, other), *_of_other(other))
    return replace(explanation, comparison=comparison, warnings=warnings)


def finish_zoom(context: ImageContext, explanation: Explanation, zoomed: Explanation) -> Explanation:
    """The explanation with that of the image enlarged twice, of one level more, for the same class."""
    parameters = zoomed.parameters | {"levels": context.request.levels + 1}
    zoomed = replace(
        zoomed,
        id=f"{explanation.id}-zoomed",
        parameters=parameters,
        timing=zoomed.timing | {"total_s": _total_s(zoomed)},
    )
    warnings = (
        *explanation.warnings,
        *_enlarged(context),
        *_other_class(explanation, zoomed),
        *_ended(zoomed),
    )
    explanation = replace(
        explanation,
        forwards=explanation.forwards + zoomed.forwards,
        partial=explanation.partial or zoomed.partial,
        warnings=warnings,
    )
    if explanation.levels is None or zoomed.levels is None:
        return replace(explanation, warnings=(*warnings, "one of the two has no map: nothing to compare"))
    newest = zoomed.levels[-1]
    regular: list[LevelImportance | None] = [*explanation.levels, None]
    zoom = Zoom(
        new_share=newest.share,
        new_mean_share=newest.mean_share,
        levels=tuple(_level(one, two) for one, two in zip(regular, zoomed.levels, strict=True)),
        zoomed=zoomed,
    )
    return replace(explanation, zoom=zoom)


def _level(regular: LevelImportance | None, zoomed: LevelImportance) -> ZoomLevel:
    # Two pixels of the enlarged image are one of the regular one: levels of the same number show the same scale.
    low, high = zoomed.scale_px
    return ZoomLevel(
        level=zoomed.level,
        scale_px=(low / 2, None if high is None else high / 2),
        share=None if regular is None else regular.share,
        mean_share=None if regular is None else regular.mean_share,
        zoomed_share=zoomed.share,
        zoomed_mean_share=zoomed.mean_share,
    )


def _enlarged(context: ImageContext) -> tuple[str, ...]:
    """Says so where enlarging had to invent pixels."""
    assert context.second is not None
    preprocessing = context.runner.details.preprocessing
    crop = context.second.crop
    across = min(
        (crop.bottom - crop.top) / preprocessing.size[0], (crop.right - crop.left) / preprocessing.size[1]
    )
    if across >= 1:
        return ()
    height, width = context.plan.original_size
    return (
        f"the original of {height} x {width} px is smaller than the doubled resize: one pixel of the enlarged image is "
        f"{across:.2f} of the original's, so its finest scale holds little but interpolation",
    )


def _other_class(explanation: Explanation, zoomed: Explanation) -> tuple[str, ...]:
    predicted = zoomed.prediction[0]
    if predicted.index == explanation.target.index:
        return ()
    return (
        f"the enlarged image is {predicted.label!r} to the model; both are explained for "
        f"{explanation.target.label!r}",
    )


def _ended(zoomed: Explanation) -> tuple[str, ...]:
    if not zoomed.partial:
        return ()
    return ("deadline_s ended the explanation of the enlarged image early, as its own warnings say",)


def _of_other(other: Explanation) -> tuple[str, ...]:
    return tuple(f"other image: {warning}" for warning in other.warnings)


def _total_s(explanation: Explanation) -> float:
    return sum(explanation.timing.values())
