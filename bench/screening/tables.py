"""The tables of ``bench/adaptive.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Of a row, in the order of the columns: heading, digits.
COLUMNS = {
    "correlation": ("correlation", 3),
    "spearman": ("by ranks", 3),
    "top20": ("of top 20", 0),
    "top50": ("of top 50", 0),
    "held50": ("held by its 50", 3),
    "levels": ("level error", 3),
    "scale": ("sum / truth's", 2),
    "insertion": ("insertion", 3),
    "deletion": ("deletion", 3),
    "fidelity": ("µ-fidelity", 3),
    "covered": ("covered", 2),
    "covered50": ("covered, top 50", 2),
    "allowed50": ("truth's error allowed", 2),
}
LOSERS_COLUMNS = ("correlation", "spearman", "top20", "top50", "held50", "levels")
# Compared in the bar; these the lower the better, all others the higher.
BAR = ("correlation", "top20", "top50", "insertion", "deletion", "levels", "allowed50")
LOWER = ("deletion", "levels")

Row = dict[str, Any]


def medians(rows: list[Row]) -> list[Row]:
    """One row per set, method and forwards: median, least and most of every metric."""
    found: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row["set"], row["method"], row["forwards"]), []).append(row)
    return [
        {"set": of, "method": method, "forwards": forwards, "runs": len(same)}
        | {
            metric: [float(f([row[metric] for row in same])) for f in (np.median, np.min, np.max)]
            for metric in COLUMNS
            if all(row.get(metric) is not None for row in same)
        }
        for (of, method, forwards), same in found.items()
    ]


def frontier(summary: list[Row], of: str) -> list[str]:
    """Full and adaptive plans of one set of photographs, by forwards."""
    chosen = [row for row in summary if row["set"] == of and row["method"] in ("full", "adaptive")]
    shown = [metric for metric in COLUMNS if any(metric in row for row in chosen)]
    lines = _head(["plan", "forwards"], shown)
    for row in sorted(chosen, key=lambda row: (row["method"] == "adaptive", row["forwards"])):
        name = f"full, N = {round(row['forwards'] / 786)}" if row["method"] == "full" else "adaptive"
        lines.append(_line([name, f"{row['forwards']:,}"], row, shown, spread=("correlation",)))
    return lines


def bar(summary: list[Row], rows: list[Row], of: str, pairs: Sequence[tuple[int, int]]) -> list[str]:
    """Medians of adaptive against full plans, and how many runs of the adaptive one are at least as good."""
    lines = ["| full | adaptive | " + " | ".join(COLUMNS[metric][0] for metric in BAR) + " |"]
    lines.append("|---" * (len(BAR) + 2) + "|")
    for forwards, budget in pairs:
        full, ours = _one(summary, of, "full", forwards), _one(summary, of, "adaptive", budget)
        cells = [f"{forwards:,}", f"{budget:,}"]
        for metric in BAR:
            sign = -1 if metric in LOWER else 1
            won = [
                sign * one[metric] >= sign * other[metric]
                for one in _runs(rows, of, "adaptive", budget)
                for other in _runs(rows, of, "full", forwards)
                if all(one[key] == other[key] for key in ("photograph", "model"))
            ]
            numbers = f"{_number(ours[metric][0], metric)} / {_number(full[metric][0], metric)}"
            tick = " ✓" if sign * ours[metric][0] >= sign * full[metric][0] else ""
            cells.append(f"{numbers}{tick} ({sum(won)} of {len(won)})")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def losers(summary: list[Row], of: str, budgets: Sequence[int]) -> list[str]:
    """Every other method at the same forwards, budget by budget."""
    lines: list[str] = []
    for budget in budgets:
        chosen = [
            row
            for row in summary
            if row["set"] == of
            and row["method"] != "full"
            and (row["forwards"] == budget or (row["forwards"] < 100 and budget == budgets[0]))
        ]
        if not chosen:
            continue
        lines += ["", f"### {budget:,} forwards", "", *_head(["method", "forwards"], list(LOSERS_COLUMNS))]
        for row in sorted(chosen, key=lambda row: -row["correlation"][0]):
            name = f"**{row['method']}**" if row["method"] == "adaptive" else row["method"]
            lines.append(
                _line([name, f"{row['forwards']:,}"], row, list(LOSERS_COLUMNS), spread=("correlation",))
            )
    return lines[1:]


def truths(known: list[Row]) -> list[str]:
    """What is known of every photograph's truth."""
    lines = [
        "| photograph | class | probability | N | V | halves: correlation | by ranks | of top 20 | of top 50 "
        "| level error | at best |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['photograph']} | {row['class']} | {row['probability']:.3f} | {row['rows']} | {row['variance']:.2g} | "
        f"{row['correlation']:.3f} | {row['spearman']:.3f} | {row['top20']:.0f} | {row['top50']:.0f} | "
        f"{row['levels']:.3f} | {row['reachable']:.3f} |"
        for row in known
    ]
    return lines


def photographs(rows: list[Row], pairs: Sequence[tuple[int, int]]) -> list[str]:
    """Correlations photograph by photograph, means over seeds, adaptive against full."""
    names = list(dict.fromkeys(row["photograph"] for row in rows))
    lines = ["| photograph | " + " | ".join(f"{b:,} against {f:,}" for f, b in pairs) + " |"]
    lines.append("|---" * (len(pairs) + 1) + "|")
    for name in names:
        cells = [
            f"{_mean(rows, name, 'adaptive', budget):.3f} / {_mean(rows, name, 'full', forwards):.3f}"
            for forwards, budget in pairs
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def defaults(rows: list[Row]) -> list[str]:
    """Plans without a budget: what ended them, and the accuracy they expected beside the real one."""
    lines = [
        "| photograph | seed | forwards | ended by | correlation: expected, real | level error: expected, real "
        "| covered, top 50 | warnings |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['photograph']} | {row['seed']} | {row['spent']:,} | `{row['stopped']}` "
        f"| {row['expected'][0]:.3f}, {row['correlation']:.3f} | {row['expected'][1]:.3f}, {row['levels']:.3f} "
        f"| {row['covered50']:.2f} | {len(row['warnings'])} |"
        for row in rows
    ]
    return lines


def refreshed(page: str, results: str) -> str:
    """The page with its tables as the results have them: the first of a heading for the first of it, and so on."""
    left: dict[str, list[str]] = {}
    for block in _blocks(results):
        left.setdefault(block.split("\n")[0], []).append(block)
    shown = [
        left[heading].pop(0) if left.get(heading := block.split("\n")[0]) else block
        for block in _blocks(page)
    ]
    return "\n\n".join(shown) + "\n"


def _blocks(page: str) -> list[str]:
    return page.rstrip("\n").split("\n\n")


def _mean(rows: list[Row], photograph: str, method: str, forwards: int) -> float:
    key = (photograph, method, forwards)
    same = [row for row in rows if (row["photograph"], row["method"], row["forwards"]) == key]
    return float(np.mean([row["correlation"] for row in same]))


def _head(first: list[str], metrics: list[str]) -> list[str]:
    names = [*first, *(COLUMNS[metric][0] for metric in metrics)]
    return ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]


def _line(first: list[str], row: Row, metrics: list[str], *, spread: tuple[str, ...]) -> str:
    cells = list(first)
    for metric in metrics:
        if metric not in row:
            cells.append("")
            continue
        middle, low, high = row[metric]
        around = f" ({_number(low, metric)}–{_number(high, metric)})" if metric in spread else ""
        cells.append(_number(middle, metric) + around)
    return "| " + " | ".join(cells) + " |"


def _number(value: float, metric: str) -> str:
    digits = COLUMNS[metric][1]
    return f"{value:g}" if digits == 0 else f"{value:.{digits}f}"


def _one(summary: list[Row], of: str, method: str, forwards: int) -> Row:
    return _runs(summary, of, method, forwards)[0]


def _runs(rows: list[Row], of: str, method: str, forwards: int) -> list[Row]:
    return [row for row in rows if (row["set"], row["method"], row["forwards"]) == (of, method, forwards)]
