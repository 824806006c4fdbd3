"""The file taken away while it is used: what was told to be kept is kept, or the call is refused."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.store.servers import Clock
from tests.store.test_jobs import new

from wavescope.errors import StoreUnavailable, UnknownJob
from wavescope.store.sqlite import SqliteStore

GONE: dict[str, Callable[[Path], object]] = {
    "all files": lambda path: [one.unlink() for one in path.parent.iterdir()],
    "database": lambda path: path.unlink(),
    "log": lambda path: path.with_name("wavescope.db-wal").unlink(),
    "index of the log": lambda path: path.with_name("wavescope.db-shm").unlink(),
    "directory": lambda path: shutil.rmtree(path.parent),
    "directory, moved": lambda path: path.parent.rename(path.parent.with_name("elsewhere")),
    "database, an empty one in its place": lambda path: (path.unlink(), path.touch()),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "wavescope.db"


@pytest.fixture
def make(path: Path) -> Iterator[Callable[..., SqliteStore]]:
    opened: list[SqliteStore] = []

    def make(**options: float) -> SqliteStore:
        clock = Clock()
        opened.append(SqliteStore(path, result_bytes=10_000, clock=clock, steady=clock, **options))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.mark.parametrize("how", GONE)
def test_jobs_outlast_what_is_taken_away_while_two_have_it_open(
    how: str, path: Path, make: Callable[..., SqliteStore], caplog: pytest.LogCaptureFixture
) -> None:
    one, other = make(), make()
    for number in range(20):
        one.submit(new(str(number), payload=bytes(5000)))
    other.claim("w1", 15.0)
    one.save_chunk("0", "call", 0, b"scores")
    GONE[how](path)
    assert one.submit(new("after"))[1]
    assert "put back" in caplog.text
    assert other.heartbeat("0", "w1", 15.0, forwards=1, planned=2)
    assert other.count_unfinished() == 21
    for store in (one, other):
        store.close()
    fresh = make()  # another process, later
    assert fresh.count_unfinished() == 21
    assert fresh.load_chunks("0", "call") == [(0, b"scores")]
    assert fresh.finish("0", "w1", b"done")
    assert fresh.check() == []
    assert [one.name for one in path.parent.iterdir() if one.suffix in (".new", ".damaged")] == []


def test_a_job_written_while_the_file_goes_is_not_told_as_kept_before_it_is(
    path: Path, make: Callable[..., SqliteStore]
) -> None:
    store = make()
    store.check()
    with pytest.raises(StoreUnavailable, match="taken away just now"), store._transaction(durable=True):
        GONE["all files"](path)
    assert store.submit(new("1"))[1]
    assert make().get("1").id == "1"


def test_nothing_is_accepted_where_the_file_cannot_be_put_back(
    path: Path, make: Callable[..., SqliteStore]
) -> None:
    store = make()
    store.submit(new("1"))
    shutil.rmtree(path.parent)
    path.parent.write_text("in its place")
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            store.submit(new("2"))
    path.parent.unlink()
    assert store.submit(new("2"))[1]
    assert make().count_unfinished() == 2


def test_another_store_in_its_place_is_taken_and_told(
    path: Path, make: Callable[..., SqliteStore], caplog: pytest.LogCaptureFixture
) -> None:
    store = make()
    store.submit(new("1"))
    strange = SqliteStore(path.with_name("other.db"), result_bytes=0)
    strange.submit(new("strange"))
    strange.close()
    path.with_name("other.db").rename(path)
    assert store.get("strange").id == "strange"
    assert "replaced by another" in caplog.text
    with pytest.raises(UnknownJob):
        store.get("1")
    assert store.check() == []


def test_jobs_that_an_old_copy_in_its_place_lacks_are_added(
    path: Path, make: Callable[..., SqliteStore], caplog: pytest.LogCaptureFixture
) -> None:
    store = make()
    store.submit(new("1"))
    store.close()
    shutil.copy(path, path.with_name("copy"))
    store.submit(new("2"))
    store.submit(new("3"))
    path.with_name("copy").rename(path)
    assert store.count_unfinished() == 3
    assert "older copy: 2 jobs that it lacked were added" in caplog.text
    assert store.check() == []
    store.close()
    assert make().claim("w1", 15.0) is not None


def test_an_old_copy_put_there_while_nobody_has_the_store_open_is_taken_and_told(
    path: Path, make: Callable[..., SqliteStore], caplog: pytest.LogCaptureFixture
) -> None:
    store = make()
    store.submit(new("1"))
    store.close()
    shutil.copy(path, path.with_name("copy"))
    store.submit(new("2"))
    store.submit(new("3"))
    store.close()
    path.with_name("copy").rename(path)
    assert store.count_unfinished() == 1
    assert "older copy: jobs 2 to 3 are gone" in caplog.text


def test_a_restored_file_that_lacks_what_another_process_accepted_is_given_it(
    path: Path, make: Callable[..., SqliteStore]
) -> None:
    """Two deletions, and the first to restore after the second has missed the first."""
    early, late = make(), make()
    early.submit(new("1"))
    late.submit(new("2", payload=b"request"))
    GONE["all files"](path)
    late.submit(new("3", payload=b"asked"))
    late.claim("w1", 15.0)
    GONE["all files"](path)
    assert early.count_unfinished() == 2
    assert late.get("3").id == "3"
    assert early.count_unfinished() == 3
    late.close()
    early.close()
    claimed = {job.id: payload for job, payload in iter(lambda: make().claim("w2", 15.0), None)}
    assert claimed["3"] == b"asked"


@pytest.mark.parametrize("place", [0, 40_000], ids=["header", "middle"])
def test_a_damaged_file_is_refused_until_it_is_replaced(
    place: int, path: Path, make: Callable[..., SqliteStore], caplog: pytest.LogCaptureFixture
) -> None:
    store = make()
    for number in range(50):
        store.submit(new(str(number), payload=bytes(5000)))
    store.close()
    shutil.copy(path, path.with_name("copy"))
    with path.open("r+b") as file:
        file.seek(place)
        file.write(os.urandom(40_000))
    for one in (store, make()):
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"malformed|not a database|damaged"):
                one.submit(new("more"))
    assert "damaged" in caplog.text
    path.with_name("copy").rename(path)
    assert store.count_unfinished() == 50
    assert store.submit(new("more"))[1]


def test_damage_under_an_open_store_is_found_by_a_check_and_refused_by_all(
    path: Path, make: Callable[..., SqliteStore]
) -> None:
    store, other = make(), make()
    for number in range(50):
        store.submit(new(str(number), payload=bytes(5000)))
    other.purge(finished_before=0.0)  # so that the log is written to the file
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(100_000))
    with pytest.raises(StoreUnavailable, match="malformed"):
        store.check()
    for one in (store, other):
        with pytest.raises(StoreUnavailable, match="damaged"):
            one.submit(new("more"))
    path.unlink()
    assert store.submit(new("more"))[1]  # whoever deletes a damaged store loses what was in it
    assert other.count_unfinished() == 1


@pytest.mark.parametrize("left", [0, 40_960])
def test_a_file_cut_off_under_open_stores_is_refused_by_all(
    left: int, path: Path, make: Callable[..., SqliteStore]
) -> None:
    store, other = make(), make()
    for number in range(500):
        store.submit(new(str(number), payload=bytes(20_000)))
    other.purge(finished_before=0.0)  # so that the log is written to the file
    os.truncate(path, left)
    with pytest.raises(StoreUnavailable):
        store.check()
    for one in (store, other, make()):
        with pytest.raises(StoreUnavailable, match=r"damaged|empty|malformed|gone"):
            one.submit(new("more"))
    path.unlink()
    assert store.submit(new("more"))[1]
    assert other.count_unfinished() == 1


def test_an_empty_file_is_refused_and_not_taken_for_a_new_store(
    path: Path, make: Callable[..., SqliteStore]
) -> None:
    path.parent.mkdir()
    path.touch()
    with pytest.raises(StoreUnavailable, match=r"wavescope\.db is empty.*delete it"):
        make().submit(new("1"))
    path.unlink()
    assert make().submit(new("1"))[1]


# ---- disks -----------------------------------------------------------------------------------------------------------
@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() or os.system(f"mount -t tmpfs -o size=2m tmpfs {place} 2>/dev/null"):
        pytest.skip("no file system can be mounted here")
    yield place
    os.system(f"umount -l {place}")


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    store = SqliteStore(small_disk / "state" / "wavescope.db", result_bytes=0)
    store.submit(new("1"))
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    with pytest.raises(StoreUnavailable, match=r"full|disk"):
        store.submit(new("2", payload=bytes(100_000)))
    assert store.get("1").id == "1"
    assert store.count_unfinished() == 1
    filler.unlink()
    assert store.submit(new("2", payload=bytes(100_000)))[1]
    store.close()


def test_a_disk_that_is_read_only_refuses_and_goes_on_when_it_is_not(small_disk: Path) -> None:
    path = small_disk / "state" / "wavescope.db"
    first = SqliteStore(path, result_bytes=0)
    first.submit(new("1"))
    first.close()
    os.system(f"mount -o remount,ro {small_disk}")
    for store in (first, SqliteStore(path, result_bytes=0)):
        with pytest.raises(StoreUnavailable):
            store.submit(new("2"))
    os.system(f"mount -o remount,rw {small_disk}")
    assert first.submit(new("2"))[1]
    assert first.count_unfinished() == 2
    first.close()


# ---- waiting ---------------------------------------------------------------------------------------------------------
def test_a_locked_store_is_waited_for_once_and_by_kept_results_hardly(
    path: Path, make: Callable[..., SqliteStore]
) -> None:
    store = make(busy_s=2.0, results_busy_s=0.05)
    store.put_cached("k", b"result")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    def took_s(call: Callable[[], object]) -> float:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="locked"):
            call()
        return time.monotonic() - began

    assert took_s(lambda: store.put_cached("j", b"result")) < 1.5
    assert 1.5 < took_s(lambda: store.submit(new("1"))) < 4.0
    assert store.get_cached("k") == b"result"
    assert store.find_by_key("ann", "key", "a digest") is None  # reading waits for nobody
    other.close()


def test_a_call_does_not_wait_behind_another_of_its_process_for_longer_than_it_may(
    make: Callable[..., SqliteStore],
) -> None:
    store = make(busy_s=0.1, results_busy_s=0.05)
    store.check()
    with store._lock:
        for call in (lambda: store.get_cached("k"), lambda: store.submit(new("1"))):
            with pytest.raises(StoreUnavailable, match="busy for"):
                call()


# ---- clocks ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_is_set_moves_no_lease_and_no_time_is_negative(path: Path, hours: int) -> None:
    wall, steady = Clock(), Clock(100.0)
    store = SqliteStore(path, result_bytes=0, clock=wall, steady=steady)
    for job_id in ("1", "2"):
        store.submit(new(job_id))
    store.claim("w1", 15.0)
    wall.pass_s(hours * 3600)
    claimed = store.claim("w2", 15.0)
    assert claimed is not None
    assert claimed[0].id == "2"
    assert store.claim("w3", 15.0) is None
    steady.pass_s(16.0)
    again = store.claim("w3", 15.0)
    assert again is not None
    assert again[0].id == "1"
    assert store.finish("1", "w3", b"done")
    for job in (store.get("1"), store.get("2")):
        assert job.created_at <= (job.started_at or 0) <= (job.finished_at or job.started_at or 0)
    store.close()


def test_no_lease_outlasts_a_start_of_the_machine(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = Clock(1e6)
    store = SqliteStore(path, result_bytes=0, steady=steady)
    store.submit(new("1"))
    store.claim("w1", 15.0)
    store.close()
    steady.now = 1.0
    monkeypatch.setattr("wavescope.store.sqlite_session.boot_id", lambda: "another")
    assert store.claim("w2", 15.0) is not None
    store.close()


# ---- growth ----------------------------------------------------------------------------------------------------------
def test_the_file_and_its_log_stay_bounded_over_many_jobs_also_while_somebody_reads(
    path: Path, make: Callable[..., SqliteStore]
) -> None:
    """Six hundred jobs of 50 kB: 30 MB of requests, 30 MB of results, at most 10 of each at once."""
    store = make()
    reader = make()

    def bytes_on_disk() -> int:
        return sum(one.stat().st_size for one in path.parent.iterdir())

    most = 0
    for number in range(600):
        job_id = str(number)
        store.submit(new(job_id, payload=bytes(50_000)))
        store.claim("w1", 15.0)
        store.save_chunk(job_id, "call", 0, bytes(1000))
        store.finish(job_id, "w1", bytes(50_000))
        store.put_cached(job_id, bytes(5000))
        reader.get(job_id)
        if number % 10 == 9:
            store.purge(finished_before=0.0, max_bytes=500_000)
            most = max(most, bytes_on_disk())
    assert most < 12_000_000
    store.purge(finished_before=Clock().now + 1)
    assert bytes_on_disk() < 500_000, {one.name: one.stat().st_size for one in path.parent.iterdir()}


def _submit_for_ever(path: Path, told: multiprocessing.Queue[tuple[str, int]], deletions: Any) -> None:
    logging.disable()
    store = SqliteStore(path, result_bytes=0)
    for number in range(1_000_000):
        before = deletions.value
        try:
            job, made = store.submit(new(f"{os.getpid()}-{number}"))
        except StoreUnavailable:
            continue
        assert made
        told.put((job.id, before))


def test_processes_that_submit_while_the_files_are_deleted_lose_no_accepted_job(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    told: multiprocessing.Queue[tuple[str, int]] = spawn.Queue()
    deletions = spawn.Value("i", -1)
    writers = [
        spawn.Process(target=_submit_for_ever, args=(path, told, deletions), daemon=True) for _ in range(3)
    ]
    for writer in writers:
        writer.start()
    accepted: set[str] = set()
    store = SqliteStore(path, result_bytes=0)

    def until_all_have_submitted(since: int) -> None:
        """Every writer has submitted a job that it began after so many deletions."""
        names: set[str] = set()
        while len(names) < len(writers):
            name, before = told.get(timeout=60)
            accepted.add(name)
            if before >= since:
                names.add(name.partition("-")[0])

    # A process that comes while no file is there makes an empty one: all have to have come before. One that is killed
    # takes along what it alone still sees: all have to have come once more after the last deletion.
    until_all_have_submitted(since=-1)
    for deletion in range(10):
        for _ in range(20):
            accepted.add(told.get(timeout=60)[0])
        shutil.rmtree(path.parent, ignore_errors=True)
        deletions.value = deletion
    until_all_have_submitted(since=9)
    for writer in writers:
        writer.kill()
        writer.join()
    for job_id in accepted:
        assert store.get(job_id).id == job_id
    store.close()
