"""Attributes and data of a CloudEvent over HTTP, in binary and in structured mode (CloudEvents HTTP binding 1.0)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import unquote

from wavescope.errors import BodyTooLarge, InvalidRequest
from wavescope.ingress.rest.gzip_bodies import Inflate, slices
from wavescope.ingress.schemas.base64_text import decode_base64
from wavescope.ingress.schemas.parsing import load_json

SPEC_VERSIONS: Final = ("0.3", "1.0")
STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch"
REQUEST_TYPES: Final = ("org.kubeflow.serving.inference.request", "io.seldon.serving.inference.request")
RESPONSE_TYPES: Final = ("org.kubeflow.serving.inference.response", "io.seldon.serving.inference.response")
MAX_ATTRIBUTE_CHARS: Final = 1024
GZIP: Final = b"\x1f\x8b"
# Of the payload of a tensor whose binary data follow, in the headers that the logger was set up to pass on.
HEADER_LENGTH: Final = "inference-header-content-length"


@dataclass(frozen=True, slots=True)
class EventAttributes:
    """A CloudEvent, opened.

    Attributes:
        id, source, type: as the sender gave them.
        namespace, inferenceservice, component, endpoint: of the service that the event is of; empty where absent.
        kind: ``request`` and ``response`` of a prediction, or ``other``.
        traceparent: context of the trace; ``None`` where absent.
        data: the payload, unpacked.
        header_length: bytes of the JSON before binary tensors; ``None`` where nobody says.
    """

    id: str
    source: str
    type: str
    namespace: str
    inferenceservice: str
    component: str
    endpoint: str
    kind: Literal["request", "response", "other"]
    traceparent: str | None
    data: bytes
    header_length: int | None = None


def open_event(headers: Mapping[str, str], body: bytes, *, max_bytes: int) -> EventAttributes:
    """Open an event: its attributes and its data, which is not read.

    Args:
        headers: of the HTTP request, of any case.
        body: of the request. It may be gzip without a header that says so.
        max_bytes: that it is unpacked to at most.

    Raises:
        InvalidRequest: it is no event; names the attribute.
        BodyTooLarge: it is unpacked to more.
    """
    named = {name.lower(): value for name, value in headers.items()}
    if body.startswith(GZIP):
        body = _unpacked(body, max_bytes)
    media_type = named.get("content-type", "").partition(";")[0].strip().lower()
    if media_type.startswith(BATCH):
        raise InvalidRequest(
            "a batch of events is not taken: send each event by itself", field="Content-Type"
        )
    if media_type == STRUCTURED:
        return _structured(body)
    attributes = {name[3:]: unquote(value) for name, value in named.items() if name.startswith("ce-")}
    return _event(attributes, body)


def is_sampled(event_id: str, rate: float) -> bool:
    """Whether an event is observed: by SHA-256 of its id, so that a redelivery and the response have the same answer.

    Args:
        event_id: of the event.
        rate: share of the events that are observed, 0 to 1.

    Example:
        >>> is_sampled("0009174a-24a8-4603-b098-09c8799950e9", 1.0)
        True
    """
    word = int.from_bytes(hashlib.sha256(event_id.encode("utf-8", "surrogatepass")).digest()[:8], "big")
    return word < rate * 2.0**64


def _unpacked(body: bytes, max_bytes: int) -> bytes:
    inflate, found, size = Inflate(), list[bytes](), 0
    for packed in slices(body):
        inflate.feed(packed)
        while piece := inflate.read():
            size += len(piece)
            if size > max_bytes:
                raise BodyTooLarge(
                    f"the event is unpacked to more than {max_bytes} bytes", max_body_bytes=max_bytes
                )
            found.append(piece)
    inflate.check_end()
    return b"".join(found)


def _structured(body: bytes) -> EventAttributes:
    content = load_json(body, "the event")
    if not isinstance(content, dict):
        raise InvalidRequest("the event is not a JSON object", field="body")
    attributes: dict[str, str] = {
        name.lower(): value
        for name, value in content.items()
        if isinstance(value, str) and name != "data_base64"
    }
    encoded = content.get("data_base64")
    if encoded is not None:
        if not isinstance(encoded, str):
            raise InvalidRequest("data_base64 must be text", field="data_base64")
        return _event(attributes, decode_base64(encoded, "data_base64"))
    data: Any = content.get("data")
    if isinstance(data, str):  # JSON in a string, as some senders have it
        return _event(attributes, data.encode("utf-8", "surrogatepass"))
    return _event(attributes, b"" if data is None else json.dumps(data).encode("ascii"))


def _event(attributes: Mapping[str, str], data: bytes) -> EventAttributes:
    for name, value in attributes.items():
        if len(value) > MAX_ATTRIBUTE_CHARS and name not in ("metadata", "annotations"):
            raise InvalidRequest(
                f"attribute {name[:32]} has {len(value)} characters; it may have {MAX_ATTRIBUTE_CHARS}",
                field=f"ce-{name[:32]}",
                maximum=MAX_ATTRIBUTE_CHARS,
            )
    version = _required(attributes, "specversion")
    if version not in SPEC_VERSIONS:
        raise InvalidRequest(
            f"ce-specversion is {version[:16]!r}; it must be one of {', '.join(SPEC_VERSIONS)}",
            field="ce-specversion",
            supported=list(SPEC_VERSIONS),
        )
    kind = _required(attributes, "type")
    # Seldon has the request's id in an attribute of its own, and one for each event besides.
    identity = attributes.get("requestid") or _required(attributes, "id")
    return EventAttributes(
        id=identity,
        source=_required(attributes, "source"),
        type=kind,
        namespace=attributes.get("namespace", ""),
        inferenceservice=attributes.get("inferenceservicename", ""),
        component=attributes.get("component", ""),
        endpoint=attributes.get("endpoint", ""),
        kind="request" if kind in REQUEST_TYPES else "response" if kind in RESPONSE_TYPES else "other",
        traceparent=attributes.get("traceparent"),
        data=data,
        header_length=_header_length(attributes.get("metadata", "")),
    )


def _required(attributes: Mapping[str, str], name: str) -> str:
    value = attributes.get(name, "")
    if not value:
        raise InvalidRequest(f"ce-{name} is required, and is not empty", field=f"ce-{name}")
    return value


def _header_length(metadata: str) -> int | None:
    """Length of the JSON of a binary payload, where the logger passes that header on."""
    try:
        content = json.loads(metadata) if metadata else {}
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    for name, value in content.items():
        if str(name).lower() == HEADER_LENGTH:
            first = value[0] if isinstance(value, list) and value else value
            text = str(first)
            return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
    return None
