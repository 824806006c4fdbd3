"""Kills one part of the running service after another, under load, and counts what is lost.

    python -m tools.faults.chaos [--only NAME ...] [--out FILE]

Needs Linux and redis-server. Every fault: jobs are accepted, synchronous callers keep calling, the part dies while a
job is being computed, and then every job must end with the numbers of an undisturbed run, and every caller must have
got a result or an error that says to come again. At last, every kind of slow client holds the service at once
(:mod:`tools.faults.slow`), and whoever asks meanwhile must be answered.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tools.demo import free_port
from tools.faults import slow
from tools.faults.cable import Cable
from tools.faults.command import describe_machine, make_parser, publish
from tools.faults.listeners import listeners, outside, send_killing_message
from tools.faults.requests import ANSWER_S, FRESH, MODELS, RETRYABLE, Answers, body, truth
from tools.faults.service import BUILD, CONTROLLER, PROXY, Service, replica, started, temporary_folder
from tools.fuzz.target import Target

JOBS = 6
CALLERS = 3
SEEDS = range(JOBS)
CUT_S = 10.0
SLOW = "slow clients"
SLOW_S = 60.0
END_S = 300.0
POLL_S = 0.2
SETTINGS = {
    "gateway_replicas": 2,
    "generator_replicas": 2,
    "aggregator_replicas": 2,
}


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one fault.

    Attributes:
        accepted: jobs.
        lost: accepted jobs that did not end with the numbers of an undisturbed run.
        right, retryable: synchronous calls.
        wrong: synchronous calls that ended otherwise, in words.
        recovery_s: from the fault to the first synchronous result whose call was sent after it.
        jobs_s: from the fault to the end of the last job.
    """

    fault: str
    accepted: int
    lost: int
    right: int
    retryable: int
    wrong: list[str]
    recovery_s: float
    jobs_s: float


@dataclass(slots=True)
class Bench:
    """The service under test, what it should answer, and the cable to its store."""

    service: Service
    truth: dict[int, Any]
    cable: Cable

    def break_store(self) -> None:
        """Cuts the connection to the store for a while."""
        self.cable.cut()
        time.sleep(CUT_S)
        self.cable.mend()

    def break_all(self) -> None:
        """Kills every process of the service, and starts it again."""
        self.service.kill_all()
        self.service.start()


def faults(bench: Bench) -> dict[str, Callable[[], None]]:
    """What is broken, by name."""

    def kill(title: str) -> Callable[[], None]:
        return lambda: bench.service.kill(title)

    return {
        "model replica": kill(replica("ModelReplica", "model-efficientnet-lite0")),
        "generator": kill(replica("PerturbationGenerator")),
        "aggregator": kill(replica("EstimatorAggregator")),
        "gateway": kill(replica("Gateway")),
        "admission desk": kill(replica("AdmissionDesk")),
        "proxy": kill(PROXY),
        "controller": kill(CONTROLLER),
        f"store's connection, {CUT_S:g} s": bench.break_store,
        "whole service": bench.break_all,
    }


def small_faults(bench: Bench) -> dict[str, Callable[[], None]]:
    """What is broken of a service in one process, and of its cluster, after which it is started again."""

    def end(strike: Callable[[], None]) -> Callable[[], None]:
        def ended() -> None:
            strike()
            bench.service.wait_until_ended()
            bench.service.start()

        return ended

    def message(command: str) -> None:
        (found,) = [
            one for one in listeners(bench.service.processes()) if command in one.command.split(" ")[0]
        ]
        send_killing_message(found.port)

    return {
        "one process": lambda: bench.service.kill(replica("Gateway")),
        "Ray's head, by one empty message": end(lambda: message("gcs_server")),
        "Ray's raylet": end(lambda: bench.service.kill_command("raylet")),
    }


def run(bench: Bench, fault: str, strike: Callable[[], None]) -> Row:
    """One fault under load."""
    answers, over = Answers(), threading.Event()
    callers = [
        threading.Thread(target=_call, args=(bench, answers, over, number), daemon=True)
        for number in range(CALLERS)
    ]
    for caller in callers:
        caller.start()
    jobs = {seed: _submit(bench, seed) for seed in SEEDS}
    _until(lambda: any(_job(bench, job).get("forwards", 0) > 0 for job in jobs.values()))
    struck = time.monotonic()
    strike()
    _until(lambda: all(_job(bench, job).get("finished_at") for job in jobs.values()))
    ended = time.monotonic()
    _until(lambda: any(sent > struck for sent, _ in answers.right_at))
    over.set()
    for caller in callers:
        caller.join(ANSWER_S)
    first = min(answered for sent, answered in answers.right_at if sent > struck)
    lost = sum(_result(bench, job) != bench.truth[seed] for seed, job in jobs.items())
    return Row(
        fault,
        len(jobs),
        lost,
        answers.right,
        answers.retryable,
        answers.wrong,
        first - struck,
        ended - struck,
    )


def _call(bench: Bench, answers: Answers, over: threading.Event, number: int) -> None:
    """A caller that calls again and again, whatever happens."""
    turn = number
    while not over.is_set():
        seed = turn % len(SEEDS)
        turn += 1
        sent = time.monotonic()
        try:
            reply = httpx.post(
                f"{bench.service.url}/v1/explanations", json=body(seed), timeout=ANSWER_S, headers=FRESH
            )
        except httpx.TransportError:  # a connection that breaks says to come again
            answers.retryable += 1
            time.sleep(POLL_S)
            continue
        answers.take(reply, bench.truth[seed], sent, time.monotonic())
        if reply.status_code in RETRYABLE:
            time.sleep(POLL_S)


def _submit(bench: Bench, seed: int) -> str:
    """The id of an accepted job; asked for again with the same key until it is accepted."""
    key = os.urandom(16).hex()
    deadline = time.monotonic() + END_S
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            reply = httpx.post(
                f"{bench.service.url}/v1/jobs",
                json=body(seed),
                timeout=30,
                headers=FRESH | {"Idempotency-Key": key},
            )
            if reply.status_code in (200, 202):
                return reply.json()["id"]
            if reply.status_code not in RETRYABLE:
                raise RuntimeError(f"a job was refused: {reply.status_code} {reply.text[:300]}")
        time.sleep(POLL_S)
    raise RuntimeError("no job was accepted")


def _job(bench: Bench, job: str) -> dict[str, Any]:
    """The state of a job; nothing while nobody answers."""
    with suppress(httpx.TransportError):
        reply = httpx.get(f"{bench.service.url}/v1/jobs/{job}", timeout=30)
        if reply.status_code == 200:
            return reply.json()
        if reply.status_code == 404 and "unknown_job" in reply.text:
            raise RuntimeError(f"an accepted job is unknown: {job}")
    return {}


def _result(bench: Bench, job: str) -> Any:
    reply = httpx.get(f"{bench.service.url}/v1/jobs/{job}/result", timeout=60)
    return reply.json().get("indices") if reply.status_code == 200 else reply.text


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + END_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing happened for {END_S:g} s")
        time.sleep(POLL_S)


@contextmanager
def redis(folder: Path) -> Iterator[int]:
    """A Redis of our own that keeps nothing on disk; its port."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        server.terminate()
        server.wait()


def table(rows: list[Row]) -> str:
    """The report, as Markdown."""
    lines = [
        "# What is lost when a part dies",
        "",
        f"{describe_machine()}. Every row: {JOBS} jobs accepted and "
        f"{CALLERS} synchronous callers calling while the part is killed (SIGKILL), the store a Redis; two replicas of "
        "each part, and in the last three rows all parts in one process, where a service that ends is started again "
        "at once. Lost: jobs that did not end with the numbers of an undisturbed run, to the bit. Wrong: "
        "synchronous calls that got neither these numbers nor an error that says to come again.",
        "",
        "    make chaos",
        "",
        "| killed | jobs accepted | lost | calls right | asked to retry | wrong | first new result after, s "
        "| all jobs ended after, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.fault} | {row.accepted} | {row.lost} | {row.right} | {row.retryable} | {len(row.wrong)} "
        f"| {row.recovery_s:.1f} | {row.jobs_s:.1f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Runs the faults; returns 1 where anything was lost."""
    parser = make_parser(__doc__)
    parser.add_argument("--only", nargs="+", help="faults, by the beginning of their names")
    arguments = parser.parse_args()
    if shutil.which("redis-server") is None:
        print("redis-server is missing", file=sys.stderr)
        return 2
    rows: list[Row] = []
    asked: list[slow.Asked] = []
    held = ""
    open_to_others: list[str] = []

    def is_wanted(fault: str) -> bool:
        return not arguments.only or fault.startswith(tuple(arguments.only))

    def attempt(bench: Bench, chosen: dict[str, Callable[[], None]]) -> None:
        for fault, strike in chosen.items():
            if is_wanted(fault):
                rows.append(run(bench, fault, strike))
                print(rows[-1], flush=True)

    with temporary_folder("chaos") as folder, redis(folder) as port:
        cable, log = Cable(port), BUILD / "chaos.log"
        store: dict[str, object] = {
            "store_url": f"redis://127.0.0.1:{cable.port}/0",
            "result_cache_bytes": 0,  # everything is computed
        }
        with started(folder, MODELS, log, **SETTINGS, **store) as service:
            bench = Bench(service, truth(service.url, SEEDS), cable)
            attempt(bench, faults(bench))
            if is_wanted(SLOW):
                before, target = slow.proxy_mb(service), Target(service.port, service.grpc_port)
                asked = slow.attack(target, slow.for_seconds(SLOW_S))
                held = "#" + slow.report(asked, (before, slow.proxy_mb(service)), SLOW_S)
        if any(map(is_wanted, small_faults(bench))):
            with started(folder, MODELS, log, one_process=True, **store) as bench.service:
                found = outside(listeners(bench.service.processes()))
                open_to_others = [str(listener) for listener in found]
                attempt(bench, small_faults(bench))
    publish("\n".join(part for part in (table(rows) if rows else "", held) if part), arguments.out)
    unanswered = slow.failures(asked) if asked else []
    for listener in open_to_others:
        print(f"others can reach {listener}", file=sys.stderr)
    for failure in unanswered[:20]:
        print(failure, file=sys.stderr)
    return int(any(row.lost or row.wrong for row in rows) or bool(unanswered or open_to_others))


if __name__ == "__main__":
    raise SystemExit(main())
