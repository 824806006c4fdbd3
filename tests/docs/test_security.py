"""The page on security says what holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wavescope.imaging import structure
from wavescope.ingress.access import OPEN_PATHS
from wavescope.ingress.edge import STRIPPED
from wavescope.serving import proxy
from wavescope.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs/security.md").read_text()
LIMITS = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("name", "default"), LIMITS)
def test_limits_have_the_stated_defaults(name, default):
    assert str(Settings.model_fields[name].default) == default


def test_every_limit_is_in_the_table():
    limits = {name for name in Settings.model_fields if name.startswith("max_")}
    assert limits <= {name for name, _ in LIMITS}


@pytest.mark.parametrize(
    "value", [structure.MAX_JPEG_SCANS, structure.MAX_PNG_CHUNKS, structure.MAX_TAG_VALUES]
)
def test_limits_of_images_are_as_stated(value):
    assert f"{value:,}" in PAGE


def test_open_paths_and_headers_taken_away_are_named():
    for named in OPEN_PATHS | {"/metrics"}:
        assert f"`{named}`" in PAGE
    for named in STRIPPED:
        assert f"`{named}`" in PAGE or f"`{named.replace('-', '_')}`" in PAGE


def test_what_a_cluster_needs_is_named_as_it_is():
    for name, value in proxy.environment().items():
        assert f"{name}={value}" in PAGE
    for path in proxy.SERVICERS:
        assert f"`{path}`" in PAGE
