"""Tables of bench/results/drift.md."""

from __future__ import annotations

from typing import Any

import numpy as np
from bench import report
from bench.drift import study
from bench.drift.crops import CONDITIONS
from bench.drift.delay import BANKS, COMBINED, NULL_STREAMS, PROFILED, RISK, STREAMS, WITHIN
from bench.drift.features import FEATURES
from bench.drift.streams import AFTER, BEFORE, BLACK, CALIBRATE, FIT, OTHERS
from bench.drift.worth import HARM

BANDS = 10
MOST = 1.5  # times the delay of the best single detector
LEAST = 0.8  # of the conditions
DETECTORS = ("conformal", "KS windows", "CUSUM", "MMD")

Results = dict[str, Any]


def cost(feature: str, rows: int) -> float:
    """Forwards of an observation.

    Example:
        >>> cost("confidence", 4), cost("reliance", 4), round(cost("combined", 4), 1)
        (1, 49, 10.6)
    """
    profile = rows * (BANDS + 2)
    if feature == COMBINED:
        return 1 + PROFILED * profile
    own = FEATURES[feature].forwards if feature in FEATURES else None
    return 1 + profile if own is None else own


def harmful(results: Results) -> list[str]:
    """Conditions that change the label of so many images."""
    return [name for name, harm in results["worth"]["harm"].items() if harm >= HARM]


def gate(results: Results) -> Results:
    """The combined monitor against the best single detector of each harmful condition, all of them known beforehand."""
    steps = {pair: modes["step"] for pair, modes in results["delays"].items()}
    own = f"{COMBINED} | conformal"
    rows: list[Results] = []
    for condition in harmful(results):
        others = {
            pair: each[condition]["delay"]
            for pair, each in steps.items()
            if pair != own and each[condition]["delay"] is not None
        }
        best = min(others, key=others.__getitem__) if others else None
        mine = steps[own][condition]["delay"]
        fair = best is None or (mine is not None and mine <= MOST * max(others[best], 1))
        rows.append(
            {
                "condition": condition,
                "combined": mine,
                "best": None if best is None else others[best],
                "by": best,
                "holds": fair,
            }
        )
    holding = float(np.mean([row["holds"] for row in rows]))
    return {"rows": rows, "holding": holding, "passed": holding >= LEAST}


def number(value: float | None, kind: str = ".0f") -> str:
    """A number, or a dash where half of the streams do not see the change."""
    return "–" if value is None else format(value, kind)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [_row(head), "|---" * len(head) + "|", *map(_row, rows)]


def _with_interval(cell: Results) -> str:
    ends = cell.get("interval_90")
    shown = number(cell["delay"])
    return shown if ends is None else f"{shown} ({number(ends[0])}..{number(ends[1])})"


def form(results: Results) -> list[str]:
    """The choice of the profile's form."""
    columns = [(name, condition) for name in study.SIGNALS for condition in study.STUDY_CONDITIONS[1:]]
    rows = [
        [
            f"`{row['partition']}`",
            str(row["rows"]),
            str(row["forwards"]),
            f"{row['spread']:.3f}",
            f"{row['error']:.3f}",
            *(f"{row['auc'][name][condition]:.2f}" for name, condition in columns),
            f"{study.mean_rate(row):.2f}",
            f"{study.mean_rate(row) * 1000 / row['forwards']:.1f}",
        ]
        for row in results["study"]
    ]
    head = ["partition", "N", "forwards", "spread of shares", "error against N = 8"]
    head += [f"{name}, {condition}" for name, condition in columns]
    return _table([*head, "evidence, an image", "evidence, 1,000 forwards"], rows)


def by_feature(results: Results) -> list[str]:
    """Median delays of steps, by what is watched."""
    delays, harms = results["delays"], results["worth"]["harm"]
    shown = [COMBINED, *FEATURES]
    rows = [
        [
            condition,
            f"{harms[condition]:.0%}" if condition in harms else "",
            *(_with_interval(delays[f"{name} | conformal"]["step"][condition]) for name in shown),
        ]
        for condition in (*CONDITIONS[1:], BLACK, OTHERS)
    ]
    return _table(["change", "harm", *shown], rows)


def by_forwards(results: Results) -> list[str]:
    """Forwards from a step to the alarm."""
    delays, rows_of = results["delays"], results["design_rows"]
    shown = [COMBINED, "confidence", "softmax (BBSD)", "embedding", "reliance", "fineness"]
    rows: list[list[str]] = []
    for condition in CONDITIONS[1:]:
        cells = [delays[f"{name} | conformal"]["step"][condition]["delay"] for name in shown]
        rows.append(
            [
                condition,
                *(
                    number(None if d is None else d * cost(n, rows_of), ",.0f")
                    for n, d in zip(shown, cells, strict=True)
                ),
            ]
        )
    return _table(["change", *shown], rows)


def by_detector(results: Results) -> list[str]:
    """Every feature with every detector: harmful steps that are seen, and the geometric mean delay of those."""
    conditions = harmful(results)
    rows: list[list[str]] = []
    names = [*FEATURES, "profile", COMBINED]
    detectors = sorted({pair.split(" | ")[1] for pair in results["delays"]}, key=_order)
    for name in names:
        cells = []
        for detector in detectors:
            modes = results["delays"].get(f"{name} | {detector}")
            if modes is None:
                cells.append("")
                continue
            found = [modes["step"][one]["delay"] for one in conditions]
            seen = [delay for delay in found if delay is not None]
            mean = float(np.exp(np.mean(np.log(np.maximum(seen, 1))))) if seen else None
            cells.append(f"{len(seen)} ({number(mean)})")
        rows.append([name, *cells])
    return _table(["feature", *detectors], rows)


def _order(detector: str) -> tuple[int, str]:
    return (DETECTORS.index(detector) if detector in DETECTORS else len(DETECTORS), detector)


def by_mode(results: Results) -> list[str]:
    """Steps, mixtures and ramps: median delay and part detected, of the combined monitor and single signals."""
    shown = [COMBINED, *FEATURES]
    rows = []
    for mode in ("step", "mixture 30 %", "mixture 10 %", "ramp"):
        of_mode = results["delays"][f"{COMBINED} | conformal"][mode]
        conditions = list(of_mode) if mode == "ramp" else harmful(results)
        for condition in conditions:
            cells = [results["delays"][f"{name} | conformal"][mode][condition] for name in shown]
            rows.append([mode, condition, *(f"{number(c['delay'])} ({c['detected']:.2f})" for c in cells)])
    return _table(["kind", "change", *shown], rows)


def gate_table(results: Results) -> list[str]:
    """The combined monitor against the best single detector."""
    rows = [
        [
            row["condition"],
            number(row["combined"]),
            number(row["best"]),
            (row["by"] or "none").replace(" | ", ", "),
            "yes" if row["holds"] else "**no**",
        ]
        for row in results["gate"]["rows"]
    ]
    return _table(["change", "combined", "best single", "which", f"within {MOST:g} times"], rows)


def worth_table(results: Results) -> list[str]:
    """What evidence says of harm."""
    found = results["worth"]["order"]
    rows = [
        [name, *(number(each[key], ".2f") for key in ("auc all", "auc input", "auc model", "spearman"))]
        for name, each in found.items()
    ]
    head = [
        "feature",
        "AUC, all changes",
        "AUC, of the input",
        "AUC, of the model",
        "rank correlation with harm",
    ]
    return _table(head, rows)


def rates_table(results: Results) -> list[str]:
    """Evidence an image, by change."""
    harms, rates = results["worth"]["harm"], results["worth"]["rates"]
    order = sorted(harms, key=harms.__getitem__)
    rows = [
        [name, f"{harms[name]:.0%}", *(f"{rates[feature][name]:.2f}" for feature in FEATURES)]
        for name in order
    ]
    return _table(["change", "harm", *FEATURES], rows)


def labels_table(found: Results) -> list[str]:
    """AUC of numbers of the clean image for a change of label."""
    rows = []
    for name, each in found["signals"].items():
        low, high = each["interval_95"]
        against = found["less_than_confidence"].get(name)
        shown = "" if against is None else f"{against[0]:+.2f}..{against[1]:+.2f}"
        rows.append([name, f"{each['auc']:.2f}", f"{low:.2f}..{high:.2f}", shown])
    return _table(["number of the clean image", "AUC", "95 %", "less that of confidence, 95 %"], rows)


def markdown(results: Results) -> list[str]:
    """All tables."""
    rows = results["design_rows"]
    gated, labels, deep = results["gate"], results["label_changes"], results["label_changes_with_depth"]
    lines = [
        "# Monitors on photographs that change",
        "",
        report.made_by(results["environment"], results["command"]),
        "",
        f"{results['images']} crops of {results['photographs']} photographs under EfficientNet-Lite0; every change is "
        f"made of every crop. Profiles: `subbands`, N = {rows}, {rows * (BANDS + 2) + 1} forwards with the prediction. "
        "The crops are few and of few photographs: streams draw them again and again, and intervals are over "
        "photographs. Harm: share of the crops whose label is another than without the change.",
        "",
        "## The form of the profile",
        "",
        f"{study_images(results)} crops. Spread: of the shares, over clean images; error: root mean square difference "
        "from the shares of N = 8, of the same design. AUC: of a clean against a changed image. Evidence: growth of "
        "ln R of the conformal test, an image, of the better of reliance and fineness, on average over the changes.",
        "",
        *form(results),
        "",
        "## How soon a change is seen",
        "",
        f"{STREAMS} streams of a kind, references of {FIT} + {CALIBRATE} images, the change after {BEFORE} "
        f"observations. Every detector has the threshold at which {RISK:.0%} of {NULL_STREAMS:,} unchanged streams "
        f"alarm within {WITHIN:,} observations: that compares what they see, at a calibration that no user has. Median "
        f"delay in observations; – where fewer than half of the streams see it within {AFTER}; in brackets its "
        f"spread, 5 % and 95 %, over {BANKS} banks whose photographs are drawn anew. Combined: input and confidence of "
        f"every image, reliance and fineness of {PROFILED:.0%}. Single signals are of every image. The conformal test:",
        "",
        *by_feature(results),
        "",
        "Forwards from the change to the alarm; input energies and Laplacian variance need none:",
        "",
        *by_forwards(results),
        "",
        f"Every feature under every detector: how many of the {len(harmful(results))} changes with a harm of "
        f"{HARM:.0%} or more are seen by half of the streams, and in brackets the geometric mean of the median delays "
        "of those. The bounded-mean test takes the shares for a profile. KS: windows of 100, looked at after every 10.",
        "",
        *by_detector(results),
        "",
        "Steps, mixtures of so many changed images with unchanged ones, and ramps that grow to severity 5 within 1,000 "
        "observations; median delay, in brackets the part of the streams that saw it:",
        "",
        *by_mode(results),
        "",
        f"The combined monitor is held to {MOST:g} times the median delay of the best of all single detectors above, "
        f"picked afterwards for each change. It holds for {gated['holding']:.0%} of the changes with a harm of "
        f"{HARM:.0%} or more ({'passed' if gated['passed'] else 'failed'}: {LEAST:.0%} were asked for).",
        "",
        *gate_table(results),
        "",
        "## What an alarm is worth",
        "",
        f"AUC: whether changes with a harm of {HARM:.0%} or more give more evidence an image than others do; "
        "– where there are none of one kind.",
        "",
        *worth_table(results),
        "",
        "Evidence an image, by change, in the order of harm:",
        "",
        *rates_table(results),
        "",
        "## Which images change their label",
        "",
        f"AUC of numbers of the clean crop for keeping its label, on average over the nine corruptions; "
        f"{labels['changed']:.0%} of the labels change. Intervals by photograph. Below one half: large values change.",
        "",
        *labels_table(labels),
    ]
    if deep is not None:
        lines += [
            "",
            f"The same on {deep['images']} crops of {deep['photographs']} photographs, with the reconstruction depth:",
            "",
            *labels_table(deep),
        ]
    return lines


def study_images(results: Results) -> int:
    """Crops of the study."""
    return int(results["study"][0]["images"])
