"""What the protocols of others share: refusals that tell their reason in ``error``, as their clients read it."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from wavescope.errors import WavescopeError
from wavescope.ingress.plane import IngressLimits
from wavescope.ingress.problems import (
    RETRYABLE_STATUSES,
    encode_problem,
    http_status,
    is_hidden,
    problem,
    retry_after_s,
)

Endpoint = Callable[[Request], Awaitable[Response]]
Route = tuple[str, str, Endpoint]
_LOG = logging.getLogger(__name__)


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
    request_id, status = request.state.request_id, http_status(error)
    if is_hidden(error):
        _LOG.error("request failed", exc_info=error, extra={"request_id": request_id})
    content = problem(error, request_id)
    headers = {}
    if status in RETRYABLE_STATUSES:
        delay_s = retry_after_s(content["limits"], limits.retry_after_s)
        headers["Retry-After"] = str(math.ceil(delay_s))
    if status == 413:
        headers["Connection"] = "close"  # what is left of the body is not read
    told = {"error": content["message"], **content}
    return Response(encode_problem(told), status, headers=headers, media_type="application/json")
