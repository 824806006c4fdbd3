"""EstimatorAggregator: plans, asks for chunks, folds scores, and builds the products."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float
from ray import ObjectRef, serve
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from wavescope.engine import products, scoreboard
from wavescope.engine.plan import Plan
from wavescope.engine.scoreboard import Scoreboard
from wavescope.engine.types import Explanation, ExplanationRequest, ModelDetails
from wavescope.errors import DeadlineExceeded, ModelUnavailable
from wavescope.models.labels import find_class
from wavescope.models.spec import ModelSpec, find_spec
from wavescope.serving import names
from wavescope.serving.dispatch import call, fan_out
from wavescope.serving.logs import configure_logs
from wavescope.serving.reporting import Reporter
from wavescope.settings import Settings
from wavescope.telemetry.metrics import CHUNKS, IN_PROGRESS

CHUNKS_PER_REPLICA = 2  # one being scored and one waiting, so that the device never does


class EstimatorAggregator:
    """Runs explanations: one coroutine each, holding 25 kB of scores."""

    def __init__(
        self, settings: Settings, registry: tuple[ModelSpec, ...], generator: DeploymentHandle
    ) -> None:
        configure_logs(settings.log_level)
        self._settings = settings
        self._specs = {spec.name: spec for spec in registry}
        self._generator = generator
        self._handles: dict[str, DeploymentHandle] = {}
        self._details: dict[str, ModelDetails] = {}
        self._reporter = Reporter(names.AGGREGATOR)

    async def check_health(self) -> None:
        """Answers while the replica's event loop turns; Ray Serve does not notice a blocked one by itself."""
        self._reporter.start_once()

    async def details(self, model: str) -> ModelDetails:
        """What a loaded model says of itself.

        Raises:
            UnknownModel: not in the registry.
            ModelUnavailable: no replica answers.
        """
        self._reporter.start_once()
        if model not in self._details:
            handle = self._handle(model)
            self._details[model] = await call(
                lambda: handle.details.remote(), what=f"model {model!r}", retried=lambda: None
            )
        return self._details[model]

    async def explain(
        self, image: bytes, model: str, request: ExplanationRequest, identity: str
    ) -> Explanation:
        """Explains one encoded image.

        Raises:
            WavescopeError: to be told to the caller.
        """
        self._reporter.start_once()
        counters = self._reporter.counters
        counters.add(IN_PROGRESS, 1)
        try:
            async with asyncio.timeout(self._settings.request_timeout_s):
                return await self._explain(image, model, request, identity)
        except TimeoutError as late:
            raise DeadlineExceeded(
                f"the explanation was not finished within {self._settings.request_timeout_s:g} s",
                request_timeout_s=self._settings.request_timeout_s,
            ) from late
        finally:
            counters.add(IN_PROGRESS, -1)

    async def _explain(
        self, image: bytes, model: str, request: ExplanationRequest, identity: str
    ) -> Explanation:
        began = time.perf_counter()
        details = await self.details(model)
        if request.target is not None:
            request = replace(request, target=find_class(request.target, details.labels))
        response: Any = self._generator.remote(image, details.preprocessing, request)
        # This process owns the returned object: replicas fetch it once, whatever happens to the generator.
        reference: ObjectRef[Plan] = await response._to_object_ref()  # noqa: SLF001  # Ray Serve has no public way
        plan: Plan = await response
        handle = self._handle(model)
        pixels, outputs = await call(
            lambda: handle.predict.remote(plan.digest, [reference]),
            what=f"prediction by {model!r}",
            retried=lambda: self._reporter.counters.add(CHUNKS, model=model, outcome="retried"),
        )
        clean = products.read_clean(pixels, outputs, details, request)
        planned = time.perf_counter()
        board = await self._score(plan, reference, model, request, clean.target.index)
        scored = time.perf_counter()
        timing = {"plan_s": planned - began, "score_s": scored - planned, "total_s": scored - began}
        return await asyncio.to_thread(
            products.build, plan, request, details, clean, board, identity=identity, timing=timing
        )

    async def _score(
        self, plan: Plan, reference: ObjectRef[Plan], model: str, request: ExplanationRequest, target: int
    ) -> Scoreboard:
        handle = self._handle(model)
        counters = self._reporter.counters
        board = scoreboard.empty(plan.rows, plan.n_factors)

        async def score(start: int, stop: int) -> Float[np.ndarray, "n t"]:
            return await call(
                lambda: handle.score.remote(plan.digest, [reference], start, stop, request.score, [target]),
                what=f"chunk {start}..{stop}",
                retried=lambda: counters.add(CHUNKS, model=model, outcome="retried"),
            )

        def take(start: int, values: Float[np.ndarray, "n t"]) -> None:
            nonlocal board
            board = scoreboard.update(board, start, values[:, 0])
            counters.add(CHUNKS, model=model, outcome="scored")

        window = CHUNKS_PER_REPLICA * self._specs[model].max_replicas
        await fan_out(plan.chunks(self._settings.chunk_rows), score, take, window=window)
        return board

    def _handle(self, model: str) -> DeploymentHandle:
        find_spec(self._specs.values(), model)
        if model not in self._handles:
            try:
                self._handles[model] = serve.get_app_handle(names.model_application(model))
            except RayServeException as missing:
                raise ModelUnavailable(f"model {model!r} is not deployed yet", field="model") from missing
        return self._handles[model]
