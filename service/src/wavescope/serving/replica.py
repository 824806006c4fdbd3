"""ModelReplica: renders chunks of plans on the model's device and scores them there."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float, Float32
from ray import ObjectRef

from wavescope.core.arrays import to_numpy
from wavescope.core.gradients import GradientPath, GradientSums
from wavescope.core.scores import Column
from wavescope.engine.plan import Plan, Stack, chunks
from wavescope.engine.protocols import AnyRows, Classifier, Recorder
from wavescope.engine.scoring.batching import Batcher
from wavescope.engine.scoring.scoreboard import Scored
from wavescope.engine.scoring.scorer import DeviceBatches, Part, Rendering, block_sums
from wavescope.engine.types import ModelDetails
from wavescope.errors import ModelChanged, ModelUnavailable, RemoteFailure, WavescopeError
from wavescope.models.load import load
from wavescope.models.spec import ModelSpec
from wavescope.retries import RetryPolicy
from wavescope.serving import names
from wavescope.serving.calls.background import start_in_background
from wavescope.serving.calls.retries import REMOTE_MODEL
from wavescope.serving.models.attempts import attempts
from wavescope.serving.process import prepare_process
from wavescope.serving.reporting import Reporter, hub_deployment
from wavescope.serving.scaling import QUEUED
from wavescope.settings import Settings
from wavescope.telemetry.metrics import QUEUED_IMAGES

# A chunk of a plan that is not kept costs 0.05 s more, and all its P_k anew. Kept, it holds 10 MB at the defaults, and
# 70 MB at most.
RENDERINGS_KEPT = 8
TIMED_BATCHES = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready to score.

    Attributes:
        details: its own, with its speed.
        thread: renders and scores: the device is one, and ONNX Runtime or torch use the cores of the replica by
            themselves.
    """

    model: Classifier
    details: ModelDetails
    device: DeviceBatches
    batcher: Batcher
    thread: threading.Thread


class ModelReplica:
    """One loaded model. A chunk is a digest, a reference to its plan and a row range; images never leave the process.

    Chunks of different requests share device batches. Every call names the revision of the model it was planned for;
    an empty one is any.

    A model served elsewhere that does not answer yet is asked again for as long as the replica lives, since Ray Serve
    gives up on constructors that fail; until then calls fail with the reason.

    A model that failed to load twice in a row, or took its process with it, is tried again after a pause, which grows.
    """

    def __init__(
        self, spec: ModelSpec, settings: Settings, attempt: int = 0, *, retries: RetryPolicy = REMOTE_MODEL
    ) -> None:
        prepare_process(settings)
        self._retries = retries
        self._reporter = Reporter(names.MODEL_REPLICA, spec.name, hub_name=hub_deployment(settings))
        self._spec = spec
        self._settings = settings
        self._loaded: Loaded | None = None
        self._missing: RemoteFailure | ModelUnavailable | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._queued = 0
        self._renderings: OrderedDict[str, asyncio.Task[Rendering]] = OrderedDict()
        self._attempts = attempts(spec, attempt)
        self._delay_s = self._attempts.delay_s() if self._attempts else 0.0
        if self._delay_s:
            return  # the first check of its health waits: Ray Serve calls no replica before that
        try:
            self._loaded = self._load_noted()
        except (RemoteFailure, ModelUnavailable) as missing:
            self._note_missing(missing)

    async def check_health(self) -> None:
        """Answers while the replica's event loop turns; Ray Serve does not notice a blocked one by itself.

        Raises:
            RuntimeError: nothing scores any more; Ray Serve then replaces the replica.
        """
        if self._delay_s:
            await self._load_with_pauses()
        self._start_once()
        if self._loaded is not None and not self._loaded.thread.is_alive():
            raise RuntimeError("the thread that scores has ended")

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Metric of :class:`wavescope.serving.scaling.QueuedImages`: images that wait or are being scored."""
        self._start_once()
        return {QUEUED: float(self._queued)}

    async def details(self) -> ModelDetails:
        """Name, shapes, labels and speed of the model.

        Raises:
            ModelUnavailable: it is served elsewhere and does not answer yet.
        """
        return self._ready("").details

    async def predict(
        self, revision: str, digest: str, plan: Sequence[ObjectRef[Plan | Stack]]
    ) -> tuple[Float32[np.ndarray, "c h w"], Float[np.ndarray, " classes"]]:
        """The unperturbed image in [0, 1], and the model's raw outputs for it; errors as :meth:`score`."""
        loaded = self._ready(revision)
        async with self._queue(1):
            rendering = await self._rendering(loaded, digest, plan)
            return await asyncio.wrap_future(
                loaded.batcher.call(lambda: (rendering.image(), loaded.device.predict(rendering)))
            )

    async def steps(
        self, revision: str, digest: str, plan: Sequence[ObjectRef[Plan | Stack]]
    ) -> Float32[np.ndarray, "k n"]:
        """(K, N) a_jk − b_jk of the plan's design; errors as :meth:`score`."""
        return (await self._rendering(self._ready(revision), digest, plan)).steps()

    async def score(
        self,
        revision: str,
        digest: str,
        work: Sequence[ObjectRef[Plan | Stack]],
        rows: AnyRows | None,
        start: int,
        stop: int,
        score: str,
        targets: Sequence[Column],
    ) -> Scored:
        """Scores of rows start..stop.

        Args:
            revision: of the model that is meant.
            digest: of the plan or stack.
            work: one reference to it, nested so that a replica that knows it fetches nothing.
            rows: mask rows of a plan; ``None`` for its pick-freeze sample, and for a stack.
            start, stop: half-open row range.
            score: which scalar.
            targets: class indices, and pairs of them: see :func:`wavescope.core.scores.scores`.

        Raises:
            ModelChanged: this replica's model is of another revision.
            ModelUnavailable: it is served elsewhere and does not answer yet.
        """
        loaded = self._ready(revision)
        async with self._queue(stop - start):
            rendering = await self._rendering(loaded, digest, work)
            # Cancelling the call cancels the future, and with it the rows that were not started.
            return await asyncio.wrap_future(
                loaded.batcher.submit(Part(rendering, rows, start, stop, score, targets))
            )

    async def gradients(
        self,
        revision: str,
        digest: str,
        plan: Sequence[ObjectRef[Plan | Stack]],
        path: GradientPath,
        start: int,
        stop: int,
        score: str,
        target: int,
    ) -> GradientSums:
        """Sums of attributions over samples start..stop of a path; other arguments and errors as :meth:`score`.

        Raises:
            ModelFailure: the model has no gradients, or returned something that is not a number.
        """
        loaded = self._ready(revision)
        async with self._queue(stop - start):
            rendering = await self._rendering(loaded, digest, plan)
            batches = []
            for first, last in chunks(stop - start, loaded.device.size):
                batch = partial(
                    loaded.device.gradients, rendering, path, start + first, start + last, score, target
                )
                batches.append(await asyncio.wrap_future(loaded.batcher.call(batch)))
            # Beside the thread that scores: the transposed transforms take it some milliseconds each.
            return await asyncio.to_thread(block_sums, rendering, path, start, stop, batches)

    async def outputs(
        self, revision: str, digest: str, work: Sequence[ObjectRef[Plan | Stack]], start: int, stop: int
    ) -> Float32[np.ndarray, "n classes"]:
        """Raw outputs of the images start..stop of a stack; arguments and errors as :meth:`score`."""
        loaded = self._ready(revision)
        async with self._queue(stop - start):
            rendering = await self._rendering(loaded, digest, work)
            found: list[np.ndarray] = []
            for first, last in chunks(stop - start, loaded.device.size):
                # A call for each batch, so that a cancelled one starts no further batch.
                batch = partial(loaded.device.outputs, rendering, start + first, start + last)
                found.append(await asyncio.wrap_future(loaded.batcher.call(batch)))
            return np.concatenate(found)

    def _ready(self, revision: str) -> Loaded:
        if self._loaded is not None and getattr(self._loaded.model, "stale", False):
            # Its server has another version by now: ask what that is. The thread ends with what waits, and closes it.
            self._loaded.batcher.close()
            self._loaded = self._missing = self._connecting = None
            self._renderings.clear()
        self._start_once()
        if self._loaded is None:
            reason = self._missing.message if self._missing is not None else "it is being loaded"
            raise ModelUnavailable(f"model {self._spec.name!r} cannot score yet: {reason}", field="model")
        if revision and revision != self._loaded.details.revision:
            raise ModelChanged(
                f"model {self._spec.name!r} was updated while the request ran; send it again", field="model"
            )
        return self._loaded

    def _start_once(self) -> None:
        self._reporter.start_once()
        if self._loaded is None and self._connecting is None and not self._delay_s:
            self._connecting = start_in_background(self._connect())

    def _load_noted(self) -> Loaded:
        """Loads the model, and notes it where the next process sees it, should this one not survive it."""
        if self._attempts is None:
            return self._load()
        self._attempts.begin()
        try:
            loaded = self._load()
        except (RemoteFailure, ModelUnavailable):  # a server that is away: asked again by this process
            self._attempts.loaded()
            raise
        except Exception as error:
            message = error.message if isinstance(error, WavescopeError) else ""
            self._attempts.failed(message or "it could not be loaded; the log says why")
            raise
        self._attempts.loaded()
        return loaded

    async def _load_with_pauses(self) -> None:
        """Loads the model with growing pauses, since earlier attempts failed one after the other."""
        assert self._attempts is not None
        while self._loaded is None and self._missing is None:
            reason = self._attempts.reason()
            log.warning(
                "the model is tried again later",
                extra={"model": self._spec.name, "reason": reason, "delay_s": self._delay_s},
            )
            await asyncio.sleep(self._delay_s)
            try:
                self._loaded = await asyncio.to_thread(self._load_noted)
            except (RemoteFailure, ModelUnavailable) as missing:
                self._note_missing(missing)
            except Exception as failed:
                log.exception("the model could not be loaded", extra={"model": self._spec.name})
                self._delay_s = self._attempts.delay_s()
                if not self._delay_s:  # what is to be loaded has changed meanwhile
                    raise RuntimeError("this replica is of no use any more") from failed
        self._delay_s = 0.0

    async def _connect(self) -> None:
        failures = 1
        while self._loaded is None:
            await asyncio.sleep(self._retries.delay_s(failures))
            failures += 1
            try:
                self._loaded = await asyncio.to_thread(self._load)
            except (RemoteFailure, ModelUnavailable) as missing:
                self._note_missing(missing)

    def _note_missing(self, missing: RemoteFailure | ModelUnavailable) -> None:
        if self._missing is None or self._missing.message != missing.message:
            log.warning(
                "the model does not answer yet",
                extra={"model": self._spec.name, "reason": missing.message},
            )
        self._missing = missing

    def _load(self) -> Loaded:
        model = load(self._spec, cache_dir=self._settings.cache_dir, remote_hosts=self._settings.remote_hosts)
        try:
            seconds = seconds_per_image(model)  # warm before ready
        except Exception:
            _close(model)
            raise
        details = replace(model.details, seconds_per_image=seconds)
        _give_back_memory()
        log.info(
            "the model is ready",
            extra={
                "model": details.name,
                "device": details.device,
                "batch_size": details.batch_size,
                "seconds_per_image": round(seconds, 6),
            },
        )
        recorder: Recorder = self._reporter.counters
        device = DeviceBatches(model, recorder=recorder)
        batcher = Batcher(device)
        thread = threading.Thread(target=_work, args=(batcher, model), name="score", daemon=True)
        thread.start()
        return Loaded(model, details, device, batcher, thread)

    @asynccontextmanager
    async def _queue(self, images: int) -> AsyncIterator[None]:
        """Counts images of a call until it ends or is cancelled."""
        self._add_queued(images)
        try:
            yield
        finally:
            self._add_queued(-images)

    def _add_queued(self, images: int) -> None:
        self._queued += images
        self._reporter.counters.set(QUEUED_IMAGES, self._queued, model=self._spec.name)

    async def _rendering(
        self, loaded: Loaded, digest: str, work: Sequence[ObjectRef[Plan | Stack]]
    ) -> Rendering:
        """Rendering of the plan or stack: made once, whichever of its chunks comes first and whatever becomes of it."""
        making = self._renderings.get(digest)
        if making is None:
            making = self._renderings[digest] = start_in_background(self._make(loaded, work[0]))
        self._renderings.move_to_end(digest)
        while len(self._renderings) > RENDERINGS_KEPT:
            self._renderings.popitem(last=False)
        try:
            return await asyncio.shield(making)
        except Exception:
            if self._renderings.get(digest) is making:
                del self._renderings[digest]  # the next chunk tries again
            raise

    async def _make(self, loaded: Loaded, work: ObjectRef[Plan | Stack]) -> Rendering:
        fetched: Plan | Stack = await work
        # Beside the thread that scores: the device goes on with what it has.
        return await asyncio.to_thread(Rendering, fetched, loaded.model)


def seconds_per_image(model: Classifier, *, clock: Callable[[], float] = time.perf_counter) -> float:
    """Warms the model up with a full batch, and times the next ones: the quickest, s per image.

    A start on a busy machine would otherwise be remembered for as long as the replica lives.

    Args:
        model: to be warmed.
        clock: seconds, monotonic.
    """
    details = model.details
    images = model.to_device(np.zeros((details.batch_size, *details.preprocessing.shape), dtype=np.float32))
    to_numpy(model.forward(images))
    taken: list[float] = []
    for _ in range(TIMED_BATCHES):
        began = clock()
        to_numpy(model.forward(images))  # a GPU computes by itself: its results have to be waited for
        taken.append(clock() - began)
    return min(taken) / details.batch_size


def _work(batcher: Batcher, model: Classifier) -> None:
    try:
        batcher.run()
    finally:
        _close(model)


def _close(model: Classifier) -> None:
    """Ends the connections of a model that has some."""
    close = getattr(model, "close", None)
    if close is not None:
        close()


def _give_back_memory() -> None:
    """Frees the memory that only loading needed, about 20 MB, where the C library can (glibc)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
