"""An explanation as text for a terminal: what its kind is about, the prediction, what it is worth and what it cost."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from wavescope.engine.types import Explanation
from wavescope.figures import tables
from wavescope.figures.labels import (
    constant_sentence,
    heading,
    kept_words,
    percent,
    screening_words,
    sufficiency_sentence,
    worth_words,
)


def report(explanation: Explanation, *, width: int = 80, ascii_only: bool = False) -> RenderableType:
    """What a reader at a terminal wants to know of an explanation.

    Args:
        explanation: of any kind and outcome.
        width: of the terminal, characters; a narrow one gets no bars.
        ascii_only: draw with plain characters, for a terminal that cannot show blocks.
    """
    return Group(*_parts(explanation, width, ascii_only))


def _parts(explanation: Explanation, width: int, ascii_only: bool) -> Iterator[RenderableType]:
    yield Text(heading(explanation), style="bold")
    if explanation.maps is None:
        yield Padding(Text(constant_sentence(explanation)), (1, 0))
    yield from _products(explanation, width, ascii_only)
    yield tables.prediction_table(explanation)
    if explanation.comparison is not None:
        yield tables.prediction_table(explanation.comparison.other, "Prediction of the other image")
    if explanation.zoom is not None:
        yield tables.prediction_table(explanation.zoom.zoomed, "Prediction of the enlarged image")
    if explanation.faithfulness:
        yield tables.faithfulness_table(explanation.faithfulness)
    notes = [screening_words(explanation), worth_words(explanation), _cost(explanation)]
    yield Text("\n".join(filter(None, notes)), style="dim")
    for warning in explanation.warnings:
        yield Text(f"warning: {warning}", style="yellow")


def _products(explanation: Explanation, width: int, ascii_only: bool) -> Iterator[RenderableType]:
    if explanation.robustness is not None:
        yield tables.corruption_table(explanation.robustness)
        yield Text(f"Label kept: {percent(explanation.robustness.share)} of all.\n")
    if explanation.sufficiency is not None:
        found = explanation.sufficiency
        kept = f" {kept_words(found.kept)}" if found.kept is not None and found.depth else ""
        yield Text(f"{sufficiency_sentence(found, explanation.target)}{kept}\n")
        yield tables.depth_table(found)
    if explanation.comparison is not None:
        scale, place = explanation.comparison.scale_shift, explanation.comparison.place_shift
        yield tables.change_table(explanation.comparison)
        yield Text(
            f"Scale shift {scale:.3f}, place shift {place:.3f} (0: no importance moved, 1: all did).\n"
        )
    elif explanation.zoom is not None:
        new = f"{percent(explanation.zoom.new_share)} by sums, {percent(explanation.zoom.new_mean_share)} by means"
        yield tables.zoom_table(explanation.zoom)
        yield Text(f"Share of the new scale: {new} per coefficient.\n")
    elif explanation.profile is not None:
        yield tables.profile_table(explanation.profile, width=width, ascii_only=ascii_only)
    elif explanation.radial is not None:
        yield tables.radial_table(explanation.radial, width=width, ascii_only=ascii_only)
    elif explanation.levels is not None:
        yield tables.scale_table(explanation.levels, width=width, ascii_only=ascii_only)
    elif explanation.maps is not None and explanation.indices is not None:
        yield tables.cell_table(explanation.maps, explanation.indices)
        return
    if explanation.indices is not None and explanation.indices.resolved is not None:
        yield tables.factor_table(explanation.indices)


def _cost(explanation: Explanation) -> str:
    seconds = explanation.timing.get("total_s")
    cost = f"{explanation.forwards:,} forwards"
    if seconds:
        cost += f" in {seconds:.1f} s ({explanation.forwards / seconds:,.0f} per second)"
    return cost
