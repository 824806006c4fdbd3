"""A refusal as trailing metadata: our own entries, and ``google.rpc.Status``, which gRPC's own libraries read."""

from __future__ import annotations

import json
import math
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from wavescope.ingress.problems import may_come_again, retry_after_s

STATUS_KEY = "grpc-status-details-bin"
DOMAIN = "wavescope"
# Common proxies and clients refuse more than 8 KiB of metadata in all, and the message is in it three times.
MAX_TEXT_CHARS = 1000
MAX_LIMITS_BYTES = 1500


def trailing_metadata(
    code: grpc.StatusCode, content: dict[str, Any], default_retry_s: int
) -> list[tuple[str, Any]]:
    """The trailing metadata of a refusal; text of entries that are no binary ones is ASCII.

    Args:
        code: the status that is sent.
        content: of the problem.
        default_retry_s: when the caller may come again where its limits do not say.
    """
    metadata: list[tuple[str, Any]] = [
        ("wavescope-code", content["code"]),
        ("x-request-id", content["request_id"]),
    ]
    if content["field"] is not None:
        metadata.append(("wavescope-field", _ascii(content["field"])))
    limits = json.dumps(content["limits"]) if content["limits"] else ""
    if limits and len(limits) <= MAX_LIMITS_BYTES:
        metadata.append(("wavescope-limits", limits))
    return [*metadata, (STATUS_KEY, _status(code, content, default_retry_s).SerializeToString())]


def _status(code: grpc.StatusCode, content: dict[str, Any], default_retry_s: int) -> status_pb2.Status:
    message = shortened(content["message"])
    # Any of the well-known details; packed, because a status holds details of any type.
    details: list[Message] = [
        error_details_pb2.ErrorInfo(
            reason=content["code"].upper(), domain=DOMAIN, metadata=_texts(content["limits"])
        ),
        error_details_pb2.RequestInfo(request_id=content["request_id"]),
    ]
    if content["field"] is not None and code is grpc.StatusCode.INVALID_ARGUMENT:
        violation = error_details_pb2.BadRequest.FieldViolation(field=content["field"], description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if may_come_again(content["code"]):
        delay = Duration(seconds=math.ceil(retry_after_s(content["limits"], default_retry_s)))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    number: int = code.value[0]
    status = status_pb2.Status(code=number, message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return status


def shortened(text: str) -> str:
    """Text that UTF-8 can hold and that fits into metadata."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= MAX_TEXT_CHARS else text[: MAX_TEXT_CHARS - 1] + "…"


def _texts(limits: dict[str, Any]) -> dict[str, str]:
    """Limits as text, each as JSON writes it; none where they are too long."""
    texts = {name: json.dumps(value) for name, value in limits.items()}
    return texts if sum(map(len, texts.values())) <= MAX_LIMITS_BYTES else {}


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode("ascii")[:MAX_TEXT_CHARS]
