"""Picture of docs/monitoring.md: how soon each change is seen, by what is watched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.drift.crops import CONDITIONS
from bench.drift.delay import COMBINED
from bench.drift.streams import AFTER, BLACK, OTHERS

SHOWN = {
    COMBINED: ("black", "D"),
    "input": ("tab:blue", "o"),
    "Laplacian variance": ("tab:cyan", "s"),
    "confidence": ("tab:orange", "^"),
    "embedding": ("tab:green", "v"),
    "reliance": ("tab:red", "P"),
    "fineness": ("tab:purple", "X"),
}
UNSEEN = AFTER * 1.5  # where those are drawn that half of the streams do not see


def draw(results: dict[str, Any], path: Path) -> None:
    """Writes the picture of the median delays of steps, under the conformal test."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    conditions = (*CONDITIONS[1:], BLACK, OTHERS)
    figure, axes = pyplot.subplots(figsize=(8, 6.2), layout="constrained")
    for place, (name, (colour, marker)) in enumerate(SHOWN.items()):
        cells = results["delays"][f"{name} | conformal"]["step"]
        delays = [cells[condition]["delay"] for condition in conditions]
        heights = [-at + (place - len(SHOWN) / 2) * 0.09 for at in range(len(conditions))]
        places = [UNSEEN if delay is None else delay for delay in delays]
        axes.scatter(places, heights, c=colour, marker=marker, s=26, label=name, zorder=3)
    for at in range(len(conditions)):
        axes.axhline(-at - 0.5, color="0.9", linewidth=0.8)
    harms = results["worth"]["harm"]
    labels = [f"{one} ({harms[one]:.0%})" if one in harms else one for one in conditions]
    axes.set_yticks([-at for at in range(len(conditions))], labels)
    axes.set_xscale("log")
    axes.axvline(AFTER, color="0.6", linewidth=0.8)
    axes.set_xticks([3, 10, 30, 100, 300, UNSEEN], ["3", "10", "30", "100", "300", "not seen"])
    axes.minorticks_off()
    axes.set_xlabel("images from the change to the alarm, median; in brackets the labels that change")
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, 1.1), ncols=4, frameon=False, fontsize=9)
    axes.set_ylim(-len(conditions) + 0.4, 0.6)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
