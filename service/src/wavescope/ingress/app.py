"""HTTP: a thin transport over the data plane."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import cast

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from wavescope.errors import WavescopeError
from wavescope.ingress.access import Access
from wavescope.ingress.kserve import v1
from wavescope.ingress.kserve.error_responses import Endpoint, Route
from wavescope.ingress.kserve.oip import rest
from wavescope.ingress.openapi.document import document
from wavescope.ingress.plane import DataPlane, IngressLimits, NullRecorder, RequestRecorder
from wavescope.ingress.problems import (
    PROBLEM_MEDIA_TYPE,
    MethodNotAllowed,
    NotFound,
    encode_problem,
    http_status,
    is_hidden,
    problem,
    problem_headers,
)
from wavescope.ingress.ray_proxy.ongoing import Ongoing
from wavescope.ingress.rest import swagger
from wavescope.ingress.rest.explanations import ExplainRoutes
from wavescope.ingress.rest.jobs import JobRoutes
from wavescope.ingress.rest.middleware import Outermost
from wavescope.ingress.rest.monitors import DrawReport, MonitorRoutes
from wavescope.ingress.rest.responses import Draw
from wavescope.ingress.rest.service import ServiceRoutes
from wavescope.ingress.stream_limits import OpenStreams

log = logging.getLogger(__name__)


def build_app(
    plane: DataPlane,
    *,
    limits: IngressLimits,
    draw: Draw,
    draw_report: DrawReport | None = None,
    recorder: RequestRecorder | None = None,
    echo_request_id: bool = True,
    access: Access | None = None,
    streams: OpenStreams | None = None,
    ongoing: Ongoing | None = None,
) -> FastAPI:
    """The HTTP application.

    Args:
        plane: the service behind it.
        limits: from the settings.
        draw: from an explanation to a PNG file; called in a thread.
        draw_report: from the report of a monitor to a PNG file; ``None`` where none are drawn.
        recorder: counts requests for explanations; ``None`` counts nothing.
        echo_request_id: whether replies carry ``X-Request-ID``; not where a proxy in front adds it.
        access: who may come in; ``None`` for everybody.
        streams: counts the open event streams, where gRPC has some in this process as well.
        ongoing: counts the requests, as above.
    """
    app = FastAPI(title="Wavescope", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    recorder = recorder or NullRecorder()
    streams = streams or OpenStreams(limits)
    explanations = ExplainRoutes(plane, limits, draw, recorder, streams)
    jobs = JobRoutes(plane, limits, draw, recorder, streams)
    service = ServiceRoutes(plane)
    monitors = MonitorRoutes(plane, limits, draw_report, streams)
    ours: list[Route] = [
        ("/v1/explanations", "POST", explanations.explain),
        ("/v1/explanations:estimate", "POST", explanations.estimate),
        ("/v1/predictions", "POST", explanations.predict),
        ("/v1/jobs", "POST", jobs.submit),
        ("/v1/jobs/{id}", "GET", jobs.job),
        ("/v1/jobs/{id}", "DELETE", jobs.cancel),
        ("/v1/jobs/{id}/events", "GET", jobs.events),
        ("/v1/jobs/{id}/result", "GET", jobs.result),
        ("/v1/monitors", "GET", monitors.list_all),
        *(
            (f"/v1/monitors/{{name}}:{verb}", "POST", endpoint)
            for verb, endpoint in monitors.commands().items()
        ),
        ("/v1/monitors/{name}", "GET", monitors.get),
        ("/v1/monitors/{name}", "PUT", monitors.put),
        ("/v1/monitors/{name}", "DELETE", monitors.delete),
        ("/v1/monitors/{name}/observations", "POST", monitors.observe),
        ("/v1/monitors/{name}/report", "GET", monitors.report),
        ("/v1/monitors/{name}/alarms", "GET", monitors.alarms),
        ("/v1/monitors/{name}/alarms/{id}/diagnosis", "GET", monitors.diagnosis),
        ("/v1/monitors/{name}/events", "POST", monitors.event),
        ("/v1/monitors/{name}/events/{token}", "POST", monitors.event),
        ("/v1/events", "POST", monitors.event),
        ("/v1/models", "GET", service.models),
        ("/v1/models/{name}", "GET", service.model),
        ("/livez", "GET", service.livez),
        ("/readyz", "GET", service.readyz),
        ("/metrics", "GET", service.metrics),
        ("/openapi.json", "GET", service.openapi),
        ("/docs", "GET", swagger.page),
        ("/docs/{name}", "GET", swagger.asset),
    ]
    others = [*v1.routes(plane, limits, recorder), *rest.routes(plane, limits, recorder)]
    # Theirs first: a model's own address matches theirs below it as well, with methods of its own.
    _add_routes(app, [*others, *ours])
    app.openapi = document
    app.add_exception_handler(WavescopeError, partial(_answer_error, limits=limits))
    app.add_exception_handler(HTTPException, partial(_answer_protocol_error, limits=limits))
    ongoing = ongoing or Ongoing(limits.max_ongoing)
    app.add_middleware(Outermost, ongoing=ongoing, echo=echo_request_id, access=access)
    return app


def _add_routes(app: FastAPI, routes: Iterable[Route]) -> None:
    """One route per path, so that a refusal of another method names all that it takes."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for path, method, endpoint in routes:
        by_path.setdefault(path, {})[method] = endpoint
    for path, endpoints in by_path.items():
        app.add_route(path, _dispatch(endpoints), methods=list(endpoints))


def _dispatch(endpoints: dict[str, Endpoint]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        # HEAD is admitted where GET is; servers leave its body out.
        return await endpoints["GET" if request.method == "HEAD" else request.method](request)

    return endpoint


async def _answer_error(request: Request, error: Exception, *, limits: IngressLimits) -> Response:
    """Any :class:`WavescopeError` as a problem."""
    error = cast("WavescopeError", error)  # what the handler is registered for
    request_id = request.state.request_id
    if is_hidden(error):
        log.error("request failed", exc_info=error, extra={"request_id": request_id})
    return Response(
        encode_problem(problem(error, request_id)),
        http_status(error),
        headers=problem_headers(error, limits.retry_after_s),
        media_type=PROBLEM_MEDIA_TYPE,
    )


async def _answer_protocol_error(request: Request, error: Exception, *, limits: IngressLimits) -> Response:
    """The framework's own refusals (no such path, wrong method) as problems."""
    error = cast("HTTPException", error)  # what the handler is registered for
    path = request.url.path[:128]
    if error.status_code == 405:
        allowed = sorted((error.headers or {}).get("Allow", "").split(", "))
        refusal: WavescopeError = MethodNotAllowed(
            f"{path} takes {', '.join(allowed)}, not {request.method}", supported=allowed
        )
    else:
        refusal = NotFound(f"nothing is at {path}")
    response = await _answer_error(request, refusal, limits=limits)
    response.headers.update(error.headers or {})
    return response
