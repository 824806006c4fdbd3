"""The outermost layer of HTTP: the request's id, who may come in, and exceptions that nobody expected."""

from __future__ import annotations

import logging
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wavescope.errors import WavescopeError
from wavescope.ingress.access import Access, enter
from wavescope.ingress.calls import choose_request_id
from wavescope.ingress.problems import PROBLEM_MEDIA_TYPE, defect, encode_problem, http_status, problem

REQUEST_ID_HEADER = "X-Request-ID"
_LOG = logging.getLogger(__name__)


class Outermost:
    """Gives every request an id, echoes it, lets it in, and answers defects with a problem that hides their details."""

    def __init__(self, app: ASGIApp, *, echo: bool = True, access: Access | None = None) -> None:
        """Wraps an application.

        Args:
            app: the application; finds ``request_id``, ``caller`` and ``priority`` in the request's state.
            echo: whether replies carry ``X-Request-ID``.
            access: who may come in; ``None`` for everybody.
        """
        self._app = app
        self._echo = echo
        self._access = access or Access()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = choose_request_id(Headers(scope=scope).get(REQUEST_ID_HEADER))
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if self._echo:
                    MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        try:
            enter(scope, self._access)
        except WavescopeError as refused:
            _LOG.info("refused: %s", refused.message, extra={"request_id": request_id})
            await send_problem(send_with_id, problem(refused, request_id), http_status(refused))
            return
        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            _LOG.info("client left", extra={"request_id": request_id})
        except Exception:  # noqa: BLE001  # the one broad handler of HTTP: logs, and hides details
            _LOG.exception("request failed", extra={"request_id": request_id})
            if not started:
                await send_problem(send_with_id, defect(request_id), 500)


async def send_problem(send: Send, told: dict[str, Any], status: int, **headers: str) -> None:
    """Sends a problem as the whole reply.

    Args:
        send: of the ASGI connection.
        told: the problem.
        status: of HTTP.
        **headers: beside those of the body; ``_`` stands for ``-``.
    """
    body = encode_problem(told)
    headers |= {"content-type": PROBLEM_MEDIA_TYPE, "content-length": str(len(body))}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    encoded = [
        (name.replace("_", "-").encode("ascii"), value.encode("ascii")) for name, value in headers.items()
    ]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
