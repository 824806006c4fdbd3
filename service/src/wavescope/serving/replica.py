"""ModelReplica: renders chunks of plans on the model's device and scores them there."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Float32
from ray import ObjectRef

from wavescope.engine import scoreboard
from wavescope.engine.plan import Plan, Stack
from wavescope.engine.protocols import Rows
from wavescope.engine.scoreboard import Scored
from wavescope.engine.scoring import Scorer
from wavescope.engine.types import ModelDetails
from wavescope.models.load import load
from wavescope.models.spec import ModelSpec
from wavescope.serving import names
from wavescope.serving.logs import configure_logs
from wavescope.serving.reporting import Reporter

Result = TypeVar("Result")

PLANS_KEPT = 4  # a scorer holds its patches and one device batch: about 20 MB at 224 px


class ModelReplica:
    """One loaded model. A chunk is a digest, a reference to its plan and a row range; images never leave the process.

    One thread renders and scores: the device is one, and ONNX Runtime or torch use the cores of the replica by
    themselves. Between two device batches a cancelled chunk stops.
    """

    def __init__(self, spec: ModelSpec, cache_dir: Path, log_level: str) -> None:
        configure_logs(log_level)
        self._model = load(spec, cache_dir=cache_dir)
        details = self._model.details
        shape = (details.batch_size, *details.preprocessing.shape)
        self._model.forward(self._model.to_device(np.zeros(shape, dtype=np.float32)))  # warm before ready
        _give_back_memory()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="score")
        self._scorers: OrderedDict[str, Scorer] = OrderedDict()
        self._reporter = Reporter(names.MODEL_REPLICA, spec.name)

    async def check_health(self) -> None:
        """Answers while the replica's event loop turns; Ray Serve does not notice a blocked one by itself."""
        self._reporter.start_once()

    async def details(self) -> ModelDetails:
        """What the model says of itself."""
        self._reporter.start_once()
        return self._model.details

    async def predict(
        self, digest: str, plan: Sequence[ObjectRef[Plan | Stack]]
    ) -> tuple[Float32[np.ndarray, "c h w"], Float[np.ndarray, " classes"]]:
        """The unperturbed image in [0, 1], and the model's raw outputs for it."""
        scorer = await self._scorer(digest, plan)
        return await self._run(lambda: (scorer.image(), scorer.predict()))

    async def score(
        self,
        digest: str,
        work: Sequence[ObjectRef[Plan | Stack]],
        rows: Rows | None,
        start: int,
        stop: int,
        score: str,
        targets: Sequence[int],
    ) -> Scored:
        """Scores of rows start..stop.

        Args:
            digest: of the plan or stack.
            work: one reference to it, nested so that a replica that knows it fetches nothing.
            rows: mask rows of a plan; ``None`` for its pick-freeze sample, and for a stack.
            start, stop: half-open row range.
            score: which scalar.
            targets: class indices.
        """
        scorer = await self._scorer(digest, work)
        parts = [
            await self._run(lambda first=first, last=last: scorer.score(rows, first, last, score, targets))
            for first, last in scorer.batches(start, stop)
        ]
        return scoreboard.join(parts)

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _scorer(self, digest: str, work: Sequence[ObjectRef[Plan | Stack]]) -> Scorer:
        self._reporter.start_once()
        if digest not in self._scorers:
            fetched: Plan | Stack = await work[0]
            made = await self._run(lambda: Scorer(fetched, self._model, recorder=self._reporter.counters))
            self._scorers.setdefault(digest, made)  # another chunk may have been first
        self._scorers.move_to_end(digest)
        while len(self._scorers) > PLANS_KEPT:
            self._scorers.popitem(last=False)
        return self._scorers[digest]


def _give_back_memory() -> None:
    """Returns what only loading needed, about 20 MB, to the system, where the C library can (glibc)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
