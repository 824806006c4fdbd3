"""The file: its permissions, its layout, what it outlasts."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
from tests.store.servers import Clock
from tests.store.test_jobs import new

from wavescope.errors import InvalidRequest, QueueFull, StoreUnavailable
from wavescope.store.migrations import MIGRATIONS, SCHEMA_VERSION
from wavescope.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "wavescope.db"


def open_file(path: Path, **options: float) -> SqliteStore:
    clock = Clock()
    store = SqliteStore(path, result_bytes=1000, clock=clock, steady=clock, **options)
    store.check()
    return store


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nobody_else_may_read_the_file_its_log_or_its_directory(path: Path) -> None:
    store = open_file(path)
    store.submit(new("1"))
    assert mode(path.parent) == 0o700
    assert {one.name: mode(one) for one in path.parent.iterdir()} == dict.fromkeys(
        ("wavescope.db", "wavescope.db-wal", "wavescope.db-shm"), 0o600
    )
    store.close()
    assert [one.name for one in path.parent.iterdir()] == ["wavescope.db"]


def test_everything_outlasts_closing(path: Path) -> None:
    first = open_file(path)
    for job_id in ("1", "2", "3"):
        first.submit(new(job_id, labels={"kind": "wcam"}))
    first.claim("w1", 15.0)
    first.finish("1", "w1", b"done")
    first.claim("w1", 15.0)
    first.save_chunk("2", "call", 0, b"scores")
    first.put_cached("k", b"result")
    before = [first.get(job_id) for job_id in ("1", "2", "3")]
    first.close()
    second = open_file(path)
    assert [second.get(job_id) for job_id in ("1", "2", "3")] == before
    assert second.result("1") == b"done"
    assert second.load_chunks("2", "call") == [(0, b"scores")]
    assert second.get_cached("k") == b"result"
    assert second.heartbeat("2", "w1", 15.0, forwards=1, planned=2)
    second.close()


def test_a_file_of_a_newer_version_is_refused_and_stays_as_it_is(path: Path) -> None:
    open_file(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(
        InvalidRequest, match=f"layout {SCHEMA_VERSION + 1}.*knows {SCHEMA_VERSION}"
    ) as caught:
        open_file(path)
    assert caught.value.field == "state_dir"
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION + 1,)
    connection.close()


def test_jobs_in_a_file_of_the_first_layout_go_on(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in (*MIGRATIONS[0], "PRAGMA user_version = 1"):
        connection.execute(statement)
    for number, state in enumerate(("queued", "running", "succeeded")):
        connection.execute(
            """INSERT INTO jobs (id, owner, content, priority, labels, state, created_at, finished_at)
            VALUES (?, 'ann', 'a digest', 0, '{}', ?, 0, ?)""",
            (str(number), state, 1 if state == "succeeded" else None),
        )
    connection.executemany("INSERT INTO payloads VALUES (?, ?)", [("0", b"12"), ("1", b"345")])
    connection.execute("INSERT INTO outputs VALUES ('2', ?)", (b"6789",))
    connection.close()
    store = open_file(path)
    with pytest.raises(QueueFull):
        store.submit(new("3", payload=b"6"), max_bytes=5)
    found = store.claim("w1", 15.0)
    assert found is not None
    assert (found[0].id, found[1]) == ("0", b"12")
    assert store.result("2") == b"6789"
    assert [store.purge(finished_before=0, max_bytes=most) for most in (4, 3)] == [0, 1]
    store.close()


def test_a_job_whose_payload_is_gone_is_given_to_a_worker_all_the_same(path: Path) -> None:
    store = open_file(path)
    store.submit(new("1"))
    with store._session() as connection:
        connection.execute("DELETE FROM payloads")
    found = store.claim("w1", 15.0)
    assert found is not None
    assert found[1] == b""
    assert store.finish("1", "w1", {"code": "internal"})
    store.close()


def test_a_purge_with_nothing_to_do_waits_for_nobody(path: Path) -> None:
    store = open_file(path, busy_s=0.0)
    store.submit(new("1"))
    store.cancel("1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert store.purge(finished_before=Clock().now, max_bytes=0) == 0
    other.close()
    store.close()


def test_a_store_that_another_process_keeps_locked_is_unavailable_until_it_lets_go(path: Path) -> None:
    store = open_file(path, busy_s=0.0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="database is locked") as caught:
        store.submit(new("1"))
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert store.count_unfinished() == 0  # reading goes on
    assert store.claim("w1", 15.0) is None
    other.execute("ROLLBACK")
    assert store.submit(new("1"))[1]
    other.close()
    store.close()


def test_a_full_disk_loses_nothing_and_is_told(path: Path) -> None:
    store = open_file(path)
    store.submit(new("1"))
    with store._session() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailable, match="full"):
        store.submit(new("2", payload=bytes(100_000)))
    assert store.count_unfinished() == 1
    with store._session() as connection:
        connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
    assert store.submit(new("2", payload=bytes(100_000)))[1]
    store.close()


def test_a_file_that_is_no_database_is_unavailable(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"something else, and more than a header of SQLite's is long: " * 10)
    with pytest.raises(StoreUnavailable, match="not a database"):
        open_file(path)


def test_a_directory_that_cannot_be_made_is_told_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="does not answer") as caught:
        open_file(tmp_path / "taken" / "state" / "wavescope.db")
    assert str(tmp_path) not in str(caught.value)


def test_room_of_purged_jobs_goes_back_to_the_file_system(path: Path) -> None:
    store = open_file(path)
    for number in range(20):
        store.submit(new(str(number), payload=bytes(100_000)))
        store.cancel(str(number))
    store.purge(finished_before=Clock().now + 1)
    store.close()
    assert path.stat().st_size < 200_000


def test_a_broken_connection_is_told_once_and_made_anew(path: Path) -> None:
    store = open_file(path, busy_s=0.0)
    store.submit(new("1"))
    with store._session() as connection:
        connection.close()  # stands for any error of the connection
    with pytest.raises(StoreUnavailable, match="closed"):
        store.get("1")
    assert store.get("1").id == "1"
    store.close()
    shutil.rmtree(path.parent)
