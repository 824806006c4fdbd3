"""The data plane over deployment handles and the store."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Any

from ray.serve.handle import DeploymentHandle

from wavescope.engine.events import Finished, Partial, Progress
from wavescope.engine.products import most_probable
from wavescope.engine.types import Explanation
from wavescope.errors import (
    DeadlineExceeded,
    InternalError,
    ModelUnavailable,
    WavescopeError,
)
from wavescope.ingress.jobs import job_failed
from wavescope.ingress.plane import Call, Estimate, Event, JobStatus, Parsed, Predicted
from wavescope.serving.aggregator import Caller, SoFar
from wavescope.serving.directory import Directory
from wavescope.serving.dispatch import LOST, unwrapped
from wavescope.serving.jobs import Done, Work
from wavescope.serving.registry_file import RegistryFile
from wavescope.serving.reporting import Reporter
from wavescope.settings import Settings, load_quotas
from wavescope.store import open_store
from wavescope.store.answers import unknown
from wavescope.store.codec import decode, encode
from wavescope.store.protocols import FINAL, Job, NewJob
from wavescope.telemetry.metrics import JOBS

READY = ("ready", "updating", "scaled_to_zero")
WATCH_S = 0.5  # between looks at a job that is watched
GRACE_S = 5.0
DIED = "the process that computed this explanation died; send it again"

log = logging.getLogger(__name__)


class RayDataPlane:
    """Implements :class:`wavescope.ingress.plane.DataPlane`; every method's contract stands there."""

    def __init__(
        self,
        settings: Settings,
        registry: RegistryFile,
        aggregator: DeploymentHandle,
        reporter: Reporter,
    ) -> None:
        self._settings = settings
        self._directory = Directory(settings, registry)
        self._aggregator = aggregator
        self._reporter = reporter
        self._quota = load_quotas(settings)
        self._store = open_store(
            settings.store_url, state_dir=settings.state_dir, result_bytes=settings.result_cache_bytes
        )

    # ---- explaining ------------------------------------------------------------------------------
    async def explain(self, parsed: Parsed, call: Call) -> tuple[Explanation, ...]:
        work = self._work(parsed, call)
        return await self._ask("explain", work, _caller(call))

    async def stream(self, parsed: Parsed, call: Call) -> AsyncGenerator[Event, None]:
        work = self._work(parsed, call)
        told = self._aggregator.options(stream=True).stream.remote(work, _caller(call))
        try:
            # Not asyncio.timeout: a generator that others iterate may end in another task than it began in.
            ends_s = time.monotonic() + self._settings.request_timeout_s + GRACE_S
            events = aiter(told)  # type: ignore[arg-type]  # a generator, as stream=True makes it
            while True:
                event = await asyncio.wait_for(anext(events, None), ends_s - time.monotonic())
                if event is None:
                    return
                yield _event(event)
        except WavescopeError as error:
            raise unwrapped(error) from None
        except TimeoutError as late:
            raise DeadlineExceeded.of_request(self._settings.request_timeout_s) from late
        except LOST as lost:
            raise ModelUnavailable(DIED) from lost
        finally:
            told.cancel()  # the client is gone, or all is told: no further chunk is wanted

    async def estimate(self, parsed: Parsed, call: Call) -> Estimate:
        forwards, expected_s, queue_s, cached = await self._ask(
            "estimate", self._work(parsed, call), _caller(call)
        )
        return Estimate(forwards, expected_s, queue_s, cached)

    async def predict(self, images: tuple[bytes, ...], model: str, top_k: int, call: Call) -> Predicted:
        self._directory.spec(model)
        details, outputs = await self._ask("predict", images, _names(images), model, _caller(call))
        return Predicted(details, outputs, tuple(most_probable(row, details, top_k) for row in outputs))

    # ---- jobs ------------------------------------------------------------------------------------
    async def submit(self, parsed: Parsed, call: Call, idempotency_key: str | None) -> JobStatus:
        work = self._work(parsed, call)
        content = work.key("")  # of whatever revision computes it
        if idempotency_key is not None:  # a repeated one is answered whatever has changed meanwhile
            known = await asyncio.to_thread(self._store.find, call.caller, idempotency_key, content)
            if known is not None:
                return _status(known)
        await self._ask("estimate", work, _caller(call))  # refuses what cannot be explained
        return await asyncio.to_thread(self._keep, work, content, call, idempotency_key)

    async def job(self, job_id: str, call: Call) -> JobStatus:
        return _status(await self._job(job_id, call))

    async def watch(self, job_id: str, call: Call) -> AsyncGenerator[JobStatus, None]:
        told: Job | None = None
        while True:
            job = await self._job(job_id, call)
            if job != told:
                yield _status(job)
                told = job
            if job.state in FINAL:
                return
            await asyncio.sleep(WATCH_S)

    async def result(self, job_id: str, call: Call) -> tuple[tuple[Explanation, ...], bool]:
        job = await self._job(job_id, call)
        if job.state == "failed" and job.error is not None:
            raise job_failed(_status(job))
        try:
            done = await asyncio.to_thread(lambda: decode(self._store.result(job_id), Done))
        except ValueError as damaged:
            raise InternalError(f"the result of job {job_id} cannot be read") from damaged
        return done.explanations, done.batch

    async def cancel(self, job_id: str, call: Call) -> JobStatus:
        before = await self._job(job_id, call)
        job = await asyncio.to_thread(self._store.cancel, job_id)
        if before.state not in FINAL and job.state == "cancelled":
            self._reporter.counters.add(JOBS, state="cancelled")
        return _status(job)

    # ---- telling ---------------------------------------------------------------------------------
    async def models(self) -> dict[str, dict[str, Any]]:
        names = self.model_names()
        told = await asyncio.gather(*(self.model(name) for name in names))
        return dict(zip(names, told, strict=True))

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
                "preprocessing": asdict(details.preprocessing),
            }
        return described

    async def ready(self) -> bool:
        found = await asyncio.gather(*(self._directory.describe(name) for name in self.model_names()))
        return any(state["state"] in READY for state, _ in found)

    async def metrics(self) -> str:
        return await self._reporter.exposition()

    # ---- how -------------------------------------------------------------------------------------
    def _work(self, parsed: Parsed, call: Call) -> Work:
        """The request as it travels; of an unknown model none is made."""
        self._directory.spec(parsed.model)
        images, image_names = parsed.images, _names(parsed.images)
        if parsed.other is not None:
            images, image_names = (*images, parsed.other), (*image_names, "other")
        identities = tuple(uuid.uuid4().hex for entry in parsed.targets for _ in entry)
        log.info(
            "explaining", extra={"ids": identities, "request_id": call.request_id, "model": parsed.model}
        )
        return Work(
            parsed.model,
            images,
            image_names,
            parsed.targets,
            identities,
            parsed.request,
            parsed.batch,
            call.fresh,
        )

    async def _ask(self, method: str, *args: Any) -> Any:
        """What the aggregator answers; it stops working where nobody waits for that any more."""
        response = getattr(self._aggregator, method).remote(*args)
        limit_s = self._settings.request_timeout_s
        try:
            # A little more than the aggregator gives itself, whose words are the better ones.
            async with asyncio.timeout(limit_s + GRACE_S):
                return await response
        except WavescopeError as error:
            raise unwrapped(error) from None
        except TimeoutError as late:
            response.cancel()
            raise DeadlineExceeded.of_request(self._settings.request_timeout_s) from late
        except asyncio.CancelledError:
            response.cancel()
            raise
        except LOST as lost:
            raise ModelUnavailable(DIED) from lost

    def _keep(self, work: Work, content: str, call: Call, idempotency_key: str | None) -> JobStatus:
        """Keeps a job, where there is room for one more."""
        job = NewJob(
            id=uuid.uuid4().hex,
            owner=call.caller,
            payload=encode(work),
            content=content,
            idempotency_key=idempotency_key,
            priority=1 if call.priority == "interactive" else 0,
            labels={
                "kind": work.request.kind,
                "model": work.model,
                "images": len(work.targets),
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

    async def _job(self, job_id: str, call: Call) -> Job:
        job = await asyncio.to_thread(self._store.get, job_id)
        if job.owner != call.caller:
            raise unknown(job_id)
        return job


def _names(images: tuple[bytes, ...]) -> tuple[str, ...]:
    """What the caller calls each image."""
    return ("image",) if len(images) == 1 else tuple(f"images[{place}]" for place in range(len(images)))


def _caller(call: Call) -> Caller:
    return Caller(call.caller, call.priority)


def _event(told: Progress | SoFar | tuple[Explanation, ...]) -> Event:
    if isinstance(told, Progress):
        return told
    if isinstance(told, SoFar):
        return Partial(told.image, told.forwards, told.rows, lambda: told.indices)
    return Finished(told)


def _status(job: Job) -> JobStatus:
    eta_s = None
    if job.state == "running" and job.started_at is not None and job.forwards:
        left = max(0, job.planned - job.forwards)
        eta_s = (time.time() - job.started_at) / job.forwards * left
    return JobStatus(
        id=job.id,
        state=job.state,
        kind=job.labels["kind"],
        model=job.labels["model"],
        images=job.labels["images"],
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        forwards=job.forwards,
        planned=job.planned,
        eta_s=eta_s,
        error=job.error,
    )
