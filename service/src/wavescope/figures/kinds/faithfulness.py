"""Insertion and deletion curves: how well a map shows what the model uses (paper, appendix A.1.2)."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator

from wavescope.engine.types import Faithfulness
from wavescope.figures.colours import FIRST, INK, SECOND
from wavescope.figures.labels import DOMAINS, fidelity_words
from wavescope.figures.page import LEFT_IN, TITLE_IN, Page, Row
from wavescope.figures.panels import title, words
from wavescope.figures.text import FONT

_CHART_IN = (4.1, 1.9)


def faithfulness_row(entries: Sequence[Faithfulness]) -> Row:
    """One chart per domain."""
    width, height = _CHART_IN

    def draw(page: Page, top: float) -> None:
        for place, entry in enumerate(entries[:2]):
            left = LEFT_IN + 0.5 + place * (page.width - LEFT_IN) / 2
            draw_curves(page.axes(left, top + TITLE_IN, width - 0.4, height), entry)

    return Row(TITLE_IN + height + 0.5, draw)


def draw_curves(axes: Axes, entry: Faithfulness) -> None:
    """Probability of the target as features come or go, the most important first; areas and µ-fidelity beside."""
    title(axes, f"Faithfulness in {DOMAINS[entry.domain]}")
    curves = (
        (entry.insertion_curve, FIRST, "-", f"insertion\n(area {entry.insertion:.3f})"),
        (entry.deletion_curve, SECOND, (0, (5, 1.5)), f"deletion\n(area {entry.deletion:.3f})"),
    )
    for curve, colour, dashes, name in curves:
        axes.plot(entry.fraction, curve, color=colour, linestyle=dashes, linewidth=1.8, label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1.02 * max(0.05, entry.insertion_curve.max(), entry.deletion_curve.max())))
    axes.xaxis.set_major_locator(MultipleLocator(0.25))
    axes.xaxis.set_major_formatter(lambda value, _: f"{round(100 * value, 6):g} %")
    axes.set_xlabel("features inserted or deleted, most important first", **words(8), labelpad=2)
    axes.set_ylabel("probability of the target", **words(8))
    axes.tick_params(labelsize=7.5, labelcolor=INK, labelfontfamily=FONT, length=3, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.02, 1.05),
        frameon=False,
        prop={"family": FONT, "size": 8},
        labelcolor=INK,
        handlelength=1.8,
        title=fidelity_words(entry).replace(": ", ":\n").replace(", ", "\n"),
        title_fontproperties={"family": FONT, "size": 8},
        alignment="left",
    )
