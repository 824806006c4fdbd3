"""The settings name a store."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.store.servers import RedisServer

from wavescope.errors import InvalidRequest
from wavescope.store import open_store
from wavescope.store.redis import RedisStore
from wavescope.store.sqlite import SqliteStore


def test_without_a_url_a_file_is_made_in_the_state_directory(tmp_path: Path) -> None:
    store = open_store("", state_dir=tmp_path / "state", result_bytes=0)
    assert isinstance(store, SqliteStore)
    assert store.check() == []
    assert (tmp_path / "state" / "wavescope.db").exists()
    store.close()


def test_a_redis_url_is_a_redis_server(tmp_path: Path, redis_server: RedisServer) -> None:
    store = open_store(redis_server.url, state_dir=tmp_path, result_bytes=0)
    assert isinstance(store, RedisStore)
    assert store.count_unfinished("nobody of this name") == 0
    store.close()


@pytest.mark.parametrize("url", ["postgres://:s3cr3t@host", "host:6379", "unix:///tmp/socket", "redis:/host"])
def test_other_urls_are_refused_and_the_allowed_ones_named(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"redis://… or rediss://….*file in state_dir") as caught:
        open_store(url, state_dir=tmp_path, result_bytes=0)
    assert caught.value.field == "store_url"
    assert url not in str(caught.value)


def test_a_missing_redis_package_is_told_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    for module in (
        "wavescope.store.redis",
        "wavescope.store.redis_monitors",
        "wavescope.store.redis_session",
    ):
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(InvalidRequest, match=r"wavescope\[redis\]") as caught:
        open_store("redis://127.0.0.1", state_dir=tmp_path, result_bytes=0)
    assert caught.value.field == "store_url"
