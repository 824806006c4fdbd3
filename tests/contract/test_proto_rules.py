"""The rules of the .proto: it keeps to the style, and a change that breaks earlier clients is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.programs import do_without

ROOT = Path(__file__).parents[2]
PROTO = ROOT / "clients" / "proto"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of what the check reads."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "check_proto.py", folder / "tools")
    shutil.copytree(PROTO, folder / "clients" / "proto", ignore=shutil.ignore_patterns("src"))
    if "NOTHING WAS CHECKED" in check(folder, CI="").stderr:
        do_without("buf is neither cached by npm nor to be had from its registry")
    return folder


def check(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, folder / "tools" / "check_proto.py"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def changed(folder: Path, old: str, new: str) -> subprocess.CompletedProcess[str]:
    """The check of a changed source, which is then as it was."""
    source = folder / "clients" / "proto" / "wavescope" / "v1" / "explanation.proto"
    text = source.read_text()
    assert old in text
    source.write_text(text.replace(old, new, 1))
    try:
        return check(folder)
    finally:
        source.write_text(text)


def test_the_source_keeps_the_rules(copy: Path) -> None:
    ran = check(copy)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            "  string precision = 28;\n",
            "",
            'field "28" with name "precision" on message "ExplainResponse" was deleted',
        ),
        ("  int64 forwards = 11;", "  int32 forwards = 11;", 'changed type from "int64" to "int32"'),
        ("bytes other = 18;", "bytes second = 18;", 'changed name from "other" to "second"'),
        ("rpc WatchJob(WatchJobRequest) returns (stream WatchJobResponse);", "", 'RPC "WatchJob"'),
    ],
)
def test_what_breaks_earlier_clients_is_refused(copy: Path, old: str, new: str, complaint: str) -> None:
    ran = changed(copy, old, new)
    assert ran.returncode != 0
    assert complaint in ran.stdout + ran.stderr


def test_what_is_added_breaks_nobody(copy: Path) -> None:
    ran = changed(copy, "  bool cached = 30;\n", "  bool cached = 30;\n  // More.\n  bool more = 99;\n")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_another_style_is_refused(copy: Path) -> None:
    ran = changed(copy, "message JobError {", "message job_error {}\nmessage JobError {")
    assert ran.returncode != 0
    assert "should be PascalCase" in ran.stdout + ran.stderr


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)])
def test_without_a_registry_nothing_is_checked_and_that_fails_in_ci(
    tmp_path: Path, ci: str, status: int
) -> None:
    nowhere = {
        "npm_config_registry": "http://127.0.0.1:9/",
        "npm_config_cache": str(tmp_path),
        "npm_config_fetch_retries": "0",
    }
    ran = check(ROOT, CI=ci, **nowhere)
    assert ran.returncode == status
    assert ("NOTHING WAS CHECKED" in ran.stderr) is (status == 0)
