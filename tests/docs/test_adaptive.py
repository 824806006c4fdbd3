"""docs/adaptive.md shows what ``make adaptive`` wrote."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adaptive.md").read_text("utf-8")
# The second is of the probability, which was the default: the rejected variants.
RESULTS = [
    (ROOT / "bench" / "results" / name).read_text("utf-8")
    for name in ("adaptive.md", "adaptive-probability.md")
]


def test_its_tables_are_parts_of_those_measured() -> None:
    measured = [line for results in RESULTS for line in results.splitlines()]
    tables = [
        block.splitlines()
        for block in PAGE.split("\n\n")
        if block.startswith("|") and block.splitlines()[0] in measured
    ]
    assert len(tables) >= 6
    for table in tables:
        assert set(table) <= set(measured)
