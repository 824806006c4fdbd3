"""A store that would refuse every job ends the start with a sentence; no Ray is needed to know."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.ports import free_port

from wavescope.errors import StoreUnavailable, WavescopeError
from wavescope.serving.command.run import check_store
from wavescope.settings import Settings


def settings(tmp_path: Path, **fields: object) -> Settings:
    return Settings(state_dir=tmp_path / "state", **fields)


def test_a_store_that_can_be_used_is_made_and_let_go(tmp_path: Path) -> None:
    check_store(settings(tmp_path))
    assert [one.name for one in (tmp_path / "state").iterdir()] == ["wavescope.db"]


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "is empty"), (b"something else " * 4000, "not a database"), (os.urandom(9000), "not a database")],
    ids=["empty", "text", "noise"],
)
def test_a_file_that_is_no_store_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "wavescope.db").write_bytes(content)
    with pytest.raises(StoreUnavailable, match=why):
        check_store(settings(tmp_path))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in its place")
    with pytest.raises(StoreUnavailable, match="does not answer"):
        check_store(settings(tmp_path))


def test_a_server_that_is_not_there_is_told_without_its_password(tmp_path: Path) -> None:
    url = f"redis://:s3cr3t@127.0.0.1:{free_port()}/0"
    with pytest.raises(WavescopeError, match="ConnectionError") as caught:
        check_store(settings(tmp_path, store_url=url))
    assert "s3cr3t" not in str(caught.value)
