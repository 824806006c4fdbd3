"""Full plans in blocks of design rows, as the mean squared effects of every factor on every score."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench.screening.metrics import TINY, Truth
from bench.screening.subject import SCALARS, scalar, subject
from scipy.stats import t as student

SAMPLES = Path(__file__).parents[1] / "samples"
# Rows of a design that may be lengthened to this many, and its seed: apart from all others.
ROWS, SEED = 128, 7000
BLOCK = 8


@dataclass(frozen=True, eq=False)
class Sample:
    """The first design rows of one photograph under one model.

    Attributes:
        ends: (N, 2, 6) answers of the rows of A and B; see :func:`bench.screening.subject.scalar`.
        effects: (blocks, scores, K) half the mean squared difference of A and C over each block of 8 rows.
        target, against: the classes.
    """

    ends: np.ndarray
    effects: np.ndarray
    target: int
    against: int

    @property
    def blocks(self) -> int:
        """Blocks so far."""
        return len(self.effects)

    def variance(self, score: str, blocks: slice = slice(None)) -> float:
        """V over the rows of A and B of some blocks."""
        rows = self.ends.reshape(self.blocks, BLOCK, 2, -1)[blocks]
        return float(scalar(rows, score).var(ddof=1))

    def total(self, score: str, blocks: slice = slice(None)) -> np.ndarray:
        """(K,) Jansen's total indices of some blocks."""
        effects = self.effects[blocks, SCALARS.index(score)].astype(np.float64)
        return effects.mean(axis=0) / self.variance(score, blocks)

    def truth(self, score: str) -> Truth:
        """The indices of all rows, and how well they are known: by leaving out one block after the other.

        Blocks are of one scrambled sequence, which balances them against each other: true errors are smaller still.
        """
        total, n = self.total(score), self.blocks
        kept = [np.delete(np.arange(n), at) for at in range(n)]
        effects = self.effects[:, SCALARS.index(score)].astype(np.float64)
        values = scalar(self.ends.reshape(n, BLOCK, 2, -1), score)
        logs = [
            np.log(np.maximum(effects[rows].mean(axis=0) / values[rows].var(ddof=1), TINY)) for rows in kept
        ]
        error = np.sqrt((n - 1) / n * ((logs - np.mean(logs, axis=0)) ** 2).sum(axis=0))
        return Truth(total, np.where(total > 0, student.ppf(0.975, n - 1) * error, 0))

    def halves(self, score: str) -> tuple[np.ndarray, np.ndarray]:
        """The indices of the first half of all rows, and of the second."""
        half = self.blocks // 2
        return self.total(score, slice(half)), self.total(score, slice(half, 2 * half))

    def save(self, path: Path) -> None:
        """Roots of the effects in float16: 11 bits of each."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            np.savez_compressed(
                file,
                ends=self.ends.astype(np.float32),
                roots=np.sqrt(self.effects).astype(np.float16),
                target=self.target,
                against=self.against,
            )
        unfinished.replace(path)

    @classmethod
    def open(cls, path: Path) -> Sample:
        """What :meth:`save` wrote."""
        with np.load(path) as stored:
            effects = stored["roots"].astype(np.float64) ** 2
            return cls(stored["ends"], effects, int(stored["target"]), int(stored["against"]))


def path_of(photograph: str, model: str) -> Path:
    """Where a sample is kept."""
    return SAMPLES / model / f"{photograph}.npz"


def lengthen(case: tuple[str, str], rows: int, until: float) -> bool:
    """Scores the blocks that a kept sample lacks, keeping each as soon as it is whole; whether it is long enough.

    Args:
        case: names of the photograph and of the model.
        rows: of the design.
        until: no block begins later.
    """
    photograph, model = case
    path = path_of(photograph, model)
    sample = Sample.open(path) if path.exists() else None
    of = subject(photograph, model)
    plan = of.plan(ROWS, SEED)
    width = plan.n_factors + 2
    while sample is None or sample.blocks * BLOCK < rows:
        if time.time() > until:
            return False
        start = 0 if sample is None else sample.blocks * BLOCK
        answers = of.answers(plan, None, start * width, (start + BLOCK) * width).reshape(BLOCK, width, -1)
        sample = with_block(sample, answers, of.target, of.against)
        sample.save(path)
    return True


def with_block(sample: Sample | None, answers: np.ndarray, target: int, against: int) -> Sample:
    """The sample and one block more, of (8, K + 2, 6) answers of A, B and C."""
    values = np.stack([scalar(answers, score) for score in SCALARS])
    effects = ((values[:, :, :1] - values[:, :, 2:]) ** 2).mean(axis=1)[None] / 2
    ends = answers[:, :2]
    if sample is not None:
        ends, effects = np.concatenate([sample.ends, ends]), np.concatenate([sample.effects, effects])
    return Sample(ends, effects, target, against)
