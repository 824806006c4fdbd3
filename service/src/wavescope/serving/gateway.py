"""Gateway: the protocols, as thin callers of the data plane."""

from __future__ import annotations

from fastapi import FastAPI
from ray.serve.handle import DeploymentHandle

from wavescope.figures.draw import draw_png
from wavescope.ingress.http import build_app
from wavescope.ingress.oip.servicer import OipServicer
from wavescope.ingress.open_streams import OpenStreams
from wavescope.ingress.plane import DataPlane, IngressLimits, RequestRecorder
from wavescope.ingress.servicer import ExplanationServicer
from wavescope.serving import names as deployed
from wavescope.serving.logs import configure_logs
from wavescope.serving.plane import RayDataPlane
from wavescope.serving.registry_file import RegistryFile
from wavescope.serving.reporting import Reporter
from wavescope.settings import Settings, access


class Gateway(ExplanationServicer, OipServicer):
    """Speaks HTTP and gRPC: one method per RPC, which Ray Serve finds by its name."""

    def __init__(
        self,
        settings: Settings,
        registry: RegistryFile,
        aggregator: DeploymentHandle,
        hub: DeploymentHandle,
        *,
        loopback_only: bool,
    ) -> None:
        configure_logs(settings.log_level)
        self._reporter = Reporter(deployed.GATEWAY, hub=hub)
        self._recorder: RequestRecorder = self._reporter.counters
        self._access = access(settings, local_only=loopback_only)
        self._doorkeeper = self._access.doorkeeper
        self._limits = IngressLimits(
            max_body_bytes=settings.max_body_bytes,
            max_images=settings.max_images,
            max_targets=settings.max_targets,
            max_streams=settings.max_streams,
            max_streams_per_caller=settings.max_streams_per_caller,
            loopback_only=loopback_only,
        )
        self._streams = OpenStreams(self._limits)
        self._plane: DataPlane = RayDataPlane(settings, registry, aggregator, self._reporter)

    async def check_health(self) -> None:
        """Answers while the replica's event loop turns; Ray Serve does not notice a blocked one by itself."""
        self._reporter.start_once()

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build_app(
            self._plane,
            limits=self._limits,
            draw=draw_png,
            recorder=self._recorder,
            access=self._access,
            streams=self._streams,
            echo_request_id=False,  # Ray Serve's proxy gives every request its id, and adds it to the reply
        )
