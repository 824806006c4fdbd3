"""What a monitor sees, how soon and at what cost, measured on crops of photographs.

    python -m bench.drift [--measure] [--workers 2] [--output bench/results]

The tables are made of the committed bank, bench/drift/bank.npz, in under ten minutes. With ``--measure`` the bank is
measured first, which takes an hour on two cores; finished crops are kept in build/drift and not measured again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from bench import report
from bench.drift import bank, delay, depth, plot, study, tables, worth
from bench.drift.bank import PARTITION, PASSES, Arrays
from bench.drift.cells import cells_of
from bench.drift.features import prepared, prepared_black
from bench.drift.streams import MODES, names, with_black

PICTURE = report.RESULTS.parents[1] / "docs" / "images" / "drift.png"

Cells = dict[str, dict[str, dict[str, Any]]]  # feature | detector, mode, condition


def delays(values: Arrays, photograph: Any, *, workers: int) -> tuple[dict[str, float], Cells]:
    """Thresholds, and cells of every feature, detector, mode and condition."""
    work = [(mode, condition) for mode in MODES for condition in names(mode)]
    cells: Cells = {}
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        blocks = range(delay.NULL_STREAMS // (2 * delay.BOUNDED_STREAMS))
        thresholds = delay.null_thresholds(pool.map(partial(delay.null_maxima, values, photograph), blocks))
        print("thresholds are known", file=sys.stderr, flush=True)
        measured = partial(cells_of, values, photograph, thresholds)
        for (mode, condition), found in zip(work, pool.map(measured, work), strict=True):
            for pair, cell in found.items():
                cells.setdefault(pair, {}).setdefault(mode, {})[condition] = cell
            print(f"{mode}: {condition}", file=sys.stderr, flush=True)
    return {" | ".join(pair): threshold for pair, threshold in thresholds.items()}, cells


def measure(workers: int) -> None:
    """Measures what is left, and writes the bank."""
    bank.finish(bank.study_work(), workers=workers)
    for rows in PASSES:
        bank.finish(bank.bank_work(rows), workers=workers)
    depth.finish(workers=workers)
    found = bank.gather()
    bank.store(found | depth.read(found))


def main() -> None:
    """Measures where it is asked to, writes the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.drift",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--measure", action="store_true", help="measure the bank first; an hour")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each (default 2)")
    parser.add_argument("--output", type=Path, default=report.RESULTS)
    arguments = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    if arguments.measure:
        measure(arguments.workers)
    began = time.monotonic()
    kept = bank.load()
    values = with_black(prepared(kept, PARTITION), prepared_black(kept, PARTITION))
    thresholds, cells = delays(values, kept["photograph"], workers=arguments.workers)
    depths = (kept["depth/values"], kept["depth/images"]) if "depth/values" in kept else None
    plain = prepared(kept, PARTITION)
    results = {
        "environment": report.environment(1),
        "command": "make drift",
        "images": len(kept["photograph"]),
        "photographs": len(set(kept["photograph"].tolist())),
        "design_rows": int(kept["scores"].shape[2]),
        "study": study.table(kept),
        "thresholds": thresholds,
        "delays": cells,
        "worth": worth.worth(kept, plain),
        "label_changes": worth.label_changes(kept, plain),
        "label_changes_with_depth": worth.label_changes(kept, plain, *depths) if depths else None,
    }
    results["gate"] = tables.gate(results)
    print(f"tables took {time.monotonic() - began:.0f} s", file=sys.stderr)
    report.write(arguments.output, "drift", results, tables.markdown(results))
    if arguments.output == report.RESULTS:
        plot.draw(results, PICTURE)


if __name__ == "__main__":
    main()
