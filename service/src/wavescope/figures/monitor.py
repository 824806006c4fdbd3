"""Report of a monitor as a picture: what it found, importance by scale then and now, evidence over time, images."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from io import BytesIO

import matplotlib.dates as mdates
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wavescope.engine.monitors.status import Findings, ScaleStatus, Summary
from wavescope.figures.colours import FIRST, INK, MUTED, OTHER, SECOND
from wavescope.figures.page import Page
from wavescope.figures.text import FONT, drawable

WIDTH_IN = 12.0
LEFT_IN = 0.4
DPI = 100
MAX_IMAGES = 6
# Of signals, in their order: distinct in luminance, and by their lines.
LINES: dict[str, tuple[str, str]] = {
    "input": (FIRST, "-"),
    "confidence": (SECOND, "--"),
    "reliance": ("#3a8f5c", "-."),
    "fineness": ("#8a63a8", ":"),
}
MEANINGS = {
    "input": "input (energies of the images' scales)",
    "confidence": "confidence",
    "reliance": "reliance (scales that the model relies on)",
    "fineness": "fineness (mean scale of the importance)",
}
FLOOR = -1.0  # log10 of the evidence below which nothing is drawn
MANY_POINTS = 2


def draw_report(
    name: str, summary: Summary, findings: Findings, images: Mapping[int, Float[np.ndarray, "c h w"]]
) -> bytes:
    """Draws the report of a monitor as a PNG.

    Args:
        name: of the monitor.
        summary: of its state.
        findings: evidence over time and the most shifted observations.
        images: crops of shifted observations in [0, 1], by their numbers; the others are listed.

    Returns:
        The bytes of a PNG file, 12 inches wide at 100 dpi.
    """
    figure = build_report(name, summary, findings, images)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def build_report(
    name: str, summary: Summary, findings: Findings, images: Mapping[int, Float[np.ndarray, "c h w"]]
) -> Figure:
    """The report as matplotlib artists, outside pyplot's registry; arguments as of :func:`draw_report`."""
    words = _words(summary)
    shown = [one for one in findings.shifted if one.seq in images][:MAX_IMAGES]
    listed = _listed(findings) if not shown else []
    below = 2.2 if shown else 0.25 + 0.19 * len(listed)
    top = 0.75 + 0.22 * len(words)
    height = top + 3.55 + below
    figure = Figure(figsize=(WIDTH_IN, height), facecolor="white")
    FigureCanvasAgg(figure)
    page = Page(figure, WIDTH_IN, height)
    page.text(LEFT_IN, 0.2, drawable(f"Monitor {name}: {summary.state}"), 14, weight="bold")
    page.text(LEFT_IN, 0.58, "\n".join(words), 9.5, linespacing=1.45)
    _draw_scales(page.axes(LEFT_IN + 0.65, top + 0.25, 4.1, 2.5), summary.scales)
    _draw_evidence(page.axes(LEFT_IN + 6.1, top + 0.25, 5.2, 2.5), summary, findings)
    if shown:
        for place, one in enumerate(shown):
            axes = page.axes(LEFT_IN + place * 1.9, top + 3.95, 1.5, 1.5)
            _draw_image(axes, images[one.seq], f"#{one.seq}, by {one.signal}, p = {one.p:.3g}", one.label)
        page.text(LEFT_IN, top + 3.5, "Observations that shifted most", 10)
    else:
        page.text(LEFT_IN, top + 3.4, "\n".join(listed), 8.5, color=MUTED, linespacing=1.4)
    return figure


def _words(summary: Summary) -> list[str]:
    """Sentences under the title, wrapped."""
    reference = summary.reference
    sentences = [summary.verdict] if summary.signals else []
    if summary.reason:
        sentences.append(summary.reason[:1].upper() + summary.reason[1:] + ".")
    if summary.state == "collecting":
        sentences.append(
            f"The reference has {reference.n} of {reference.size} images; nothing is compared yet."
        )
    if summary.alarm is not None:
        sentences.append(
            f"Alarm {summary.alarm.number} was raised by observation {summary.alarm.seq} at {_time(summary.alarm.at)}"
            f" ({', '.join(one.name for one in summary.alarm.readings)}), and is not acknowledged."
        )
    changed = next(
        (one.changed_at for one in summary.signals if one.changed_at and one.false_alarm_bound <= 0.01), None
    )
    if changed is not None:
        earlier = "before" if changed.earlier else "at"
        sentences.append(
            f"The change began {earlier} observation {changed.seq}, between {changed.interval[0]} and "
            f"{changed.interval[1]} as far as can be said."
        )
    promise = summary.guarantee
    days = (
        f", {promise.mean_days_at_this_rate:,.3g} days at {summary.rate_per_hour:,.0f} an hour"
        if promise.mean_days_at_this_rate is not None and summary.rate_per_hour is not None
        else ""
    )
    sentences.append(
        f"False alarms: one in {promise.mean_observations:,.0f} observations on average or fewer{days}, while nothing "
        "changes."
    )
    total = sum(summary.outcomes.values())
    missing = total - summary.outcomes.get("observed", 0)
    sentences.append(f"{total:,} observations so far, {missing:,} of them without a measurement.")
    return [drawable(line) for text in sentences for line in textwrap.wrap(text, 150)]


def _draw_scales(axes: Axes, scales: tuple[ScaleStatus, ...]) -> None:
    """Mean share of every scale in the reference, with its spread, and now, with its interval."""
    _style(axes, "Importance by scale, in the reference and now")
    if not scales:
        _say(axes, "No profiles: only the images and the confidence are watched.")
        return
    rows = np.arange(len(scales))
    before = np.array([one.reference for one in scales])
    spread = np.array([one.reference_sd for one in scales])
    axes.barh(
        rows,
        2 * spread,
        left=np.maximum(before - spread, 0),
        height=0.62,
        color=OTHER,
        alpha=0.6,
        linewidth=0,
    )
    axes.plot(
        before,
        rows,
        "|",
        color=INK,
        markersize=20,
        markeredgewidth=1.6,
        label="reference (mean; grey: ± sd of images)",
    )
    known = [(row, one) for row, one in zip(rows, scales, strict=True) if one.now is not None]
    if known:
        now = np.array([one.now for _, one in known], dtype=float)
        ends = np.array(
            [one.interval_95 if one.interval_95 is not None else (one.now, one.now) for _, one in known],
            dtype=float,
        )
        axes.errorbar(
            now,
            [row for row, _ in known],
            xerr=np.abs(ends.T - now),
            fmt="o",
            color=SECOND,
            markersize=6,
            capsize=4,
            label=f"now (mean of {known[0][1].profiles} profiles, 95 % interval)",
        )
    axes.set_yticks(rows, [one.scale for one in scales])
    axes.set_ylim(-0.6, len(scales) - 0.4)
    axes.set_xlim(left=0)
    axes.set_xlabel("share of the importance", fontsize=8.5, fontfamily=FONT)
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.45, -0.17),
        fontsize=7.5,
        frameon=False,
        ncols=2,
        columnspacing=1.2,
        markerscale=0.45,
    )


def _draw_evidence(axes: Axes, summary: Summary, findings: Findings) -> None:
    """log10 of the evidence of every signal over time, and its threshold."""
    _style(axes, "Evidence of change, log10: an alarm is raised at the dotted line")
    trace = findings.trace
    if len(trace.seqs) < MANY_POINTS:
        _say(axes, "No evidence yet: the stream has not been compared.")
        return
    times = _dates(trace.at)
    spread = len(np.unique(trace.at)) > 1
    x = mdates.date2num(times) if spread else trace.seqs
    for column, (name, threshold) in enumerate(zip(findings.names, findings.thresholds, strict=True)):
        colour, line = LINES.get(name, (INK, "-"))
        values = trace.log10[:, column]
        drawn = np.where(values >= FLOOR, values, np.nan)
        axes.plot(x, drawn, line, color=colour, linewidth=1.6, label=MEANINGS.get(name, name))
        axes.axhline(
            threshold,
            color=colour if len(set(findings.thresholds)) > 1 else MUTED,
            linewidth=1.1,
            linestyle=":",
        )
    for alarm in summary.alarms:
        place = _place(alarm.at, spread, alarm.seq)
        if x[0] <= place <= x[-1]:
            axes.axvline(place, color=SECOND, linewidth=1.0)
            axes.annotate(
                f"alarm {alarm.number}",
                (place, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(-3, -3),
                textcoords="offset points",
                ha="right",
                va="top",
                rotation=90,
                fontsize=7.5,
                fontfamily=FONT,
                color="#a94f00",
            )
    top = max(*findings.thresholds, float(np.nanmax(np.where(np.isfinite(trace.log10), trace.log10, np.nan))))
    axes.set_ylim(FLOOR, top + 0.12 * (top - FLOOR))
    if spread:
        locator = mdates.AutoDateLocator(minticks=3, maxticks=8)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
        axes.xaxis.get_offset_text().set_fontsize(8)
        axes.set_xlabel("time, UTC", fontsize=8.5, fontfamily=FONT)
    else:
        axes.set_xlabel("observation", fontsize=8.5, fontfamily=FONT)
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.17),
        fontsize=7.5,
        frameon=False,
        ncols=2,
        columnspacing=1.2,
    )


def _draw_image(axes: Axes, image: Float[np.ndarray, "c h w"], title: str, label: str) -> None:
    axes.imshow(
        np.clip(image.transpose(1, 2, 0) if len(image) == 3 else image[0], 0, 1), cmap="gray", vmin=0, vmax=1
    )
    axes.set_axis_off()
    axes.set_title(drawable(title), fontsize=7, fontfamily=FONT, color=INK, pad=3)
    if label:
        style = {"fontsize": 7, "color": MUTED, "fontfamily": FONT, "ha": "center", "va": "top"}
        axes.text(0.5, -0.04, drawable(_short(label)), transform=axes.transAxes, **style)


def _listed(findings: Findings) -> list[str]:
    """The most shifted observations in lines, where their images are not kept."""
    if not findings.shifted:
        return []
    lines = ["Observations that shifted most (their images are not kept: set keep_images):"]
    lines += [
        drawable(
            f"#{one.seq}  by {one.signal}: {one.p:.3g} of the reference is as far"
            + (f"  {_short(one.label)}" if one.label else "")
        )
        for one in findings.shifted[:MAX_IMAGES]
    ]
    return lines


def _short(label: str) -> str:
    return label if len(label) <= 30 else f"…{label[-29:]}"


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10, fontfamily=FONT, color=INK, loc="left")
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _say(axes: Axes, text: str) -> None:
    axes.text(
        0.5,
        0.5,
        text,
        transform=axes.transAxes,
        ha="center",
        va="center",
        fontsize=9,
        color=MUTED,
        fontfamily=FONT,
    )
    axes.set_xticks([])
    axes.set_yticks([])


def _dates(at: Float[np.ndarray, " n"]) -> list[datetime]:
    return [datetime.fromtimestamp(float(one), UTC) for one in at]


def _place(at: float, spread: bool, seq: int) -> float:
    return float(mdates.date2num(datetime.fromtimestamp(at, UTC))) if spread else float(seq)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
