"""ModelReplica: renders chunks of plans on the model's device and scores them there."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32
from ray import ObjectRef

from wavescope.core.rows import Moved
from wavescope.engine.batching import Batcher
from wavescope.engine.plan import Plan, Stack
from wavescope.engine.protocols import Rows
from wavescope.engine.scoreboard import Scored
from wavescope.engine.scoring import DeviceBatches, Part, Rendering
from wavescope.engine.types import ModelDetails
from wavescope.models.load import load
from wavescope.models.spec import ModelSpec
from wavescope.serving import names
from wavescope.serving.logs import configure_logs
from wavescope.serving.reporting import Reporter

# A chunk of a plan that is not kept costs 0.05 s more, and all its P_k anew. Kept, it holds 10 MB at the defaults, and
# 70 MB at most.
RENDERINGS_KEPT = 8


class ModelReplica:
    """One loaded model. A chunk is a digest, a reference to its plan and a row range; images never leave the process.

    One thread renders and scores: the device is one, and ONNX Runtime or torch use the cores of the replica by
    themselves. Chunks of different requests share its device batches.
    """

    def __init__(self, spec: ModelSpec, cache_dir: Path, log_level: str) -> None:
        configure_logs(log_level)
        self._model = load(spec, cache_dir=cache_dir)
        details = self._model.details
        shape = (details.batch_size, *details.preprocessing.shape)
        self._model.forward(self._model.to_device(np.zeros(shape, dtype=np.float32)))  # warm before ready
        _give_back_memory()
        self._reporter = Reporter(names.MODEL_REPLICA, spec.name)
        self._device = DeviceBatches(self._model, recorder=self._reporter.counters)
        self._batcher = Batcher(self._device)
        self._thread = threading.Thread(target=self._batcher.run, name="score", daemon=True)
        self._thread.start()
        self._renderings: OrderedDict[str, asyncio.Task[Rendering]] = OrderedDict()

    async def check_health(self) -> None:
        """Answers while the replica's event loop turns; Ray Serve does not notice a blocked one by itself.

        Raises:
            RuntimeError: nothing scores any more; Ray Serve then replaces the replica.
        """
        self._reporter.start_once()
        if not self._thread.is_alive():
            raise RuntimeError("the thread that scores has ended")

    async def details(self) -> ModelDetails:
        """What the model says of itself."""
        self._reporter.start_once()
        return self._model.details

    async def predict(
        self, digest: str, plan: Sequence[ObjectRef[Plan | Stack]]
    ) -> tuple[Float32[np.ndarray, "c h w"], Float[np.ndarray, " classes"]]:
        """The unperturbed image in [0, 1], and the model's raw outputs for it."""
        rendering = await self._rendering(digest, plan)
        return await asyncio.wrap_future(
            self._batcher.call(lambda: (rendering.image(), self._device.predict(rendering)))
        )

    async def score(
        self,
        digest: str,
        work: Sequence[ObjectRef[Plan | Stack]],
        rows: Rows | Moved | None,
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
        rendering = await self._rendering(digest, work)
        # Cancelling the call cancels the future, and with it the rows that were not started.
        return await asyncio.wrap_future(
            self._batcher.submit(Part(rendering, rows, start, stop, score, targets))
        )

    async def _rendering(self, digest: str, work: Sequence[ObjectRef[Plan | Stack]]) -> Rendering:
        """That of the plan or stack: made once, whichever of its chunks comes first and whatever becomes of that."""
        self._reporter.start_once()
        making = self._renderings.get(digest)
        if making is None:
            making = self._renderings[digest] = asyncio.create_task(self._make(work[0]))
        self._renderings.move_to_end(digest)
        while len(self._renderings) > RENDERINGS_KEPT:
            self._renderings.popitem(last=False)
        try:
            return await asyncio.shield(making)
        except Exception:
            if self._renderings.get(digest) is making:
                del self._renderings[digest]  # the next chunk tries again
            raise

    async def _make(self, work: ObjectRef[Plan | Stack]) -> Rendering:
        fetched: Plan | Stack = await work
        # Beside the thread that scores: the device goes on with what it has.
        return await asyncio.to_thread(Rendering, fetched, self._model)


def _give_back_memory() -> None:
    """Returns what only loading needed, about 20 MB, to the system, where the C library can (glibc)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
