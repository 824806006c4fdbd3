"""The outermost layer of HTTP: the request's id, who may come in, and exceptions that nobody expected."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wavescope.errors import WavescopeError
from wavescope.ingress.access import Access, enter, is_probe
from wavescope.ingress.call_context import choose_request_id
from wavescope.ingress.prefix import route_path
from wavescope.ingress.problems import (
    PROBLEM_MEDIA_TYPE,
    defect,
    encode_problem,
    http_status,
    problem,
    problem_headers,
)
from wavescope.ingress.ray_proxy.ongoing import Ongoing

REQUEST_ID_HEADER = "X-Request-ID"
RETRY_AFTER_S = 1  # where an error does not say
# Names of classes and models come from files: no browser may take a reply that shows one for a page.
SAFE = {"x-content-type-options": "nosniff"}
log = logging.getLogger(__name__)


class Outermost:
    """Gives every request an id, echoes it, lets it in, and answers defects with a problem that hides their details."""

    def __init__(
        self, app: ASGIApp, *, ongoing: Ongoing, echo: bool = True, access: Access | None = None
    ) -> None:
        """Wraps an application.

        Args:
            app: the application; finds ``request_id``, ``caller`` and ``priority`` in the request's state.
            ongoing: counts the requests; probes and metrics need no place among them.
            echo: whether replies carry ``X-Request-ID``.
            access: who may come in; ``None`` for everybody.
        """
        self._app = app
        self._ongoing = ongoing
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
                headers = MutableHeaders(scope=message)
                headers.update(SAFE)
                if self._echo:
                    headers[REQUEST_ID_HEADER] = request_id
            await send(message)

        try:
            enter(scope, self._access)
            with nullcontext() if is_probe(route_path(scope)) else self._ongoing.place():
                await self._app(scope, receive, send_with_id)
        except WavescopeError as refused:  # before the application, which answers with its own
            log.info("refused: %s", refused.message, extra={"request_id": request_id})
            await send_refusal(send_with_id, refused, request_id)
        except ClientDisconnect:
            log.info("client left", extra={"request_id": request_id})
        except Exception:  # the one broad handler of HTTP: logs, and hides details
            log.exception("request failed", extra={"request_id": request_id})
            if not started:
                await send_problem(send_with_id, defect(request_id), 500)


async def send_refusal(send: Send, error: WavescopeError, request_id: str, **headers: str) -> None:
    """Sends an error as the whole reply.

    Args:
        send: of the ASGI connection.
        error: what is refused.
        request_id: sent with it.
        **headers: as of :func:`send_problem`.
    """
    error_headers = {name.lower(): value for name, value in problem_headers(error, RETRY_AFTER_S).items()}
    await send_problem(send, problem(error, request_id), http_status(error), **error_headers | headers)


async def send_problem(send: Send, content: dict[str, Any], status: int, **headers: str) -> None:
    """Sends a problem as the whole reply.

    Args:
        send: of the ASGI connection.
        content: of the problem.
        status: of HTTP.
        **headers: beside those of the body; ``_`` stands for ``-``.
    """
    body = encode_problem(content)
    headers |= {"content-type": PROBLEM_MEDIA_TYPE, "content-length": str(len(body)), **SAFE}
    encoded = [
        (name.replace("_", "-").lower().encode("ascii"), value.encode("ascii"))
        for name, value in headers.items()
    ]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
