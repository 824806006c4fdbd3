"""EstimatorAggregator: plans, asks for chunks, folds scores, and builds the products."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from ray.serve.handle import DeploymentHandle

from wavescope.engine.admission import Ask, Priority
from wavescope.engine.events import Deaf, Listener, Partial, Progress
from wavescope.engine.kinds import Inquiry, Prepared, explain_prepared, prepare
from wavescope.engine.types import Explanation, Indices, ModelDetails
from wavescope.errors import DeadlineExceeded, ModelChanged, ModelUnavailable, StoreUnavailable
from wavescope.models.labels import find_target
from wavescope.serving import names
from wavescope.serving.admission import Door
from wavescope.serving.directory import Directory
from wavescope.serving.jobs import Done, Tally, Work, Workers
from wavescope.serving.logs import configure_logs
from wavescope.serving.registry_file import RegistryFile
from wavescope.serving.reporting import Reporter
from wavescope.serving.runner import RayRunner, Replicas
from wavescope.settings import Settings
from wavescope.store import open_store
from wavescope.store.codec import decode, encode
from wavescope.store.protocols import Job
from wavescope.telemetry.metrics import IN_PROGRESS, JOBS, RESULTS

CHUNKS_PER_REPLICA = 2  # one being scored and one waiting, so that the device never does
TOLD_S = 0.2  # between two reports of progress
REVISIONS = 5  # tries of a request whose model is being updated
REVISION_S = 1.0  # between them


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and how urgently.

    Attributes:
        name: of the API key, empty without keys.
        job: whether it waits however long its turn takes, and keeps the scores it has.
    """

    name: str = ""
    priority: Priority = "interactive"
    job: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SoFar:
    """Indices so far, computed: what crosses processes of a ``Partial``."""

    image: int
    forwards: int
    rows: int | None
    indices: Indices | None


class EstimatorAggregator:
    """Runs explanations: one coroutine each, holding 25 kB of scores. Carries out jobs besides."""

    def __init__(
        self,
        settings: Settings,
        registry: RegistryFile,
        generator: DeploymentHandle,
        desk: DeploymentHandle,
    ) -> None:
        configure_logs(settings.log_level)
        self._settings = settings
        self._directory = Directory(settings, registry)
        self._generator = generator
        self._door = Door(desk)
        self._reporter = Reporter(names.AGGREGATOR)
        self._store = open_store(
            settings.store_url, state_dir=settings.state_dir, result_bytes=settings.result_cache_bytes
        )
        self._workers = Workers(self._store, settings, self._carry, ended=self._job_ended)

    async def check_health(self) -> None:
        """Answers while the replica's event loop turns; Ray Serve does not notice a blocked one by itself."""
        self._start_once()

    async def __del__(self) -> None:  # Ray Serve's way to say that the replica is to leave; it awaits it
        await self._workers.stop()

    async def explain(self, work: Work, caller: Caller) -> tuple[Explanation, ...]:
        """Explains encoded images, image by image and target by target.

        Raises:
            WavescopeError: to be told to the caller.
        """
        return await self._in_time(work, caller, Deaf())

    async def stream(
        self, work: Work, caller: Caller
    ) -> AsyncGenerator[Progress | SoFar | tuple[Explanation, ...], None]:
        """The same, told while it is computed; the explanations come last. Closing it stops the work."""
        listening = _Listening()
        working = asyncio.create_task(self._in_time(work, caller, listening))
        working.add_done_callback(lambda _: listening.changed.set())
        try:
            while not working.done():
                await listening.changed.wait()
                listening.changed.clear()
                for told in listening.take():
                    if isinstance(told, Partial):
                        indices = await asyncio.to_thread(told.find)
                        yield SoFar(told.image, told.forwards, told.rows, indices)
                    else:
                        yield told
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(working), TOLD_S)
            yield await working
        finally:
            working.cancel()

    async def estimate(self, work: Work, caller: Caller) -> tuple[int, float | None, float, bool]:
        """(forwards, expected seconds, seconds of waiting, whether the result is kept) of a request."""
        self._start_once()
        details = await self._directory.details(work.model)
        prepared = await self._prepare(work, details, None)
        kept = not work.fresh and await self._kept(self._key(work, details), work) is not None
        seconds = await self._seconds(work.model, details, prepared.forwards)
        wait_s = await self._door.wait_s(caller.priority)
        return prepared.forwards, seconds, wait_s, kept

    async def predict(
        self, images: tuple[bytes, ...], image_names: tuple[str, ...], model: str, caller: Caller
    ) -> tuple[ModelDetails, Float[np.ndarray, "n classes"]]:
        """The model's details, and its raw outputs for encoded images after its own preprocessing."""
        self._start_once()
        details = await self._directory.details(model)
        await self._door.charge(caller.name, len(images))  # a few forwards, which wait for no turn
        runner = RayRunner(images, details, await self._replicas(model), self._reporter.counters)
        async with self._directory.guard(model):
            return details, await runner.outputs(image_names)

    async def _in_time(self, work: Work, caller: Caller, listener: Listener) -> tuple[Explanation, ...]:
        self._start_once()
        counters, limit_s = self._reporter.counters, self._settings.request_timeout_s
        counters.add(IN_PROGRESS, 1)
        try:
            async with asyncio.timeout(limit_s):
                return await self._explain(work, caller, listener)
        except TimeoutError as late:
            raise DeadlineExceeded.of_request(limit_s) from late
        finally:
            counters.add(IN_PROGRESS, -1)

    async def _explain(self, work: Work, caller: Caller, listener: Listener) -> tuple[Explanation, ...]:
        """From the kept results, or computed; anew where the model was updated meanwhile."""
        began = time.perf_counter()
        for _ in range(REVISIONS):
            details = await self._directory.details(work.model)
            key = self._key(work, details)
            if not work.fresh and (kept := await self._recall(key, work)) is not None:
                return kept
            try:
                async with self._directory.guard(work.model):
                    found = await self._compute(work, details, caller, listener, began)
            except ModelChanged:
                self._directory.forget(work.model)
                await asyncio.sleep(REVISION_S)  # replicas are replaced one by one
                continue
            await self._remember(key, found)
            return found
        raise ModelUnavailable(
            f"model {work.model!r} was updated {REVISIONS} times while the request ran", field="model"
        )

    async def _compute(
        self, work: Work, details: ModelDetails, caller: Caller, listener: Listener, began: float
    ) -> tuple[Explanation, ...]:
        prepared = await self._prepare(work, details, caller.job)
        ask = Ask(
            id=uuid.uuid4().hex,
            caller=caller.name,
            priority=caller.priority,
            forwards=prepared.forwards,
            seconds=await self._seconds(work.model, details, prepared.forwards) or 0.0,
            patient=caller.job is not None,
        )
        async with self._door.through(ask):
            # A deadline counts from a request's arrival, and from the time that a job has a place.
            if caller.job is not None:
                began = time.perf_counter()
            return await explain_prepared(prepared, listener=listener, began=began)

    async def _prepare(self, work: Work, details: ModelDetails, job: str | None) -> Prepared:
        """The plans of a request: what is wrong with it is told before it is let in."""
        targets = tuple(
            tuple(find_target(target, details.labels) for target in entry) for entry in work.targets
        )
        runner = RayRunner(
            work.images,
            details,
            await self._replicas(work.model),
            self._reporter.counters,
            ledger=None if job is None else self._store,
            job_id=job or "",
        )
        return await prepare(runner, Inquiry(work.request, targets, work.identities, work.names))

    async def _replicas(self, model: str) -> Replicas:
        return Replicas(
            generator=self._generator,
            model=self._directory.handle(model),
            name=model,
            window=CHUNKS_PER_REPLICA * self._directory.spec(model).max_replicas,
            chunk_rows=self._settings.chunk_rows,
        )

    async def _seconds(self, model: str, details: ModelDetails, forwards: int) -> float | None:
        """Expected of scoring on the replicas that run now."""
        if details.seconds_per_image is None:
            return None
        state, _ = await self._directory.describe(model)
        running = state["replicas"]["running"]
        return forwards * details.seconds_per_image / max(1, running)

    # ---- kept results ----------------------------------------------------------------------------
    def _key(self, work: Work, details: ModelDetails) -> str | None:
        """What the result of a request is kept under; ``None`` where nobody knows what the model computes."""
        if not self._settings.result_cache_bytes or not details.revision:
            return None
        return work.key(details.revision)

    async def _recall(self, key: str | None, work: Work) -> tuple[Explanation, ...] | None:
        """The kept result, counted as hit or miss."""
        if key is None:
            return None
        found = await self._kept(key, work)
        self._reporter.counters.add(RESULTS, outcome="miss" if found is None else "hit")
        return found

    async def _kept(self, key: str | None, work: Work) -> tuple[Explanation, ...] | None:
        if key is None:
            return None
        found = None
        with contextlib.suppress(StoreUnavailable):  # computing is slower, and as good
            found = await asyncio.to_thread(self._store.recall, key)
        kept: Done | None = None
        if found is not None:
            with contextlib.suppress(ValueError):  # of another version, or damaged
                kept = await asyncio.to_thread(decode, found, Done)
        if kept is None:
            return None
        return tuple(
            replace(explanation, id=identity, cached=True)
            for explanation, identity in zip(kept.explanations, work.identities, strict=True)
        )

    async def _remember(self, key: str | None, found: tuple[Explanation, ...]) -> None:
        if key is None or any(explanation.partial for explanation in found):
            return
        encoded = await asyncio.to_thread(encode, Done(found, batch=False))
        with contextlib.suppress(StoreUnavailable):
            await asyncio.to_thread(self._store.remember, key, encoded)

    # ---- jobs ------------------------------------------------------------------------------------
    async def _carry(self, job: Job, work: Work, tally: Tally) -> tuple[Explanation, ...]:
        caller = Caller(name=job.owner, priority="batch", job=job.id)
        return await self._explain(work, caller, tally)

    def _job_ended(self, state: str) -> None:
        self._reporter.counters.add(JOBS, state=state)

    def _start_once(self) -> None:
        self._reporter.start_once()
        self._workers.start_once()


class _Listening:
    """Keeps the newest of each kind of report until it is taken."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._began = time.perf_counter()
        self._planned = 0
        self._scored = 0
        self._partial: Partial | None = None

    def planned(self, forwards: int) -> None:
        self._planned = forwards
        self.changed.set()

    def scored(self, images: int) -> None:
        self._scored += images
        self.changed.set()

    def partial(self, partial: Partial) -> None:
        self._partial = partial
        self.changed.set()

    def take(self) -> list[Progress | Partial]:
        """What is new."""
        if not self._planned:
            return []
        elapsed_s = time.perf_counter() - self._began
        left = max(0, self._planned - self._scored)
        eta_s = elapsed_s / self._scored * left if self._scored else None
        told: list[Progress | Partial] = [Progress(self._scored, self._planned, elapsed_s, eta_s)]
        if self._partial is not None:
            told.append(self._partial)
            self._partial = None
        return told
