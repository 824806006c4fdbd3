"""EstimatorAggregator: plans, asks for chunks, folds scores, and builds the products."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from ray.serve.handle import DeploymentHandle

from wavescope.admission.policy import AdmissionRequest
from wavescope.engine.checks import resolve_prior
from wavescope.engine.events import ComputePartial, Finished, Listener, NullListener, Progress
from wavescope.engine.explain import PlannedRequest, ResolvedRequest, explain_planned, plan_request
from wavescope.engine.products import most_probable
from wavescope.engine.types import Explanation, ModelDetails, Target
from wavescope.errors import DeadlineExceeded, ModelChanged, ModelUnavailable, StoreUnavailable, UnknownTarget
from wavescope.ingress.plane import (
    CallContext,
    Estimate,
    Event,
    ExplainRequest,
    Predictions,
    PredictRequest,
    name_images,
)
from wavescope.models.labels import find_target
from wavescope.serving import names
from wavescope.serving.admission.desk import AdmissionClient
from wavescope.serving.admission.planning import READ_FORWARDS, Planning, as_forwards, planning_seconds
from wavescope.serving.cache_key import cache_key
from wavescope.serving.calls.local_handle import LocalHandle
from wavescope.serving.generator_client import GeneratorClient
from wavescope.serving.jobs.workers import Done, Tally, Workers
from wavescope.serving.models.directory import ModelDirectory
from wavescope.serving.models.registry_file import RegistryFile
from wavescope.serving.monitors.effects import AlarmEffects
from wavescope.serving.monitors.measuring import RayMeasurer
from wavescope.serving.monitors.worker import MonitorWorkers
from wavescope.serving.process import prepare_process
from wavescope.serving.reporting import Reporter
from wavescope.serving.runner import RayRunner, Replicas
from wavescope.serving.threads import in_store_thread
from wavescope.settings import Settings
from wavescope.store import open_store
from wavescope.store.codec import decode, encode
from wavescope.store.protocols import Job
from wavescope.telemetry.findings import count_cached, count_findings
from wavescope.telemetry.metrics import (
    FIRST_MAP,
    IN_PROGRESS,
    JOBS,
    MONITOR_DELAY,
    RESULTS,
    WEBHOOK_DELIVERIES,
)

CHUNKS_PER_REPLICA = 2  # one being scored and one waiting, so that the device never does
REPORT_S = 0.2  # between two reports of progress
REVISIONS = 5  # tries of a request whose model is being updated
REVISION_S = 1.0  # between them


class EstimatorAggregator:
    """Runs explanations: one coroutine each, holding 25 kB of scores. Carries out jobs besides."""

    def __init__(
        self,
        settings: Settings,
        registry: RegistryFile,
        generator: DeploymentHandle | LocalHandle,
        desk: DeploymentHandle | LocalHandle,
        *,
        hub: LocalHandle | None = None,
    ) -> None:
        prepare_process(settings)
        self._settings = settings
        self._directory = ModelDirectory(settings, registry)
        self._generator = GeneratorClient(generator)
        self._admission = AdmissionClient(desk)
        self._reporter = Reporter(names.AGGREGATOR, hub=hub)
        self._store = open_store(
            settings.store_url,
            state_dir=settings.state_dir,
            result_bytes=settings.result_cache_bytes,
            timeout_s=settings.store_timeout_s,
            results_timeout_s=settings.result_cache_timeout_s,
        )
        self._workers = Workers(self._store, settings, self._execute, ended=self._count_job)
        counters = self._reporter.counters
        self._monitors = MonitorWorkers(
            self._store,
            settings,
            RayMeasurer(settings, self._directory, self._admission, counters, self._replicas),
            AlarmEffects(
                self._store,
                settings,
                delivery=lambda outcome: counters.add(WEBHOOK_DELIVERIES, outcome=outcome),
            ),
            folded=lambda name, delay_s: counters.observe(MONITOR_DELAY, delay_s, monitor=name),
        )

    async def check_health(self) -> None:
        """Answers while the replica's event loop turns; Ray Serve does not notice a blocked one by itself."""
        self._start_once()

    async def __del__(self) -> None:  # Ray Serve's way to say that the replica is to leave; it awaits it
        await self.leave()

    async def leave(self) -> None:
        """Gives the jobs under way back to the queue, and monitors to other workers."""
        await self._workers.stop()
        await self._monitors.stop()

    async def explain(self, request: ExplainRequest, call: CallContext) -> tuple[Explanation, ...]:
        """Explains encoded images, image by image and target by target.

        Raises:
            WavescopeError: for the caller.
        """
        return await self._explain_in_time(request, call, NullListener())

    async def stream(self, request: ExplainRequest, call: CallContext) -> AsyncGenerator[Event, None]:
        """Explains encoded images, and reports progress and indices so far meanwhile; closing it stops the work.

        Indices are computed in a thread, beside the scoring that goes on. Of those that could be had meanwhile the
        newest alone are, and none once the explanations are there.
        """
        reports, began = _Reports(), time.perf_counter()
        mapped = False
        working = asyncio.create_task(self._explain_in_time(request, call, reports))
        working.add_done_callback(lambda _: reports.changed.set())
        try:
            while not working.done():
                await reports.changed.wait()
                reports.changed.clear()
                if (progress := reports.progress()) is not None:
                    yield progress
                if (compute := reports.take_partial()) is not None:
                    partial = await asyncio.to_thread(compute)
                    if partial is not None:
                        if not mapped:
                            self._count_first_map(request.model, began)
                        mapped = True
                        yield partial
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(working), REPORT_S)
            finished = Finished(await working)
            if not mapped:
                self._count_first_map(request.model, began)
            yield finished
        finally:
            working.cancel()

    async def estimate(self, request: ExplainRequest, call: CallContext) -> Estimate:
        """Estimates the cost of a request: forwards, seconds, and whether its result is cached."""
        self._start_once()
        details = await self._directory.details(request.model)
        async with self._directory.guard(request.model):
            planning = await self._read_headers(request, details, call)
            planned = await self._plan(request, details, None, planning)
        key = self._cache_key(request, details, call)
        cached = not request.fresh and await self._load_cached(key, request) is not None
        expected_s = await self._expected_s(request.model, details, planned.forwards)
        queue_s = await self._admission.wait_s(call.priority)
        return Estimate(planned.forwards, expected_s, queue_s, cached=cached)

    async def predict(self, request: PredictRequest, call: CallContext) -> Predictions:
        """Scores encoded images as they are, after the model's own preprocessing."""
        self._start_once()
        images, image_names = request.images, name_images(len(request.images))
        details = await self._directory.details(request.model)
        planning = Planning(
            self._admission, call.caller, call.priority, (), forwards=READ_FORWARDS, patient=False
        )
        replicas = await self._replicas(request.model)
        runner = RayRunner(images, details, replicas, self._reporter.counters, planning=planning)
        async with self._directory.guard(request.model):
            # A few forwards wait for no turn to be computed: they are charged with the decoding.
            await planning.read(
                images,
                image_names,
                self._settings,
                lambda decode_s: len(images) + as_forwards(sum(decode_s)),
            )
            outputs, assumptions = await runner.outputs(image_names)
        top = await asyncio.to_thread(
            lambda: tuple(most_probable(row, details, request.top_k) for row in outputs)
        )
        warnings = tuple((*sentences, *details.warnings) for sentences in assumptions)
        return Predictions(details, outputs, top, warnings)

    async def _explain_in_time(
        self, request: ExplainRequest, call: CallContext, listener: Listener
    ) -> tuple[Explanation, ...]:
        self._start_once()
        counters, limit_s = self._reporter.counters, self._settings.request_timeout_s
        counters.add(IN_PROGRESS, 1)
        try:
            async with asyncio.timeout(limit_s):
                return await self._explain(request, call, listener)
        except TimeoutError as late:
            raise DeadlineExceeded.of_request(limit_s) from late
        finally:
            counters.add(IN_PROGRESS, -1)

    async def _explain(
        self, request: ExplainRequest, call: CallContext, listener: Listener
    ) -> tuple[Explanation, ...]:
        """The cached result, or a computed one; computed again where the model was updated meanwhile."""
        began = time.perf_counter()
        for turn in range(REVISIONS):
            details = await self._directory.details(request.model)
            key = self._cache_key(request, details, call)
            if not request.fresh and (kept := await self._find_cached(key, request)) is not None:
                count_cached(self._reporter.counters, request.model, kept)
                return retime(kept, time.perf_counter() - began)
            try:
                # Planned anew it is not charged anew; a job was planned, and charged for that, when it was sent.
                charged = turn == 0 and call.job_id is None
                async with self._directory.guard(request.model):
                    planning = await self._read_headers(request, details, call, charged=charged)
                    found = await self._compute(request, details, call, listener, began, planning)
            except ModelChanged:
                self._directory.forget(request.model)
                await asyncio.sleep(REVISION_S)  # replicas are replaced one by one
                continue
            count_findings(self._reporter.counters, request.model, request.request, found)
            await self._save_result(key, found)
            return found
        raise ModelUnavailable(
            f"model {request.model!r} was updated {REVISIONS} times while the request ran", field="model"
        )

    async def _compute(
        self,
        request: ExplainRequest,
        details: ModelDetails,
        call: CallContext,
        listener: Listener,
        began: float,
        planning: Planning,
    ) -> tuple[Explanation, ...]:
        planned = await self._plan(request, details, call.job_id, planning)
        ask = AdmissionRequest(
            id=uuid.uuid4().hex,
            caller=call.caller,
            priority=call.priority,
            forwards=planned.forwards,
            seconds=await self._expected_s(request.model, details, planned.forwards) or 0.0,
            patient=call.job_id is not None,
            charged_forwards=planning.forwards,
        )
        async with self._admission.through(ask):
            # A deadline counts from a request's arrival, and from the time that a job has a place.
            if call.job_id is not None:
                began = time.perf_counter()
            return await explain_planned(planned, listener=listener, began=began)

    async def _read_headers(
        self, request: ExplainRequest, details: ModelDetails, call: CallContext, *, charged: bool = True
    ) -> Planning:
        """Turns of a request to have its images decoded; images whose headers break a limit are refused."""

        def forwards(decode_s: Sequence[float]) -> int:
            seconds = planning_seconds(request.request, decode_s, details.preprocessing)
            return as_forwards(seconds) if charged else 0

        planning = Planning(
            self._admission,
            call.caller,
            call.priority,
            (),
            forwards=READ_FORWARDS if charged else 0,
            patient=call.job_id is not None,
        )
        await planning.read(request.images, request.image_names, self._settings, forwards)
        return planning

    async def _plan(
        self, request: ExplainRequest, details: ModelDetails, job: str | None, planning: Planning
    ) -> PlannedRequest:
        """Plans a request: every check that is possible before admission has passed."""
        targets = tuple(
            tuple(find_target(target, details.labels) for target in entry) for entry in request.targets
        )
        runner = RayRunner(
            request.images,
            details,
            await self._replicas(request.model),
            self._reporter.counters,
            ledger=None if job is None else self._store,
            job_id=job or "",
            planning=planning,
        )
        against = find_target(request.request.against, details.labels, "against")
        resolved = ResolvedRequest(
            replace(request.request, against=against), targets, request.identities, request.image_names
        )
        return await plan_request(runner, resolved)

    async def _replicas(self, model: str) -> Replicas:
        return Replicas(
            generator=self._generator,
            model=self._directory.handle(model),
            name=model,
            window=CHUNKS_PER_REPLICA * self._directory.spec(model).max_replicas,
            chunk_rows=self._settings.chunk_rows,
        )

    async def _expected_s(self, model: str, details: ModelDetails, forwards: int) -> float | None:
        """Expected seconds of scoring on the replicas that run now; ``None`` where the model's speed is not known."""
        if details.seconds_per_image is None:
            return None
        state, _ = await self._directory.describe(model)
        running = state["replicas"]["running"]
        return forwards * details.seconds_per_image / max(1, running)

    # ---- cached results ----------------------------------------------------------------------------
    def _cache_key(self, request: ExplainRequest, details: ModelDetails, call: CallContext) -> str | None:
        """Key of the cached result; ``None`` without a cache, or where the model's revision is not known."""
        if not self._settings.result_cache_bytes or not details.revision:
            return None
        owner = "" if self._settings.results_shared else call.caller
        prior = resolve_prior(request.request, details)
        return cache_key(
            _with_indices(request, details.labels), details.outputs, details.revision, owner, prior=prior
        )

    async def _find_cached(self, key: str | None, request: ExplainRequest) -> tuple[Explanation, ...] | None:
        """The cached result, counted as hit or miss."""
        if key is None:
            return None
        found = await self._load_cached(key, request)
        self._reporter.counters.add(RESULTS, outcome="miss" if found is None else "hit")
        return found

    async def _load_cached(self, key: str | None, request: ExplainRequest) -> tuple[Explanation, ...] | None:
        if key is None:
            return None
        found = None
        with contextlib.suppress(StoreUnavailable, TimeoutError):  # computing is slower, and as good
            async with asyncio.timeout(self._settings.result_cache_timeout_s):
                found = await in_store_thread(self._store.get_cached, key)
        kept: Done | None = None
        if found is not None:
            with contextlib.suppress(ValueError):  # of another version, or damaged
                kept = await asyncio.to_thread(decode, found, Done)
        if kept is None:
            return None
        return tuple(
            replace(explanation, id=identity, cached=True)
            for explanation, identity in zip(kept.explanations, request.identities, strict=True)
        )

    async def _save_result(self, key: str | None, found: tuple[Explanation, ...]) -> None:
        if key is None or any(explanation.partial for explanation in found):
            return
        encoded = await asyncio.to_thread(encode, Done(found, batch=False))
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(self._settings.result_cache_timeout_s):
                await in_store_thread(self._store.put_cached, key, encoded)

    # ---- jobs ------------------------------------------------------------------------------------
    async def _execute(self, job: Job, request: ExplainRequest, tally: Tally) -> tuple[Explanation, ...]:
        request_id = str(job.labels.get("request_id", ""))
        call = CallContext(request_id, caller=job.owner, priority="batch", job_id=job.id)
        return await self._explain(request, call, tally)

    def _count_job(self, state: str) -> None:
        self._reporter.counters.add(JOBS, state=state)

    def _count_first_map(self, model: str, began: float) -> None:
        self._reporter.counters.observe(FIRST_MAP, time.perf_counter() - began, model=model)

    def _start_once(self) -> None:
        self._reporter.start_once()
        self._workers.start_once()
        self._monitors.start_once()


def retime(kept: tuple[Explanation, ...], total_s: float) -> tuple[Explanation, ...]:
    """Cached explanations with the times of this request: those of the computation are of another."""
    own = {"plan_s": 0.0, "score_s": 0.0, "total_s": total_s}
    return tuple(replace(explanation, timing=own) for explanation in kept)


class _Reports:
    """Keeps the newest of each kind of report until it is taken."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._began = time.perf_counter()
        self._planned = 0
        self._scored = 0
        self._partial: ComputePartial | None = None

    def planned(self, forwards: int) -> None:
        self._planned = forwards
        self.changed.set()

    def scored(self, image_count: int) -> None:
        self._scored += image_count
        self.changed.set()

    def partial(self, compute: ComputePartial) -> None:
        self._partial = compute
        self.changed.set()

    def progress(self) -> Progress | None:
        """Progress so far; ``None`` before anything is planned."""
        if not self._planned:
            return None
        elapsed_s = time.perf_counter() - self._began
        left = max(0, self._planned - self._scored)
        eta_s = elapsed_s / self._scored * left if self._scored else None
        return Progress(self._scored, self._planned, elapsed_s, eta_s)

    def take_partial(self) -> ComputePartial | None:
        """The newest indices that were not taken yet."""
        taken, self._partial = self._partial, None
        return taken


def _with_indices(request: ExplainRequest, labels: Sequence[str]) -> ExplainRequest:
    """The request with indices for the names of classes; those that are no class of the model's are refused later."""

    def index(target: Target, field: str) -> Target:
        try:
            return find_target(target, labels, field)
        except UnknownTarget:
            return target

    return replace(
        request,
        targets=tuple(tuple(index(target, "target") for target in entry) for entry in request.targets),
        # Its target is in the targets already.
        request=replace(request.request, target=None, against=index(request.request.against, "against")),
    )
