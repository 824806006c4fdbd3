"""Every command of ours that a page shows is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from wavescope.cli import build_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for block in re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                if line.startswith("wavescope "):
                    yield page.name, line
        for line in re.findall(r"`(wavescope (?:serve|explain|models|keys) [^`]*)`", text):
            if "…" not in line and "FILE" not in line:
                yield page.name, line


@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_a_command_that_is_shown_is_taken(page: str, line: str) -> None:
    words = shlex.split(line.partition("  #")[0])
    words = words[: words.index("|")] if "|" in words else words
    build_parser().parse_args(words[1:])
