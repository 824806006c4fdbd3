"""HTTP endpoints of models, readiness, metrics and the OpenAPI document."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wavescope.ingress.openapi.document import document
from wavescope.ingress.plane import ModelPlane
from wavescope.ingress.readiness import check_ready

METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class ServiceRoutes:
    """Endpoints of models, readiness, metrics and the OpenAPI document."""

    def __init__(self, plane: ModelPlane) -> None:
        self._plane = plane

    async def models(self, request: Request) -> Response:
        """``GET /v1/models``."""
        del request
        details = await self._plane.models()
        return JSONResponse({"models": list(details), "details": details})

    async def model(self, request: Request) -> Response:
        """``GET /v1/models/{name}``.

        Raises:
            UnknownModel: no model of that name is registered.
        """
        name = request.path_params["name"]
        return JSONResponse({"name": name, "ready": False, **await self._plane.model(name)})

    async def livez(self, request: Request) -> Response:
        """``GET /livez``: the process answers."""
        del request
        return JSONResponse({"status": "live"})

    async def readyz(self, request: Request) -> Response:
        """``GET /readyz``.

        Raises:
            ModelUnavailable: no model can score yet.
        """
        del request
        await check_ready(self._plane)
        return JSONResponse({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        """``GET /metrics``."""
        del request
        return Response(await self._plane.metrics(), headers={"Content-Type": METRICS_MEDIA_TYPE})

    async def openapi(self, request: Request) -> Response:
        """``GET /openapi.json``; its server is the path prefix of a gateway in front, where there is one."""
        root = request.scope.get("root_path", "").rstrip("/")
        return JSONResponse(document() | ({"servers": [{"url": root}]} if root else {}))
