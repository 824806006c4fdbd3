"""The pages for newcomers say what holds: every page is in the index, extras are those there are, numbers are real."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from wavescope.engine import warnings
from wavescope.engine.kinds import KINDS
from wavescope.engine.requests import make_request

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CONCEPTS = (DOCS / "concepts.md").read_text("utf-8")
GLOSSARY = (DOCS / "glossary.md").read_text("utf-8")


def rows_below(text: str, heading: str) -> list[list[str]]:
    table = text[text.index(f"\n| {heading} |") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table[2:]]


def test_the_index_lists_every_page():
    listed = set(re.findall(r"\]\(([\w/-]+\.(?:md|json))\)", (DOCS / "index.md").read_text("utf-8")))
    pages = {str(path.relative_to(DOCS)) for ending in ("md", "json") for path in DOCS.rglob(f"*.{ending}")}
    assert pages - {"index.md"} == listed


@pytest.mark.parametrize("name", ["docs/install.md", "service/README.md"])
def test_every_extra_is_listed(name):
    project = tomllib.loads((ROOT / "service" / "pyproject.toml").read_text("utf-8"))["project"]
    listed = [
        extra
        for row in rows_below((ROOT / name).read_text("utf-8"), "extra | for")
        for extra in re.findall(r"`([\w-]+)`", row[0])
    ]
    assert sorted(listed) == sorted(project["optional-dependencies"])


def test_extras_and_folders_of_pip_commands_exist():
    extras = tomllib.loads((ROOT / "service" / "pyproject.toml").read_text("utf-8"))["project"]
    commands = re.findall(r"^pip install (.+)$", (DOCS / "install.md").read_text("utf-8"), re.MULTILINE)
    assert len(commands) >= 4
    for argument in " ".join(commands).replace('"', "").split():
        folder, named = re.fullmatch(r"\./([\w/]+)(?:\[([\w,-]+)\])?", argument).groups()
        assert (ROOT / folder / "pyproject.toml").exists()
        assert set(filter(None, (named or "").split(","))) <= set(extras["optional-dependencies"])


def test_words_of_the_glossary_are_in_order_and_every_kind_is_among_them():
    for table in GLOSSARY.split("\n## ")[1:]:
        words = re.findall(r"^\| \*\*([^*]+)\*\*", table, re.MULTILINE)
        assert words == sorted(words, key=str.lower)
    (kinds,) = [row[1] for row in rows_below(GLOSSARY, "word | meaning") if row[0] == "**kind**"]
    assert re.findall(r"`([\w-]+)`", kinds) == list(KINDS)


def test_cells_of_the_concepts_are_those_of_the_default_request():
    request = make_request()
    side = 224 // request.grid_size  # coefficients of a cell, at the model's input of 224 px
    for level, (name, _, coefficients, covered, *_) in enumerate(
        rows_below(CONCEPTS, "level | scale | coefficients | a cell covers, in the crop")
    ):
        spacing = 2 ** (request.levels + 1 - max(level, 1))
        assert name.startswith(str(level))
        assert covered == f"{side * spacing} × {side * spacing} px"
        assert coefficients.endswith(f"{224 // spacing} × {224 // spacing}")


def test_thresholds_of_the_concepts_are_those_of_the_warnings():
    assert f"Below {warnings.LEAST_SPLIT_HALF} a warning" in CONCEPTS
    assert f"Below {warnings.LEAST_CONTRAST} the map" in CONCEPTS


@pytest.mark.slow
def test_numbers_of_the_concepts_are_those_of_the_run_that_they_name():
    import wavescope

    data = pytest.importorskip("skimage.data")
    explanation = wavescope.explain(data.chelsea())
    indices, worth = explanation.indices, explanation.worth
    assert indices is not None
    assert worth is not None
    table = rows_below(CONCEPTS, "level | scale | coefficients | a cell covers, in the crop")
    for level, row in zip(explanation.levels or (), table, strict=True):
        assert row[4:] == [
            f"{level.share:.1%}".replace("%", " %"),
            f"{level.mean_share:.1%}".replace("%", " %"),
        ]
        assert row[4] in CONCEPTS.split("**Hatching**")[0]
    measured = {row[0].strip("`"): row[1] for row in rows_below(CONCEPTS, "diagnostic | in the example")}
    assert measured["worth.split_half"] == f"{worth.split_half:.2f}"
    assert measured["worth.class_contrast"] == f"{worth.class_contrast:.2f}"
    assert measured["worth.variance"] == f"{worth.variance:.4f}"
    assert f"add up to {indices.total.sum():.2f}." in CONCEPTS
    assert f"{int(indices.resolved.sum())} of {len(indices.total)} factors and " in CONCEPTS
    assert f"and {explanation.screening.groups} groups were perturbed" in CONCEPTS
    assert explanation.screening.stopped == "accuracy"
    assert f"such scores, {explanation.forwards} here, follows" in CONCEPTS
    last = explanation.screening.rounds[-1]
    expected = f"{last.correlation:.2f}, {last.level_error:.2f}"
    assert measured["screening.rounds`, the last: `correlation`, `level_error"] == expected
