"""The data plane over deployment handles and the store."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, replace
from typing import Any

from ray.serve.handle import DeploymentHandle

from wavescope.auth import load_quotas
from wavescope.engine.types import Explanation
from wavescope.errors import InternalError
from wavescope.ingress.job_replies import job_failed
from wavescope.ingress.plane import (
    CallContext,
    Estimate,
    Event,
    ExplainRequest,
    JobStatus,
    Predictions,
    PredictRequest,
)
from wavescope.serving.aggregator_client import AggregatorClient
from wavescope.serving.cache_key import cache_key
from wavescope.serving.calls.local_handle import LocalHandle
from wavescope.serving.jobs.workers import Done
from wavescope.serving.models.directory import ModelDirectory
from wavescope.serving.models.registry_file import RegistryFile
from wavescope.serving.monitors.plane import StoredMonitors
from wavescope.serving.reporting import Reporter
from wavescope.serving.threads import in_store_thread
from wavescope.settings import Settings
from wavescope.store import open_store
from wavescope.store.codec import decode, encode
from wavescope.store.errors import unknown_job
from wavescope.store.protocols import FINAL, Job, NewJob
from wavescope.telemetry.metrics import JOBS

READY = ("ready", "updating", "scaled_to_zero")
WATCH_S = 0.5  # between looks at a job that is watched

log = logging.getLogger(__name__)


class RayDataPlane(StoredMonitors):
    """Implements :class:`wavescope.ingress.plane.DataPlane`; every method's contract stands there."""

    def __init__(
        self,
        settings: Settings,
        registry: RegistryFile,
        aggregator: DeploymentHandle | LocalHandle,
        reporter: Reporter,
    ) -> None:
        self._settings = settings
        self._directory = ModelDirectory(settings, registry)
        self._aggregator = AggregatorClient(aggregator, settings.request_timeout_s)
        self._reporter = reporter
        self._quota = load_quotas(settings)
        self._store = open_store(
            settings.store_url,
            state_dir=settings.state_dir,
            result_bytes=settings.result_cache_bytes,
            timeout_s=settings.store_timeout_s,
        )

    # ---- explaining ------------------------------------------------------------------------------
    async def explain(self, request: ExplainRequest, call: CallContext) -> tuple[Explanation, ...]:
        return await self._aggregator.explain(self._identify(request, call), call)

    async def stream(self, request: ExplainRequest, call: CallContext) -> AsyncGenerator[Event, None]:
        request = self._identify(request, call)
        async with aclosing(self._aggregator.stream(request, call)) as events:
            async for event in events:
                yield event

    async def estimate(self, request: ExplainRequest, call: CallContext) -> Estimate:
        return await self._aggregator.estimate(self._identify(request, call), call)

    async def predict(self, request: PredictRequest, call: CallContext) -> Predictions:
        self._directory.spec(request.model)
        return await self._aggregator.predict(request, call)

    # ---- jobs ------------------------------------------------------------------------------------
    async def submit(
        self, request: ExplainRequest, call: CallContext, idempotency_key: str | None
    ) -> JobStatus:
        request = self._identify(request, call)
        # Of whatever revision computes it; what a model returns is known before it is loaded.
        content = cache_key(request, self._directory.spec(request.model).returned, "")
        if idempotency_key is not None:  # a repeated one is answered whatever has changed meanwhile
            known = await in_store_thread(self._store.find_by_key, call.caller, idempotency_key, content)
            if known is not None:
                return _status(known)
        await self._aggregator.estimate(request, call)  # refuses what cannot be explained
        return await in_store_thread(self._submit, request, content, call, idempotency_key)

    async def job(self, job_id: str, call: CallContext) -> JobStatus:
        return _status(await self._job(job_id, call))

    async def watch(self, job_id: str, call: CallContext) -> AsyncGenerator[JobStatus, None]:
        sent: Job | None = None
        while True:
            job = await self._job(job_id, call)
            if job != sent:
                yield _status(job)
                sent = job
            if job.state in FINAL:
                return
            await asyncio.sleep(WATCH_S)

    async def result(self, job_id: str, call: CallContext) -> tuple[tuple[Explanation, ...], bool]:
        job = await self._job(job_id, call)
        if job.state == "failed" and job.error is not None:
            raise job_failed(_status(job))
        try:
            done = await in_store_thread(lambda: decode(self._store.result(job_id), Done))
        except ValueError as damaged:
            raise InternalError(f"the result of job {job_id} cannot be read") from damaged
        return done.explanations, done.batch

    async def cancel(self, job_id: str, call: CallContext) -> JobStatus:
        before = await self._job(job_id, call)
        job = await in_store_thread(self._store.cancel, job_id)
        if before.state not in FINAL and job.state == "cancelled":
            self._reporter.counters.add(JOBS, state="cancelled")
        return _status(job)

    # ---- models ----------------------------------------------------------------------------------
    async def models(self) -> dict[str, dict[str, Any]]:
        names = self.model_names()
        details = await asyncio.gather(*(self.model(name) for name in names))
        return dict(zip(names, details, strict=True))

    def model_names(self) -> tuple[str, ...]:
        return self._directory.names()

    async def model(self, name: str) -> dict[str, Any]:
        state, details = await self._directory.describe(name)
        described: dict[str, Any] = {
            "name": name,
            "ready": state["state"] in READY,
            **state,
            "source": self._directory.spec(name).kind,  # the rest may be a path of the server
        }
        if details is not None:
            described |= {
                "device": details.device,
                "precision": details.precision,
                "runtime": details.runtime,
                "revision": details.revision,
                "outputs": details.outputs,
                "classes": len(details.labels),
                "batch_size": details.batch_size,
                "seconds_per_image": details.seconds_per_image,
                "gradients": details.gradients,
                "no_gradients": details.no_gradients,
                "preprocessing": asdict(details.preprocessing),
            }
        return described

    async def ready(self) -> bool:
        found = await asyncio.gather(*(self._directory.describe(name) for name in self.model_names()))
        return any(state["state"] in READY for state, _ in found)

    async def metrics(self) -> str:
        return await self._reporter.exposition()

    # ---- how -------------------------------------------------------------------------------------
    def _identify(self, request: ExplainRequest, call: CallContext) -> ExplainRequest:
        """The request with ids for its explanations; one for an unknown model is refused."""
        self._directory.spec(request.model)
        identities = tuple(uuid.uuid4().hex for entry in request.targets for _ in entry)
        log.info(
            "explaining", extra={"ids": identities, "request_id": call.request_id, "model": request.model}
        )
        return replace(request, identities=identities, fresh=call.fresh)

    def _submit(
        self, request: ExplainRequest, content: str, call: CallContext, idempotency_key: str | None
    ) -> JobStatus:
        """Stores a job, where there is room for one more."""
        job = NewJob(
            id=uuid.uuid4().hex,
            owner=call.caller,
            payload=encode(request),
            content=content,
            idempotency_key=idempotency_key,
            priority=1 if call.priority == "interactive" else 0,
            labels={
                "kind": request.request.kind,
                "model": request.model,
                "images": len(request.targets),
                "request_id": call.request_id,
            },
        )
        kept, new = self._store.submit(
            job,
            max_unfinished=self._settings.max_jobs,
            max_owned=self._quota(call.caller).max_jobs,
            max_bytes=self._settings.max_job_bytes,
        )
        if new:
            log.info("job accepted", extra={"job": kept.id, "request_id": call.request_id})
        return _status(kept)

    async def _job(self, job_id: str, call: CallContext) -> Job:
        job = await in_store_thread(self._store.get, job_id)
        if job.owner != call.caller:
            raise unknown_job(job_id)
        return job


def _status(job: Job) -> JobStatus:
    eta_s = None
    if job.state == "running" and job.started_at is not None and job.forwards:
        left = max(0, job.planned - job.forwards)
        elapsed_s = max(0.0, time.time() - job.started_at)  # the clock may have been set meanwhile
        eta_s = elapsed_s / job.forwards * left
    return JobStatus(
        id=job.id,
        state=job.state,
        kind=job.labels["kind"],
        model=job.labels["model"],
        image_count=job.labels["images"],
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        forwards=job.forwards,
        planned=job.planned,
        eta_s=eta_s,
        error=job.error,
    )
