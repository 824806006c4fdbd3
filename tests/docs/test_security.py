"""The page on security says what holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wavescope.imaging import file_structure as structure
from wavescope.imaging import frame_count as frames
from wavescope.ingress.access import OPEN_PATHS
from wavescope.ingress.ray_proxy.http_guard import STRIPPED
from wavescope.serving import proxy
from wavescope.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "security.md").read_text()


def test_every_limit_is_named_beside_what_it_bounds():
    table = PAGE[PAGE.index("| what is bounded | by |") :].split("\n\n")[0]
    named = re.findall(r"`(\w+)`", table)
    assert len(named) == len(set(named))
    assert set(named) <= set(Settings.model_fields)
    assert {name for name in Settings.model_fields if name.startswith("max_")} <= set(named)


@pytest.mark.parametrize(
    "value",
    [structure.MAX_JPEG_SCANS, structure.MAX_PNG_CHUNKS, structure.MAX_TAG_VALUES, frames.MAX_GIF_BLOCKS],
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
