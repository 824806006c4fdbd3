"""HTTP: a thin transport over the data plane."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import cast

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wavescope.engine.types import Explanation
from wavescope.errors import ModelUnavailable, UnknownModel, WavescopeError
from wavescope.ingress import docs
from wavescope.ingress.bodies import read_request
from wavescope.ingress.middleware import Outermost
from wavescope.ingress.negotiation import JSON, PNG, Representation, negotiate
from wavescope.ingress.openapi import document
from wavescope.ingress.plane import Call, DataPlane, IngressLimits, NullRecorder, RequestRecorder
from wavescope.ingress.problems import (
    PROBLEM_MEDIA_TYPE,
    RETRYABLE_STATUSES,
    MethodNotAllowed,
    NotFound,
    encode_problem,
    http_status,
    is_hidden,
    problem,
)
from wavescope.ingress.recording import recording
from wavescope.ingress.replies import encode_batch_json, encode_batch_npz, encode_json, encode_npz

Draw = Callable[[Explanation], bytes]
METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LOG = logging.getLogger(__name__)


def build_app(
    plane: DataPlane,
    *,
    limits: IngressLimits,
    draw: Draw,
    recorder: RequestRecorder | None = None,
    echo_request_id: bool = True,
) -> FastAPI:
    """The HTTP application.

    Args:
        plane: the service behind it.
        limits: from the settings.
        draw: from an explanation to a PNG file; called in a thread.
        recorder: counts requests for explanations; ``None`` counts nothing.
        echo_request_id: whether replies carry ``X-Request-ID``; not where a proxy in front adds it.
    """
    app = FastAPI(title="Wavescope", docs_url=None, redoc_url=None, openapi_url=None)
    routes = Routes(plane, limits, draw, recorder or NullRecorder())
    for path, method, endpoint in (
        ("/v1/explanations", "POST", routes.explain),
        ("/v1/models", "GET", routes.models),
        ("/v1/models/{name}", "GET", routes.model),
        ("/livez", "GET", routes.livez),
        ("/readyz", "GET", routes.readyz),
        ("/metrics", "GET", routes.metrics),
        ("/openapi.json", "GET", routes.openapi),
        ("/docs", "GET", docs.page),
        ("/docs/{name}", "GET", docs.asset),
    ):
        app.add_route(path, endpoint, methods=[method])
    app.openapi = document
    app.add_exception_handler(WavescopeError, partial(_answer_error, limits=limits))
    app.add_exception_handler(HTTPException, partial(_answer_protocol_error, limits=limits))
    app.add_middleware(Outermost, echo=echo_request_id)
    return app


class Routes:
    """The endpoints, over one data plane."""

    def __init__(
        self, plane: DataPlane, limits: IngressLimits, draw: Draw, recorder: RequestRecorder
    ) -> None:
        self._plane = plane
        self._limits = limits
        self._draw = draw
        self._recorder = recorder

    async def explain(self, request: Request) -> Response:
        """``POST /v1/explanations``."""
        with recording(self._recorder, "http") as labels:
            representation = negotiate(request.headers.get("accept"))
            parsed = await read_request(request, self._limits)
            labels.learn(parsed)
            if parsed.batch:  # known only now; refused before anything is computed
                representation = negotiate(request.headers.get("accept"), batch=True)
            explanations = await self._plane.explain(parsed, Call(request.state.request_id))
            # Drawing takes up to a second: in a thread, so that other requests are served meanwhile.
            represent = self._represent_batch if parsed.batch else self._represent
            return await asyncio.to_thread(represent, explanations, representation)

    def _represent(self, explanations: tuple[Explanation, ...], representation: Representation) -> Response:
        (explanation,) = explanations
        if representation.media_type == PNG:
            return Response(self._draw(explanation), media_type=PNG)
        if representation.media_type == JSON:
            figure = self._draw(explanation) if representation.figure else None
            return Response(encode_json(explanation, figure), media_type=JSON)
        return Response(encode_npz(explanation), media_type=representation.media_type)

    def _represent_batch(
        self, explanations: tuple[Explanation, ...], representation: Representation
    ) -> Response:
        if representation.media_type == JSON:
            figures = (
                [self._draw(explanation) for explanation in explanations] if representation.figure else None
            )
            return Response(encode_batch_json(explanations, figures), media_type=JSON)
        return Response(encode_batch_npz(explanations), media_type=representation.media_type)

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
        details = await self._plane.models()
        if name not in details:
            raise UnknownModel(f"no model is named {name[:128]!r}", field="model", supported=list(details))
        return JSONResponse({"name": name, "ready": False, **details[name]})

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
        if not await self._plane.ready():
            raise ModelUnavailable("no model can score yet")
        return JSONResponse({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        """``GET /metrics``."""
        del request
        return Response(await self._plane.metrics(), headers={"Content-Type": METRICS_MEDIA_TYPE})

    async def openapi(self, request: Request) -> Response:
        """``GET /openapi.json``."""
        del request
        return JSONResponse(document())


async def _answer_error(request: Request, error: Exception, *, limits: IngressLimits) -> Response:
    """Any :class:`WavescopeError` as a problem."""
    error = cast("WavescopeError", error)  # what the handler is registered for
    request_id = request.state.request_id
    status = http_status(error)
    if is_hidden(error):
        _LOG.error("request failed", exc_info=error, extra={"request_id": request_id})
    headers = {"Retry-After": str(limits.retry_after_s)} if status in RETRYABLE_STATUSES else {}
    if status == 413:
        headers["Connection"] = "close"  # what is left of the body is not read
    return Response(
        encode_problem(problem(error, request_id)), status, headers=headers, media_type=PROBLEM_MEDIA_TYPE
    )


async def _answer_protocol_error(request: Request, error: Exception, *, limits: IngressLimits) -> Response:
    """The framework's own refusals (no such path, wrong method) as problems."""
    error = cast("HTTPException", error)  # what the handler is registered for
    path = request.url.path[:128]
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        told: WavescopeError = MethodNotAllowed(
            f"{path} takes {allowed}, not {request.method}", supported=allowed.split(", ")
        )
    else:
        told = NotFound(f"nothing is at {path}")
    response = await _answer_error(request, told, limits=limits)
    response.headers.update(error.headers or {})
    return response
