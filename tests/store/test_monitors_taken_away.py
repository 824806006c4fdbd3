"""The file taken away, replaced by an older copy or of another boot: no accepted entry of a monitor is lost."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.store.servers import Clock
from tests.store.test_monitors import claim, make, ordered, record, seen
from tests.store.test_taken_away import GONE

from wavescope.errors import StoreUnavailable, UnknownMonitor
from wavescope.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "wavescope.db"


def opened(path: Path, **options: Any) -> SqliteStore:
    return SqliteStore(path, result_bytes=0, **options)


def keys(store: SqliteStore) -> list[tuple[int, bytes]]:
    return [(one.seq, one.content) for one in store.read_entries("birds", after=0, limit=1000)]


def append(store: SqliteStore, *names: str) -> list[int]:
    entries = [seen(name, content=name.encode(), payload=b"image of " + name.encode()) for name in names]
    return [seq for _, seq in store.append_entries("birds", entries)]


@pytest.mark.parametrize("how", GONE)
def test_monitors_outlast_what_is_taken_away(how: str, path: Path) -> None:
    one, other = opened(path), opened(path)
    make(one)
    append(one, "a", "b", "c")
    assert claim(other) == "birds"
    assert other.end_observation("birds", 1, "w1", b"result", keep=True)
    assert one.save_checkpoint("birds", "w1", folded=1, state=b"state", status=b"status")
    assert other.save_effects("birds", "w1", b"effects")
    one.count_events("birds", {"invalid": 1})
    before = one.get_monitor("birds")
    GONE[how](path)
    assert other.renew_monitor("birds", "w1", 15.0)
    assert one.get_monitor("birds") == before
    assert append(one, "a", "d") == [1, 4]
    for store in (one, other):
        store.close()
    fresh = opened(path)
    assert fresh.load_checkpoint("birds") == (1, b"state", b"effects")
    assert keys(fresh) == [(1, b"a"), (2, b"b"), (3, b"c"), (4, b"d")]
    assert [fresh.get_payload("birds", seq) for seq in (1, 4)] == [b"image of a", b"image of d"]
    assert fresh.renew_monitor("birds", "w1", 15.0)
    fresh.close()


def test_a_monitor_that_an_older_copy_lacks_comes_back_whole(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened(path)
    make(store, "other")
    store.close()
    shutil.copy(path, path.with_name("copy"))
    make(store)
    append(store, "a", "b")
    claim(store, wake_after_s=1e9)
    claim(store, wake_after_s=1e9)
    store.end_observation("birds", 1, "w1", b"result", keep=True)
    store.save_checkpoint("birds", "w1", folded=1, state=b"state", status=b"status")
    store.count_events("birds", {"invalid": 3})
    before = store.list_monitors()
    path.with_name("copy").rename(path)
    assert store.list_monitors() == before
    assert "what it lacked of 1 monitors was added" in caplog.text
    assert store.load_checkpoint("birds") == (1, b"state", None)
    assert store.get_payload("birds", 1) == b"image of a"
    assert store.renew_monitor("birds", "w1", 15.0)
    store.close()


def test_a_longer_log_takes_the_place_of_the_one_in_an_older_copy(path: Path) -> None:
    store = opened(path)
    make(store)
    append(store, "a", "b", "c")
    store.close()
    shutil.copy(path, path.with_name("copy"))
    append(store, "d", "e")
    claim(store)
    for seq in (1, 2, 3, 4):
        store.end_observation("birds", seq, "w1", b"result")
    store.save_checkpoint("birds", "w1", folded=4, state=b"state", status=b"status")
    store.purge_entries("birds", before=4)
    before = store.get_monitor("birds")
    path.with_name("copy").rename(path)
    assert store.get_monitor("birds") == before
    assert keys(store) == [(4, b"d"), (5, b"e")]
    assert append(store, "f") == [6]
    store.close()


def test_a_restored_file_is_not_given_what_was_purged_from_it(path: Path) -> None:
    early, late = opened(path), opened(path)
    make(early)
    append(early, "a", "b", "c")
    late.list_monitors()
    GONE["all files"](path)
    claim(late)  # restores it
    for seq in (1, 2, 3):
        late.end_observation("birds", seq, "w1", b"result")
    late.save_checkpoint("birds", "w1", folded=3, state=b"state", status=b"status")
    late.purge_entries("birds", before=3)
    append(late, "d")
    assert keys(early) == [(3, b"c"), (4, b"d")]
    assert early.load_checkpoint("birds")[1] == b"state"
    for store in (early, late):
        store.close()


def test_logs_that_went_different_ways_are_joined_and_no_entry_is_lost(path: Path) -> None:
    """Two deletions; the first to restore after the second has missed what came between them."""
    early, late = opened(path), opened(path)
    make(early)
    append(early, "a")
    late.list_monitors()
    GONE["all files"](path)
    append(late, "b", "both")
    claim(late)
    late.end_observation("birds", 2, "w1", b"result of b")
    late.append_entries("birds", [ordered("order")])
    GONE["all files"](path)
    assert append(early, "c", "both") == [2, 3]
    assert keys(late) == [(1, b"a"), (2, b"c"), (3, b"both"), (4, b"b"), (5, b"an order")]
    read = late.read_entries("birds", after=0, limit=10, payloads=True)
    assert [(one.result, one.payload) for one in read[2:4]] == [
        (None, b"image of both"),
        (b"result of b", None),
    ]
    found = early.get_monitor("birds")
    assert (found.last_seq, found.pending) == (5, 3)
    assert found.pending_bytes == sum(len(one.payload or b"") for one in read)
    assert [append(early, name) for name in ("b", "d")] == [[4], [6]]
    for store in (early, late):
        store.close()


@pytest.mark.parametrize("newer", ["in the file that is gone", "in the copy"])
def test_the_monitor_that_was_created_later_is_kept(newer: str, path: Path) -> None:
    clock = Clock()
    store = opened(path, clock=clock)
    make(store)
    append(store, "of the first")
    store.close()
    shutil.copy(path, path.with_name("copy"))

    def recreate(one: SqliteStore) -> None:
        clock.pass_s(60.0)
        one.delete_monitor("birds")
        make(one)
        append(one, "of the second")

    if newer == "in the file that is gone":
        recreate(store)
    else:
        append(store, "more of the first", "and more")
        copy = opened(path.with_name("copy"), clock=clock)
        recreate(copy)
        copy.close()
    path.with_name("copy").rename(path)
    assert keys(store) == [(1, b"of the second")]
    store.close()


def test_another_store_in_its_place_has_no_monitor_of_the_former_one(path: Path) -> None:
    store = opened(path)
    make(store)
    strange = opened(path.with_name("other.db"))
    make(strange, "strange")
    strange.close()
    path.with_name("other.db").rename(path)
    assert [one.name for one in store.list_monitors()] == ["strange"]
    with pytest.raises(UnknownMonitor):
        store.get_monitor("birds")
    store.close()


def test_entries_accepted_while_the_file_goes_are_not_said_to_be_before_they_are(path: Path) -> None:
    store = opened(path)
    make(store)
    with pytest.raises(StoreUnavailable, match="taken away just now"), store._transaction(durable=True):
        GONE["all files"](path)
    assert append(store, "a") == [1]
    store.close()


def test_what_is_accepted_goes_to_the_disk_and_what_is_counted_does_not(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(path)
    make(store)
    durable: list[bool] = []
    transaction = SqliteStore._transaction

    def spied(self: SqliteStore, **options: Any) -> Any:
        durable.append(options.get("durable", False))
        return transaction(self, **options)

    monkeypatch.setattr(SqliteStore, "_transaction", spied)
    for call, expected in (
        (lambda: store.append_entries("birds", [seen("1")]), [True]),
        (lambda: store.append_entries("birds", [seen("1"), ordered("c")]), [True]),
        (lambda: store.append_entries("birds", [seen("1")]), [False]),
        (lambda: store.append_entries("birds", [seen("2")], max_pending=1), [False]),
        (lambda: store.count_events("birds", {"invalid": 1}), [False]),
        (lambda: store.configure_monitor("birds", paused=True), [True]),
    ):
        durable.clear()
        call()
        assert durable == expected
    store.close()


def test_an_observation_that_is_taken_only_when_it_is_written_goes_to_the_disk_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process makes room between the first look and the transaction."""
    store, other = opened(path), opened(path)
    make(store)
    append(store, "a")
    claim(other)
    durable: list[bool] = []
    transaction = SqliteStore._transaction

    def spied(self: SqliteStore, **options: Any) -> Any:
        if self is store:
            durable.append(options.get("durable", False))
            other.end_observation("birds", 1, "w1", b"")
        return transaction(self, **options)

    monkeypatch.setattr(SqliteStore, "_transaction", spied)
    assert store.append_entries("birds", [seen("b")], max_pending=1) == [("accepted", 2)]
    assert durable == [False, True]
    monkeypatch.undo()
    assert store.get_monitor("birds").events == {"accepted": 2}
    for one in (store, other):
        one.close()


def test_claims_with_nothing_to_do_wait_for_no_writer(path: Path) -> None:
    store = opened(path, busy_s=0.0)
    make(store)
    claim(store)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert claim(store, "w2") is None
    store.get_monitor("birds")
    with pytest.raises(StoreUnavailable, match="locked"):
        store.renew_monitor("birds", "w1", 15.0)
    other.close()
    store.close()


def test_a_clock_that_is_set_moves_no_lease(path: Path) -> None:
    wall, steady = Clock(), Clock(100.0)
    store = opened(path, clock=wall, steady=steady)
    make(store)
    claim(store)
    wall.pass_s(5 * 3600)
    assert claim(store, "w2") is None
    steady.pass_s(16.0)
    assert claim(store, "w2") == "birds"
    store.close()


def test_no_lease_outlasts_a_start_of_the_machine(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = Clock(1e6)
    store = opened(path, steady=steady)
    make(store)
    claim(store)
    store.close()
    steady.now = 1.0  # earlier than any time to wake
    monkeypatch.setattr("wavescope.store.sqlite_session.boot_id", lambda: "another")
    assert claim(store, "w2", wake_after_s=600.0) == "birds"
    make(store, "new")
    assert claim(store, "w2", wake_after_s=600.0) == "new"
    store.close()


def _append_for_ever(path: Path, accepted: multiprocessing.Queue[tuple[str, int]], deletions: Any) -> None:
    logging.disable()
    store = opened(path)
    for number in range(1_000_000):
        before, key = deletions.value, f"{os.getpid()}-{number}"
        try:
            ((outcome, _),) = store.append_entries("birds", [seen(key, content=key.encode())])
        except (StoreUnavailable, UnknownMonitor):
            continue
        assert outcome == "accepted"
        accepted.put((key, before))


def test_processes_that_append_while_the_files_are_deleted_lose_no_accepted_entry(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[tuple[str, int]] = spawn.Queue()
    deletions = spawn.Value("i", -1)
    store = opened(path)
    store.create_monitor(record(), max_monitors=1)
    writers = [
        spawn.Process(target=_append_for_ever, args=(path, queue, deletions), daemon=True) for _ in range(3)
    ]
    for writer in writers:
        writer.start()
    accepted: list[str] = []

    def until_all_have_appended(since: int) -> None:
        """Every writer has appended an entry that it began after so many deletions."""
        names: set[str] = set()
        while len(names) < len(writers):
            key, before = queue.get(timeout=60)
            accepted.append(key)
            if before >= since:
                names.add(key.partition("-")[0])

    until_all_have_appended(since=-1)
    for deletion in range(10):
        accepted += [queue.get(timeout=60)[0] for _ in range(20)]
        shutil.rmtree(path.parent, ignore_errors=True)
        deletions.value = deletion
    until_all_have_appended(since=9)
    for writer in writers:
        writer.kill()
        writer.join()
    entries = store.read_entries("birds", after=0, limit=10**6)
    assert [one.seq for one in entries] == list(range(1, len(entries) + 1))
    found = [one.content.decode() for one in entries]
    assert len(set(found)) == len(found)
    assert set(accepted) <= set(found)
    store.close()


def test_a_large_append_takes_no_longer_than_its_bytes(path: Path) -> None:
    """The log of the file takes the payload once: it does not grow by more than a few of its sizes."""
    store = opened(path)
    make(store)
    append(store, "a")
    log = path.with_name("wavescope.db-wal")
    before = log.stat().st_size
    store.append_entries("birds", [seen("large", payload=bytes(200_000))])
    assert log.stat().st_size - before < 250_000
    store.close()
