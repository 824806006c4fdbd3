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
    screening_words,
    worth_words,
)


def report(explanation: Explanation, *, width: int = 80, ascii_only: bool = False) -> RenderableType:
    """Report of an explanation for a terminal: its tables, sentences and warnings.

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
    yield from tables.sections(explanation, width, ascii_only)
    yield tables.prediction_table(explanation)
    yield from tables.second_predictions(explanation)
    if explanation.faithfulness:
        yield tables.faithfulness_table(explanation.faithfulness)
    notes = [screening_words(explanation), worth_words(explanation), _cost(explanation)]
    yield Text("\n".join(filter(None, notes)), style="dim")
    for warning in explanation.warnings:
        yield Text(f"warning: {warning}", style="yellow")
    for warning in () if explanation.contrast is None else explanation.contrast.warnings:
        yield Text(f"warning of the contrast: {warning}", style="yellow")


def _cost(explanation: Explanation) -> str:
    seconds = explanation.timing.get("total_s")
    found = explanation.attributions
    counted = "" if found is None else f"{found.samples:,} gradients, which count as "
    cost = f"{counted}{explanation.forwards:,} forwards"
    if seconds:
        cost += f" in {seconds:.1f} s ({explanation.forwards / seconds:,.0f} per second)"
    return cost
