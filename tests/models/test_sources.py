"""Every kind of source is one record: documents, extras and loaders agree with it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from pkgutil import resolve_name

import pytest

from wavescope.models.sources import SOURCES, SourceKind
from wavescope.settings import registry

ROOT = Path(__file__).resolve().parents[2]
every_kind = pytest.mark.parametrize("kind", SOURCES.values(), ids=SOURCES)


@every_kind
def test_loaders_and_what_names_the_files_are_there(kind: SourceKind) -> None:
    assert callable(kind.import_loader())
    assert kind.files is None or callable(resolve_name(kind.files))


@every_kind
def test_extras_are_those_of_the_distribution(kind: SourceKind) -> None:
    project = tomllib.loads((ROOT / "service" / "pyproject.toml").read_text("utf-8"))["project"]
    assert kind.extra in project["optional-dependencies"]


@every_kind
def test_a_file_is_the_one_kind_of_reference_that_needs_no_list_of_its_files(kind: SourceKind) -> None:
    assert kind.files is not None or kind.whole_file
    assert not kind.program or kind.whole_file


def test_the_documentation_lists_the_kinds_as_the_records_do() -> None:
    text = (ROOT / "docs" / "models.md").read_text("utf-8")
    rows = {
        row.split("|")[1].strip(): row.split("|")[2] for row in text.splitlines() if row.startswith("| `")
    }
    references = [
        f"{name}:efficientnet-lite0" if name == "embedded" else f"{name}:{kind.reference}"
        for name, kind in SOURCES.items()
    ]
    assert re.findall(r"`([^`]+)`", rows["`source`"]) == references
    assert re.findall(r"`([^`]+)`", rows["`sha256`"]) == []
    required = text[text.index("| `sha256` |") :].splitlines()[0].split("|")[3]
    assert re.findall(r"`([^`]+)`", required) == [name for name, kind in SOURCES.items() if kind.program]


def test_the_registrys_docstring_lists_the_kinds_too() -> None:
    assert registry.__doc__ is not None
    comment = " ".join(re.findall(r"# +(.*)", registry.__doc__.split("preprocessing")[0]))
    listed = re.findall(r"([a-z0-9-]+):(?:…|<)", comment)
    assert list(dict.fromkeys(listed)) == list(SOURCES)
