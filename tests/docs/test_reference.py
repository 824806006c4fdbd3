"""docs/reference is what the generator makes of the code now, and the only place with tables of settings."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tools.reference import MORE, OUTPUT, PAGES

import wavescope
import wavescope_client
from wavescope.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = (OUTPUT / "settings.md").read_text("utf-8")
PYTHON = (OUTPUT / "python.md").read_text("utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_committed_page_is_what_the_generator_makes_now(name):
    assert (OUTPUT / name).read_text("utf-8") == PAGES[name](), "run: make reference"


def test_every_setting_is_documented_in_the_one_table_exactly_once():
    documented = re.findall(r"^\| `WAVESCOPE_(\w+)` \|", SETTINGS, re.MULTILINE)
    assert sorted(name.lower() for name in documented) == sorted(Settings.model_fields)


def test_no_other_page_has_a_table_of_settings():
    for page in sorted((ROOT / "docs").glob("*.md")):
        first = re.findall(r"^\| `(?:WAVESCOPE_)?(\w+)`", page.read_text("utf-8"), re.MULTILINE)
        repeated = {name for name in first if name.lower() in Settings.model_fields}
        # A field of a request has the name of the setting that bounds it; values of one setting have a table.
        assert repeated <= {"max_forwards", "store_url"}, page.name


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_described_by_a_phrase_that_stands_alone(name):
    described = Settings.model_fields[name].description
    assert described
    assert described[0].isupper() or described.startswith("gRPC")
    assert not described.endswith(".")
    assert not re.search(r"\btold\b|\btells?\b", described)


def test_pages_that_say_more_are_of_settings_that_exist():
    named = [name for names in MORE.values() for name in names]
    assert set(named) <= set(Settings.model_fields)
    assert len(named) == len(set(named))


@pytest.mark.parametrize("module", [wavescope, wavescope_client], ids=lambda module: module.__name__)
def test_every_public_name_is_documented(module):
    missing = [name for name in module.__all__ if not name.startswith("__") and name not in PYTHON]
    assert not missing


def test_the_openapi_document_is_of_this_version():
    assert (
        json.loads((OUTPUT / "openapi.json").read_text("utf-8"))["info"]["version"] == wavescope.__version__
    )
