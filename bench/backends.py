"""Which runtime and precision should run the embedded model on a CPU: speed, memory and bits.

    python bench/backends.py [--rounds 5] [--candidates TEXT ...] [--only speed|bits] [--output bench/results]

Every candidate runs in a process of its own, on 1 and on 2 threads, and takes turns with the service's ONNX Runtime
session, so that a slow spell of the machine falls on both. Candidates whose packages are missing are left
out. Rows that an earlier run measured in the same environment are kept: long runs can be made in pieces.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import report
from bench.runtimes import BASELINE, CANDIDATES, Candidate, Run, perturbed

from wavescope.models.onnx.embedded import PREPROCESSING

BATCHES = (1, 4, 8, 16)
THREADS = (1, 2)
PHOTOGRAPH = "chelsea"
TIMED_IMAGES = 32
START_BATCH = 4
PACKAGES = ("openvino", "nncf", "onnx")


# ---- a candidate's own process -------------------------------------------------------------------
def work(candidate: Candidate, folder: Path, threads: int) -> None:
    """Answers the parent's orders, one JSON object per line, until there are no more."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no reply
    run = candidate.load(folder, threads)
    run(np.zeros((START_BATCH, 3, *PREPROCESSING.size), np.float32))
    orders = {"time": _time, "scores": _scores, "memory": _memory}
    replies.write(json.dumps(_memory(run)) + "\n")
    for line in sys.stdin:
        order = json.loads(line)
        reply = orders[order.pop("order")](run, **order)
        replies.write(json.dumps(reply) + "\n")


def _time(run: Run, *, images: str, batch: int, warm: bool) -> dict[str, float]:
    """Seconds for all of the images, and of all cores together; two batches before that where ``warm``."""
    stack = np.load(images)
    feeds = [stack[at : at + batch] for at in range(0, len(stack), batch)]
    for feed in feeds[:2] if warm else ():
        run(feed)
    began, busy = time.perf_counter(), time.process_time()
    for feed in feeds:
        run(feed)
    return {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - busy}


def _scores(run: Run, *, images: str, output: str) -> dict[str, bool]:
    """Whether the scores have the same bits in every size of batch; writes those of the smallest."""
    stack = np.load(images)
    found = [
        np.concatenate([run(stack[at : at + size]) for at in range(0, len(stack), size)]) for size in BATCHES
    ]
    np.save(output, found[0])
    return {"same": all(np.array_equal(found[0], other) for other in found[1:])}


def _memory(_: Run) -> dict[str, float]:
    status = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(line for line in status if line.startswith("VmRSS:")).split()[1]
    return {"resident_mb": int(kilobytes) * 1024 / 1e6}


# ---- the parent ----------------------------------------------------------------------------------
class WorkerEnded(RuntimeError):
    """A candidate's process ended before its work did."""


@dataclass
class Worker:
    """A candidate in a process of its own, ready: it has scored its first batch."""

    process: subprocess.Popen[str]
    start_s: float
    resident_mb: float = field(default=0.0)

    def ask(self, order: str, **details: Any) -> dict[str, Any]:
        """The reply to one order; errors as of :meth:`reply`."""
        assert self.process.stdin is not None
        # A process that has ended takes no order and gives no reply.
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"order": order, **details}) + "\n")
            self.process.stdin.flush()
        return self.reply()

    def reply(self) -> dict[str, Any]:
        """The next line it writes.

        Raises:
            WorkerEnded: instead of a reply.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise WorkerEnded(f"its process ended with {self.process.wait()}")
        return json.loads(line)


@contextmanager
def started(candidate: Candidate, folder: Path, threads: int) -> Iterator[Worker]:
    """A worker, timed from the start of its process to its first batch scored; ended afterwards."""
    began = time.perf_counter()
    process = _process(candidate, folder, "--threads", str(threads), threads=threads)
    worker = Worker(process, 0.0)
    try:
        worker.resident_mb = worker.reply()["resident_mb"]
        worker.start_s = time.perf_counter() - began
        yield worker
    finally:
        process.communicate()  # no more orders


def _process(candidate: Candidate, folder: Path, *extra: str, threads: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--work", str(folder), "--worker", candidate.name, *extra]
    # OpenBLAS and OpenMP read their number of threads once, when they are loaded.
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def speed(candidate: Candidate, folder: Path, rounds: int) -> dict[str, Any]:
    """By threads: ms per image of the candidate and of the baseline beside it, seconds to start, memory."""
    images = str(folder / "images.npy")
    found = {}
    for threads in THREADS:
        with started(BASELINE, folder, threads) as plain, started(candidate, folder, threads) as tried:
            row: dict[str, Any] = {"start_s": tried.start_s, "resident_mb": tried.resident_mb}
            row |= {"ms": {}, "baseline_ms": {}, "cpu_ms": {}, "baseline_cpu_ms": {}}
            sides = [("", tried), ("baseline_", plain)]
            for turn in range(-1, rounds):  # the first warms both up
                for batch in BATCHES:
                    for side, worker in sides[:: 1 if turn % 2 else -1]:
                        reply = worker.ask("time", images=images, batch=batch, warm=turn < 0)
                        if turn >= 0:
                            for kind in ("", "cpu_"):
                                times = row[f"{side}{kind}ms"].setdefault(str(batch), [])
                                times.append(reply[f"{kind}seconds"] / TIMED_IMAGES * 1e3)
            row["resident_mb_largest_batch"] = tried.ask("memory")["resident_mb"]
        found[str(threads)] = row
    return found


def bits(candidate: Candidate, folder: Path) -> dict[str, bool]:
    """Whether scores are the same bits in every batch, for every number of threads, and as the baseline's."""
    images = str(folder / "images.npy")
    outputs, across_batches = [], []
    for side, threads in ((BASELINE, max(THREADS)), *((candidate, threads) for threads in THREADS)):
        outputs.append(folder / f"scores-{len(outputs)}.npy")
        with started(side, folder, threads) as worker:
            across_batches.append(worker.ask("scores", images=images, output=str(outputs[-1]))["same"])
    plain, *tried = (np.load(path) for path in outputs)
    return {
        "across_batches": all(across_batches[1:]),
        "across_threads": all(np.array_equal(tried[0], other) for other in tried[1:]),
        "as_baseline": all(np.array_equal(plain, other) for other in tried),
    }


# ---- the table -----------------------------------------------------------------------------------
def markdown(results: dict[str, Any]) -> str:
    """Speed, then bits, with the command that makes them again."""
    env, rows = results["environment"], results["candidates"]
    lines = [
        "# Runtimes and precisions on a CPU",
        "",
        f"EfficientNet-Lite0, {env['device']}, {env['cores']} cores, Python {env['python']}, "
        + ", ".join(f"{name} {number}" for name, number in env["versions"].items())
        + ". Made by `python bench/backends.py`.",
    ]
    for threads in THREADS:
        lines += [
            "",
            f"## Speed, {threads} thread{'s' * (threads > 1)}",
            "",
            "Median ms per image (smallest–largest) by images per batch. Ratio: the candidate at its best batch "
            "over the service's session at its own best in the same round, median over rounds; also of CPU time, which "
            f"other programs on the machine disturb less. MB resident: after the first batch of {START_BATCH}, and "
            f"after batches up to {max(BATCHES)}.",
            "",
            "| | "
            + " | ".join(f"batch {batch}" for batch in BATCHES)
            + " | ratio | ratio of CPU time | MB | start s |",
            "|---|" + "---|" * (len(BATCHES) + 4),
        ]
        lines += [
            _speed_line(name, row["speed"][str(threads)])
            for name, row in rows.items()
            if str(threads) in row.get("speed", {})
        ]
    return "\n".join([*lines, "", *_bits_table(rows)]) + "\n"


def _speed_line(name: str, found: dict[str, Any]) -> str:
    cells = [_spread(found["ms"][str(batch)]) for batch in BATCHES]
    memory = f"{found['resident_mb']:.0f}, {found['resident_mb_largest_batch']:.0f}"
    ratios = [f"{ratio(found, kind):.2f}" for kind in ("ms", "cpu_ms")]
    return f"| {name} | " + " | ".join([*cells, *ratios, memory, f"{found['start_s']:.1f}"]) + " |"


def ratio(found: dict[str, Any], kind: str) -> float:
    """Time (``ms`` or ``cpu_ms``) over the baseline's, each at its best batch: by round, then the median."""
    best, plain = (np.min(list(found[side].values()), axis=0) for side in (kind, f"baseline_{kind}"))
    return float(np.median(best / plain))


def _spread(times: list[float]) -> str:
    return f"{median(times):.2f} ({min(times):.2f}–{max(times):.2f})"


def _bits_table(rows: dict[str, Any]) -> list[str]:
    lines = [
        "## Bits",
        "",
        "Whether scores are the same bits in every size of batch, on 1 and on 2 threads, and as the service's, and so "
        "the map. How far maps of other bits are off is in [precision.md](precision.md).",
        "",
        "| | batches | threads | service |",
        "|---|---|---|---|",
    ]
    for name, row in rows.items():
        if "bits" in row:
            same = " | ".join("yes" if held else "no" for held in row["bits"].values())
            lines.append(f"| {name} | {same} |")
    return lines


# ---- command line --------------------------------------------------------------------------------
def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="alternations of every timing (default 5)")
    parser.add_argument(
        "--candidates", nargs="+", default=[""], metavar="TEXT", help="those whose name holds one of these"
    )
    parser.add_argument("--only", choices=("speed", "bits"), help="one part alone")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--work", type=Path, help="keeps quantised models for the next run")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        candidate = next(one for one in (BASELINE, *CANDIDATES) if one.name == arguments.worker)
        if arguments.prepare:
            assert candidate.prepare is not None
            candidate.prepare(arguments.work)
        else:
            work(candidate, arguments.work, arguments.threads)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        measure(arguments, folder)


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Adds the candidates that were asked for to the results, and writes them after each."""
    np.save(folder / "images.npy", perturbed(PHOTOGRAPH, TIMED_IMAGES, seed=1))
    environment = report.environment(max(THREADS))
    environment["versions"] |= {name: version(name) for name in PACKAGES if find_spec(name)}
    arguments.output.mkdir(parents=True, exist_ok=True)
    file = arguments.output / "backends.json"
    kept = json.loads(file.read_text()) if file.is_file() else {}
    rows = kept["candidates"] if kept.get("environment") == environment else {}
    for candidate in CANDIDATES:
        if any(text in candidate.name for text in arguments.candidates):
            rows[candidate.name] = rows.get(candidate.name, {}) | _row(candidate, folder, arguments)
            _write(environment, rows, file)
    print(file.with_suffix(".md").read_text())


def _row(candidate: Candidate, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    if not all(find_spec(package) for package in candidate.needs):
        return {"status": "not installed"}
    if candidate.prepare is not None:
        prepared = folder / "prepared.json"
        names = json.loads(prepared.read_text()) if prepared.is_file() else []
        if candidate.name not in names:
            # In a process of its own, like everything that imports a runtime.
            process = _process(candidate, folder, "--prepare", threads=max(THREADS))
            process.communicate()
            if process.returncode:
                return {"status": "could not be made"}
            prepared.write_text(json.dumps([*names, candidate.name]))
    row: dict[str, Any] = {}
    try:
        if arguments.only != "bits":
            row["speed"] = speed(candidate, folder, arguments.rounds)
        if arguments.only != "speed":
            row["bits"] = bits(candidate, folder)
    except WorkerEnded as error:
        return {"status": "does not run", "reason": str(error)}
    return row


def _write(environment: dict[str, Any], rows: dict[str, Any], file: Path) -> None:
    order = [candidate.name for candidate in CANDIDATES if candidate.name in rows]
    results = {"environment": environment, "candidates": {name: rows[name] for name in order}}
    file.write_text(json.dumps(results, indent=2) + "\n")
    file.with_suffix(".md").write_text(markdown(results))


if __name__ == "__main__":
    main()
