"""The bank: every crop under every condition, measured once, crop by crop; a finished crop is not measured again."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from bench.drift.crops import CONDITIONS, CROPS, MODELS, PHOTOGRAPHS

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "build" / "drift"
BANK = Path(__file__).parent / "bank.npz"

# The profile of the bank: bench/results/drift.md says why. Its rows are measured a pass after the other.
PARTITION, PASSES = "subbands", ((0, 2), (2, 4))
# Of the study that the profile's form was chosen by: the first crops of every photograph.
STUDY_CROPS, STUDY_ROWS = 3, (0, 8)
STUDY_CONDITIONS = ("clean", "blur 3", "noise 3", "jpeg 3", "8-bit weights by tensor")
PARTITIONS = ("subbands", "levels")

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Work:
    """A crop under some conditions.

    Attributes:
        photograph: name.
        number: of the crop.
        conditions: of :data:`CONDITIONS`.
        partitions: of the profiles.
        rows: design rows of the profiles, the last one excluded.
    """

    photograph: str
    number: int
    conditions: tuple[str, ...]
    partitions: tuple[str, ...]
    rows: tuple[int, int]

    @property
    def path(self) -> Path:
        """Its file."""
        form = f"{len(self.conditions)}-{'-'.join(self.partitions)}-{self.rows[0]}-{self.rows[1]}"
        return KEPT / form / f"{self.photograph}-{self.number}.npz"

    def run(self) -> Path:
        """Measures it, where that has not been done."""
        from bench.drift.crops import files  # here and below: reading the bank needs no model
        from bench.drift.measure import measure

        if self.path.exists():
            return self.path
        made = files(self.photograph, self.number)
        found: Arrays = {}
        for partition in self.partitions:
            rows = [
                measure(
                    made["clean" if condition in MODELS else condition],
                    condition if condition in MODELS else "unchanged",
                    partition,
                    *self.rows,
                )
                for condition in self.conditions
            ]
            found |= {f"{partition}/{key}": np.stack([row[key] for row in rows]) for key in rows[0]}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(f".{os.getpid()}")
        with unfinished.open("wb") as file:
            np.savez(file, **found)  # type: ignore[arg-type]  # names are no arguments of its own
        unfinished.replace(self.path)
        return self.path


def bank_work(rows: tuple[int, int]) -> list[Work]:
    """A pass over everything that the bank is made of."""
    return [
        Work(photograph, number, CONDITIONS, (PARTITION,), rows)
        for number, photograph in product(range(CROPS), PHOTOGRAPHS)
    ]


def study_work() -> list[Work]:
    """Everything that the study is made of."""
    return [
        Work(photograph, number, STUDY_CONDITIONS, PARTITIONS, STUDY_ROWS)
        for number, photograph in product(range(STUDY_CROPS), PHOTOGRAPHS)
    ]


def finish(work: Sequence[Work], *, workers: int) -> None:
    """Measures what is left, each crop on one core."""
    left = [one for one in work if not one.path.exists()]
    if not left:
        return
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    began = time.monotonic()
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done, future in enumerate(as_completed([pool.submit(one.run) for one in left]), 1):
            future.result()
            if done % 10 == 0 or done == len(left):
                rate = done / (time.monotonic() - began)
                rest = (len(left) - done) / rate / 60
                print(f"{done} of {len(left)} crops, {rest:.0f} minutes left", file=sys.stderr, flush=True)


def read(work: Sequence[Work]) -> Arrays:
    """(crops, conditions, …) arrays of finished work, and (crops,) positions of the crops' photographs."""
    each = [dict(np.load(one.path)) for one in work]
    found = {key: np.stack([arrays[key] for arrays in each]) for key in each[0]}
    return found | {"photograph": np.array([PHOTOGRAPHS.index(one.photograph) for one in work], np.int16)}


def gather(passes: Sequence[tuple[int, int]] = PASSES) -> Arrays:
    """The bank: what the first pass measured, with the design rows of all passes; and the black frame, ``black/…``.

    Crops that a pass has not come to are left out.
    """
    by_pass = [bank_work(rows) for rows in passes]
    done = [at for at in range(len(by_pass[0])) if all(work[at].path.exists() for work in by_pass)]
    each = [read([work[at] for at in done]) for work in by_pass]
    found = {key.removeprefix(f"{PARTITION}/"): value for key, value in each[0].items()}
    found["scores"] = np.concatenate([one[f"{PARTITION}/scores"] for one in each], axis=2)
    study = read(study_work())
    for partition in PARTITIONS:
        found[f"study/{partition}/scores"] = study[f"{partition}/scores"]
    return found | {f"black/{key}": value for key, value in _black().items()}


def _black() -> Arrays:
    """Measurements of the black frame, on which the profile has nothing to say."""
    path = KEPT / "black.npz"
    if not path.exists():
        from bench.drift.crops import black
        from bench.drift.measure import measure

        path.parent.mkdir(parents=True, exist_ok=True)
        found = measure(black(), "unchanged", PARTITION, 0, PASSES[-1][1])
        np.savez(path, **found)  # type: ignore[arg-type]  # as above
    return dict(np.load(path))


def store(bank: Arrays) -> None:
    """Writes the committed bank."""
    np.savez_compressed(BANK, **bank)  # type: ignore[arg-type]  # as above


def load() -> Arrays:
    """The bank that is committed: arrays as of :func:`read`."""
    with np.load(BANK) as stored:
        return dict(stored)
