"""The outermost layer of HTTP: the request's id, and what becomes of exceptions that nobody expected."""

from __future__ import annotations

import logging
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wavescope.ingress.problems import PROBLEM_MEDIA_TYPE, defect, encode_problem

REQUEST_ID_HEADER = "X-Request-ID"
MAX_REQUEST_ID_CHARS = 128
_LOG = logging.getLogger(__name__)


def choose_request_id(offered: str | None) -> str:
    """The caller's id where it is 1 to 128 printable ASCII characters, else a new one."""
    if offered and len(offered) <= MAX_REQUEST_ID_CHARS and offered.isascii() and offered.isprintable():
        return offered
    return uuid.uuid4().hex


class Outermost:
    """Gives every request an id, echoes it, and answers defects with a problem that hides their details."""

    def __init__(self, app: ASGIApp, *, echo: bool = True) -> None:
        self._app = app
        self._echo = echo

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
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            _LOG.info("client left before its request was read", extra={"request_id": request_id})
        except Exception:  # noqa: BLE001  # the one broad handler of HTTP: logs, and hides details
            _LOG.exception("request failed", extra={"request_id": request_id})
            if not started:
                await _send_defect(send_with_id, request_id)


async def _send_defect(send: Send, request_id: str) -> None:
    body = encode_problem(defect(request_id))
    headers = [
        (b"content-type", PROBLEM_MEDIA_TYPE.encode("ascii")),
        (b"content-length", str(len(body)).encode("ascii")),
    ]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})
