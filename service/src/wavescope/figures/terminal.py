"""An explanation as text for a terminal: the scales with their bars, the prediction, what it cost."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from wavescope.engine.types import BandImportance, Explanation, LevelImportance
from wavescope.figures.labels import constant_sentence, heading, probability_label, scale_label, shorten

_TABLE_WIDTH = 67  # characters, of the table of scales around its bars
_BAR_WIDTHS = (4, 24)
_EIGHTHS = " ▏▎▍▌▋▊▉"


def report(explanation: Explanation, *, width: int = 80, ascii_only: bool = False) -> RenderableType:
    """What a reader at a terminal wants to know of an explanation.

    Args:
        explanation: of any outcome.
        width: of the terminal, characters; a narrow one gets no bars.
        ascii_only: draw bars with ``#`` for a terminal that cannot show blocks.
    """
    return Group(*_parts(explanation, width, ascii_only))


def _parts(explanation: Explanation, width: int, ascii_only: bool) -> Iterator[RenderableType]:
    yield Text(heading(explanation), style="bold")
    if explanation.levels is None:
        yield Padding(Text(constant_sentence(explanation)), (1, 0))
    else:
        yield scale_table(explanation.levels, width=width, ascii_only=ascii_only)
    yield prediction_table(explanation)
    yield Text(_cost(explanation), style="dim")
    for warning in explanation.warnings:
        yield Text(f"warning: {warning}", style="yellow")


def scale_table(levels: tuple[LevelImportance, ...], *, width: int = 80, ascii_only: bool = False) -> Table:
    """Importance per scale: level 0 (approximation) first, shares in percent of the summed total indices."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title="Importance per scale",
        pad_edge=False,
        title_justify="left",
        title_style="bold",
    )
    table.add_column("level", justify="right", no_wrap=True)
    table.add_column("scale", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    shortest, longest = _BAR_WIDTHS
    room = min(width - _TABLE_WIDTH, longest)
    if room >= shortest:
        table.add_column("", width=room, no_wrap=True)
    for name in ("horizontal", "vertical", "diagonal"):
        table.add_column(name, justify="right", no_wrap=True)
    largest = max(max(level.share for level in levels), 0.0)
    for level in levels:
        bar = _bar(room * level.share / largest if largest > 0 else 0.0, ascii_only)
        table.add_row(
            str(level.level),
            scale_label(level.scale_px),
            _percent(level.share),
            *([Text(bar, style="cyan")] if room >= shortest else []),
            *(_band(band) for band in (level.horizontal, level.vertical, level.diagonal)),
        )
    return table


def prediction_table(explanation: Explanation) -> Table:
    """The model's top classes, the explained one marked."""
    table = Table(
        box=box.SIMPLE_HEAD, title="Prediction", pad_edge=False, title_justify="left", title_style="bold"
    )
    table.add_column("class", justify="right")
    table.add_column("label")
    table.add_column("probability", justify="right")
    table.add_column("")
    rows = list(explanation.prediction)
    if explanation.target.index not in [row.index for row in rows]:
        rows.append(explanation.target)
    for row in rows:
        mark = "explained" if row.index == explanation.target.index else ""
        table.add_row(str(row.index), Text(shorten(row.label, 48)), probability_label(row), mark)
    return table


def _cost(explanation: Explanation) -> str:
    seconds = explanation.timing.get("total_s")
    cost = f"{explanation.forwards:,} forwards"
    if seconds:
        cost += f" in {seconds:.1f} s ({explanation.forwards / seconds:,.0f} per second)"
    return cost


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _band(band: BandImportance | None) -> str:
    return "" if band is None else _percent(band.share)


def _bar(length: float, ascii_only: bool) -> str:
    """A bar of ``length`` characters, blocks drawn to an eighth; empty for a negative one."""
    length = max(length, 0.0)
    if ascii_only:
        return "#" * round(length)
    whole, eighths = divmod(round(8 * length), 8)
    return "█" * whole + (_EIGHTHS[eighths] if eighths else "")
