"""What the protocols of others share: refusals that tell their reason in ``error``, as their clients read it."""

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


def telling(endpoint: Endpoint, limits: IngressLimits) -> Endpoint:
    """The endpoint, with its refusals as JSON: ``error`` beside the fields of our own problems."""

    async def told(request: Request) -> Response:
        try:
            return await endpoint(request)
        except WavescopeError as error:
            return refusal(error, request, limits)

    return told


def refusal(error: WavescopeError, request: Request, limits: IngressLimits) -> Response:
    """An error as these protocols tell it, with the status that it has everywhere."""
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
