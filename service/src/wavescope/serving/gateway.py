"""Gateway: the protocols, as thin callers of the data plane."""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from wavescope.engine.types import Explanation, ModelDetails
from wavescope.errors import ModelUnavailable, WavescopeError
from wavescope.figures.draw import draw_png
from wavescope.ingress import rpc
from wavescope.ingress.http import build_app
from wavescope.ingress.plane import Call, IngressLimits, Parsed
from wavescope.models.spec import ModelSpec, find_spec
from wavescope.serving import names as deployed
from wavescope.serving.aggregator import Wanted
from wavescope.serving.dispatch import LOST
from wavescope.serving.logs import configure_logs
from wavescope.serving.reporting import Reporter
from wavescope.settings import Settings
from wavescope_proto.v1 import explanation_pb2 as pb

PROBE_S = 2.0

log = logging.getLogger(__name__)


class RayDataPlane:
    """The data plane over deployment handles."""

    def __init__(
        self, registry: tuple[ModelSpec, ...], aggregator: DeploymentHandle, reporter: Reporter
    ) -> None:
        self._specs = {spec.name: spec for spec in registry}
        self._aggregator = aggregator
        self._reporter = reporter

    async def explain(self, parsed: Parsed, call: Call) -> tuple[Explanation, ...]:
        """See :class:`wavescope.ingress.plane.Explaining`."""
        find_spec(self._specs.values(), parsed.model)
        images = parsed.images
        names = ("image",) if len(images) == 1 else tuple(f"images[{n}]" for n in range(len(images)))
        if parsed.other is not None:
            images, names = (*images, parsed.other), (*names, "other")
        identities = tuple(uuid.uuid4().hex for entry in parsed.targets for _ in entry)
        log.info(
            "explaining", extra={"ids": identities, "request_id": call.request_id, "model": parsed.model}
        )
        wanted = Wanted(parsed.targets, identities, names)
        response = self._aggregator.explain.remote(images, parsed.model, parsed.request, wanted)
        try:
            return await response
        except asyncio.CancelledError:
            response.cancel()  # the client is gone: no further chunk of its is wanted
            raise
        except LOST as lost:
            raise ModelUnavailable("the process that computed this explanation died; send it again") from lost

    async def models(self) -> dict[str, dict[str, Any]]:
        """Every registered model; what it says of itself where a replica answers in time."""
        found = await asyncio.gather(*(self._probe(name) for name in self._specs))
        return {
            name: _describe(spec, details)
            for (name, spec), details in zip(self._specs.items(), found, strict=True)
        }

    async def ready(self) -> bool:
        """Whether any model can score."""
        found = await asyncio.gather(*(self._probe(name) for name in self._specs))
        return any(details is not None for details in found)

    async def metrics(self) -> str:
        """The whole application's metrics."""
        return await self._reporter.exposition()

    async def _probe(self, model: str) -> ModelDetails | None:
        response = self._aggregator.details.remote(model)
        try:
            async with asyncio.timeout(PROBE_S):
                return await response
        except (TimeoutError, WavescopeError, RayError, RayServeException):
            response.cancel()
            return None


def _describe(spec: ModelSpec, details: ModelDetails | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": spec.name,
        "ready": details is not None,
        "source": spec.source.split(":", 1)[0],  # the rest may be a path of the server
        "replicas": {"min": spec.min_replicas, "max": spec.max_replicas},
    }
    if details is not None:
        described |= {
            "device": details.device,
            "precision": details.precision,
            "runtime": details.runtime,
            "outputs": details.outputs,
            "classes": len(details.labels),
            "batch_size": details.batch_size,
            "preprocessing": asdict(details.preprocessing),
        }
    return described


class Gateway:
    """Speaks HTTP and gRPC."""

    def __init__(
        self,
        settings: Settings,
        registry: tuple[ModelSpec, ...],
        aggregator: DeploymentHandle,
        hub: DeploymentHandle,
        *,
        loopback_only: bool,
    ) -> None:
        configure_logs(settings.log_level)
        self._reporter = Reporter(deployed.GATEWAY, hub=hub)
        self._limits = IngressLimits(
            max_body_bytes=settings.max_body_bytes,
            max_images=settings.max_images,
            max_targets=settings.max_targets,
            loopback_only=loopback_only,
        )
        self._plane = RayDataPlane(registry, aggregator, self._reporter)

    async def check_health(self) -> None:
        """Answers while the replica's event loop turns; Ray Serve does not notice a blocked one by itself."""
        self._reporter.start_once()

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build_app(
            self._plane,
            limits=self._limits,
            draw=draw_png,
            recorder=self._reporter.counters,
            echo_request_id=False,  # Ray Serve's proxy gives every request its id, and adds it to the reply
        )

    async def Explain(  # noqa: N802  # named as the RPC is, and its context as Ray Serve looks for it
        self, message: pb.ExplainRequest, grpc_context: rpc.Context
    ) -> pb.ExplainResponse:
        """``wavescope.v1.ExplanationService/Explain``."""
        return await rpc.explain(
            self._plane, message, grpc_context, limits=self._limits, recorder=self._reporter.counters
        )
