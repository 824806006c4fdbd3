"""Takes the store of the running service away, in one way after another, under load, and counts what is lost.

    python -m tools.faults.stores [--only NAME ...] [--out FILE]

Needs Linux and redis-server; a full disk needs leave to mount one. In every way jobs are accepted, the store is taken
away while one is computed, jobs are sent all along and synchronous callers keep calling, and what is broken is mended
after a while. Every job that was accepted must end with the numbers of an undisturbed run. Only where the data
themselves were destroyed those accepted before that was noticed are gone; after that as ever.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from redis import Redis, RedisError
from tools.demo import free_port
from tools.faults.command import describe_machine, make_parser, publish
from tools.faults.requests import ANSWER_S, FRESH, MODELS, RETRYABLE, Answers, body, truth
from tools.faults.service import BUILD, Service, started, temporary_folder

JOBS = 3
SEEDS = range(JOBS)
BROKEN_S = 8.0
NOTICED_S = 80.0  # damage that nobody happens to read is found by a look, once a minute at least
END_S = 200.0
POLL_S = 0.2
EVERY_S = 2.0  # a job is sent
DISK_MB = 24

Step = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to take a store away.

    Attributes:
        strike, mend: what is done to it; ``mend`` after a while.
        destroys: whether the data themselves are gone.
        noticed: whether it is mended only once a job was refused.
    """

    strike: Step
    mend: Step = lambda: None
    destroys: bool = False
    noticed: bool = False


@dataclass(slots=True)
class Sent:
    """Jobs that were sent.

    Attributes:
        accepted: (time sent, seed) by id.
        refused_at: when such answers came, monotonic s.
        longest_s: that an answer took.
        wrong: answers that neither accept nor say to come again.
    """

    accepted: dict[str, tuple[float, int]] = field(default_factory=dict)
    refused_at: list[float] = field(default_factory=list)
    longest_s: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def send(self, url: str, seed: int) -> None:
        """One job, under a key of its own."""
        sent = time.monotonic()
        key = {"Idempotency-Key": os.urandom(16).hex()}
        reply = httpx.post(f"{url}/v1/jobs", json=body(seed), timeout=60, headers=FRESH | key)
        answered = time.monotonic()
        self.longest_s = max(self.longest_s, answered - sent)
        if reply.status_code == 202:
            self.accepted[reply.json()["id"]] = (sent, seed)
        elif reply.status_code in RETRYABLE:
            self.refused_at.append(answered)
        else:
            self.wrong.append(f"{reply.status_code}: {reply.text[:200]}")


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one way: ``lost`` of the jobs accepted ``before`` it was noticed, and ``after``."""

    way: str
    destroys: bool
    before: int
    lost_before: int
    refused: int
    longest_s: float
    after: int
    lost_after: int
    right: int
    wrong: list[str]

    def is_bad(self) -> bool:
        """Whether something came of it that must not."""
        return bool(self.wrong or self.lost_after or (self.lost_before and not self.destroys))


def run(url: str, expected: dict[int, Any], name: str, way: Way) -> Row:
    """One way under load."""
    answers, sent, over = Answers(), Sent(), threading.Event()
    caller = threading.Thread(target=_call, args=(url, expected, answers, over), daemon=True)
    caller.start()
    for seed in SEEDS:
        sent.send(url, seed)
    _until(lambda: any(_job(url, job).get("forwards", 0) > 0 for job in sent.accepted), END_S)
    struck = time.monotonic()
    way.strike()
    sender = threading.Thread(target=_send, args=(url, sent, over), daemon=True)
    sender.start()
    if way.noticed:
        _until(lambda: bool(sent.refused_at), NOTICED_S)
    time.sleep(BROKEN_S)
    mended = time.monotonic()
    way.mend()
    _until(lambda: any(at > mended for at, _ in list(sent.accepted.values())), END_S)
    over.set()
    sender.join(ANSWER_S)
    caller.join(ANSWER_S)
    noticed = sent.refused_at[0] if way.noticed else struck
    results = {job: _end(url, job) for job in sent.accepted}
    fates = [(at > noticed, results[job] != expected[seed]) for job, (at, seed) in sent.accepted.items()]
    return Row(
        name,
        way.destroys,
        sum(not later for later, _ in fates),
        sum(lost for later, lost in fates if not later),
        len(sent.refused_at),
        sent.longest_s,
        sum(later for later, _ in fates),
        sum(lost for later, lost in fates if later),
        answers.right,
        answers.wrong + sent.wrong,
    )


def _call(url: str, expected: dict[int, Any], answers: Answers, over: threading.Event) -> None:
    while not over.is_set():
        for seed in SEEDS:
            began = time.monotonic()
            reply = httpx.post(f"{url}/v1/explanations", json=body(seed), timeout=ANSWER_S, headers=FRESH)
            answers.take(reply, expected[seed], began, time.monotonic())


def _send(url: str, sent: Sent, over: threading.Event) -> None:
    turn = 0
    while not over.is_set():
        sent.send(url, turn % len(SEEDS))
        turn += 1
        over.wait(EVERY_S)


def _job(url: str, job: str) -> dict[str, Any]:
    reply = httpx.get(f"{url}/v1/jobs/{job}", timeout=60)
    return reply.json() if reply.status_code == 200 else {"unknown": reply.status_code == 404}


def _end(url: str, job: str) -> Any:
    """The numbers of a job, once it ended."""
    _until(lambda: bool({"finished_at", "unknown"} & {k for k, v in _job(url, job).items() if v}), END_S)
    reply = httpx.get(f"{url}/v1/jobs/{job}/result", timeout=60)
    return reply.json().get("indices") if reply.status_code == 200 else reply.text


def _until(condition: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing happened for {limit_s:g} s")
        time.sleep(POLL_S)


# ---- a file ----------------------------------------------------------------------------------------------------------
def ways_of_a_file(state: Path) -> dict[str, Way]:  # noqa: C901  # a list of small functions
    """What happens to the file of the SQLite store, by name."""
    path, copy, filler = state / "wavescope.db", state.parent / "copy.db", state / "filler"
    locks: list[sqlite3.Connection] = []

    def lock() -> None:
        locks.append(sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30))
        locks[-1].execute("BEGIN EXCLUSIVE")

    def replace_by_older() -> None:
        shutil.copy(copy, state / "older.db")
        (state / "older.db").replace(path)

    def copy_now() -> None:
        if not copy.exists():
            with sqlite3.connect(path) as source, sqlite3.connect(copy) as target:
                source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")
            source.close()
            target.close()

    def damage() -> None:
        with path.open("r+b") as file:
            file.seek(8192)
            file.write(os.urandom(max(0, path.stat().st_size - 8192)))

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(4096))
                except OSError:
                    return

    def empty() -> None:
        for one in state.iterdir():
            one.unlink()

    def delete_folder() -> None:
        empty()
        if not os.path.ismount(state):
            state.rmdir()

    copy_now()
    ways = {
        "file: deleted, with its log": Way(empty),
        "file: deleted, its log is not": Way(path.unlink),
        "file: its log deleted": Way(lambda: path.with_name("wavescope.db-wal").unlink()),
        "file: its folder deleted": Way(delete_folder),
        "file: locked by another process": Way(lock, lambda: locks.pop().close()),
        "file: replaced by an older copy": Way(replace_by_older, destroys=True),
        "file: damaged, then deleted": Way(damage, path.unlink, destroys=True, noticed=True),
    }
    if os.path.ismount(state):
        ways["file: its disk is full"] = Way(fill, filler.unlink)
    return ways


@contextmanager
def disk(place: Path) -> Iterator[None]:
    """A small file system at a place, where one may be mounted."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0700", "tmpfs", str(place)], check=False
    )
    try:
        yield
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", str(place)], check=True)


# ---- a server --------------------------------------------------------------------------------------------------------
class Server:
    """A Redis of our own, which writes an append-only file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.client = Redis(port=self.port)
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", str(self._folder), "--appendonly", "yes", "--appendfsync", "always"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _until(self._answers, 30)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except RedisError:  # not yet, in any way
            return False

    def kill(self) -> None:
        """Without a chance to write anything."""
        self._process.kill()
        self._process.wait()

    def signal(self, number: int) -> None:
        """Sends it a signal."""
        self._process.send_signal(number)

    def ways(self) -> dict[str, Way]:
        """What happens to it, by name."""
        return {
            "Redis: killed, and started again": Way(self.kill, self.start),
            "Redis: silent": Way(lambda: self.signal(signal.SIGSTOP), lambda: self.signal(signal.SIGCONT)),
            "Redis: no memory left": Way(
                lambda: self.client.config_set("maxmemory", 1), lambda: self.client.config_set("maxmemory", 0)
            ),
            "Redis: a replica that only reads": Way(
                lambda: self.client.replicaof("127.0.0.1", "1"), lambda: self.client.replicaof("NO", "ONE")
            ),
            "Redis: emptied": Way(self.client.flushall, destroys=True),
        }


# ---- report ----------------------------------------------------------------------------------------------------------
def table(rows: list[Row]) -> str:
    """The report, as Markdown."""
    lines = [
        "# What is lost when the store is taken away",
        "",
        f"{describe_machine()}. Every row: {JOBS} jobs accepted and "
        f"one of them begun; the store is taken away for {BROKEN_S:g} s while a job is sent every {EVERY_S:g} s and a "
        "synchronous caller keeps calling. Lost: accepted jobs that did not end with the numbers of an undisturbed "
        "run, to the bit. Where the data themselves are destroyed (†), jobs accepted before that was noticed may be "
        "gone; all others must be 0. Wrong: answers that are neither these numbers nor say to come again.",
        "",
        "    make chaos",
        "",
        "| store | accepted before | lost | accepted after | lost | refused | longest answer to a job, s | calls right "
        "| wrong |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.way}{' †' if row.destroys else ''} | {row.before} | {row.lost_before} | {row.after} "
        f"| {row.lost_after} | {row.refused} | {row.longest_s:.1f} | {row.right} | {len(row.wrong)} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Tries the ways; returns 1 where anything was lost that must not be."""
    parser = make_parser(__doc__)
    parser.add_argument("--only", nargs="+", help="ways, by the beginning of their names")
    arguments = parser.parse_args()
    if shutil.which("redis-server") is None:
        print("redis-server is missing", file=sys.stderr)
        return 2
    rows: list[Row] = []

    def attempt(service: Service, expected: dict[int, Any], ways: dict[str, Way]) -> None:
        for name, way in ways.items():
            if not arguments.only or name.startswith(tuple(arguments.only)):
                rows.append(run(service.url, expected, name, way))
                print(rows[-1], flush=True)

    with temporary_folder("stores") as folder, disk(folder / "state"):
        for kind in ("file", "Redis"):
            if arguments.only and not any(kind.startswith(one.partition(":")[0]) for one in arguments.only):
                continue
            server = Server(folder) if kind == "Redis" else None
            store = {"store_url": f"redis://127.0.0.1:{server.port}/0"} if server else {}
            log = BUILD / f"stores-{kind}.log"
            try:
                with started(folder, MODELS, log, result_cache_bytes=0, **store) as service:
                    expected = truth(service.url, SEEDS)
                    attempt(service, expected, server.ways() if server else ways_of_a_file(folder / "state"))
            finally:
                if server:
                    server.kill()
    publish(table(rows), arguments.out)
    return int(any(row.is_bad() for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
