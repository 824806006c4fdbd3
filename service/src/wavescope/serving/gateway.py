"""Gateway: the protocols, as thin callers of the data plane."""

from __future__ import annotations

from fastapi import FastAPI
from ray.serve.handle import DeploymentHandle

from wavescope.auth import make_access
from wavescope.engine.types import Explanation
from wavescope.ingress.app import build_app
from wavescope.ingress.grpc.servicer import ExplanationServicer
from wavescope.ingress.kserve.oip.servicer import OipServicer
from wavescope.ingress.plane import DataPlane, IngressLimits, MonitorReport, RequestRecorder
from wavescope.ingress.ray_proxy.ongoing import Ongoing
from wavescope.ingress.stream_limits import OpenStreams
from wavescope.serving import names as deployed
from wavescope.serving.calls.local_handle import LocalHandle
from wavescope.serving.models.registry_file import RegistryFile
from wavescope.serving.plane import RayDataPlane
from wavescope.serving.process import prepare_process
from wavescope.serving.reporting import Reporter
from wavescope.settings import Settings


def _draw_png(explanation: Explanation) -> bytes:
    from wavescope.figures.draw import draw_png  # here: matplotlib is for those who ask for pictures

    return draw_png(explanation)


def _draw_report(report: MonitorReport) -> bytes:
    from wavescope.figures.monitor import draw_report

    return draw_report(report.status.name, report.status.summary, report.findings, report.images)


class Gateway(ExplanationServicer, OipServicer):
    """Speaks HTTP and gRPC: one method per RPC, which Ray Serve finds by its name."""

    def __init__(
        self,
        settings: Settings,
        registry: RegistryFile,
        aggregator: DeploymentHandle | LocalHandle,
        hub: DeploymentHandle | LocalHandle,
        *,
        loopback_only: bool,
    ) -> None:
        prepare_process(settings)
        self._reporter = Reporter(deployed.GATEWAY, hub=hub)
        self._recorder: RequestRecorder = self._reporter.counters
        self._access = make_access(settings, local_only=loopback_only)
        self._authenticator = self._access.authenticator
        self._limits = IngressLimits(
            max_body_bytes=settings.max_body_bytes,
            max_images=settings.max_images,
            max_targets=settings.max_targets,
            max_ongoing=settings.max_ongoing,
            max_streams=settings.max_streams,
            max_streams_per_caller=settings.max_streams_per_caller,
            loopback_only=loopback_only,
        )
        self._streams = OpenStreams(self._limits)
        self._ongoing = Ongoing(self._limits.max_ongoing)
        self._plane: DataPlane = RayDataPlane(settings, registry, aggregator, self._reporter)

    async def check_health(self) -> None:
        """Answers while the replica's event loop turns; Ray Serve does not notice a blocked one by itself."""
        self._reporter.start_once()

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build_app(
            self._plane,
            limits=self._limits,
            draw=_draw_png,
            draw_report=_draw_report,
            recorder=self._recorder,
            access=self._access,
            streams=self._streams,
            ongoing=self._ongoing,
            echo_request_id=False,  # Ray Serve's proxy gives every request its id, and adds it to the reply
        )
