"""The sections of the terminal's report: tables and sentences, by what an explanation has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from wavescope.engine.types import (
    Attributions,
    BandImportance,
    Comparison,
    Contrast,
    Explanation,
    Faithfulness,
    Indices,
    LevelImportance,
    Maps,
    ProfileBand,
    Ring,
    Robustness,
    Sufficiency,
    Zoom,
)
from wavescope.figures.labels import (
    DOMAINS,
    contrast_sentence,
    corruption_label,
    kept_words,
    percent,
    probability_label,
    scale_label,
    shorten,
    sign_of,
    sufficiency_sentence,
)

_TABLE_WIDTH = 67  # characters, of the table of scales around its bars
_BAR_WIDTHS = (4, 24)
_EIGHTHS = " ▏▎▍▌▋▊▉"
_CELLS_LISTED = 5  # of a map over the image's pixels
_FACTORS_LISTED = 10


def sections(explanation: Explanation, width: int, ascii_only: bool) -> Iterator[RenderableType]:
    """The sections of an explanation, as tables and sentences.

    Args:
        explanation: of any kind and outcome.
        width: of the terminal, characters.
        ascii_only: draw with plain characters.
    """
    yield from _own_sections(explanation, width, ascii_only)
    if explanation.contrast is not None:
        yield from contrast_report(explanation, explanation.contrast, ascii_only)


def _own_sections(explanation: Explanation, width: int, ascii_only: bool) -> Iterator[RenderableType]:
    if explanation.robustness is not None:
        yield corruption_table(explanation.robustness)
        yield Text(f"Label kept: {percent(explanation.robustness.share)} of all.\n")
    if explanation.sufficiency is not None:
        found = explanation.sufficiency
        kept = f" {kept_words(found.kept)}" if found.kept is not None and found.depth else ""
        yield Text(f"{sufficiency_sentence(found, explanation.target)}{kept}\n")
        yield depth_table(found)
    if explanation.comparison is not None:
        scale, place = explanation.comparison.scale_shift, explanation.comparison.place_shift
        yield change_table(explanation.comparison)
        yield Text(
            f"Scale shift {scale:.3f}, place shift {place:.3f} (0: no importance moved, 1: all did).\n"
        )
    elif explanation.zoom is not None:
        new = f"{percent(explanation.zoom.new_share)} by sums, {percent(explanation.zoom.new_mean_share)} by means"
        yield zoom_table(explanation.zoom)
        yield Text(f"Share of the new scale: {new} per coefficient.\n")
    elif explanation.profile is not None:
        yield profile_table(explanation.profile, width=width, ascii_only=ascii_only)
    elif explanation.radial is not None:
        yield radial_table(explanation.radial, width=width, ascii_only=ascii_only)
    elif explanation.levels is not None:
        name = "Importance per scale" if explanation.attributions is None else "Attribution per scale"
        yield scale_table(explanation.levels, name, width=width, ascii_only=ascii_only)
    elif explanation.maps is not None and explanation.indices is not None:
        yield cell_table(explanation.maps, explanation.indices)
        return
    if explanation.indices is not None and explanation.indices.resolved is not None:
        yield factor_table(explanation.indices)
    if explanation.attributions is not None:
        yield attribution_table(explanation.attributions, ascii_only=ascii_only)


def contrast_report(explanation: Explanation, found: Contrast, ascii_only: bool) -> Iterator[RenderableType]:
    """The question of a contrast, its shares per scale, and the factors that decide it, each with its signed effect."""
    shares = "; ".join(
        f"{scale_label(level.scale_px)}: {percent(level.share)}" for level in found.levels or ()
    )
    yield Text("\n".join(filter(None, [contrast_sentence(explanation), shares])) + "\n")
    if found.indices is not None:
        sides = {"+": shorten(explanation.target.label, 24), "-": shorten(found.against.label, 24), "": ""}
        yield effect_table(found.indices, sides, ascii_only=ascii_only)


def effect_table(indices: Indices, sides: Mapping[str, str], *, ascii_only: bool = False) -> Table:
    """The factors of the largest total indices that were perturbed by themselves, with their signed effects.

    Args:
        indices: of the contrast.
        sides: the class that effects of each sign speak for.
        ascii_only: draw with plain characters.
    """
    table = _table("Largest factors of the contrast", "factor", "total index", "effect", "for")
    effects = indices.effect or (None,) * len(indices.total)
    errors = indices.effect_error or (None,) * len(indices.total)
    plus = "+-" if ascii_only else "±"
    measured = [
        factor for factor in np.argsort(-indices.total, kind="stable").tolist() if effects[factor] is not None
    ]
    for factor in measured[:_CELLS_LISTED]:
        error = errors[factor]
        known = "" if error is None else f" {plus} {error:.2g}"
        speaks_for = Text(sides[sign_of(effects[factor], error)])
        table.add_row(
            str(factor), f"{indices.total[factor]:.3f}", f"{effects[factor]:+.3g}{known}", speaks_for
        )
    return table


def second_predictions(explanation: Explanation) -> Iterator[RenderableType]:
    """The predictions of the second image, for the kinds that have one."""
    if explanation.comparison is not None:
        yield prediction_table(explanation.comparison.other, "Prediction of the other image")
    if explanation.zoom is not None:
        yield prediction_table(explanation.zoom.zoomed, "Prediction of the enlarged image")


def scale_table(
    levels: Sequence[LevelImportance],
    name: str = "Importance per scale",
    *,
    width: int = 80,
    ascii_only: bool = False,
) -> Table:
    """Importance per scale: level 0 (approximation) first, shares in percent of the sum over all."""
    table = _table(name, "level", "scale", "share")
    room = _add_bar_column(table, width - _TABLE_WIDTH)
    for name in ("horizontal", "vertical", "diagonal"):
        table.add_column(name, justify="right", no_wrap=True)
    bars = _bars([level.share for level in levels], room, ascii_only)
    for level, bar in zip(levels, bars, strict=True):
        table.add_row(
            str(level.level),
            scale_label(level.scale_px),
            percent(level.share),
            *bar,
            *(_band(band) for band in (level.horizontal, level.vertical, level.diagonal)),
        )
    return table


def prediction_table(explanation: Explanation, name: str = "Prediction") -> Table:
    """The model's top classes, the explained one marked."""
    table = _table(name)
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


def radial_table(rings: Sequence[Ring], *, width: int = 80, ascii_only: bool = False) -> Table:
    """The radial profile: mean total index per ring of frequencies, the lowest first."""
    table = _table("Importance per frequency", "cycles per px", "px per cycle", "total index", "share")
    room = _add_bar_column(table, width - 60)
    bars = _bars([ring.share for ring in rings], room, ascii_only)
    for ring, bar in zip(rings, bars, strict=True):
        low, high = ring.frequency
        period = f"> {1 / high:.1f}" if low <= 0 else f"{1 / high:.1f}-{1 / low:.1f}"
        table.add_row(f"{low:.3f}-{high:.3f}", period, f"{ring.mean:.4f}", percent(ring.share), *bar)
    return table


def cell_table(maps: Maps, indices: Indices) -> Table:
    """The factors of the largest total indices, by where they lie in the image, and how well each is known."""
    table = _table("Most important places", "columns", "rows", "total index", *_known(indices))
    for factor in np.argsort(-indices.total, kind="stable")[:_CELLS_LISTED]:
        rows, columns = np.nonzero(maps.factors == factor)
        table.add_row(
            f"{columns.min()}-{columns.max() + 1} px",
            f"{rows.min()}-{rows.max() + 1} px",
            f"{indices.total[factor]:.3f}",
            *_known(indices, factor),
        )
    return table


def factor_table(indices: Indices) -> Table:
    """The factors of the largest total indices, and how well each is known."""
    table = _table("Largest factors", "factor", "total index", *_known(indices))
    for factor in np.argsort(-indices.total, kind="stable")[:_FACTORS_LISTED]:
        table.add_row(str(factor), f"{indices.total[factor]:.3f}", *_known(indices, factor))
    return table


def attribution_table(found: Attributions, *, ascii_only: bool = False) -> Table:
    """The factors of the largest attributions, with their standard errors or with their signs."""
    table = _table(
        "Largest factors", "factor", "attribution", "with sign" if found.signed is not None else ""
    )
    plus = "+-" if ascii_only else "±"
    for factor in np.argsort(-found.factors, kind="stable")[:_FACTORS_LISTED].tolist():
        error = "" if found.standard_error is None else f" {plus} {found.standard_error[factor]:.2g}"
        signed = "" if found.signed is None else f"{found.signed[factor]:+.3g}"
        table.add_row(str(factor), f"{found.factors[factor]:.3g}{error}", signed)
    return table


def _known(indices: Indices, factor: int | None = None) -> list[str]:
    """Precision of a factor, in one or two cells; without a factor the heads of their columns.

    The full plan has an interval; the adaptive one an upper bound, and whether the factor was perturbed by itself.
    """
    if indices.resolved is not None and indices.upper_bound is not None:
        if factor is None:
            return ["at most", "resolved"]
        return [f"{indices.upper_bound[factor]:.3f}", "yes" if indices.resolved[factor] else "no"]
    if factor is None:
        return ["95 % interval"]
    interval = None if indices.interval_95 is None else indices.interval_95[factor]
    return ["" if interval is None else f"{interval[0]:.3f}-{interval[1]:.3f}"]


def profile_table(bands: Sequence[ProfileBand], *, width: int = 80, ascii_only: bool = False) -> Table:
    """The scale profile: total index and share per factor, each with its standard error."""
    table = _table("Importance per sub-band", "level", "scale")
    table.add_column("orientation", no_wrap=True)
    for name in ("total index", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    room = _add_bar_column(table, width - 68)
    bars = _bars([band.share for band in bands], room, ascii_only)
    plus = "+-" if ascii_only else "±"
    for band, bar in zip(bands, bars, strict=True):
        error, share_error = band.standard_error, band.share_standard_error
        table.add_row(
            str(band.level),
            scale_label(band.scale_px),
            "" if band.level == 0 else band.orientation or "",
            f"{band.total:.3f}" + ("" if error is None else f" {plus} {error:.3f}"),
            percent(band.share) + ("" if share_error is None else f" {plus} {100 * share_error:.1f}"),
            *bar,
        )
    return table


def depth_table(found: Sufficiency) -> Table:
    """The target's probability at the numbers of factors that mean something."""
    factors = len(found.order)
    marks = [(0, "none"), (min(1, factors), "the top factor alone")]
    marks += [] if not found.depth or found.depth == 1 else [(found.depth, "the sufficient image")]
    marks += [(found.positive_factors, "the positive factors"), (factors, "all")]
    table = _table("Rebuilt from the top factors", "factors", "probability")
    table.add_column("class", justify="right")
    table.add_column("")
    for count, name in sorted(marks):
        table.add_row(f"{count:,}", f"{found.probability[count]:.3f}", str(found.predicted[count]), name)
    return table


def change_table(found: Comparison) -> Table:
    """The shares per scale of both images."""
    table = _table("Importance per scale", "level", "scale", "image", "other", "points")
    for change in found.scales:
        table.add_row(
            str(change.level),
            scale_label(change.scale_px),
            percent(change.share),
            percent(change.other_share),
            f"{100 * change.change:+.1f}",
        )
    return table


def corruption_table(found: Robustness) -> Table:
    """The target's probability per corruption and severity, and the share that keeps the label.

    A probability with a star is that of an image which is given another label.
    """
    severities = sorted({each.severity for each in found.corrupted})
    answers = {(each.corruption, each.severity): each for each in found.corrupted}
    table = _table("Probability by severity (*: another label)")
    table.padding = (0, 0, 0, 1)  # five severities fit a narrow terminal
    table.add_column("corruption", no_wrap=True)
    for name in (*map(str, severities), "kept"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, share in found.shares.items():
        cells: list[Text] = []
        for severity in severities:
            each = answers.get((name, severity))
            if each is None:
                cells.append(Text(""))
            elif each.same_label:
                cells.append(Text(f"{each.probability:.2f} "))
            else:
                cells.append(Text(f"{each.probability:.2f}*", style="yellow"))
        table.add_row(corruption_label(name), *cells, f"{100 * share:.0f} %")
    return table


def zoom_table(found: Zoom) -> Table:
    """The shares per scale of the regular and of the enlarged image; the last scale is new."""
    table = _table("Importance per scale", "level", "scale", "regular", "x2", "regular mean", "x2 mean")
    for level in found.levels:
        table.add_row(
            str(level.level),
            scale_label(level.scale_px),
            "new" if level.share is None else percent(level.share),
            percent(level.zoomed_share),
            "" if level.mean_share is None else percent(level.mean_share),
            percent(level.zoomed_mean_share),
        )
    return table


def faithfulness_table(entries: Sequence[Faithfulness]) -> Table:
    """Insertion (higher is better), deletion (lower is better) and µ-fidelity, per domain."""
    table = _table("Faithfulness")
    table.add_column("domain", no_wrap=True)
    for name in ("insertion", "deletion", "mu-fidelity", "by ranks"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in entries:
        fidelity = [
            "" if value is None else f"{value:.3f}"
            for value in (entry.mu_fidelity, entry.mu_fidelity_spearman)
        ]
        table.add_row(DOMAINS[entry.domain], f"{entry.insertion:.3f}", f"{entry.deletion:.3f}", *fidelity)
    return table


def _table(name: str, *numbers: str) -> Table:
    """A table with a column per number, each at the right of its column."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title=name,
        pad_edge=False,
        title_justify="left",
        title_style="bold",
    )
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    return table


def _add_bar_column(table: Table, room: int) -> int:
    """Adds a column for bars where there is room; returns its width, 0 without one."""
    shortest, longest = _BAR_WIDTHS
    room = min(room, longest)
    if room < shortest:
        return 0
    table.add_column("", width=room, no_wrap=True)
    return room


def _bars(shares: Sequence[float], room: int, ascii_only: bool) -> list[list[Text]]:
    """Per share its cells: one with a bar, the longest of them ``room`` characters; none without room."""
    largest = max((*shares, 0.0))
    if room == 0:
        return [[] for _ in shares]
    lengths = [room * share / largest if largest > 0 else 0.0 for share in shares]
    return [[Text(_bar(length, ascii_only), style="cyan")] for length in lengths]


def _band(band: BandImportance | None) -> str:
    return "" if band is None else percent(band.share)


def _bar(length: float, ascii_only: bool) -> str:
    """A bar of ``length`` characters, blocks drawn to an eighth; empty for a negative one."""
    length = max(length, 0.0)
    if ascii_only:
        return "#" * round(length)
    whole, eighths = divmod(round(8 * length), 8)
    return "█" * whole + (_EIGHTHS[eighths] if eighths else "")
