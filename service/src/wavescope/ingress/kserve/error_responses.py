"""Error replies of KServe v1 and OIP v2, whose clients read the reason in ``error``."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from wavescope.errors import WavescopeError
from wavescope.ingress.plane import IngressLimits
from wavescope.ingress.problems import encode_problem, http_status, is_hidden, problem, problem_headers

Endpoint = Callable[[Request], Awaitable[Response]]
Route = tuple[str, str, Endpoint]
log = logging.getLogger(__name__)


def with_error_field(endpoint: Endpoint, limits: IngressLimits) -> Endpoint:
    """The endpoint, with its refusals as JSON: ``error`` beside the fields of our own problems."""

    async def endpoint_with_error_field(request: Request) -> Response:
        try:
            return await endpoint(request)
        except WavescopeError as error:
            return refusal(error, request, limits)

    return endpoint_with_error_field


def refusal(error: WavescopeError, request: Request, limits: IngressLimits) -> Response:
    """Error reply of these protocols, with the status that the error has everywhere."""
    request_id = request.state.request_id
    if is_hidden(error):
        log.error("request failed", exc_info=error, extra={"request_id": request_id})
    content = problem(error, request_id)
    return Response(
        encode_problem({"error": content["message"], **content}),
        http_status(error),
        headers=problem_headers(error, limits.retry_after_s),
        media_type="application/json",
    )
