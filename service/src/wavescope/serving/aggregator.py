"""EstimatorAggregator: plans, asks for chunks, folds scores, and builds the products."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ray import serve
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from wavescope.engine.kinds import Inquiry, explain_all
from wavescope.engine.types import Explanation, ExplanationRequest, ModelDetails
from wavescope.errors import DeadlineExceeded, ModelUnavailable
from wavescope.models.labels import find_target
from wavescope.models.spec import ModelSpec, find_spec
from wavescope.serving import names
from wavescope.serving.dispatch import call
from wavescope.serving.logs import configure_logs
from wavescope.serving.reporting import Reporter
from wavescope.serving.runner import RayRunner, Replicas
from wavescope.settings import Settings
from wavescope.telemetry.metrics import IN_PROGRESS

CHUNKS_PER_REPLICA = 2  # one being scored and one waiting, so that the device never does


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of the images of a request.

    Attributes:
        targets: per image, class indices or names; ``None`` for the predicted class.
        identities: of the explanations.
        images: what the caller calls each image.
    """

    targets: tuple[tuple[int | str | None, ...], ...]
    identities: tuple[str, ...]
    images: tuple[str, ...]


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
        self, images: tuple[bytes, ...], model: str, request: ExplanationRequest, wanted: Wanted
    ) -> tuple[Explanation, ...]:
        """Explains encoded images, image by image and target by target.

        Args:
            images: those to be explained, then what ``compare`` compares with.
            model: its name.
            request: every parameter.
            wanted: targets and identities.

        Raises:
            WavescopeError: to be told to the caller.
        """
        self._reporter.start_once()
        counters = self._reporter.counters
        counters.add(IN_PROGRESS, 1)
        try:
            async with asyncio.timeout(self._settings.request_timeout_s):
                return await self._explain(images, model, request, wanted)
        except TimeoutError as late:
            raise DeadlineExceeded(
                f"the request was not finished within {self._settings.request_timeout_s:g} s",
                request_timeout_s=self._settings.request_timeout_s,
            ) from late
        finally:
            counters.add(IN_PROGRESS, -1)

    async def _explain(
        self, images: tuple[bytes, ...], model: str, request: ExplanationRequest, wanted: Wanted
    ) -> tuple[Explanation, ...]:
        details = await self.details(model)
        targets = tuple(
            tuple(find_target(target, details.labels) for target in entry) for entry in wanted.targets
        )
        replicas = Replicas(
            generator=self._generator,
            model=self._handle(model),
            name=model,
            window=CHUNKS_PER_REPLICA * self._specs[model].max_replicas,
            chunk_rows=self._settings.chunk_rows,
        )
        runner = RayRunner(images, details, replicas, self._reporter.counters)
        return await explain_all(runner, Inquiry(request, targets, wanted.identities, wanted.images))

    def _handle(self, model: str) -> DeploymentHandle:
        find_spec(self._specs.values(), model)
        if model not in self._handles:
            try:
                self._handles[model] = serve.get_app_handle(names.model_application(model))
            except RayServeException as missing:
                raise ModelUnavailable(f"model {model!r} is not deployed yet", field="model") from missing
        return self._handles[model]
