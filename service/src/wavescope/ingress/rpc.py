"""gRPC: a thin transport over the data plane."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any, Protocol
from urllib.parse import unquote

import grpc

from wavescope.engine.types import Explanation
from wavescope.errors import Forbidden, WavescopeError
from wavescope.ingress.messages import from_batch, from_explanation, to_request
from wavescope.ingress.middleware import choose_request_id
from wavescope.ingress.plane import Call, DataPlane, IngressLimits, NullRecorder, RequestRecorder
from wavescope.ingress.problems import defect, grpc_code, is_hidden, problem
from wavescope.ingress.recording import recording
from wavescope_proto.v1 import explanation_pb2 as pb

_LOG = logging.getLogger(__name__)


class Context(Protocol):
    """The part of a gRPC servicer's context that is used; Ray Serve's own class has it as well."""

    def set_code(self, code: grpc.StatusCode) -> None: ...
    def set_details(self, details: str) -> None: ...
    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str]]) -> None: ...
    def invocation_metadata(self) -> Iterable[tuple[str, Any]]: ...
    def peer(self) -> str: ...


async def explain(
    plane: DataPlane,
    message: pb.ExplainRequest,
    context: Context,
    *,
    limits: IngressLimits,
    recorder: RequestRecorder | None = None,
) -> pb.ExplainResponse:
    """Answer ``ExplanationService/Explain``.

    Never raises for a failed request: code, message and trailing metadata are set on the context and an empty
    reply is returned, because a raised error would lose the metadata and show the caller its traceback.
    """
    request_id = choose_request_id(_metadata(context, "x-request-id"))
    try:
        with recording(recorder or NullRecorder(), "grpc") as labels:
            _admit(context.peer(), limits)
            parsed = await asyncio.to_thread(to_request, message, limits)
            labels.learn(parsed)
            explanations = await plane.explain(parsed, Call(request_id))
            reply = await asyncio.to_thread(_reply, explanations, parsed.batch)
    except WavescopeError as error:
        if is_hidden(error):
            _LOG.error("RPC failed", exc_info=error, extra={"request_id": request_id})
        _refuse(context, grpc_code(error), problem(error, request_id))
        return pb.ExplainResponse()
    except Exception:  # noqa: BLE001  # the one broad handler of gRPC: logs, and hides details
        _LOG.exception("RPC failed", extra={"request_id": request_id})
        _refuse(context, grpc.StatusCode.INTERNAL, defect(request_id))
        return pb.ExplainResponse()
    context.set_trailing_metadata([("x-request-id", request_id)])
    return reply


def _reply(explanations: tuple[Explanation, ...], batch: bool) -> pb.ExplainResponse:
    if batch:
        return from_batch(explanations)
    (explanation,) = explanations
    return from_explanation(explanation)


def _admit(peer: str, limits: IngressLimits) -> None:
    if limits.loopback_only and not is_local(peer):
        raise Forbidden("only this host is served: start the service with --no-auth to serve others")


def is_local(peer: str) -> bool:
    """Whether a gRPC peer, such as ``ipv4:127.0.0.1:50000`` or ``ipv6:[::1]:50000``, is on this host."""
    kind, _, address = unquote(peer).partition(":")
    if kind == "unix":
        return True
    try:
        return ip_address(address.rpartition(":")[0].strip("[]")).is_loopback
    except ValueError:
        return False


def _metadata(context: Context, name: str) -> str | None:
    found = (value for key, value in context.invocation_metadata() if key.lower() == name)
    value = next(found, None)
    return value if isinstance(value, str) else None


def _refuse(context: Context, code: grpc.StatusCode, told: dict[str, Any]) -> None:
    """Set a refusal on the context; metadata holds ASCII only."""
    metadata = [("wavescope-code", told["code"]), ("x-request-id", told["request_id"])]
    if told["field"] is not None:
        field = told["field"].encode("ascii", "backslashreplace").decode("ascii")
        metadata.append(("wavescope-field", field))
    if told["limits"]:
        metadata.append(("wavescope-limits", json.dumps(told["limits"])))
    context.set_code(code)
    context.set_details(told["message"])
    context.set_trailing_metadata(metadata)
